//! Every operation on a GPU against the CPU, forward and backward. Without a GPU that this build can use, they say so and pass.
//! A software Vulkan, such as Mesa's lavapipe, does as well as a card.

use std::sync::OnceLock;

use burn::tensor::ops::IntTensor;
use burn::tensor::{Device, Int};
use cubecl::config::autotune::AutotuneLevel;
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

use super::*;

#[cfg(all(feature = "cuda", not(feature = "wgpu")))]
pub(super) type Gpu = burn_cuda::Cuda;
#[cfg(feature = "wgpu")]
pub(super) type Gpu = burn_wgpu::Wgpu;

/// The GPU, if there is one. Whoever knows that there is one sets `LMV_TEST_GPU`, and is told of what went wrong.
pub(super) fn gpu() -> Option<&'static Device<Gpu>> {
    static GPU: OnceLock<Option<Device<Gpu>>> = OnceLock::new();
    let found = GPU.get_or_init(|| {
        // Fewer sizes are measured by themselves, and nothing that was measured stays.
        let mut config = CubeClRuntimeConfig::default();
        config.autotune.level = AutotuneLevel::Minimal;
        config.autotune.cache =
            CacheConfig::File(std::env::temp_dir().join(format!("lmv-test-{}", std::process::id())));
        CubeClRuntimeConfig::set(config);
        let device = Device::<Gpu>::default();
        // Where there is none, Burn panics.
        std::panic::catch_unwind(|| vec_of(Tensor::<Gpu, 1>::zeros([1], &Device::<Gpu>::default())))
            .ok()
            .map(|_| device)
    });
    if found.is_none() {
        assert!(std::env::var_os("LMV_TEST_GPU").is_none(), "there is a GPU, and it cannot be used");
        eprintln!("skipped: no GPU that this build can use");
    }
    found.as_ref()
}

/// An operation, of any backend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    LayerNorm,
    RmsNorm,
    BatchNorm { of_batch: bool },
    Gelu,
    Relu,
    SiluMul,
    Linear,
    Product,
    Attention { heads: Heads, masked: bool },
    Joined { heads: Heads, masked: bool },
    CrossEntropy,
}

impl Operation {
    /// Its result, of inputs in the order of the functions' parameters.
    fn of<B: Kernels>(self, t: &[FloatTensor<B>], device: &Device<B>) -> FloatTensor<B> {
        let x = t[0].clone();
        let at = |i: usize| t.get(i).cloned();
        let one = |i: usize| t[i].clone();
        let mask = |masked: bool, b: usize, m: usize| masked.then(|| booleans::<B>(mask_values(b, m), [b, m], device));
        match self {
            Self::LayerNorm => B::fused_layer_norm(x, at(1), at(2), 1e-2),
            Self::RmsNorm => B::fused_rms_norm(x, at(1), 1e-2),
            Self::BatchNorm { of_batch } => {
                let statistics = B::fused_batch_statistics(if of_batch { x.clone() } else { one(3) });
                B::fused_batch_norm(x, one(1), one(2), statistics, 1e-2, of_batch)
            }
            Self::Gelu => B::fused_gelu(x),
            Self::Relu => B::fused_relu(x),
            Self::SiluMul => B::fused_silu_mul(x, one(1)),
            Self::Linear => B::fused_linear(x, one(1), at(2)),
            Self::Product => B::product(x, one(1)),
            Self::Attention { heads, masked } => {
                let (b, m) = (t[1].shape()[0], t[1].shape()[1]);
                B::fused_attention(x, one(1), one(2), heads, mask(masked, b, m))
            }
            Self::Joined { heads, masked } => {
                let (b, m) = (x.shape()[0], x.shape()[1]);
                B::fused_joined_attention(x, heads, mask(masked, b, m))
            }
            Self::CrossEntropy => B::fused_softmax_cross_entropy(x, one(1)),
        }
    }

