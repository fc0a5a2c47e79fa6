use super::super::test_args::{Element, Owned, assert_close, indices, same_on_threads};
use super::*;
use crate::shape::{Layout, Shape};
use ::half::{bf16, f16};

fn reduced_shape(shape: &[usize], dims: Dims) -> Vec<usize> {
    shape.iter().enumerate().map(|(d, s)| if dims.has(d) { 1 } else { *s }).collect()
}

/// By the definition, in f64: the elements of each result in row-major order go to `f`.
fn reference<T: Element>(x: &Owned<T>, dims: Dims, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let shape = x.layout.shape.to_vec();
    let out = reduced_shape(&shape, dims);
    let inner: Vec<usize> = shape.iter().enumerate().map(|(d, s)| if dims.has(d) { *s } else { 1 }).collect();
    indices(&out)
        .map(|o| {
            let v: Vec<f64> = indices(&inner).map(|i| x.at(&i.iter().zip(&o).map(|(a, b)| a + b).collect::<Vec<_>>()).to_f64()).collect();
            f(&v)
        })
        .collect()
}

fn run_kind<T: Element, O: Element>(x: &mut Owned<T>, kind: ReduceKind, dims: Dims) -> Result<Vec<O>> {
    let shape = reduced_shape(&x.layout.shape, dims);
    let mut out = Owned::<O>::random(&shape, 77);
    unsafe { run(&Op::Reduce { kind, dims, keepdim: true }, &[], &[x.arg()], &[out.arg()])? };
    Ok(out.data)
}

fn f64s<O: Element>(v: Vec<O>) -> Vec<f64> {
    v.iter().map(|x| x.to_f64()).collect()
}

fn first_of(v: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    let nan = v.iter().position(|x| x.is_nan());
    nan.unwrap_or_else(|| (0..v.len()).reduce(|a, b| if better(v[b], v[a]) { b } else { a }).unwrap()) as f64
}

