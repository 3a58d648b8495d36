//! The operations fused for speed, behind one backend trait.
//!
//! Model code is generic over [`Kernels`] and calls the functions of this module, which take and give Burn's tensors. A
//! backend gets every operation from plain operations of Burn, and may replace any of them: [`Flex`](burn_flex::Flex)
//! replaces them by loops over all cores, GPUs some of them by kernels of their own (`gpu`). `Autodiff<B>` is a [`Kernels`]
//! for every `B` that is one, with a backward pass of its own for each operation, which computes the gradients that are
//! asked for and no others.
//!
//! On `Flex` results are bitwise the same on any number of threads.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{Bool, FloatDType, Tensor, TensorData, TensorPrimitive};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub use self::average::global_norm;
pub use self::booleans::{bool_dtype, booleans};
pub(crate) use self::simd::wide;

mod adamw;
mod attention;
mod autodiff;
mod average;
mod batch_norm;
mod bf16;
mod booleans;
mod buffer;
mod cross_entropy;
mod flex;
mod gelu;
pub mod geometry;
#[cfg(feature = "gpu")]
mod gpu;
mod half_weight;
mod layer_norm;
mod linear;
mod plain;
mod points;
mod rms_norm;
mod silu_mul;
mod simd;
mod sums;
#[cfg(test)]
mod tests;

/// How attention reads its tensors: tokens-major, the heads side by side in the last dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads; a divisor of `query`. Query head i uses key and value head i / (query / key_value).
    pub key_value: usize,
    /// What scores are multiplied by before the softmax.
    pub scale: f64,
    /// Whether query i sees keys 0 to i only.
    pub causal: bool,
}

impl Heads {
    /// As many key and value heads as query heads, of `head_dim` channels each: scores divided by √head_dim, all keys
    /// seen.
    pub fn full(query: usize, head_dim: usize) -> Self {
        Self { query, key_value: query, scale: 1.0 / (head_dim as f64).sqrt(), causal: false }
    }

    /// Query heads to one key and value head.
    fn group(self) -> usize {
        self.query / self.key_value
    }
}

/// Settings of AdamW, named and meant as in `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct AdamW {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

impl AdamW {
    /// What bias correction makes of the step size, and the factor of the root of the second moment, at step `step`,
    /// the first being 1.
    fn corrections(self, step: u32) -> [f64; 2] {
        let left = |beta: f64| 1.0 - beta.powf(f64::from(step));
        [self.lr / left(self.beta1), 1.0 / left(self.beta2).sqrt()]
    }
}

/// A backend with the fused operations.
///
/// The methods are for backends; models call the functions of this module. They are named `fused_…` because `Backend`
/// has a `gelu`, a `linear` and more of its own. Those that end in `_backward` take the gradient of the output, `grad`,
/// and give the gradients of the inputs, those of `wanted` only. The defaults are made of Burn's plain operations.
pub trait Kernels: Backend {
    /// Whether [`linear`] takes a weight in half precision beside a stream of `f32` on this device. A frozen weight then stays
    /// in the type that its checkpoint has.
    fn takes_halves(_device: &Self::Device) -> bool {
        false
    }

    /// Whether [`fused_linear_bf16`](Kernels::fused_linear_bf16) takes and gives `f32`. A pass in `bf16` then casts nothing:
    /// operands are rounded on the way into the product, and attention stays in `f32`.
    const ROUNDS_OPERANDS: bool = false;

    /// [`layer_norm`]: x `[.., d]`, weight and bias `[d]` → `[.., d]`.
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

    /// [`rms_norm`]: x `[.., d]`, weight `[d]` → `[.., d]`.
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

    /// [`batch_statistics`]: x `[.., d]` → mean and variance `[d]`.
    fn fused_batch_statistics(x: FloatTensor<Self>) -> [FloatTensor<Self>; 2] {
        plain::batch_statistics::<Self>(x)
    }

    /// [`batch_norm`]: x `[.., d]`, weight and bias `[d]`, mean and variance `[d]` → `[.., d]`. Where the statistics are
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

