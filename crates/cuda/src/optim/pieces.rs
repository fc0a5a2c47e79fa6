//! Ranges of flat buffers cut into the chunks that blocks work on.
use wick_core::op::Range;

/// Pieces of one launch. Nearly always there is one, which has a kernel of its own.
pub const MANY: usize = 32;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// An element of every buffer that the kernel gets, or an address.
    pub at: u64,
    /// In elements.
    pub len: u64,
    /// Number of the first chunk.
    pub first: u64,
}

/// The same bits as `Pieces` in `optim.cu`; a kernel for one piece reads as far as it needs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pieces {
    count: u32,
    /// Chunks of all pieces.
    pub chunks: u32,
    piece: [Piece; MANY],
}

impl Pieces {
    pub const EMPTY: Pieces = Pieces { count: 0, chunks: 0, piece: [Piece { at: 0, len: 0, first: 0 }; MANY] };

    /// The value of `PIECES` that a kernel for these is compiled with.
    pub fn capacity(&self) -> usize {
        if self.count > 1 { MANY } else { 1 }
    }
}

/// Launches for `pieces`, (where, elements) each, by chunks of `chunk` elements. Without elements there is no launch.
pub fn launches(pieces: impl IntoIterator<Item = (u64, usize)>, chunk: usize) -> Vec<Pieces> {
    let mut all: Vec<Pieces> = vec![];
    for (at, len) in pieces.into_iter().filter(|p| p.1 > 0) {
        if all.last().is_none_or(|p| p.count as usize == MANY) {
            all.push(Pieces::EMPTY);
        }
        if let Some(p) = all.last_mut() {
            p.piece[p.count as usize] = Piece { at, len: len as u64, first: p.chunks as u64 };
            p.count += 1;
            p.chunks += len.div_ceil(chunk) as u32;
        }
    }
    all
}

/// Elements of `size` bytes that a thread can move at a time: 16 bytes' worth, if every range begins and ends at such steps in every buffer.
pub fn width(size: usize, buffers: &[u64], ranges: &[Range]) -> usize {
    let wide = 16 / size;
    let aligned = buffers.iter().all(|b| b.is_multiple_of(16)) && ranges.iter().all(|r| r.start.is_multiple_of(wide) && r.len.is_multiple_of(wide));
    if aligned { wide } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_each_other() {
        let all = launches([(0, 7), (100, 0), (16, 300)], 256);
        assert_eq!((all.len(), all[0].count, all[0].chunks, all[0].capacity()), (1, 2, 3, MANY));
        assert_eq!(all[0].piece[1], Piece { at: 16, len: 300, first: 1 });
        let one = launches([(5, 256)], 256);
        assert_eq!((one[0].chunks, one[0].capacity()), (1, 1));
        assert!(launches([(3, 0)], 256).is_empty());
    }

    #[test]
    fn many_pieces_take_several_launches() {
        let all = launches((0..70).map(|i| (i * 10, 10)), 4);
        assert_eq!(all.iter().map(|p| (p.count, p.chunks)).collect::<Vec<_>>(), [(32, 96), (32, 96), (6, 18)]);
        assert_eq!(all[1].piece[0], Piece { at: 320, len: 10, first: 0 });
    }

    #[test]
    fn alignment() {
        let r = |start, len| Range { start, len };
        assert_eq!(width(4, &[256, 512], &[r(0, 16), r(32, 4)]), 4);
        assert_eq!(width(8, &[256], &[r(2, 2)]), 2);
        assert_eq!(width(4, &[256, 520], &[r(0, 16)]), 1);
        assert_eq!(width(4, &[256], &[r(0, 7)]), 1);
        assert_eq!(width(4, &[256], &[r(2, 8)]), 1);
    }
}