    /// Its result, and the gradient of every input under a fixed weighing of the result.
    fn results<B: Kernels>(self, inputs: &[TensorData], device: &Device<B>) -> Vec<Vec<f32>> {
        type On<B> = Autodiff<B>;
        let leaf = |data: &TensorData| On::<B>::float_from_data(data.clone(), device).require_grad();
        let inputs: Vec<_> = inputs.iter().map(leaf).collect();
        let out = self.of::<On<B>>(&inputs, device);
        let n = out.shape().num_elements();
        let out: Tensor<On<B>, 1> = cooked::<On<B>, 1>(On::<B>::float_reshape(out, [n].into()));
        let weighing = Tensor::<B, 1>::from_data(values([n], 77).into_data(), device);
        let grads = (out.clone() * Tensor::from_inner(weighing)).sum().backward();
        let gradient =
            |t| On::<B>::grad(t, &grads).map(|grad| vec_of(cooked::<B, 1>(flat::<B>(grad)))).unwrap_or_default();
        std::iter::once(vec_of(out)).chain(inputs.iter().map(gradient)).collect()
    }
}

fn flat<B: Backend>(t: FloatTensor<B>) -> FloatTensor<B> {
    let n = t.shape().num_elements();
    B::float_reshape(t, [n].into())
}

/// Data of these shapes, the same each time.
fn data(shapes: &[&[usize]]) -> Vec<TensorData> {
    let of = |(i, shape): (usize, &&[usize])| {
        let count = shape.iter().product();
        TensorData::new(raw_values(&p([count], i as u64 + 1)), shape.to_vec())
    };
    shapes.iter().enumerate().map(of).collect()
}

#[track_caller]
pub(super) fn agrees(operation: Operation, shapes: &[&[usize]]) {
    let Some(device) = gpu() else { return };
    let inputs = data(shapes);
    let want = operation.results::<Flex>(&inputs, &DEVICE);
    let got = operation.results::<Gpu>(&inputs, device);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let what = if i == 0 { "the result".to_owned() } else { format!("the gradient of input {}", i - 1) };
        assert_near(got, want, 2e-5, &format!("{operation:?} of {shapes:?}: {what}"));
    }
}

#[test]
fn norms() {
    for shape in SHAPES {
        let d = [shape[2]];
        agrees(Operation::LayerNorm, &[&shape]);
        agrees(Operation::LayerNorm, &[&shape, &d]);
        agrees(Operation::LayerNorm, &[&shape, &d, &d]);
        agrees(Operation::RmsNorm, &[&shape]);
        agrees(Operation::RmsNorm, &[&shape, &d]);
        agrees(Operation::BatchNorm { of_batch: true }, &[&shape, &d, &d]);
        agrees(Operation::BatchNorm { of_batch: false }, &[&shape, &d, &d, &shape]);
    }
}

#[test]
fn activations() {
    for shape in SHAPES {
        agrees(Operation::Gelu, &[&shape]);
        agrees(Operation::Relu, &[&shape]);
        agrees(Operation::SiluMul, &[&shape, &shape]);
    }
}

#[test]
fn linear_layers() {
    for shape in SHAPES {
        agrees(Operation::Linear, &[&shape, &[17, shape[2]]]);
        agrees(Operation::Linear, &[&shape, &[17, shape[2]], &[17]]);
    }
}

#[test]
fn attentions() {
    for [b, n, m, query, key_value, hd] in super::attention::CASES {
        for (causal, masked) in [(false, false), (true, false), (false, true), (true, true)] {
            let heads = Heads { query, key_value, scale: 1.0 / (hd as f64).sqrt(), causal };
            let (q, k) = ([b, n, query * hd], [b, m, key_value * hd]);
            agrees(Operation::Attention { heads, masked }, &[&q, &k, &k]);
            if n == m && query == key_value {
                agrees(Operation::Joined { heads, masked }, &[&[b, n, 3 * query * hd]]);
            }
        }
    }
}

#[test]
fn losses() {
    for [rows, classes] in [[1, 1], [3, 7], [65, 130]] {
        agrees(Operation::CrossEntropy, &[&[rows, classes], &[rows, classes]]);
    }
}

fn on_gpu<const D: usize>(t: &Tensor<Flex, D>, device: &Device<Gpu>) -> Tensor<Gpu, D> {
    Tensor::from_data(t.to_data(), device)
}