    /// [`gelu`] of any shape.
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::gelu::<Self>(x)
    }

    /// Gradient of x.
    fn fused_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::gelu_backward::<Self>(x, grad)
    }

    /// [`relu`] of any shape.
    fn fused_relu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu(x)
    }

    /// Gradient of the input whose [`relu`] is `output`.
    fn fused_relu_backward(output: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu_backward(output, grad)
    }

    /// [`silu_mul`] of two tensors of one shape.
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

    /// [`linear`]: x `[.., in]`, weight `[out, in]`, bias `[out]` → `[.., out]`.
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

    /// [`attention`]: q `[b, n, query · hd]`, k and v `[b, m, key_value · hd]`, key_mask `[b, m]` → `[b, n, query ·
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
    /// [`geometry::farthest`].
    fn farthest_points(points: FloatTensor<Self>, count: usize, near_origin: f64) -> IntTensor<Self> {
        points::farthest::<Self>(points, count, near_origin)
    }

    /// The numbers of the first `count` points `[batch, N, 3]` within `radius` of each centre `[batch, M, 3]` → `[batch, M,
    /// count]`; see [`geometry::within`].
    fn ball_query(points: FloatTensor<Self>, centres: FloatTensor<Self>, radius: f64, count: usize) -> IntTensor<Self> {
        points::within::<Self>(points, centres, radius, count)
    }

    /// The numbers of the `count` points `[batch, N, 3]` nearest to each centre `[batch, M, 3]` → `[batch, M, count]`; see
    /// [`geometry::nearest`].
    fn nearest_points(points: FloatTensor<Self>, centres: FloatTensor<Self>, count: usize) -> IntTensor<Self> {
        points::nearest::<Self>(points, centres, count)
    }

    /// [`adamw_step`] of four tensors of one shape.
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

    /// [`softmax_cross_entropy`]: logits and targets `[b, c]` → `[1]`.
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

/// The primitive of a tensor.
fn raw<B: Backend, const D: usize>(t: Tensor<B, D>) -> FloatTensor<B> {
    t.into_primitive().tensor()
}

/// The tensor of a primitive.
fn cooked<B: Backend, const D: usize>(t: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(t))
}

/// A vector of parameters has the length of the dimension it is applied along.
fn check_vector<B: Backend>(v: Option<&Tensor<B, 1>>, len: usize, what: &str) {
    if let Some(v) = v {
        assert_eq!(v.dims()[0], len, "{what}: a vector as long as the last dimension");
    }
}

/// Layer normalisation over the last dimension: (x − mean) / sqrt(var + eps) · weight + bias, var without Bessel's
/// correction. x `[.., d]`, weight and bias `[d]` → `[.., d]`.
pub fn layer_norm<B: Kernels, const D: usize>(
    x: Tensor<B, D>,
    weight: Option<Tensor<B, 1>>,
    bias: Option<Tensor<B, 1>>,
    eps: f64,
) -> Tensor<B, D> {
    check_vector(weight.as_ref(), x.dims()[D - 1], "weight");
    check_vector(bias.as_ref(), x.dims()[D - 1], "bias");
    cooked(B::fused_layer_norm(raw(x), weight.map(raw), bias.map(raw), eps))
}

/// Root-mean-square normalisation over the last dimension: x / sqrt(mean(x²) + eps) · weight. x `[.., d]`, weight `[d]`
/// → `[.., d]`.
pub fn rms_norm<B: Kernels, const D: usize>(x: Tensor<B, D>, weight: Option<Tensor<B, 1>>, eps: f64) -> Tensor<B, D> {
    check_vector(weight.as_ref(), x.dims()[D - 1], "weight");
    cooked(B::fused_rms_norm(raw(x), weight.map(raw), eps))
}

/// The mean of each channel over all rows, and the variance without Bessel's correction: x `[.., d]` → `[d]` and `[d]`. No
/// gradient goes through them.
pub fn batch_statistics<B: Kernels, const D: usize>(x: Tensor<B, D>) -> [Tensor<B, 1>; 2] {
    B::fused_batch_statistics(raw(x)).map(cooked)
}

