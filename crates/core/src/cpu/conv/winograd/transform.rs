//! The transformations of F(2x2, 3x3), on vectors of channels or tiles. Each is a small matrix of ones and halves, applied to the
//! lines and then to the columns of a tile.
use super::super::super::real::Real;
use pulp::Simd;

/// Elements of a transformed tile, 4x4.
pub(super) const FREQUENCIES: usize = 16;

/// A vector with the arithmetic that the matrices need.
struct V<T: Real, S: Simd>(S, T::Vector<S>);
impl<T: Real, S: Simd> Clone for V<T, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Real, S: Simd> Copy for V<T, S> {}
impl<T: Real, S: Simd> std::ops::Add for V<T, S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        V(self.0, T::plus(self.0, self.1, o.1))
    }
}
impl<T: Real, S: Simd> std::ops::Sub for V<T, S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        V(self.0, T::minus(self.0, self.1, o.1))
    }
}
impl<T: Real, S: Simd> V<T, S> {
    #[inline(always)]
    fn half(self) -> Self {
        let zero = T::splat(self.0, T::ZERO);
        V(self.0, T::mul_add(self.0, self.1, T::splat(self.0, T::from_f64(0.5)), zero))
    }
    #[inline(always)]
    fn negative(self) -> Self {
        V(self.0, T::splat(self.0, T::ZERO)) - self
    }
}

/// Applies `lines` to the lines of a matrix of `R` lines of `C`, then `columns` to the columns of what comes. Written as loops:
/// the library's maps of arrays aren't always inlined, and then lack the vector instructions.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn both<X: Copy, const R: usize, const C: usize, const A: usize, const B: usize>(
    m: [[X; C]; R],
    lines: impl Fn([X; C]) -> [X; B],
    columns: impl Fn([X; R]) -> [X; A],
) -> [[X; B]; A] {
    let any = m[0][0];
    let mut half = [[any; B]; R];
    for i in 0..R {
        half[i] = lines(m[i]);
    }
    let mut out = [[any; B]; A];
    for j in 0..B {
        let mut column = [any; R];
        for i in 0..R {
            column[i] = half[i][j];
        }
        let column = columns(column);
        for i in 0..A {
            out[i][j] = column[i];
        }
    }
    out
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn store<T: Real, S: Simd>(m: [[V<T, S>; 4]; 4], to: *mut T, stride: usize) {
    for i in 0..4 {
        for j in 0..4 {
            unsafe { T::store::<S>(to.add((i * 4 + j) * stride), m[i][j].1) };
        }
    }
}
/// A 4x4 matrix of the vectors at `at(line, column)`.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn load<T: Real, S: Simd>(simd: S, at: impl Fn(usize, usize) -> *const T) -> [[V<T, S>; 4]; 4] {
    let mut m = [[V(simd, T::splat(simd, T::ZERO)); 4]; 4];
    for i in 0..4 {
        for j in 0..4 {
            m[i][j] = V(simd, unsafe { T::load::<S>(at(i, j)) });
        }
    }
    m
}

/// Places of frequencies that go `stride` apart.
#[inline(always)]
fn at<T>(from: *const T, stride: usize) -> impl Fn(usize, usize) -> *const T {
    #[inline(always)]
    move |i, j| from.wrapping_add((i * 4 + j) * stride)
}

/// Tiles of the source: `at(line, column)` is where a vector of their elements lies. Frequencies go `stride` apart.
///
/// # Safety
/// All places are valid for a vector.
#[inline(always)]
pub(super) unsafe fn sources<T: Real, S: Simd>(simd: S, at: impl Fn(usize, usize) -> *const T, to: *mut T, stride: usize) {
    #[inline(always)]
    fn line<T: Real, S: Simd>([a, b, c, d]: [V<T, S>; 4]) -> [V<T, S>; 4] {
        [a - c, b + c, c - b, b - d]
    }
    unsafe { store(both(load(simd, at), line, line), to, stride) }
}

/// A 3x3 kernel.
///
/// # Safety
/// As [`sources`].
#[inline(always)]
pub(super) unsafe fn weights<T: Real, S: Simd>(simd: S, w: [T::Vector<S>; 9], to: *mut T, stride: usize) {
    let [a, b, c, d, e, f, g, h, i] = w;
    let m = [[V(simd, a), V(simd, b), V(simd, c)], [V(simd, d), V(simd, e), V(simd, f)], [V(simd, g), V(simd, h), V(simd, i)]];
    #[inline(always)]
    fn line<T: Real, S: Simd>([a, b, c]: [V<T, S>; 3]) -> [V<T, S>; 4] {
        [a, (a + c + b).half(), (a + c - b).half(), c]
    }
    unsafe { store(both(m, line, line), to, stride) }
}

/// The 2x2 results of a tile of products, line by line.
///
/// # Safety
/// As [`sources`].
#[inline(always)]
pub(super) unsafe fn results<T: Real, S: Simd>(simd: S, from: *const T, stride: usize) -> [T::Vector<S>; 4] {
    #[inline(always)]
    fn line<T: Real, S: Simd>([a, b, c, d]: [V<T, S>; 4]) -> [V<T, S>; 2] {
        [a + b + c, b - c - d]
    }
    let [[a, b], [c, d]] = both(unsafe { load(simd, at(from, stride)) }, line, line);
    [a.1, b.1, c.1, d.1]
}

/// The gradients of a tile's 2x2 results, line by line: the transpose of [`results`].
///
/// # Safety
/// As [`sources`].
#[inline(always)]
pub(super) unsafe fn gradients<T: Real, S: Simd>(simd: S, [a, b, c, d]: [T::Vector<S>; 4], to: *mut T, stride: usize) {
    #[inline(always)]
    fn line<T: Real, S: Simd>([a, b]: [V<T, S>; 2]) -> [V<T, S>; 4] {
        [a, a + b, a - b, b.negative()]
    }
    unsafe { store(both([[V(simd, a), V(simd, b)], [V(simd, c), V(simd, d)]], line, line), to, stride) }
}

/// The gradient of a 3x3 kernel from that of its transform: the transpose of [`weights`].
///
/// # Safety
/// As [`sources`].
#[inline(always)]
pub(super) unsafe fn weight_gradients<T: Real, S: Simd>(simd: S, from: *const T, stride: usize) -> [T::Vector<S>; 9] {
    #[inline(always)]
    fn line<T: Real, S: Simd>([a, b, c, d]: [V<T, S>; 4]) -> [V<T, S>; 3] {
        [a + (b + c).half(), (b - c).half(), d + (b + c).half()]
    }
    let [[a, b, c], [d, e, f], [g, h, i]] = both(unsafe { load(simd, at(from, stride)) }, line, line);
    [a.1, b.1, c.1, d.1, e.1, f.1, g.1, h.1, i.1]
}
