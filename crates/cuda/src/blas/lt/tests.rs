use super::*;

fn mat(row: usize, col: usize) -> Mat {
    Mat { ptr: 256, row, col, batch: [0, 0] }
}

#[test]
fn leading_dimensions() {
    assert_eq!(leading(&mat(7, 1), 3, 5), Some((false, 7)));
    assert_eq!(leading(&mat(1, 9), 3, 5), Some((true, 9)));
    // One row or column: its stride doesn't matter, and the rest needs no more than to be dense.
    assert_eq!(leading(&mat(0, 1), 1, 5), Some((false, 5)));
    assert_eq!(leading(&mat(4, 0), 3, 1), Some((false, 4)));
    assert_eq!(leading(&mat(1, 0), 3, 1), Some((false, 1)));
    assert_eq!(leading(&mat(6, 2), 1, 5), Some((true, 2)));
    // Repeated, overlapping or every other element.
    assert_eq!(leading(&mat(0, 1), 3, 5), None);
    assert_eq!(leading(&mat(1, 1), 3, 5), None);
    assert_eq!(leading(&mat(4, 1), 3, 5), None);
    assert_eq!(leading(&mat(10, 2), 3, 5), None);
    assert_eq!(leading(&mat(0, 0), 3, 1), None);
}

fn product() -> Product {
    let (a, b) = (mat(64, 1), mat(1, 64));
    let (bias, batches, out_batch) = (Some((512, 1)), [1, 1], [0, 0]);
    Product {
        m: 32,
        n: 10,
        k: 64,
        dtype: DType::BF16,
        batches,
        a,
        b,
        out: 1024,
        ldo: 10,
        out_batch,
        bias,
        relu: false,
        mask: None,
        accumulate: false,
    }
}

#[test]
fn keys() {
    let p = product();
    let key = Key::new(&p, true).unwrap();
    assert_eq!(key.to_string(), "bfloat16:1x32x10x64:n64+0:t64+0:10+0:bias:16,16,16");
    // A relu, and an address as well aligned, change nothing.
    let same = Product { relu: true, out: 1040, a: Mat { ptr: 4096, ..p.a }, ..p };
    assert_eq!(Key::new(&same, false), Some(key));
    assert_ne!(Key::new(&Product { out: 1026, ..p }, false), Some(key));
    assert_eq!(Key::new(&Product { bias: Some((514, 1)), ..p }, false).unwrap().align, [16, 16, 2]);
    assert!(Key::new(&Product { bias: Some((512, 2)), ..p }, false).is_none());
    // TF32 is a property of float32 products.
    let float = Product { dtype: DType::F32, ..p };
    assert_ne!(Key::new(&float, true), Key::new(&float, false));
}

#[test]
fn batches_count_for_alignment() {
    let p = product();
    let a = Mat { batch: [0, 6], ..p.a };
    let batched = Product { batches: [1, 4], a, out_batch: [0, 320], ..p };
    let key = Key::new(&batched, false).unwrap();
    assert_eq!((key.batches, key.a.stride, key.out_stride, key.align), (4, 6, 320, [4, 16, 16]));
    assert_eq!(Key::new(&Product { batches: [1, 1], ..batched }, false), Key::new(&p, false));
    let outer = Product { batches: [3, 1], a: Mat { batch: [4, 0], ..p.a }, ..p };
    assert_eq!(Key::new(&outer, false).unwrap().align[0], 8);
}
