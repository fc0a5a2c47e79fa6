//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"): random words as a pure function of a seed
//! and a counter. Element `i` of a tensor takes lane `i % 4` of counter `offset + i / 4`, so any part of it can be made
//! alone. The counter's third word is the draw: 0, and 1 for the low bits of a 64-bit number.
use super::pointwise::math;
use super::simd::vectorised;

/// Counters of one group; loops over a group become vector code.
const WIDTH: usize = 64;
/// Elements of one group.
const GROUP: usize = 4 * WIDTH;

/// A seed as a kernel gets it: a negative one wraps as in PyTorch.
pub fn seed_bits(seed: f64) -> u64 {
    if seed < 0.0 { seed as i64 as u64 } else { seed as u64 }
}

/// The four random words of one counter.
#[inline(always)]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let a = 0xD251_1F53_u64 * c0 as u64;
        let b = 0xCD9E_8D57_u64 * c2 as u64;
        c0 = (b >> 32) as u32 ^ c1 ^ k0;
        c2 = (a >> 32) as u32 ^ c3 ^ k1;
        c1 = b as u32;
        c3 = a as u32;
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// The words of the group that begins at `counter`.
#[inline(always)]
fn group(seed: u64, counter: u64, draw: u32) -> [u32; GROUP] {
    let mut out = [0; GROUP];
    for j in 0..WIDTH {
        let at = counter.wrapping_add(j as u64);
        let words = philox4x32_10([at as u32, (at >> 32) as u32, draw, 0], [seed as u32, (seed >> 32) as u32]);
        out[4 * j] = words[0];
        out[4 * j + 1] = words[1];
        out[4 * j + 2] = words[2];
        out[4 * j + 3] = words[3];
    }
    out
}

/// Fills `out` with elements `start ..`; `make(counter)` gives the group that begins at that counter.
#[inline(always)]
fn fill<T: Copy>(offset: u64, start: usize, out: &mut [T], make: impl Fn(u64) -> [T; GROUP]) {
    let skip = start % 4;
    let mut counter = offset.wrapping_add((start / 4) as u64);
    let lead = (GROUP - skip).min(out.len());
    let (head, rest) = out.split_at_mut(lead);
    head.copy_from_slice(&make(counter)[skip..skip + lead]);
    for part in rest.chunks_mut(GROUP) {
        counter = counter.wrapping_add(WIDTH as u64);
        part.copy_from_slice(&make(counter)[..part.len()]);
    }
}

/// The random words of elements `start ..`.
pub fn words(seed: u64, offset: u64, start: usize, out: &mut [u32]) {
    vectorised(
        #[inline(always)]
        || {
            fill(
                offset,
                start,
                out,
                #[inline(always)]
                |c| group(seed, c, 0),
            )
        },
    )
}

/// Uniform numbers in [0, 1) of 24 bits.
pub fn uniform_f32(seed: u64, offset: u64, start: usize, out: &mut [f32]) {
    uniform_bits(seed, offset, start, out, 24)
}

/// Uniform numbers in [0, 1) of the top `bits` (at most 24) bits of each word: a narrow type rounds none of them up to 1.
pub fn uniform_bits(seed: u64, offset: u64, start: usize, out: &mut [f32], bits: u32) {
    let (shift, scale) = (32 - bits, 1.0 / (1u32 << bits) as f32);
    vectorised(
        #[inline(always)]
        || {
            fill(
                offset,
                start,
                out,
                #[inline(always)]
                |c| {
                    map(
                        group(seed, c, 0),
                        #[inline(always)]
                        move |w| (w >> shift) as i32 as f32 * scale,
                    )
                },
            )
        },
    )
}

/// A loop of its own vectorises better than work among the rounds.
#[inline(always)]
fn map<T: Copy + Default>(words: [u32; GROUP], f: impl Fn(u32) -> T) -> [T; GROUP] {
    let mut out = [T::default(); GROUP];
    for (o, w) in out.iter_mut().zip(words) {
        *o = f(w);
    }
    out
}

/// Uniform numbers in [0, 1) of 53 bits, the top 24 of which are those of [`uniform_f32`].
pub fn uniform_f64(seed: u64, offset: u64, start: usize, out: &mut [f64]) {
    vectorised(
        #[inline(always)]
        || {
            fill(
                offset,
                start,
                out,
                #[inline(always)]
                |c| uniform_f64_group(seed, c),
            )
        },
    )
}

#[inline(always)]
fn uniform_f64_group(seed: u64, counter: u64) -> [f64; GROUP] {
    let (high, low) = (group(seed, counter, 0), group(seed, counter, 1));
    std::array::from_fn(
        #[inline(always)]
        |i| bits53(high[i], low[i]),
    )
}