/// All kinds over `dims` of a float tensor.
fn check<T: Element>(x: &mut Owned<T>, dims: Dims, tolerance: f64) {
    use ReduceKind::*;
    let what = |k: ReduceKind| format!("{} over {dims:?} of {:?}", k.name(), x.layout);
    let sum = |v: &[f64]| v.iter().sum::<f64>();
    let names: Vec<String> = ReduceKind::ALL.iter().map(|k| what(*k)).collect();
    let scale = reference(x, dims, |v| v.iter().map(|x| x.abs()).sum::<f64>()).into_iter().fold(1.0, f64::max);
    assert_close(&f64s(run_kind::<T, T>(x, Sum, dims).unwrap()), &reference(x, dims, sum), tolerance * scale.sqrt(), &names[0]);
    assert_close(&f64s(run_kind::<T, T>(x, Mean, dims).unwrap()), &reference(x, dims, |v| sum(v) / v.len() as f64), tolerance, &names[1]);
    assert_close(&f64s(run_kind::<T, T>(x, Prod, dims).unwrap()), &reference(x, dims, |v| v.iter().product()), tolerance * 30.0, &names[2]);
    assert_close(
        &f64s(run_kind::<T, T>(x, Amax, dims).unwrap()),
        &reference(x, dims, |v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        0.0,
        &names[3],
    );
    assert_close(
        &f64s(run_kind::<T, T>(x, Amin, dims).unwrap()),
        &reference(x, dims, |v| v.iter().copied().fold(f64::INFINITY, f64::min)),
        0.0,
        &names[4],
    );
    let bit = |b: bool| b as u8 as f64;
    assert_close(&f64s(run_kind::<T, u8>(x, Any, dims).unwrap()), &reference(x, dims, |v| bit(v.iter().any(|x| *x != 0.0))), 0.0, &names[7]);
    assert_close(&f64s(run_kind::<T, u8>(x, All, dims).unwrap()), &reference(x, dims, |v| bit(v.iter().all(|x| *x != 0.0))), 0.0, &names[8]);
    assert_close(&f64s(run_kind::<T, i64>(x, Argmax, dims).unwrap()), &reference(x, dims, |v| first_of(v, |a, b| a > b)), 0.0, &names[5]);
    assert_close(&f64s(run_kind::<T, i64>(x, Argmin, dims).unwrap()), &reference(x, dims, |v| first_of(v, |a, b| a < b)), 0.0, &names[6]);
}

#[test]
fn any_dimensions_of_any_layout() {
    let mut layouts: Vec<Owned<f32>> = vec![
        Owned::random(&[], 1),
        Owned::random(&[7], 1),
        Owned::random(&[1000], 1),
        Owned::random(&[5000], 1),
        Owned::random(&[3, 130], 1),
        Owned::random(&[130, 3], 1),
        Owned::random(&[70, 101], 1),
        Owned::random(&[4, 5, 6], 1),
        Owned::random(&[2, 1, 3, 17], 1),
        Owned::random(&[3, 20, 7], 1).under(|l| l.permute(&[2, 0, 1])),
        Owned::random(&[3, 20, 70], 1).under(|l| l.permute(&[1, 2, 0])),
        Owned::random(&[9, 40], 1).under(|l| l.narrow(1, 3, 12, 3)),
        Owned::random(&[20, 40], 1).under(|l| l.narrow(0, 1, 9, 2)),
        Owned::random(&[4, 1, 6], 1).under(|l| l.expand(&Shape::new(&[2, 4, 5, 6]))),
        Owned::random(&[1], 1).under(|l| l.expand(&Shape::new(&[3, 5]))),
    ];
    for x in &mut layouts {
        for bits in 0..1u8 << x.layout.rank() {
            let dims = Dims(bits);
            let full = bits as usize + 1 == 1 << x.layout.rank();
            if bits.count_ones() == 1 || full {
                check(x, dims, 1e-6);
            } else {
                let want = reference(x, dims, |v| v.iter().sum());
                assert_close(&f64s(run_kind::<f32, f32>(x, ReduceKind::Sum, dims).unwrap()), &want, 1e-5, "sum");
            }
        }
    }
    check(&mut Owned::<f64>::random(&[9, 33], 1), Dims::of(&[0]), 1e-14);
    check(&mut Owned::<f64>::random(&[9, 33], 1).under(|l| l.permute(&[1, 0])), Dims::of(&[1]), 1e-14);
    check(&mut Owned::<f16>::random(&[9, 33], 1), Dims::of(&[1]), 2e-3);
    check(&mut Owned::<bf16>::random(&[9, 33], 1).under(|l| l.narrow(1, 0, 11, 3)), Dims::of(&[0]), 2e-2);
}

#[test]
fn whole_numbers() {
    use ReduceKind::*;
    let mut x = Owned::<i32>::random(&[5, 70], 1);
    for dims in [Dims::of(&[0]), Dims::of(&[1]), Dims::all(2)] {
        assert_eq!(f64s(run_kind::<i32, i64>(&mut x, Sum, dims).unwrap()), reference(&x, dims, |v| v.iter().sum()));
        assert_eq!(f64s(run_kind::<i32, i32>(&mut x, Amax, dims).unwrap()), reference(&x, dims, |v| v.iter().copied().fold(f64::MIN, f64::max)));
        assert_eq!(f64s(run_kind::<i32, i64>(&mut x, Argmin, dims).unwrap()), reference(&x, dims, |v| first_of(v, |a, b| a < b)));
    }
    let mut y = Owned::<u8>::new(vec![0, 1, 1, 1], &[2, 2]);
    y.dtype = DType::Bool;
    assert_eq!(run_kind::<u8, i64>(&mut y, Sum, Dims::all(2)).unwrap(), [3]);
    assert_eq!(run_kind::<u8, u8>(&mut y, Any, Dims::of(&[1])).unwrap(), [1, 1]);
    assert_eq!(run_kind::<u8, u8>(&mut y, All, Dims::of(&[1])).unwrap(), [0, 1]);
    let mut z = Owned::<i64>::new(vec![i64::MAX, 2, 3], &[3]);
    assert_eq!(run_kind::<i64, i64>(&mut z, Sum, Dims::all(1)).unwrap(), [i64::MAX.wrapping_add(5)]);
    assert_eq!(run_kind::<i64, i64>(&mut z, Prod, Dims::all(1)).unwrap(), [i64::MAX.wrapping_mul(6)]);
    assert_eq!(run_kind::<i64, i64>(&mut z, Mean, Dims::all(1)).unwrap_err().code, crate::error::Code::DtypeMismatch);
}

#[test]
fn empty_reductions() {
    use ReduceKind::*;
    let dims = Dims::of(&[1]);
    let mut x = Owned::<f32>::zeros(&[2, 0]);
    assert_eq!(run_kind::<f32, f32>(&mut x, Sum, dims).unwrap(), [0.0, 0.0]);
    assert_eq!(run_kind::<f32, f32>(&mut x, Prod, dims).unwrap(), [1.0, 1.0]);
    assert!(run_kind::<f32, f32>(&mut x, Mean, dims).unwrap().iter().all(|v| v.is_nan()));
    assert_eq!(run_kind::<f32, u8>(&mut x, Any, dims).unwrap(), [0, 0]);
    assert_eq!(run_kind::<f32, u8>(&mut x, All, dims).unwrap(), [1, 1]);
    for kind in [Amax, Amin] {
        assert!(run_kind::<f32, f32>(&mut x, kind, dims).is_err());
        assert!(run_kind::<f32, f32>(&mut x, kind, Dims::of(&[0])).unwrap().is_empty());
    }
    assert!(run_kind::<f32, i64>(&mut x, Argmax, Dims::all(2)).is_err());
}

#[test]
fn nan_and_ties() {
    use ReduceKind::*;
    for n in [12, 100, 1000, 70000] {
        let mut x = Owned::<f32>::zeros(&[n]);
        let all = Dims::all(1);
        x.data[n / 2] = 1.0;
        x.data[n - 1] = 1.0;
        x.data[n / 3] = -1.0;
        x.data[n / 3 + 1] = -1.0;
        assert_eq!(run_kind::<f32, i64>(&mut x, Argmax, all).unwrap(), [n as i64 / 2]);
        assert_eq!(run_kind::<f32, i64>(&mut x, Argmin, all).unwrap(), [n as i64 / 3]);
        x.data[n - 2] = f32::NAN;
        x.data[n - 1] = f32::NAN;
        assert_eq!(run_kind::<f32, i64>(&mut x, Argmax, all).unwrap(), [n as i64 - 2]);
        assert_eq!(run_kind::<f32, i64>(&mut x, Argmin, all).unwrap(), [n as i64 - 2]);
        for kind in [Amax, Amin, Sum] {
            assert!(run_kind::<f32, f32>(&mut x, kind, all).unwrap()[0].is_nan());
        }
    }
    let mut x = Owned::<f32>::new(vec![f32::NEG_INFINITY; 6], &[2, 3]);
    assert_eq!(run_kind::<f32, f32>(&mut x, Amax, Dims::of(&[0])).unwrap(), [f32::NEG_INFINITY; 3]);
    x.data[1] = f32::NAN;
    assert_eq!(run_kind::<f32, i64>(&mut x, Argmax, Dims::all(2)).unwrap(), [1]);
    assert!(run_kind::<f32, f32>(&mut x, Amax, Dims::of(&[0])).unwrap()[1].is_nan());
}

#[test]
fn large_sums_are_exact_enough_on_any_threads() {
    let shapes: [(&[usize], Dims); 7] = [
        (&[2_000_003], Dims::all(1)),
        (&[3000, 700], Dims::of(&[0])),
        (&[3000, 700], Dims::of(&[1])),
        (&[300_000, 7], Dims::of(&[0])),
        (&[7, 300_000], Dims::of(&[1])),
        (&[8, 16, 3000], Dims::of(&[0, 2])),
        (&[16, 2000, 30], Dims::of(&[1])),
    ];
    for (shape, dims) in shapes {
        let got = same_on_threads(|| {
            let mut x = Owned::<f32>::random(shape, 5);
            x.data.iter_mut().for_each(|v| *v += 1.5);
            run_kind::<f32, f32>(&mut x, ReduceKind::Sum, dims).unwrap()
        });
        let mut x = Owned::<f32>::random(shape, 5);
        x.data.iter_mut().for_each(|v| *v += 1.5);
        assert_close(&f64s(got), &reference(&x, dims, |v| v.iter().sum()), 3e-7, &format!("{shape:?} {dims:?}"));
    }
}

#[test]
fn layouts_are_split_and_joined() {
    let mut x = Owned::<f32>::random(&[4, 3, 5, 6], 1);
    let (kept, reduced) = split(&x.arg(), Dims::of(&[0, 2, 3]), true);
    assert_eq!((kept.as_slice().len(), reduced.as_slice().len()), (1, 2));
    assert_eq!((kept.numel(), reduced.numel()), (3, 120));
    let mut y = Owned::<f32>::random(&[4, 3, 5], 1).under(|l: &Layout| l.permute(&[2, 1, 0]));
    let (kept, reduced) = split(&y.arg(), Dims::all(3), true);
    assert_eq!((kept.numel(), reduced.as_slice().len()), (1, 1));
}
