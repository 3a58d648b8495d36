//! Every fused operation against its plain form, forward and backward, at awkward shapes and layouts.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{DType, Distribution, TensorData, TensorMetadata};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};

use super::*;

type A = Autodiff<Flex>;

const DEVICE: FlexDevice = FlexDevice;

/// Values around zero, the same each time.
fn values<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<Flex, D> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| (next() + next() + next() - 1.5) * 2.0).collect();
    Tensor::from_data(TensorData::new(data, shape), &DEVICE)
}

/// The same values, laid out as a transposed view of a larger buffer.
fn strided<const D: usize>(t: Tensor<Flex, D>) -> Tensor<Flex, D> {
    if D < 2 {
        let n = t.dims()[0];
        return Tensor::cat(vec![t.clone(), t], 0).narrow(0, 0, n);
    }
    let n = t.dims()[D - 2];
    let twice = Tensor::cat(vec![t.clone(), t], D - 2);
    let turned = cooked::<Flex, D>(raw(twice.swap_dims(D - 1, D - 2)).to_contiguous());
    turned.swap_dims(D - 1, D - 2).narrow(D - 2, n, n)
}

fn vec_of<B: Backend, const D: usize>(t: Tensor<B, D>) -> Vec<f32> {
    t.into_data().convert::<f32>().to_vec().expect("values of f32")
}

#[track_caller]
fn assert_near(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: sizes");
    let size = want.iter().fold(1e-3_f32, |a, b| a.max(b.abs()));
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * (size + w.abs()), "{what}: at {i}: {g} for {w}");
    }
}

/// The gradients of inputs from that of the output.
type Backward<'a> = dyn Fn(&[FloatTensor<Flex>], FloatTensor<Flex>) -> Vec<Option<FloatTensor<Flex>>> + 'a;

/// Inputs, each with whether it is tracked.
type Inputs = Vec<(FloatTensor<Flex>, bool)>;

/// The output of `f`, and the gradients of the tracked inputs under a fixed weighing of the output; those of the others
/// have to be missing.
fn run(f: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>, inputs: &Inputs) -> (Vec<f32>, Vec<Option<Vec<f32>>>) {
    let leaf = |(t, tracked): &(FloatTensor<Flex>, bool)| {
        let t = A::from_inner(t.clone());
        if *tracked { t.require_grad() } else { t }
    };
    let inputs: Vec<_> = inputs.iter().map(leaf).collect();
    let out = f(&inputs);
    let n = out.shape().num_elements();
    let out: Tensor<A, 1> = cooked::<A, 1>(<A as burn::tensor::ops::FloatTensorOps<A>>::float_reshape(out, [n].into()));
    let result = vec_of(out.clone());
    if !inputs.iter().any(|t| t.is_tracked()) {
        assert!(!out.is_require_grad());
        return (result, vec![None; inputs.len()]);
    }
    let grads = (out * Tensor::from_inner(values([n], 77))).sum().backward();
    let flat = |t: FloatTensor<Flex>| raw_values(&t);
    (result, inputs.iter().map(|t| A::grad(t, &grads).map(flat)).collect())
}

fn raw_values(t: &FloatTensor<Flex>) -> Vec<f32> {
    t.to_contiguous().storage::<f32>().to_vec()
}

/// `fused` and `plain` give the same outputs and gradients, whichever inputs are tracked and however they lie in
/// memory.
#[track_caller]
fn agree(
    what: &str,
    inputs: &[FloatTensor<Flex>],
    fused: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>,
    plain: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>,
) {
    for tracked in 0..1_u32 << inputs.len() {
        let inputs: Inputs = inputs.iter().enumerate().map(|(i, t)| (t.clone(), tracked >> i & 1 == 1)).collect();
        let ((got, got_grads), (want, want_grads)) = (run(fused, &inputs), run(plain, &inputs));
        assert_near(&got, &want, 1e-5, what);
        for (i, (got, want)) in got_grads.iter().zip(&want_grads).enumerate() {
            assert_eq!(got.is_some(), inputs[i].1, "{what}: a gradient of input {i} only if it is tracked");
            if let (Some(got), Some(want)) = (got, want) {
                assert_near(got, want, 2e-5, &format!("{what}: gradient of input {i} of {tracked:b}"));
            }
        }
    }
}

