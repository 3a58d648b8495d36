//! What a step of training does: loss, optimizer, norm of the gradient, average, what dropout keeps.

use super::*;

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
            let norm = f64::from(raw_values(&Flex::fused_norm(inputs.clone(), &DEVICE))[0]);
            // Rounded once, to single precision.
            assert!((norm - squares.sqrt()).abs() <= 6e-8 * norm, "{norm} for {squares}");
            let scaled: Vec<f32> = a.iter().map(|x| x * 0.25).collect();
            assert_eq!(raw_values(&Flex::fused_scale(inputs[0].clone(), 0.25)), scaled);
            let blend: Vec<f32> = a.iter().zip(&b).map(|(x, y)| x * 0.75 + y * 0.25).collect();
            let found = Flex::fused_average(inputs[0].clone(), inputs[1].clone(), 0.75);
            assert_near(&raw_values(&found), &blend, 1e-6, "average");
            assert_eq!(raw_values(&inputs[0]), a, "what somebody else holds stays");
        }
    }
    assert_eq!(raw_values(&Flex::fused_norm(Vec::new(), &DEVICE)), [0.0]);
}

/// What a device keeps is drawn by a seed, as often as asked for.
pub(super) fn kept_is_drawn_by_a_seed<B: Kernels>(device: &B::Device) {
    let drawn = |seed, keep| {
        let kept = B::kept(&[40, 250], keep, &mut ChaCha8Rng::seed_from_u64(seed), device);
        vec_of(cooked::<B, 2>(kept))
    };
    let (one, other) = (drawn(0, 0.75), drawn(1, 0.75));
    assert_eq!(one.len(), 10_000);
    assert_eq!(one, drawn(0, 0.75), "the same seed draws the same");
    assert_ne!(one, other);
    // Five deviations of as many draws: kept at all, kept twice running, and kept by both seeds.
    let near = |count: usize, p: f64| {
        let off = (count as f64 - 1e4 * p).abs();
        assert!(off < 5.0 * (1e4 * p * (1.0 - p)).sqrt(), "{count} of 10000, for {p}");
    };
    near(one.iter().filter(|&&x| x != 0.0).count(), 0.75);
    near(one.windows(2).filter(|pair| pair[0] != 0.0 && pair[1] != 0.0).count(), 0.75 * 0.75);
    near(one.iter().zip(&other).filter(|(a, b)| **a != 0.0 && **b != 0.0).count(), 0.75 * 0.75);
    assert!(one.iter().all(|&x| x == 0.0 || x == (1.0_f64 / 0.75) as f32));
    assert!(drawn(0, 0.0).iter().all(|&x| x == 0.0));
    assert!(drawn(0, 1.0).iter().all(|&x| x == 1.0));
}

#[test]
fn what_is_kept_is_drawn_by_a_seed() {
    kept_is_drawn_by_a_seed::<Flex>(&DEVICE);
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
