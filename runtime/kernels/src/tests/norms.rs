//! The norms, against their plain forms.

use super::*;

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
