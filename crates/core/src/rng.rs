//! Counter-based random streams: a seed and how far it has been used. The numbers come from Philox in the kernels.

/// One stream. `offset` counts blocks of four numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    pub seed: f64,
    pub offset: f64,
}
impl Stream {
    pub fn new(seed: f64) -> Stream {
        Stream { seed, offset: 0.0 }
    }
    /// Takes the numbers of `n` elements and returns the first block.
    pub fn take(&mut self, n: usize) -> f64 {
        let at = self.offset;
        self.offset += n.div_ceil(4) as f64;
        at
    }
}