/// The inputs as they are, and strided.
fn layouts(inputs: Vec<FloatTensor<Flex>>) -> [Vec<FloatTensor<Flex>>; 2] {
    let turn = |t: &FloatTensor<Flex>| match t.shape().num_dims() {
        1 => raw(strided(cooked::<Flex, 1>(t.clone()))),
        2 => raw(strided(cooked::<Flex, 2>(t.clone()))),
        3 => raw(strided(cooked::<Flex, 3>(t.clone()))),
        _ => t.clone(),
    };
    let turned = inputs.iter().map(turn).collect();
    [inputs, turned]
}

const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [2, 3, 5], [1, 7, 32], [3, 1, 33], [2, 65, 96], [5, 41, 130]];

fn p<const D: usize>(shape: [usize; D], seed: u64) -> FloatTensor<Flex> {
    raw(values(shape, seed))
}

#[test]
fn layer_norm_agrees() {
    for shape in SHAPES {
        let d = shape[2];
        for inputs in layouts(vec![p(shape, 1), p([d], 2), p([d], 3)]) {
            let given = |t: &[FloatTensor<A>]| (t[0].clone(), t.get(1).cloned(), t.get(2).cloned());
            let fused = |t: &[FloatTensor<A>]| {
                let (x, w, b) = given(t);
                A::fused_layer_norm(x, w, b, 1e-2)
            };
            let plain = |t: &[FloatTensor<A>]| {
                let (x, w, b) = given(t);
                plain::layer_norm::<A>(x, w, b, 1e-2)
            };
            for n in 1..=3 {
                agree(&format!("layer_norm {shape:?}"), &inputs[..n], &fused, &plain);
            }
        }
    }
}

#[test]
fn rms_norm_agrees() {
    for shape in SHAPES {
        for inputs in layouts(vec![p(shape, 1), p([shape[2]], 2)]) {
            for n in 1..=2 {
                agree(
                    &format!("rms_norm {shape:?}"),
                    &inputs[..n],
                    &|t| A::fused_rms_norm(t[0].clone(), t.get(1).cloned(), 1e-2),
                    &|t| plain::rms_norm::<A>(t[0].clone(), t.get(1).cloned(), 1e-2),
                );
            }
        }
    }
}