#[test]
fn steps_of_adamw() {
    let Some(device) = gpu() else { return };
    let settings = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
    let shape = [7, 131];
    let start = [values(shape, 1), values(shape, 2), values(shape, 3), values(shape, 4).abs()];
    let mut want = start.clone().map(raw);
    let mut got = start.clone().map(|t| raw(on_gpu(&t, device)));
    for step in 1..=3 {
        let [param, grad, m, v] = want;
        let [param, m, v] = Flex::fused_adamw_step(param, grad.clone(), m, v, step, settings);
        want = [param, grad, m, v];
        let [param, grad, m, v] = got;
        let [param, m, v] = Gpu::fused_adamw_step(param, grad.clone(), m, v, step, settings);
        got = [param, grad, m, v];
    }
    for (got, want) in got.into_iter().zip(&want) {
        assert_near(&vec_of(cooked::<Gpu, 2>(got)), &raw_values(want), 1e-5, "AdamW");
    }
}

#[test]
fn what_is_kept_is_drawn_by_a_seed() {
    let Some(device) = gpu() else { return };
    super::training::kept_is_drawn_by_a_seed::<Gpu>(device);
}

#[test]
fn the_norm_and_the_average() {
    let Some(device) = gpu() else { return };
    let both = [1, 2].map(|seed| values::<2>([7, 131], seed));
    let there = || both.iter().map(|t| raw(on_gpu(t, device)));
    let want = Flex::fused_norm(both.iter().cloned().map(raw).collect(), &DEVICE);
    let got = Gpu::fused_norm(there().collect(), device);
    assert_near(&vec_of(cooked::<Gpu, 1>(got)), &raw_values(&want), 1e-5, "norm");
    let [a, b] = both.clone().map(raw);
    let want = Flex::fused_average(a, b, 0.75);
    let got = there().reduce(|a, b| Gpu::fused_average(a, b, 0.75)).expect("two");
    assert_near(&vec_of(cooked::<Gpu, 2>(got)), &raw_values(&want), 1e-6, "average");
}

#[test]
fn what_others_hold_is_not_written_to() {
    let Some(device) = gpu() else { return };
    let held = on_gpu(&values([2, 2, 9, 9], 1), device);
    let before = vec_of(held.clone());
    let probabilities = Gpu::fused_probabilities(raw(held.clone()), Heads::full(2, 4), None);
    let slope = Gpu::fused_scores_backward(probabilities.clone(), raw(held.clone()), 0.5);
    assert_ne!(vec_of(cooked::<Gpu, 4>(slope)), before);
    assert_eq!(vec_of(held.clone()), before);
    let settings = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
    let t = || raw(held.clone());
    let [param, m, v] = Gpu::fused_adamw_step(t(), t(), t(), raw(held.clone().abs()), 1, settings);
    for written in [param, m, v] {
        assert_ne!(vec_of(cooked::<Gpu, 4>(written)), before);
    }
    assert_eq!(vec_of(held), before);
    let sums: Vec<f32> = vec_of(cooked::<Gpu, 4>(probabilities)).chunks(9).map(|row| row.iter().sum()).collect();
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "the probabilities are still those: {sums:?}");
}

#[test]
fn rows_of_every_width() {
    // One unit to a row and many, several rows to a cube and one, wider than all units of a cube.
    for width in [1, 7, 8, 9, 63, 64, 65, 300, 2048, 2049, 5000] {
        agrees(Operation::LayerNorm, &[&[3, width], &[width], &[width]]);
        let Some(device) = gpu() else { return };
        let scores = values([1, 2, 3, width], 5);
        let want = Flex::fused_probabilities(raw(scores.clone()), Heads::full(2, 4), None);
        let got = Gpu::fused_probabilities(raw(on_gpu(&scores, device)), Heads::full(2, 4), None);
        assert_near(&vec_of(cooked::<Gpu, 4>(got)), &raw_values(&want), 2e-5, &format!("width {width}"));
    }
}