/// Batch normalisation: (x − mean) / sqrt(variance + eps) · weight + bias, with these of each channel. x `[.., d]`, the others
/// `[d]` → `[.., d]`. `of_batch` says that the statistics are those of x, so that the gradient of x goes through them too.
pub fn batch_norm<B: Kernels, const D: usize>(
    x: Tensor<B, D>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    statistics: [Tensor<B, 1>; 2],
    eps: f64,
    of_batch: bool,
) -> Tensor<B, D> {
    let d = x.dims()[D - 1];
    for (vector, what) in [(&weight, "weight"), (&bias, "bias"), (&statistics[0], "mean"), (&statistics[1], "variance")]
    {
        check_vector(Some(vector), d, what);
    }
    cooked(B::fused_batch_norm(raw(x), raw(weight), raw(bias), statistics.map(raw), eps, of_batch))
}

/// The exact GELU, x · Φ(x), of any shape.
pub fn gelu<B: Kernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    cooked(B::fused_gelu(raw(x)))
}

/// max(x, 0), of any shape.
pub fn relu<B: Kernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    cooked(B::fused_relu(raw(x)))
}

/// gate · sigmoid(gate) · up, of two tensors of one shape.
pub fn silu_mul<B: Kernels, const D: usize>(gate: Tensor<B, D>, up: Tensor<B, D>) -> Tensor<B, D> {
    assert_eq!(gate.dims(), up.dims(), "gate and up: one shape");
    cooked(B::fused_silu_mul(raw(gate), raw(up)))
}

/// x · weightᵀ + bias. x `[.., in]`, weight `[out, in]` as PyTorch keeps it, bias `[out]` → `[.., out]`. Where the
/// backend takes halves ([`Kernels::takes_halves`]), a weight that is not trained may be of halves.
pub fn linear<B: Kernels, const D: usize>(
    x: Tensor<B, D>,
    weight: Tensor<B, 2>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, D> {
    assert_eq!(x.dims()[D - 1], weight.dims()[1], "weight: as many columns as x has channels");
    check_vector(bias.as_ref(), weight.dims()[0], "bias");
    cooked(B::fused_linear(raw(x), raw(weight), bias.map(raw)))
}

/// The shapes of attention agree.
fn check_attention<B: Backend>(q: [usize; 3], k: [usize; 3], heads: Heads, key_mask: Option<&Tensor<B, 2, Bool>>) {
    assert!(heads.key_value > 0 && heads.query.is_multiple_of(heads.key_value), "heads: equal groups of query heads");
    assert!(q[2].is_multiple_of(heads.query.max(1)), "q: as many channels to each head");
    assert_eq!((q[0], q[2] / heads.query.max(1) * heads.key_value), (k[0], k[2]), "k: batch and head size of q");
    if let Some(mask) = key_mask {
        assert_eq!(mask.dims(), [k[0], k[1]], "key_mask: one value to each key");
    }
}

/// Scaled dot-product attention with grouped query heads. q `[b, n, query · hd]`, k and v `[b, m, key_value · hd]`,
/// key_mask `[b, m]`, true = a real token → `[b, n, query · hd]`.
///
/// A masked key weighs exactly nothing. A query that sees no key at all gives zeros.
pub fn attention<B: Kernels>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    heads: Heads,
    key_mask: Option<Tensor<B, 2, Bool>>,
) -> Tensor<B, 3> {
    check_attention(q.dims(), k.dims(), heads, key_mask.as_ref());
    assert_eq!(k.dims(), v.dims(), "k and v: one shape");
    cooked(B::fused_attention(raw(q), raw(k), raw(v), heads, key_mask.map(Tensor::into_primitive)))
}

