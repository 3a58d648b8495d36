//! Linear layers, with weights in single and in half precision.

use super::*;

#[test]
fn products_agree() {
    use burn::tensor::ops::FloatTensorOps;
    for [b, c, m, k, n] in [[1, 1, 1, 1, 1], [3, 3, 5, 7, 4], [2, 1, 4, 33, 6], [1, 4, 3, 8, 2]] {
        for inputs in layouts(vec![p([b, m, k], 1), p([c, k, n], 2)]) {
            agree(
                &format!("product {b} {c} {m} {k} {n}"),
                &inputs,
                &|t| A::product(t[0].clone(), t[1].clone()),
                &|t| A::float_matmul(t[0].clone(), t[1].clone()),
            );
        }
    }
}

#[test]
fn linear_agrees() {
    for shape in SHAPES {
        for out in [1, 3, 64] {
            for inputs in layouts(vec![p(shape, 1), p([out, shape[2]], 2), p([out], 3)]) {
                for n in 2..=3 {
                    agree(
                        &format!("linear {shape:?} to {out}"),
                        &inputs[..n],
                        &|t| A::fused_linear(t[0].clone(), t[1].clone(), t.get(2).cloned()),
                        &|t| plain::linear::<A>(t[0].clone(), t[1].clone(), t.get(2).cloned()),
                    );
                }
            }
        }
    }
}

#[test]
fn a_weight_in_half_precision_gives_what_it_gives_as_f32() {
    // More than a panel in either direction, and a rest; a view; one row; nothing at all.
    for (rows, columns, out) in [(3, 1500, 2900), (5, 2900, 1500), (1, 600, 8), (2, 0, 3), (4, 5, 0)] {
        let x = raw(values([2, rows, columns], 1));
        let grad = raw(values([2, rows, out], 2));
        let bias = Some(raw(values([out], 3)));
        for dtype in [DType::F16, DType::BF16] {
            let halves = Flex::float_cast(raw(values([out, columns], 4)), dtype.into());
            let full = Flex::float_cast(halves.clone(), DType::F32.into());
            let forward = |weight| raw_values(&Flex::fused_linear(x.clone(), weight, bias.clone()));
            let backward = |weight| {
                let [dx, ..] = Flex::fused_linear_backward(None, Some(weight), grad.clone(), false);
                raw_values(&dx.expect("the gradient of x"))
            };
            assert_eq!(halves.dtype(), dtype);
            let what = format!("{rows} x {columns} to {out} in {dtype:?}");
            let same = |got: Vec<f32>, want: Vec<f32>, what: &str| match rows {
                // `gemm` adds in another order where there are so few.
                1 => assert_near(&got, &want, 1e-6, what),
                _ => assert_eq!(got, want, "{what}: no bit is another"),
            };
            same(forward(halves.clone()), forward(full.clone()), &what);
            same(backward(halves.clone()), backward(full.clone()), &what);
            if columns * out > 0 {
                let turned = raw(cooked::<Flex, 2>(halves.clone()).transpose());
                let turned = raw(cooked::<Flex, 2>(turned.to_contiguous()).transpose());
                same(forward(turned), forward(full), &format!("{what}, a view"));
            }
        }
    }
}

#[test]
fn linear_reads_a_slice_of_tokens_where_it_lies() {
    let x: Tensor<Flex, 3> = values([4, 5, 24], 1);
    let (w, b) = (values([7, 24], 2), values([7], 3));
    let all = linear(x.clone(), w.clone(), Some(b.clone()));
    let first = linear(x.clone().narrow(1, 0, 1).reshape([4, 24]), w.clone(), Some(b.clone()));
    assert_near(&vec_of(first), &vec_of(all.clone().narrow(1, 0, 1)), 1e-6, "the first token");
    let some = linear(x.narrow(1, 1, 3), w, Some(b));
    assert_near(&vec_of(some), &vec_of(all.narrow(1, 1, 3)), 1e-6, "three tokens");
}

/// The same numbers as bf16, each rounded to the nearest. (Flex's own cast goes through `f64`, and rounds twice.)
fn halves(t: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    let numbers: Vec<half::bf16> = raw_values(t).into_iter().map(half::bf16::from_f32).collect();
    Flex::float_from_data(TensorData::new(numbers, t.shape()), &DEVICE)
}

/// The same numbers rounded to bf16.
fn rounded(t: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    Flex::float_cast(halves(t), DType::F32.into())
}

#[test]
fn linear_in_bf16_is_linear_of_rounded_operands() {
    for shape in SHAPES {
        for out in [1, 3, 64] {
            let given = vec![p(shape, 1), p([out, shape[2]], 2), p([out], 3), p([shape[0], shape[1], out], 4)];
            for inputs in layouts(given) {
                let what = format!("linear in bf16, {shape:?} to {out}");
                let [x, w, b, g] = [0, 1, 2, 3].map(|i| inputs[i].clone());
                let want = plain::linear::<Flex>(rounded(&x), rounded(&w), Some(b.clone()));
                let got = Flex::fused_linear_bf16(x.clone(), w.clone(), Some(b.clone()));
                assert_eq!(got.dtype(), DType::F32);
                assert_near(&raw_values(&got), &raw_values(&want), 1e-5, &what);
                // A weight of halves is as good as what it was rounded from.
                let of_halves = Flex::fused_linear_bf16(x.clone(), halves(&w), Some(b.clone()));
                assert_eq!(raw_values(&of_halves), raw_values(&got), "{what}");
                let want = plain::linear_backward::<Flex>(Some(rounded(&x)), Some(rounded(&w)), rounded(&g), false);
                let got = Flex::fused_linear_bf16_backward(Some(x.clone()), Some(w.clone()), g.clone(), true);
                for (got, want) in got.iter().zip(&want).take(2) {
                    let (got, want) = (got.as_ref().expect("asked for"), want.as_ref().expect("asked for"));
                    assert_near(&raw_values(got), &raw_values(want), 1e-5, &what);
                }
                // The bias is added in f32, and so is its gradient.
                let [.., db] = plain::linear_backward::<Flex>(None, None, g, true);
                let (got, want) = (got[2].as_ref().expect("asked for"), db.expect("asked for"));
                assert_near(&raw_values(got), &raw_values(&want), 1e-5, &what);
                // On the tape, near to what it is in f32.
                for n in 2..=3 {
                    let tracked: Inputs = [&x, &w, &b][..n].iter().map(|t| ((*t).clone(), true)).collect();
                    let (_, got) =
                        run(&|t| A::fused_linear_bf16(t[0].clone(), t[1].clone(), t.get(2).cloned()), &tracked);
                    let (_, want) =
                        run(&|t| plain::linear::<A>(t[0].clone(), t[1].clone(), t.get(2).cloned()), &tracked);
                    for (got, want) in got.into_iter().zip(want) {
                        assert_near(&got.expect("tracked"), &want.expect("tracked"), 2e-2, &what);
                    }
                }
            }
        }
    }
}