#[test]
fn half_precision() {
    let Some(device) = gpu() else { return };
    for (dtype, tolerance) in [(DType::F16, 2e-3), (DType::BF16, 1e-2)] {
        if !Gpu::supports_dtype(device, dtype) {
            eprintln!("skipped: this GPU does not compute in {dtype:?}");
            continue;
        }
        let [x, grad] = [1, 2].map(|seed| values::<3>([3, 5, 40], seed));
        let (weight, bias) = (values::<1>([40], 3), values::<1>([40], 4));
        let narrow = |t: &Tensor<Flex, 3>| raw(on_gpu(t, device).cast(dtype));
        let wide = |t: &Tensor<Flex, 1>| raw(on_gpu(t, device));
        let near = |got: FloatTensor<Gpu>, want: FloatTensor<Flex>, what: &str| {
            assert_eq!(got.dtype(), dtype, "{what}");
            assert_near(&vec_of(cooked::<Gpu, 1>(flat::<Gpu>(got))), &raw_values(&want), tolerance, what);
        };
        near(
            Gpu::fused_layer_norm(narrow(&x), Some(wide(&weight)), Some(wide(&bias)), 1e-5),
            Flex::fused_layer_norm(raw(x.clone()), Some(raw(weight.clone())), Some(raw(bias)), 1e-5),
            "layer_norm",
        );
        let got = Gpu::fused_layer_norm_backward(narrow(&x), Some(wide(&weight)), narrow(&grad), 1e-5, [true; 3]);
        let want =
            Flex::fused_layer_norm_backward(raw(x.clone()), Some(raw(weight)), raw(grad.clone()), 1e-5, [true; 3]);
        for (got, want) in got.into_iter().zip(want) {
            near(got.expect("wanted"), want.expect("wanted"), "a gradient of layer_norm");
        }
        let heads = Heads { causal: true, ..Heads::full(3, 4) };
        let four = |t: &Tensor<Flex, 3>| t.clone().reshape([1, 3, 5, 40]);
        let probabilities = Gpu::fused_probabilities(raw(on_gpu(&four(&x), device).cast(dtype)), heads, None);
        near(probabilities, Flex::fused_probabilities(raw(four(&x)), heads, None), "probabilities");
        // A frozen weight in half precision beside a stream of f32.
        let matrix = values::<2>([17, 40], 6);
        let halves = raw(on_gpu(&matrix, device).cast(dtype));
        let got = Gpu::fused_linear(raw(on_gpu(&x, device)), halves.clone(), None);
        let want = Flex::fused_linear(raw(x.clone()), raw(matrix.clone()), None);
        assert_near(&vec_of(cooked::<Gpu, 3>(got)), &raw_values(&want), tolerance, "a half weight");
        let narrow_grad = values::<3>([3, 5, 17], 7);
        let [got, ..] = Gpu::fused_linear_backward(None, Some(halves), raw(on_gpu(&narrow_grad, device)), false);
        let [want, ..] = Flex::fused_linear_backward(None, Some(raw(matrix)), raw(narrow_grad), false);
        let got = vec_of(cooked::<Gpu, 3>(got.expect("wanted")));
        assert_near(&got, &raw_values(&want.expect("wanted")), tolerance, "the gradient through a half weight");
    }
}

#[test]
fn clouds_are_sampled_and_grouped_as_on_the_host() {
    let Some(device) = gpu() else { return };
    // On a coarse grid distances are exact, and many are equal.
    let cloud = |shape: [usize; 3], seed| (values::<3>(shape, seed) * 4.0).round() * 0.25;
    for [batch, length, wanted, count] in [[1, 1, 1, 1], [3, 40, 7, 5], [2, 700, 33, 32]] {
        let (points, centres) = (cloud([batch, length, 3], 1), cloud([batch, wanted, 3], 2));
        let there = || (raw(on_gpu(&points, device)), raw(on_gpu(&centres, device)));
        let here = || (raw(points.clone()), raw(centres.clone()));
        for near_origin in [-1.0, 1e-3, 0.2] {
            assert_eq!(
                whole::<Gpu>(Gpu::farthest_points(there().0, wanted, near_origin)),
                whole::<Flex>(Flex::farthest_points(here().0, wanted, near_origin)),
                "farthest points of {length}, {near_origin}"
            );
        }
        for radius in [0.01, 0.6, 9.0] {
            assert_eq!(
                whole::<Gpu>(Gpu::ball_query(there().0, there().1, radius, count)),
                whole::<Flex>(Flex::ball_query(here().0, here().1, radius, count)),
                "within {radius} of {length}"
            );
        }
        assert_eq!(
            whole::<Gpu>(Gpu::nearest_points(there().0, there().1, count)),
            whole::<Flex>(Flex::nearest_points(here().0, here().1, count)),
            "the nearest {count} of {length}"
        );
    }
}

/// The whole numbers of a tensor.
fn whole<B: Backend>(t: IntTensor<B>) -> Vec<i32> {
    let flat = B::int_reshape(t.clone(), [t.shape().num_elements()].into());
    let data = Tensor::<B, 1, Int>::from_primitive(flat).into_data().convert::<i32>();
    data.into_vec().expect("whole numbers")
}
