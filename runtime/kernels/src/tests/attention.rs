//! Attention and rotary positions.

use super::*;

/// Batch, queries, keys, query heads, key and value heads, channels of a head.
pub(super) const CASES: [[usize; 6]; 6] = [
    [1, 1, 1, 1, 1, 1],
    [2, 5, 5, 3, 3, 4],
    [2, 9, 9, 4, 2, 8],
    [3, 4, 11, 6, 1, 5],
    [1, 37, 37, 2, 2, 32],
    [2, 300, 300, 2, 1, 3],
];

#[test]
fn attention_agrees() {
    for [b, n, m, query, key_value, hd] in CASES {
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
