//! What holds for all of them: plain backward passes, other types, shared buffers, any number of threads.

use super::*;

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
