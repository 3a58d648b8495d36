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
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, Tensor, TensorPrimitive};

pub use self::average::global_norm;
pub use self::backend::Kernels;
pub use self::booleans::{bool_dtype, booleans};
pub(crate) use self::simd::wide;

mod adamw;
mod attention;
mod autodiff;
mod average;
mod backend;
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