#[inline(always)]
fn bits53(high: u32, low: u32) -> f64 {
    (((high as u64) << 32 | low as u64) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Standard normal numbers (Box-Muller); lanes (0, 1) and (2, 3) of a counter make a pair (r cos, r sin).
pub fn normal_f32(seed: u64, offset: u64, start: usize, out: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            fill(
                offset,
                start,
                out,
                #[inline(always)]
                |c| normal_f32_group(seed, c),
            )
        },
    )
}

#[inline(always)]
fn normal_f32_group(seed: u64, counter: u64) -> [f32; GROUP] {
    const SCALE: f32 = 1.0 / 4294967296.0;
    let mut z = map(
        group(seed, counter, 0),
        #[inline(always)]
        |w| w as f32 * SCALE,
    );
    for pair in z.chunks_exact_mut(2) {
        // Half a step up: the logarithm never meets 0.
        let r = (-2.0 * math::log(pair[0] + 0.5 * SCALE)).sqrt();
        let angle = pair[1] * std::f32::consts::TAU;
        pair[0] = r * math::cos_reduced(angle);
        pair[1] = r * math::sin_reduced(angle);
    }
    z
}

/// As [`normal_f32`] from 53-bit uniform numbers.
pub fn normal_f64(seed: u64, offset: u64, start: usize, out: &mut [f64]) {
    let make = |c| {
        let mut z = uniform_f64_group(seed, c);
        for pair in z.chunks_exact_mut(2) {
            let r = (-2.0 * (pair[0] + 0.5 / (1u64 << 53) as f64).ln()).sqrt();
            let angle = pair[1] * std::f64::consts::TAU;
            pair[0] = r * angle.cos();
            pair[1] = r * angle.sin();
        }
        z
    };
    fill(offset, start, out, make)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // tests/kat_vectors of Random123.
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32_10([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        assert_eq!(philox4x32_10(pi, [0xa4093822, 0x299f31d0]), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
    }

    #[test]
    fn any_part_alone() {
        let (seed, offset) = (0x1234_5678_9abc_def0, u32::MAX as u64 - 3);
        let mut whole = vec![0u32; 300];
        words(seed, offset, 0, &mut whole);
        for (i, w) in whole.iter().enumerate() {
            let c = offset + i as u64 / 4;
            let block = philox4x32_10([c as u32, (c >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32]);
            assert_eq!(*w, block[i % 4]);
        }
        let (mut z, mut u) = (vec![0f32; 300], vec![0f64; 300]);
        normal_f32(seed, offset, 0, &mut z);
        uniform_f64(seed, offset, 0, &mut u);
        for (start, n) in [(0, 0), (1, 1), (3, 70), (63, 130), (64, 64), (255, 45)] {
            let mut part = vec![0u32; n];
            words(seed, offset, start, &mut part);
            assert_eq!(part, whole[start..start + n]);
            let mut part = vec![0f32; n];
            normal_f32(seed, offset, start, &mut part);
            assert_eq!(part, z[start..start + n]);
            let mut part = vec![0f64; n];
            uniform_f64(seed, offset, start, &mut part);
            assert_eq!(part, u[start..start + n]);
        }
        let mut f = vec![0f32; 300];
        uniform_f32(seed, offset, 0, &mut f);
        for (a, b) in f.iter().zip(&u) {
            assert_eq!(*a as f64, (b * 16777216.0).floor() / 16777216.0);
        }
    }

    #[test]
    fn moments() {
        let n = 200_000;
        let (mut z, mut y, mut u) = (vec![0f32; n], vec![0f64; n], vec![0f32; n]);
        normal_f32(7, 0, 0, &mut z);
        normal_f64(7, 0, 0, &mut y);
        uniform_f32(7, 0, 0, &mut u);
        let moment = |v: &mut dyn Iterator<Item = f64>| v.sum::<f64>() / n as f64;
        for z in [&mut z.iter().map(|v| *v as f64) as &mut dyn Iterator<Item = f64>, &mut y.iter().copied()] {
            let z: Vec<f64> = z.collect();
            assert!(moment(&mut z.iter().copied()).abs() < 0.01);
            assert!((moment(&mut z.iter().map(|v| v * v)) - 1.0).abs() < 0.02);
            assert!((moment(&mut z.iter().map(|v| v * v * v * v)) - 3.0).abs() < 0.1);
            assert!(moment(&mut z.chunks(2).map(|v| v[0] * v[1])).abs() < 0.01);
        }
        // Both follow from the same words, so they agree to single precision.
        assert!(z.iter().zip(&y).all(|(a, b)| (*a as f64 - b).abs() < 1e-4));
        assert!(u.iter().all(|v| (0.0..1.0).contains(v)));
        assert!((moment(&mut u.iter().map(|v| *v as f64)) - 0.5).abs() < 0.003);
    }

    #[test]
    fn seeds() {
        assert_eq!(seed_bits(-1.0), u64::MAX);
        assert_eq!(seed_bits(42.0), 42);
    }
}