#[test]
fn batch_norm_agrees() {
    for shape in SHAPES {
        let d = shape[2];
        for inputs in layouts(vec![p(shape, 1), p([d], 2), p([d], 3)]) {
            for of_batch in [true, false] {
                let fixed = || [values([d], 4), values([d], 5).powi_scalar(2)].map(|t| A::from_inner(raw(t)));
                let fused = |t: &[FloatTensor<A>]| {
                    let statistics = if of_batch { A::fused_batch_statistics(t[0].clone()) } else { fixed() };
                    A::fused_batch_norm(t[0].clone(), t[1].clone(), t[2].clone(), statistics, 1e-2, of_batch)
                };
                // Through plain operations all the way, so that the tape finds the gradient through the statistics.
                let plain = |t: &[FloatTensor<A>]| {
                    let x = cooked::<A, 3>(t[0].clone());
                    let rows: usize = shape[..2].iter().product();
                    let table = x.clone().reshape([rows, d]);
                    let [mean, variance] = match of_batch {
                        true => {
                            let mean = table.clone().mean_dim(0);
                            let off = table.clone() - mean.clone();
                            [mean, (off.clone() * off).mean_dim(0)]
                        }
                        false => fixed().map(|t| cooked::<A, 1>(t).reshape([1, d])),
                    };
                    let [weight, bias] = [&t[1], &t[2]].map(|t| cooked::<A, 1>(t.clone()).reshape([1, d]));
                    let out = (table - mean) / (variance + 1e-2).sqrt() * weight + bias;
                    raw(out.reshape(shape))
                };
                agree(&format!("batch_norm {shape:?} {of_batch}"), &inputs, &fused, &plain);
                let by_hand = |t: &[FloatTensor<A>]| {
                    let statistics = if of_batch { A::fused_batch_statistics(t[0].clone()) } else { fixed() };
                    plain::batch_norm::<A>(t[0].clone(), t[1].clone(), t[2].clone(), statistics, 1e-2)
                };
                if !of_batch {
                    agree(&format!("batch_norm {shape:?} as it is"), &inputs, &fused, &by_hand);
                }
                let [x, weight, grad] = [inputs[0].clone(), inputs[1].clone(), raw(values(shape, 6))];
                let statistics = plain::batch_statistics::<Flex>(x.clone());
                let one = Flex::fused_batch_norm_backward(
                    x.clone(),
                    weight.clone(),
                    grad.clone(),
                    statistics.clone(),
                    1e-2,
                    of_batch,
                    [true; 3],
                );
                let other =
                    plain::batch_norm_backward::<Flex>([x, weight, grad], statistics, 1e-2, of_batch, [true; 3]);
                for (one, other) in one.into_iter().flatten().zip(other.into_iter().flatten()) {
                    assert_near(&raw_values(&one), &raw_values(&other), 1e-4, "the backward pass, fused and plain");
                }
            }
        }
    }
}

#[test]
fn no_slope_is_left_of_a_bias_in_front_of_a_batch_norm() {
    let x = raw(values([4096, 8], 1) + 3.0);
    let [statistics, grad] =
        [Flex::fused_batch_statistics(x.clone()), [raw(values([4096, 8], 2)), raw(values([8], 3))]];
    let [grad, weight] = grad;
    let [dx, ..] = Flex::fused_batch_norm_backward(x, weight, grad, statistics, 1e-5, true, [true, false, false]);
    let dx = raw_values(&dx.expect("it was wanted"));
    let sums = (0..8).map(|channel| dx.iter().skip(channel).step_by(8).map(|&x| f64::from(x)).sum::<f64>());
    // 4096 numbers of about 1, each rounded to half of 6e-8.
    assert!(sums.clone().all(|sum| sum.abs() < 1e-5), "{:?}", sums.collect::<Vec<_>>());
}

