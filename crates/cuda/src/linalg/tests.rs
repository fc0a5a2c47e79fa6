use super::*;

fn arg(dims: &[usize]) -> Arg {
    Arg { ptr: 256 as *mut u8, layout: Layout::contiguous(Shape::new(dims)), dtype: DType::F32 }
}
fn permuted(dims: &[usize], perm: &[u8]) -> Arg {
    let x = arg(dims);
    Arg { layout: x.layout.permute(perm), ..x }
}

#[test]
fn one_weight_for_all_rows() {
    let b = Batched::new(&arg(&[4, 5, 6, 7]), &arg(&[1, 1, 7, 3]), None, &arg(&[4, 5, 6, 3]));
    assert_eq!((b.product.m, b.product.batches, b.launches()), (120, [1, 1], 1));
    // A single row takes the batch's stride.
    let b = Batched::new(&permuted(&[5, 4, 7], &[1, 0, 2]), &arg(&[1, 7, 3]), None, &arg(&[4, 5, 3]));
    assert_eq!((b.product.m, b.product.batches, b.product.a.batch, b.product.a.row), (5, [1, 4], [0, 7], 28));
    let a = Arg { layout: arg(&[4, 2, 7]).layout.narrow(1, 0, 1, 1), ..arg(&[4, 2, 7]) };
    let b = Batched::new(&a, &arg(&[1, 7, 3]), None, &arg(&[4, 1, 3]));
    assert_eq!((b.product.m, b.product.a.row, b.product.ldo), (4, 14, 3));
}

#[test]
fn batches() {
    let b = Batched::new(&arg(&[2, 3, 5, 7]), &arg(&[2, 3, 7, 4]), None, &arg(&[2, 3, 5, 4]));
    assert_eq!((b.product.batches, b.product.a.batch, b.product.b.batch, b.product.out_batch), ([1, 6], [0, 35], [0, 28], [0, 20]));
    // Heads of attention: [b, t, h, d] seen as [b, h, t, d].
    let (q, k) = (permuted(&[2, 8, 3, 4], &[0, 2, 1, 3]), permuted(&[2, 8, 3, 4], &[0, 2, 3, 1]));
    let b = Batched::new(&q, &k, None, &arg(&[2, 3, 8, 8]));
    assert_eq!((b.product.batches, b.product.a.batch, b.product.out_batch, b.launches()), ([2, 3], [96, 4], [192, 64], 2));
    assert!(b.product.is_plain());
    // The largest dimension goes to the library, whatever its place.
    let b = Batched::new(&arg(&[9, 1, 5, 7]), &arg(&[1, 3, 7, 4]), None, &arg(&[9, 3, 5, 4]));
    assert_eq!((b.product.batches, b.product.a.batch, b.product.b.batch, b.product.out_batch), ([3, 9], [0, 35], [28, 0], [20, 60]));
    let b = Batched::new(&arg(&[2, 1, 3, 5, 7]), &arg(&[1, 4, 1, 7, 4]), None, &arg(&[2, 4, 3, 5, 4]));
    assert_eq!((b.product.batches, b.rest.len(), b.launches()), ([3, 4], 1, 6));
}