/// [`attention`] of queries, keys and values side by side: x `[b, n, 3 · query · hd]`, key_mask `[b, n]` → `[b, n, query ·
/// hd]`. As many key and value heads as query heads.
pub fn joined_attention<B: Kernels>(
    x: Tensor<B, 3>,
    heads: Heads,
    key_mask: Option<Tensor<B, 2, Bool>>,
) -> Tensor<B, 3> {
    let [batch, tokens, channels] = x.dims();
    assert!(channels.is_multiple_of(3) && heads.group() == 1, "x: q, k and v of as many heads");
    let third = [batch, tokens, channels / 3];
    check_attention(third, third, heads, key_mask.as_ref());
    cooked(B::fused_joined_attention(raw(x), heads, key_mask.map(Tensor::into_primitive)))
}

/// The probabilities [`attention`] weighs values with: `[b, query, n, m]`. Made of Burn's plain operations.
pub fn attention_probs<B: Kernels>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    heads: Heads,
    key_mask: Option<Tensor<B, 2, Bool>>,
) -> Tensor<B, 4> {
    check_attention(q.dims(), k.dims(), heads, key_mask.as_ref());
    cooked(plain::attention_probs::<B>(raw(q), raw(k), heads, key_mask.map(Tensor::into_primitive)))
}

/// How fast the pairs of a head turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Pair i of n turns by theta^(−i / n) a token.
    pub theta: f64,
    /// How a model was made to see longer texts than it was trained on.
    pub scaling: Scaling,
}

/// What slows turning pairs down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Nothing.
    None,
    /// All of them turn so many times slower.
    All {
        /// How many times.
        factor: f64,
    },
    /// Slow ones turn slower still, as in LLaMA-3.1: those with fewer than `low` turns within `original` tokens by all of
    /// `factor`, those with more than `high` not at all, and the others in between.
    Slow {
        /// How many times.
        factor: f64,
        /// Turns of the fastest pair that is slowed down wholly.
        low: f64,
        /// Turns of the slowest pair that is left alone.
        high: f64,
        /// Tokens that the model was trained on at first.
        original: f64,
    },
}

impl Rope {
    /// The angle of pair `pair` of `pairs` from one token to the next, in radians.
    fn speed(self, pair: usize, pairs: usize) -> f64 {
        let speed = self.theta.powf(-(pair as f64) / pairs as f64);
        match self.scaling {
            Scaling::None => speed,
            Scaling::All { factor } => speed / factor,
            Scaling::Slow { factor, low, high, original } => {
                let turns = original * speed / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                speed * (kept + (1.0 - kept) / factor)
            }
        }
    }
}

/// Rotary position embedding as in Hugging Face's LLaMA: the halves of each head turned against each other, at
/// positions 0 to n − 1. x `[b, n, heads · hd]` → the same. Made of Burn's plain operations.
pub fn rope<B: Kernels>(x: Tensor<B, 3>, heads: usize, turns: Rope) -> Tensor<B, 3> {
    assert!(heads > 0 && x.dims()[2].is_multiple_of(2 * heads), "x: an even number of channels to each head");
    cooked(plain::rope::<B>(raw(x), heads, turns))
}

/// One step of AdamW with decoupled weight decay, as `torch.optim.AdamW` takes it; `step` is 1 at the first. Four
/// tensors of one shape → param, m and v after the step. Give up the only handles to them, and they change in place.
pub fn adamw_step<B: Kernels, const D: usize>(
    param: Tensor<B, D>,
    grad: Tensor<B, D>,
    m: Tensor<B, D>,
    v: Tensor<B, D>,
    step: u32,
    settings: AdamW,
) -> [Tensor<B, D>; 3] {
    for t in [&grad, &m, &v] {
        assert_eq!(t.dims(), param.dims(), "param, grad, m and v: one shape");
    }
    B::fused_adamw_step(raw(param), raw(grad), raw(m), raw(v), step, settings).map(cooked)
}

/// The mean over the batch of −Σ targets · log_softmax(logits). logits and targets `[b, c]` → `[1]`. No gradient goes
/// to `targets`.
pub fn softmax_cross_entropy<B: Kernels>(logits: Tensor<B, 2>, targets: Tensor<B, 2>) -> Tensor<B, 1> {
    assert_eq!(logits.dims(), targets.dims(), "logits and targets: one shape");
    cooked(B::fused_softmax_cross_entropy(raw(logits), raw(targets)))
}