#[test]
fn activations_agree() {
    use burn::tensor::ops::ActivationOps;
    for shape in SHAPES {
        for inputs in layouts(vec![p(shape, 1), p(shape, 2)]) {
            agree("gelu", &inputs[..1], &|t| A::fused_gelu(t[0].clone()), &|t| plain::gelu::<A>(t[0].clone()));
            agree("relu", &inputs[..1], &|t| A::fused_relu(t[0].clone()), &|t| {
                <A as ActivationOps<A>>::relu(t[0].clone())
            });
            agree("silu_mul", &inputs, &|t| A::fused_silu_mul(t[0].clone(), t[1].clone()), &|t| {
                plain::silu_mul::<A>(t[0].clone(), t[1].clone())
            });
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

/// A mask that hides some keys of each batch, and all keys of the last.
fn mask(b: usize, m: usize) -> Tensor<Flex, 2, Bool> {
    let keep: Vec<bool> = (0..b * m).map(|i| i / m + 1 < b.max(2) && (i % m) * 7 % 5 != 2).collect();
    Tensor::from_data(TensorData::new(keep, [b, m]), &DEVICE)
}

#[test]
fn attention_agrees() {
    // Batch, queries, keys, query heads, key and value heads, channels of a head.
    let cases = [
        [1, 1, 1, 1, 1, 1],
        [2, 5, 5, 3, 3, 4],
        [2, 9, 9, 4, 2, 8],
        [3, 4, 11, 6, 1, 5],
        [1, 37, 37, 2, 2, 32],
        [2, 300, 300, 2, 1, 3],
    ];
    for [b, n, m, query, key_value, hd] in cases {
        for (causal, masked) in [(false, false), (true, false), (false, true), (true, true)] {
            let heads = Heads { query, key_value, scale: 1.0 / (hd as f64).sqrt(), causal };
            let mask = || masked.then(|| mask(b, m).into_primitive());
            let what = format!("attention {b} {n} {m} {heads:?} masked {masked}");
            for inputs in
                layouts(vec![p([b, n, query * hd], 1), p([b, m, key_value * hd], 2), p([b, m, key_value * hd], 3)])
            {
                agree(
                    &what,
                    &inputs,
                    &|t| A::fused_attention(t[0].clone(), t[1].clone(), t[2].clone(), heads, mask()),
                    &|t| plain::attention::<A>(t[0].clone(), t[1].clone(), t[2].clone(), heads, mask()),
                );
            }
        }
    }
}

#[test]
fn the_plain_backward_forms_agree_with_those_of_burn() {
    /// Flex with nothing fused: `Autodiff` of it runs the default backward forms.
    fn check<const N: usize>(
        what: &str,
        inputs: [FloatTensor<Flex>; N],
        forward: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>,
        backward: &Backward,
    ) {
        let tracked: Inputs = inputs.iter().map(|t| (t.clone(), true)).collect();
        let (_, want) = run(forward, &tracked);
        let out = forward(&inputs.clone().map(A::from_inner)).shape();
        let n = out.num_elements();
        let grad = <Flex as burn::tensor::ops::FloatTensorOps<Flex>>::float_reshape(p([n], 77), out);
        for (got, want) in backward(&inputs, grad).iter().zip(want) {
            assert_near(&raw_values(got.as_ref().expect("wanted")), &want.expect("tracked"), 2e-5, what);
        }
    }
    let c = |t: &FloatTensor<A>| t.clone();
    let f = |t: &FloatTensor<Flex>| t.clone();
    let d = 12;
    check(
        "layer_norm",
        [p([2, 3, d], 1), p([d], 2), p([d], 3)],
        &|t| plain::layer_norm::<A>(c(&t[0]), Some(c(&t[1])), Some(c(&t[2])), 1e-5),
        &|t, g| plain::layer_norm_backward::<Flex>(f(&t[0]), Some(f(&t[1])), g, 1e-5, [true; 3]).into(),
    );
    check(
        "rms_norm",
        [p([2, 3, d], 1), p([d], 2)],
        &|t| plain::rms_norm::<A>(c(&t[0]), Some(c(&t[1])), 1e-5),
        &|t, g| plain::rms_norm_backward::<Flex>(f(&t[0]), Some(f(&t[1])), g, 1e-5, [true; 2]).into(),
    );
    check("gelu", [p([40], 1)], &|t| plain::gelu::<A>(c(&t[0])), &|t, g| {
        vec![Some(plain::gelu_backward::<Flex>(f(&t[0]), g))]
    });
    check("silu_mul", [p([40], 1), p([40], 2)], &|t| plain::silu_mul::<A>(c(&t[0]), c(&t[1])), &|t, g| {
        plain::silu_mul_backward::<Flex>(f(&t[0]), f(&t[1]), g, [true; 2]).into()
    });
    check(
        "linear",
        [p([2, 3, d], 1), p([5, d], 2), p([5], 3)],
        &|t| plain::linear::<A>(c(&t[0]), c(&t[1]), Some(c(&t[2]))),
        &|t, g| plain::linear_backward::<Flex>(Some(f(&t[0])), Some(f(&t[1])), g, true).into(),
    );
    for causal in [false, true] {
        let heads = Heads { causal, key_value: 2, ..Heads::full(4, 3) };
        let mask = || Some(mask(2, 5).into_primitive());
        check(
            "attention",
            [p([2, 5, 12], 1), p([2, 5, 6], 2), p([2, 5, 6], 3)],
            &|t| plain::attention::<A>(c(&t[0]), c(&t[1]), c(&t[2]), heads, mask()),
            &|t, g| {
                plain::attention_backward::<Flex>([f(&t[0]), f(&t[1]), f(&t[2])], g, heads, mask(), [true; 3]).into()
            },
        );
    }
    let targets = || p([4, 7], 9);
    check(
        "cross-entropy",
        [p([4, 7], 1)],
        &|t| plain::softmax_cross_entropy::<A>(c(&t[0]), A::from_inner(targets())),
        &|t, g| vec![Some(plain::softmax_cross_entropy_backward::<Flex>(f(&t[0]), targets(), g))],
    );
}

#[test]
fn joined_attention_is_attention_of_the_three_parts() {
    for (b, n, query, hd) in [(1, 1, 1, 1), (2, 5, 3, 4), (3, 37, 2, 16), (1, 300, 2, 3)] {
        for (causal, masked) in [(false, false), (true, false), (false, true)] {
            let heads = Heads { causal, ..Heads::full(query, hd) };
            let mask = || masked.then(|| mask(b, n).into_primitive());
            for inputs in layouts(vec![p([b, n, 3 * query * hd], 1)]) {
                agree(
                    &format!("joined attention {b} {n} {heads:?} masked {masked}"),
                    &inputs,
                    &|t| A::fused_joined_attention(t[0].clone(), heads, mask()),
                    &|t| {
                        let [q, k, v] = plain::thirds::<A>(t[0].clone());
                        plain::attention::<A>(q, k, v, heads, mask())
                    },
                );
            }
        }
    }
    // The backends that have no form of their own, too.
    let (x, heads) = (p([2, 5, 24], 1), Heads::full(2, 4));
    let [q, k, v] = plain::thirds::<Flex>(x.clone());
    let parts = plain::attention_backward::<Flex>([q, k, v], p([2, 5, 8], 2), heads, None, [true; 3]);
    let want = Flex::float_cat(parts.into_iter().flatten().collect(), 2);
    let got = Flex::fused_joined_attention_backward(x, p([2, 5, 8], 2), heads, None);
    assert_near(&raw_values(&got), &raw_values(&want), 2e-5, "the parts put together");
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

#[test]
fn attention_reads_slices_of_one_projection() {
    let (b, n, c) = (2, 7, 12);
    let qkv: Tensor<Flex, 3> = values([b, n, 3 * c], 1);
    let part = |i: usize| qkv.clone().narrow(2, i * c, c);
    let copy = |t: Tensor<Flex, 3>| cooked::<Flex, 3>(raw(t).to_contiguous());
    let heads = Heads::full(3, 4);
    let got = attention(part(0), part(1), part(2), heads, None);
    let want = attention(copy(part(0)), copy(part(1)), copy(part(2)), heads, None);
    assert_eq!(vec_of(got), vec_of(want));
}

#[test]
fn attention_of_hidden_keys() {
    let heads = Heads::full(2, 4);
    let [q, k, v] = [1, 2, 3].map(|seed| values([3, 6, 8], seed));
    let mask = mask(3, 6);
    let out = vec_of(attention(q.clone(), k.clone(), v.clone(), heads, Some(mask.clone())));
    assert!(out[2 * 48..].iter().all(|&o| o == 0.0), "a query that sees nothing gives zeros");
    // What a hidden key holds, as long as it is finite, is of no consequence.
    let hidden = mask.clone().bool_not().unsqueeze_dim::<3>(2).expand([3, 6, 8]);
    let spoiled = |t: Tensor<Flex, 3>, with: f32| t.mask_fill(hidden.clone(), with);
    let again = attention(q.clone(), spoiled(k.clone(), 1e6), spoiled(v.clone(), -1e6), heads, Some(mask.clone()));
    assert_eq!(vec_of(again), out);
    let probs = vec_of(attention_probs(q, k, heads, Some(mask)));
    for (i, row) in probs.chunks(6).enumerate() {
        let sum: f32 = row.iter().sum();
        assert!(if i < 24 { (sum - 1.0).abs() < 1e-5 } else { sum == 0.0 }, "row {i}: {sum}");
    }
}

#[test]
fn attention_against_finite_differences() {
    let heads = Heads { key_value: 2, causal: true, ..Heads::full(4, 3) };
    let inputs = [p([2, 5, 12], 1), p([2, 5, 6], 2), p([2, 5, 6], 3)];
    let keep = || Some(mask(2, 5).into_primitive());
    let weighed = |t: [FloatTensor<Flex>; 3]| -> f64 {
        let [q, k, v] = t;
        let out = raw_values(&Flex::fused_attention(q, k, v, heads, keep()));
        out.iter().zip(raw_values(&p([120], 77))).map(|(&o, w)| f64::from(o) * f64::from(w)).sum()
    };
    let tracked: Inputs = inputs.iter().map(|t| (t.clone(), true)).collect();
    let (_, grads) = run(&|t| A::fused_attention(t[0].clone(), t[1].clone(), t[2].clone(), heads, keep()), &tracked);
    for (i, grad) in grads.iter().enumerate() {
        for (j, &got) in grad.as_ref().expect("tracked").iter().enumerate() {
            let shifted = |by: f32| {
                let mut data = raw_values(&inputs[i]);
                data[j] += by;
                let mut inputs = inputs.clone();
                inputs[i] = buffer::tensor(data, inputs[i].shape());
                weighed(inputs)
            };
            let want = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((f64::from(got) - want).abs() < 2e-3, "input {i} at {j}: {got} for {want}");
        }
    }
}

#[test]
fn cross_entropy_agrees() {
    for [b, c] in [[1, 1], [4, 7], [65, 100], [3, 1000]] {
        for inputs in layouts(vec![p([b, c], 1), p([b, c], 2)]) {
            let targets = inputs[1].clone();
            agree(
                "cross-entropy",
                &inputs[..1],
                &|t| A::fused_softmax_cross_entropy(t[0].clone(), A::from_inner(targets.clone())),
                &|t| plain::softmax_cross_entropy::<A>(t[0].clone(), A::from_inner(targets.clone())),
            );
        }
    }
}

#[test]
fn adamw_agrees_and_works_in_place() {
    let settings = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    for n in [1, 33, 20_000] {
        let start = || [p([n], 1), p([n], 2), raw(values::<1>([n], 3)), raw(values::<1>([n], 4).abs())];
        for shared in [false, true] {
            let [mut param, _, mut m, mut v] = start();
            let [mut param2, _, mut m2, mut v2] = start();
            let held = shared.then(|| param.clone());
            for step in 1..4 {
                let grad = p([n], 10 + u64::from(step));
                let place = param.bytes().as_ptr();
                [param, m, v] = Flex::fused_adamw_step(param, grad.clone(), m, v, step, settings);
                assert!((step == 1 && shared) || param.bytes().as_ptr() == place, "in place");
                [param2, m2, v2] = plain::adamw_step::<Flex>([param2, grad, m2, v2], step, settings);
            }
            for (got, want) in [(&param, &param2), (&m, &m2), (&v, &v2)] {
                assert_near(&raw_values(got), &raw_values(want), 1e-6, "adamw");
            }
            if let Some(held) = held {
                assert_eq!(raw_values(&held), raw_values(&start()[0]), "a parameter held elsewhere stays");
            }
        }
    }
}

/// Two steps of `torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.5)`, in double precision.
#[test]
fn the_norm_scaling_and_the_average_are_those_of_plain_numbers() {
    for n in [1, 33, 20_000] {
        for inputs in layouts(vec![p([n, 2], 1), p([n, 2], 2)]) {
            let [a, b] = [0, 1].map(|i| raw_values(&inputs[i]));
            let squares: f64 = a.iter().chain(&b).map(|&x| f64::from(x) * f64::from(x)).sum();
            let norm = Flex::fused_norm(inputs.clone());
            assert!((norm - squares.sqrt()).abs() < 1e-9 * norm, "{norm} for {squares}");
            let scaled: Vec<f32> = a.iter().map(|x| x * 0.25).collect();
            assert_eq!(raw_values(&Flex::fused_scale(inputs[0].clone(), 0.25)), scaled);
            let blend: Vec<f32> = a.iter().zip(&b).map(|(x, y)| x * 0.75 + y * 0.25).collect();
            let found = Flex::fused_average(inputs[0].clone(), inputs[1].clone(), 0.75);
            assert_near(&raw_values(&found), &blend, 1e-6, "average");
            assert_eq!(raw_values(&inputs[0]), a, "what somebody else holds stays");
        }
    }
    assert_eq!(Flex::fused_norm(Vec::new()), 0.0);
}

#[test]
fn adamw_follows_its_definition() {
    let settings = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.5 };
    let one = |x: f32| Tensor::<Flex, 1>::from_data([x], &DEVICE);
    let (mut param, mut m, mut v) = (one(1.0), one(0.0), one(0.0));
    let (mut p64, mut m64, mut v64) = (1.0_f64, 0.0_f64, 0.0_f64);
    for (step, g) in [(1, 0.5_f64), (2, -0.25)] {
        [param, m, v] = adamw_step(param, one(g as f32), m, v, step, settings);
        p64 *= 1.0 - 0.1 * 0.5;
        m64 = 0.9 * m64 + 0.1 * g;
        v64 = 0.99 * v64 + 0.01 * g * g;
        let denominator = v64.sqrt() / (1.0 - 0.99_f64.powf(f64::from(step))).sqrt() + 1e-8;
        p64 -= 0.1 / (1.0 - 0.9_f64.powf(f64::from(step))) * m64 / denominator;
        assert!((f64::from(vec_of(param.clone())[0]) - p64).abs() < 1e-6);
    }
}

#[test]
fn rope_turns_halves() {
    let x: Tensor<Flex, 3> = values([2, 5, 12], 1);
    let got = vec_of(rope(x.clone(), 2, Rope { theta: 10_000.0, scaling: Scaling::None }));
    let x = vec_of(x);
    for (i, &got) in got.iter().enumerate() {
        let (channel, position) = (i % 6, i / 12 % 5);
        let angle = position as f64 * 10_000_f64.powf(-2.0 * (channel % 3) as f64 / 6.0);
        let other = if channel < 3 { -f64::from(x[i + 3]) } else { f64::from(x[i - 3]) };
        let want = f64::from(x[i]) * angle.cos() + other * angle.sin();
        assert!((f64::from(got) - want).abs() < 1e-5, "at {i}: {got} for {want}");
    }
}

#[test]
fn other_types_take_the_plain_form() {
    let x = values::<3>([2, 5, 8], 1);
    let half = x.clone().cast(burn::tensor::DType::F16);
    let near = |got: Vec<f32>, want: Vec<f32>| assert_near(&got, &want, 3e-3, "half precision");
    near(vec_of(gelu(half.clone())), vec_of(gelu(x.clone())));
    near(vec_of(rms_norm(half.clone(), None, 1e-6)), vec_of(rms_norm(x.clone(), None, 1e-6)));
    near(vec_of(layer_norm(half.clone(), None, None, 1e-6)), vec_of(layer_norm(x.clone(), None, None, 1e-6)));
    let heads = Heads::full(2, 4);
    let both = |t: Tensor<Flex, 3>| vec_of(attention(t.clone(), t.clone(), t, heads, None));
    near(both(half.clone()), both(x.clone()));
    near(
        vec_of(linear(half.clone(), Tensor::<Flex, 2>::eye(8, &DEVICE).cast(burn::tensor::DType::F16), None)),
        vec_of(x),
    );
}

#[test]
fn buffers_held_elsewhere_stay() {
    let x = values::<2>([3, 5], 1);
    let before = vec_of(x.clone());
    for out in [gelu(x.clone()), relu(x.clone()), silu_mul(x.clone(), x.clone())] {
        assert_ne!(vec_of(out), before);
        assert_eq!(vec_of(x.clone()), before);
    }
    // A view of part of a buffer nobody else holds.
    let part = values::<2>([6, 5], 1).narrow(0, 2, 3);
    let want = vec_of(gelu(part.clone()));
    assert_eq!(vec_of(gelu(part)), want);
}

/// Everything once, forward and backward.
fn all_bits() -> Vec<u32> {
    let mut bits = Vec::new();
    let mut add_run = |f: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>, inputs: Vec<FloatTensor<Flex>>| {
        let inputs: Inputs = inputs.into_iter().map(|t| (t, true)).collect();
        let (out, grads) = run(f, &inputs);
        bits.extend(out.iter().chain(grads.iter().flatten().flatten()).map(|x| x.to_bits()));
    };
    let d = 200;
    let x = || p([3, 333, d], 1);
    add_run(
        &|t| A::fused_layer_norm(t[0].clone(), Some(t[1].clone()), Some(t[2].clone()), 1e-5),
        vec![x(), p([d], 2), p([d], 3)],
    );
    add_run(&|t| A::fused_rms_norm(t[0].clone(), Some(t[1].clone()), 1e-5), vec![x(), p([d], 2)]);
    add_run(&|t| A::fused_gelu(t[0].clone()), vec![x()]);
    add_run(&|t| A::fused_silu_mul(t[0].clone(), t[1].clone()), vec![x(), p([3, 333, d], 2)]);
    add_run(
        &|t| A::fused_linear(t[0].clone(), t[1].clone(), Some(t[2].clone())),
        vec![x(), p([151, d], 2), p([151], 3)],
    );
    add_run(
        &|t| A::fused_linear_bf16(t[0].clone(), t[1].clone(), Some(t[2].clone())),
        vec![x(), p([151, d], 2), p([151], 3)],
    );
    add_run(&|t| A::fused_joined_attention(t[0].clone(), Heads::full(4, 50), None), vec![p([3, 333, 3 * d], 1)]);
    let heads = Heads { key_value: 2, ..Heads::full(4, 50) };
    let kv = |seed| p([3, 333, 100], seed);
    add_run(&|t| A::fused_attention(t[0].clone(), t[1].clone(), t[2].clone(), heads, None), vec![x(), kv(2), kv(3)]);
    let [a, b, c] = Flex::fused_adamw_step(
        x(),
        p([3, 333, d], 5),
        x(),
        raw(values([3, 333, d], 6).abs()),
        3,
        AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 },
    );
    bits.extend([a, b, c].iter().flat_map(raw_values).map(f32::to_bits));
    bits
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(all_bits)
    };
    let one = on(1);
    for threads in [2, 3, 7] {
        assert!(on(threads) == one, "{threads} threads");
    }
}

#[test]
fn random_inputs_hold_no_surprise() {
    let x = Tensor::<Flex, 2>::random([64, 64], Distribution::Normal(0.0, 100.0), &DEVICE);
    for out in [gelu(x.clone()), layer_norm(x.clone(), None, None, 1e-6), silu_mul(x.clone(), x)] {
        assert!(vec_of(out).iter().all(|v| v.is_finite()));
    }
}
