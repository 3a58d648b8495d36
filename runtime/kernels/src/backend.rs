//! What a backend does to be one that models run on.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{FloatDType, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{AdamW, Heads, plain, points};

/// A backend with the fused operations.
///
/// The methods are for backends; models call the functions of this module. They are named `fused_…` because `Backend`
/// has a `gelu`, a `linear` and more of its own. Those that end in `_backward` take the gradient of the output, `grad`,
/// and give the gradients of the inputs, those of `wanted` only. The defaults are made of Burn's plain operations.
pub trait Kernels: Backend {
    /// Whether [`linear`](crate::linear) takes a weight in half precision beside a stream of `f32` on this device. A frozen weight then stays
    /// in the type that its checkpoint has.
    fn takes_halves(_device: &Self::Device) -> bool {
        false
    }

    /// Whether [`fused_linear_bf16`](Kernels::fused_linear_bf16) takes and gives `f32`. A pass in `bf16` then casts nothing:
    /// operands are rounded on the way into the product, and attention stays in `f32`.
    const ROUNDS_OPERANDS: bool = false;

    /// [`layer_norm`](crate::layer_norm): x `[.., d]`, weight and bias `[d]` → `[.., d]`.
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: Option<FloatTensor<Self>>,
        bias: Option<FloatTensor<Self>>,
        eps: f64,
    ) -> FloatTensor<Self> {
        plain::layer_norm::<Self>(x, weight, bias, eps)
    }

    /// Gradients of x `[.., d]`, weight `[d]` and bias `[d]`.
    fn fused_layer_norm_backward(
        x: FloatTensor<Self>,
        weight: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        eps: f64,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        plain::layer_norm_backward::<Self>(x, weight, grad, eps, wanted)
    }

    /// [`rms_norm`](crate::rms_norm): x `[.., d]`, weight `[d]` → `[.., d]`.
    fn fused_rms_norm(x: FloatTensor<Self>, weight: Option<FloatTensor<Self>>, eps: f64) -> FloatTensor<Self> {
        plain::rms_norm::<Self>(x, weight, eps)
    }

    /// Gradients of x `[.., d]` and weight `[d]`.
    fn fused_rms_norm_backward(
        x: FloatTensor<Self>,
        weight: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        eps: f64,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        plain::rms_norm_backward::<Self>(x, weight, grad, eps, wanted)
    }

    /// [`batch_statistics`](crate::batch_statistics): x `[.., d]` → mean and variance `[d]`.
    fn fused_batch_statistics(x: FloatTensor<Self>) -> [FloatTensor<Self>; 2] {
        plain::batch_statistics::<Self>(x)
    }

    /// [`batch_norm`](crate::batch_norm): x `[.., d]`, weight and bias `[d]`, mean and variance `[d]` → `[.., d]`. Where the statistics are
    /// `of_batch`, the gradient of x goes through them.
    fn fused_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        statistics: [FloatTensor<Self>; 2],
        eps: f64,
        _of_batch: bool,
    ) -> FloatTensor<Self> {
        plain::batch_norm::<Self>(x, weight, bias, statistics, eps)
    }

    /// Gradients of x `[.., d]`, weight `[d]` and bias `[d]`.
    fn fused_batch_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        statistics: [FloatTensor<Self>; 2],
        eps: f64,
        of_batch: bool,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        plain::batch_norm_backward::<Self>([x, weight, grad], statistics, eps, of_batch, wanted)
    }

    /// [`gelu`](crate::gelu) of any shape.
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::gelu::<Self>(x)
    }

    /// Gradient of x.
    fn fused_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::gelu_backward::<Self>(x, grad)
    }

    /// [`relu`](crate::relu) of any shape.
    fn fused_relu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu(x)
    }

    /// Gradient of the input whose [`relu`](crate::relu) is `output`.
    fn fused_relu_backward(output: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu_backward(output, grad)
    }

    /// [`silu_mul`](crate::silu_mul) of two tensors of one shape.
    fn fused_silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::silu_mul::<Self>(gate, up)
    }

    /// Gradients of gate and up.
    fn fused_silu_mul_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        plain::silu_mul_backward::<Self>(gate, up, grad, wanted)
    }

    /// [`linear`](crate::linear): x `[.., in]`, weight `[out, in]`, bias `[out]` → `[.., out]`.
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        plain::linear::<Self>(x, weight, bias)
    }

    /// Gradients of x `[.., in]` if `weight` is given, of weight `[out, in]` if `x` is given, and of the bias `[out]`
    /// if `bias` is set.
    fn fused_linear_backward(
        x: Option<FloatTensor<Self>>,
        weight: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        bias: bool,
    ) -> [Option<FloatTensor<Self>>; 3] {
        plain::linear_backward::<Self>(x, weight, grad, bias)
    }

    /// [`fused_linear`](Kernels::fused_linear) of operands in `bf16`, summed up in `f32`; what is wider is rounded. Where
    /// [`ROUNDS_OPERANDS`](Kernels::ROUNDS_OPERANDS) is set x and bias are `f32`, and so is what it gives.
    fn fused_linear_bf16(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let narrow = |t| Self::float_cast(t, FloatDType::BF16);
        Self::fused_linear(narrow(x), narrow(weight), bias.map(narrow))
    }

    /// The gradients of [`fused_linear_backward`](Kernels::fused_linear_backward), as products in `bf16`.
    fn fused_linear_bf16_backward(
        x: Option<FloatTensor<Self>>,
        weight: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        bias: bool,
    ) -> [Option<FloatTensor<Self>>; 3] {
        let narrow = |t| Self::float_cast(t, FloatDType::BF16);
        Self::fused_linear_backward(x.map(narrow), weight.map(narrow), narrow(grad), bias)
    }

    /// [`attention`](crate::attention): q `[b, n, query · hd]`, k and v `[b, m, key_value · hd]`, key_mask `[b, m]` → `[b, n, query ·
    /// hd]`.
    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        plain::attention::<Self>(q, k, v, heads, key_mask)
    }

    /// Gradients of q `[b, n, query · hd]`, k and v `[b, m, key_value · hd]`.
    fn fused_attention_backward(
        qkv: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        plain::attention_backward::<Self>(qkv, grad, heads, key_mask, wanted)
    }

    /// The product of matrices `[.., m, k]` and `[.., k, n]` of one type, broadcast over the dims in front → `[.., m, n]`.
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(lhs, rhs)
    }

    /// The probabilities that attention weighs values by: scores `[b, query, n, m]`, key_mask `[b, m]` → as the scores.
    fn fused_probabilities(
        scores: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        plain::probabilities::<Self>(scores, heads, key_mask)
    }

    /// Gradient of the scores that the softmax is of, before they are multiplied by `scale`; the probabilities and their
    /// gradient are `[.., m]`.
    fn fused_scores_backward(
        probabilities: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        plain::scores_backward::<Self>(probabilities, grad, scale)
    }

    /// [`fused_attention`](Kernels::fused_attention) of queries, keys and values side by side, as many heads of each: x
    /// `[b, n, 3 · query · hd]` → `[b, n, query · hd]`.
    fn fused_joined_attention(
        x: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        let [q, k, v] = plain::thirds::<Self>(x);
        Self::fused_attention(q, k, v, heads, key_mask)
    }

    /// Gradient of x `[b, n, 3 · query · hd]`.
    fn fused_joined_attention_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        let found = Self::fused_attention_backward(plain::thirds::<Self>(x), grad, heads, key_mask, [true; 3]);
        Self::float_cat(found.into_iter().flatten().collect(), 2)
    }

    /// The numbers of `count` points of each cloud `[batch, N, 3]` that lie far from each other → `[batch, count]`; see
    /// [`geometry::farthest`](crate::geometry::farthest).
    fn farthest_points(points: FloatTensor<Self>, count: usize, near_origin: f64) -> IntTensor<Self> {
        points::farthest::<Self>(points, count, near_origin)
    }

    /// The numbers of the first `count` points `[batch, N, 3]` within `radius` of each centre `[batch, M, 3]` → `[batch, M,
    /// count]`; see [`geometry::within`](crate::geometry::within).
    fn ball_query(points: FloatTensor<Self>, centres: FloatTensor<Self>, radius: f64, count: usize) -> IntTensor<Self> {
        points::within::<Self>(points, centres, radius, count)
    }

    /// The numbers of the `count` points `[batch, N, 3]` nearest to each centre `[batch, M, 3]` → `[batch, M, count]`; see
    /// [`geometry::nearest`](crate::geometry::nearest).
    fn nearest_points(points: FloatTensor<Self>, centres: FloatTensor<Self>, count: usize) -> IntTensor<Self> {
        points::nearest::<Self>(points, centres, count)
    }

    /// [`adamw_step`](crate::adamw_step) of four tensors of one shape.
    fn fused_adamw_step(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: u32,
        settings: AdamW,
    ) -> [FloatTensor<Self>; 3] {
        plain::adamw_step::<Self>([param, grad, m, v], step, settings)
    }

    /// The L2 norm over all values of all tensors, `[1]`. It stays on the device.
    fn fused_norm(tensors: Vec<FloatTensor<Self>>, device: &Self::Device) -> FloatTensor<Self> {
        let sums = tensors.into_iter().map(|t| Self::float_sum(Self::float_mul(t.clone(), t)));
        match sums.reduce(Self::float_add) {
            Some(sum) => Self::float_sqrt(sum),
            None => Self::float_from_data(TensorData::new(vec![0.0_f32], [1]), device),
        }
    }

    /// Ones with probability `keep` and zeros, times 1 / `keep`: what dropout and its like multiply by.
    fn kept(dims: &[usize], keep: f64, rng: &mut ChaCha8Rng, device: &Self::Device) -> FloatTensor<Self> {
        let by = (1.0 / keep) as f32;
        let drawn = (0..dims.iter().product()).map(|_| if rng.random::<f64>() < keep { by } else { 0.0 });
        Self::float_from_data(TensorData::new(drawn.collect::<Vec<f32>>(), dims.to_vec()), device)
    }

    /// Every value times `by`.
    fn fused_scale(t: FloatTensor<Self>, by: f32) -> FloatTensor<Self> {
        Self::float_mul_scalar(t, by.into())
    }

    /// decay · average + (1 − decay) · t, of two tensors of one shape.
    fn fused_average(average: FloatTensor<Self>, t: FloatTensor<Self>, decay: f64) -> FloatTensor<Self> {
        Self::float_add(Self::float_mul_scalar(average, decay.into()), Self::float_mul_scalar(t, (1.0 - decay).into()))
    }

    /// A copy in memory of its own, as fast as the device makes one.
    fn fused_copy(t: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add_scalar(t, 0.0.into())
    }

    /// [`softmax_cross_entropy`](crate::softmax_cross_entropy): logits and targets `[b, c]` → `[1]`.
    fn fused_softmax_cross_entropy(logits: FloatTensor<Self>, targets: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::softmax_cross_entropy::<Self>(logits, targets)
    }

    /// Gradient of logits `[b, c]`, given that of the mean `[1]`.
    fn fused_softmax_cross_entropy_backward(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        plain::softmax_cross_entropy_backward::<Self>(logits, targets, grad)
    }
}
