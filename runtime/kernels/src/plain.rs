//! Every operation made of Burn's own: the default bodies of [`Kernels`](super::Kernels), and what tests measure the
//! fused forms against. Statistics and probabilities are computed in `f32` where a tensor is narrower.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor};
use burn::tensor::{DType, FloatDType, Shape, Slice, TensorData, TensorMetadata};

use super::{Heads, Kernels, Rope, booleans};

type Grads<B, const N: usize> = [Option<FloatTensor<B>>; N];

/// The tensor in `f32`, if its type is narrower.
fn widen<B: Backend>(t: FloatTensor<B>) -> FloatTensor<B> {
    if matches!(t.dtype(), DType::F16 | DType::BF16) { B::float_cast(t, FloatDType::F32) } else { t }
}

/// The tensor in another type.
pub(super) fn to_dtype<B: Backend>(t: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    if t.dtype() == dtype { t } else { B::float_cast(t, FloatDType::from(dtype)) }
}

/// The sizes of a tensor.
pub(super) fn dims<B: Backend>(t: &FloatTensor<B>) -> Vec<usize> {
    t.shape().to_vec()
}

/// `t` in the shape `shape`.
fn reshape<B: Backend>(t: FloatTensor<B>, shape: impl Into<Shape>) -> FloatTensor<B> {
    B::float_reshape(t, shape.into())
}

/// A vector `[d]` ready to broadcast over a tensor of `rank` dimensions.
fn along_last<B: Backend>(v: FloatTensor<B>, rank: usize) -> FloatTensor<B> {
    let mut shape = vec![1; rank];
    shape[rank - 1] = v.shape().num_elements();
    reshape::<B>(v, shape)
}

/// `t` as a matrix `[rows, d]`, d its last dimension.
fn as_matrix<B: Backend>(t: FloatTensor<B>) -> FloatTensor<B> {
    let (rows, width) = {
        let shape = dims::<B>(&t);
        let width = shape.last().copied().unwrap_or(1);
        (shape[..shape.len().max(1) - 1].iter().product(), width)
    };
    reshape::<B>(t, [rows, width])
}

/// `[.., d]` summed to `[d]`.
pub(super) fn sum_rows<B: Backend>(t: FloatTensor<B>) -> FloatTensor<B> {
    let t = as_matrix::<B>(t);
    let width = t.shape()[1];
    reshape::<B>(B::float_sum_dim(t, 0), [width])
}

/// (x − mean) / sqrt(var + eps) of each row, and the factor 1 / sqrt(var + eps); the mean taken as zero if `centred` is
/// not set.
fn normalise<B: Backend>(x: FloatTensor<B>, eps: f64, centred: bool) -> (FloatTensor<B>, FloatTensor<B>) {
    let last = x.rank() - 1;
    let x = if centred { B::float_sub(x.clone(), B::float_mean_dim(x, last)) } else { x };
    let variance = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), last);
    let factor = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, eps.into())));
    (B::float_mul(x, factor.clone()), factor)
}

/// The three thirds of the channels of x `[b, n, d]`.
pub(super) fn thirds<B: Backend>(x: FloatTensor<B>) -> [FloatTensor<B>; 3] {
    let [batch, tokens, channels] = dims::<B>(&x)[..] else { panic!("a tensor [batch, tokens, channels]") };
    let third = channels / 3;
    [0, 1, 2].map(|i| {
        let slices: [Slice; 3] = [(0..batch).into(), (0..tokens).into(), (i * third..(i + 1) * third).into()];
        B::float_slice(x.clone(), &slices)
    })
}

pub(super) fn norm<B: Backend>(
    x: FloatTensor<B>,
    weight: Option<FloatTensor<B>>,
    bias: Option<FloatTensor<B>>,
    eps: f64,
    centred: bool,
) -> FloatTensor<B> {
    let (dtype, rank) = (x.dtype(), x.rank());
    let mut out = to_dtype::<B>(normalise::<B>(widen::<B>(x), eps, centred).0, dtype);
    if let Some(weight) = weight {
        out = B::float_mul(out, along_last::<B>(weight, rank));
    }
    if let Some(bias) = bias {
        out = B::float_add(out, along_last::<B>(bias, rank));
    }
    out
}

pub(super) fn norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: Option<FloatTensor<B>>,
    grad: FloatTensor<B>,
    eps: f64,
    centred: bool,
    wanted: [bool; 3],
) -> Grads<B, 3> {
    let (dtype, rank) = (x.dtype(), x.rank());
    let last = rank - 1;
    let grad = widen::<B>(grad);
    let (unit, factor) = normalise::<B>(widen::<B>(x), eps, centred);
    let dw = wanted[1].then(|| to_dtype::<B>(sum_rows::<B>(B::float_mul(grad.clone(), unit.clone())), dtype));
    let db = wanted[2].then(|| to_dtype::<B>(sum_rows::<B>(grad.clone()), dtype));
    let dx = wanted[0].then(|| {
        let g = match weight {
            Some(weight) => B::float_mul(grad, along_last::<B>(widen::<B>(weight), rank)),
            None => grad,
        };
        let along = B::float_mean_dim(B::float_mul(g.clone(), unit.clone()), last);
        let mut dx = B::float_sub(g.clone(), B::float_mul(unit, along));
        if centred {
            dx = B::float_sub(dx, B::float_mean_dim(g, last));
        }
        to_dtype::<B>(B::float_mul(dx, factor), dtype)
    });
    [dx, dw, db]
}

pub(super) fn layer_norm<B: Backend>(
    x: FloatTensor<B>,
    weight: Option<FloatTensor<B>>,
    bias: Option<FloatTensor<B>>,
    eps: f64,
) -> FloatTensor<B> {
    norm::<B>(x, weight, bias, eps, true)
}

pub(super) fn layer_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: Option<FloatTensor<B>>,
    grad: FloatTensor<B>,
    eps: f64,
    wanted: [bool; 3],
) -> Grads<B, 3> {
    norm_backward::<B>(x, weight, grad, eps, true, wanted)
}

pub(super) fn rms_norm<B: Backend>(x: FloatTensor<B>, weight: Option<FloatTensor<B>>, eps: f64) -> FloatTensor<B> {
    norm::<B>(x, weight, None, eps, false)
}

pub(super) fn rms_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: Option<FloatTensor<B>>,
    grad: FloatTensor<B>,
    eps: f64,
    wanted: [bool; 2],
) -> Grads<B, 2> {
    let [dx, dw, _] = norm_backward::<B>(x, weight, grad, eps, false, [wanted[0], wanted[1], false]);
    [dx, dw]
}

pub(super) fn batch_statistics<B: Backend>(x: FloatTensor<B>) -> [FloatTensor<B>; 2] {
    let x = as_matrix::<B>(widen::<B>(B::float_detach(x)));
    let width = x.shape()[1];
    let mean = B::float_mean_dim(x.clone(), 0);
    let off = B::float_sub(x, mean.clone());
    let variance = B::float_mean_dim(B::float_mul(off.clone(), off), 0);
    [mean, variance].map(|of| reshape::<B>(of, [width]))
}

/// (x − mean) / sqrt(variance + eps) of each row, and the factor 1 / sqrt(variance + eps).
fn normalise_by<B: Backend>(
    x: FloatTensor<B>,
    [mean, variance]: [FloatTensor<B>; 2],
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let rank = x.rank();
    let factor = B::float_recip(B::float_sqrt(B::float_add_scalar(widen::<B>(variance), eps.into())));
    let factor = along_last::<B>(factor, rank);
    let off = B::float_sub(x, along_last::<B>(widen::<B>(mean), rank));
    (B::float_mul(off, factor.clone()), factor)
}

pub(super) fn batch_norm<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    statistics: [FloatTensor<B>; 2],
    eps: f64,
) -> FloatTensor<B> {
    let (dtype, rank) = (x.dtype(), x.rank());
    let (normed, _) = normalise_by::<B>(widen::<B>(x), statistics, eps);
    let out = B::float_mul(normed, along_last::<B>(widen::<B>(weight), rank));
    to_dtype::<B>(B::float_add(out, along_last::<B>(widen::<B>(bias), rank)), dtype)
}

pub(super) fn batch_norm_backward<B: Backend>(
    [x, weight, grad]: [FloatTensor<B>; 3],
    statistics: [FloatTensor<B>; 2],
    eps: f64,
    of_batch: bool,
    wanted: [bool; 3],
) -> Grads<B, 3> {
    let (dtype, rank) = (x.dtype(), x.rank());
    let grad = widen::<B>(grad);
    let (normed, factor) = normalise_by::<B>(widen::<B>(x), statistics, eps);
    let level = sum_rows::<B>(grad.clone());
    let along = sum_rows::<B>(B::float_mul(grad.clone(), normed.clone()));
    let dx = wanted[0].then(|| {
        let shape = dims::<B>(&grad);
        let rows: usize = shape[..rank - 1].iter().product();
        let mut off = grad;
        if of_batch {
            let share =
                |sum: &FloatTensor<B>| along_last::<B>(B::float_div_scalar(sum.clone(), (rows as f64).into()), rank);
            off = B::float_sub(B::float_sub(off, share(&level)), B::float_mul(normed, share(&along)));
        }
        let scale = B::float_mul(factor, along_last::<B>(widen::<B>(weight), rank));
        to_dtype::<B>(B::float_mul(off, scale), dtype)
    });
    [dx, wanted[1].then(|| to_dtype::<B>(along, dtype)), wanted[2].then(|| to_dtype::<B>(level, dtype))]
}

/// The probability of a standard normal value below x.
fn normal_below<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x, std::f64::consts::FRAC_1_SQRT_2.into()));
    B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into())
}

pub(super) fn gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), normal_below::<B>(x))
}

/// Burn's own `gelu_backward` is that of the tanh form, not of the exact one.
pub(super) fn gelu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let square = B::float_mul(x.clone(), x.clone());
    let density = B::float_mul_scalar(
        B::float_exp(B::float_mul_scalar(square, (-0.5).into())),
        (std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2 / 2.0).into(),
    );
    let slope = B::float_add(normal_below::<B>(x.clone()), B::float_mul(x, density));
    B::float_mul(grad, slope)
}

pub(super) fn silu_mul<B: Backend>(gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(B::float_mul(gate.clone(), B::sigmoid(gate)), up)
}

pub(super) fn silu_mul_backward<B: Backend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    grad: FloatTensor<B>,
    wanted: [bool; 2],
) -> Grads<B, 2> {
    let s = B::sigmoid(gate.clone());
    let dgate = wanted[0].then(|| {
        // s · (1 + gate · (1 − s))
        let slope = B::float_mul(gate.clone(), B::float_add_scalar(B::float_neg(s.clone()), 1.0.into()));
        let slope = B::float_mul(s.clone(), B::float_add_scalar(slope, 1.0.into()));
        B::float_mul(B::float_mul(grad.clone(), up), slope)
    });
    let dup = wanted[1].then(|| B::float_mul(grad, B::float_mul(gate, s)));
    [dgate, dup]
}

pub(super) fn linear<B: Kernels>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let weight = to_dtype::<B>(weight, x.dtype());
    let mut shape = dims::<B>(&x);
    *shape.last_mut().expect("a tensor of one dimension or more") = weight.shape()[0];
    let mut out = B::product(as_matrix::<B>(x), B::float_swap_dims(weight, 0, 1));
    if let Some(bias) = bias {
        out = B::float_add(out, along_last::<B>(bias, 2));
    }
    reshape::<B>(out, shape)
}

pub(super) fn linear_backward<B: Kernels>(
    x: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
    grad: FloatTensor<B>,
    bias: bool,
) -> Grads<B, 3> {
    let mut shape = dims::<B>(&grad);
    let grad = as_matrix::<B>(grad);
    let dw = x.map(|x| B::product(B::float_swap_dims(grad.clone(), 0, 1), as_matrix::<B>(x)));
    let db = bias.then(|| sum_rows::<B>(grad.clone()));
    let dx = weight.map(|weight| {
        let weight = to_dtype::<B>(weight, grad.dtype());
        *shape.last_mut().expect("a tensor of one dimension or more") = weight.shape()[1];
        reshape::<B>(B::product(grad, weight), shape)
    });
    [dx, dw, db]
}

/// Tokens-major `[b, n, groups · per_group · hd]` as `[b · groups, per_group · n, hd]`, so that the heads which share
/// keys are rows of one matrix.
fn to_heads<B: Backend>(t: FloatTensor<B>, groups: usize, per_group: usize) -> FloatTensor<B> {
    let [b, n, c] = dims::<B>(&t)[..] else { panic!("a tensor [batch, tokens, channels]") };
    let hd = c / (groups * per_group);
    let t = B::float_permute(reshape::<B>(t, [b, n, groups * per_group, hd]), &[0, 2, 1, 3]);
    reshape::<B>(t, [b * groups, per_group * n, hd])
}

/// Back from [`to_heads`].
fn from_heads<B: Backend>(t: FloatTensor<B>, b: usize, n: usize, groups: usize, per_group: usize) -> FloatTensor<B> {
    let hd = t.shape()[2];
    let t = B::float_permute(reshape::<B>(t, [b, groups * per_group, n, hd]), &[0, 2, 1, 3]);
    reshape::<B>(t, [b, n, groups * per_group * hd])
}

/// What no query may see, `[b, heads, n, m]`, true = hidden.
fn hidden<B: Backend>(
    key_mask: Option<BoolTensor<B>>,
    causal: bool,
    [b, heads, n, m]: [usize; 4],
    device: &B::Device,
) -> Option<BoolTensor<B>> {
    let shape = Shape::from([b, heads, n, m]);
    let padded =
        key_mask.map(|mask| B::bool_expand(B::bool_not(B::bool_reshape(mask, [b, 1, 1, m].into())), shape.clone()));
    let later = causal.then(|| {
        let later: Vec<bool> = (0..n * m).map(|i| i % m > i / m).collect();
        let mask = booleans::<B>(later, [1, 1, n, m], device);
        B::bool_expand(mask, shape)
    });
    match (padded, later) {
        (Some(a), Some(b)) => Some(B::bool_or(a, b)),
        (a, b) => a.or(b),
    }
}

pub(super) fn attention_probs<B: Kernels>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    heads: Heads,
    key_mask: Option<BoolTensor<B>>,
) -> FloatTensor<B> {
    let ([b, n, _], m) = (dims3::<B>(&q), k.shape()[1]);
    let q = to_heads::<B>(q, heads.key_value, heads.group());
    let k = to_heads::<B>(k, heads.key_value, 1);
    let scores = B::product(q, B::float_swap_dims(k, 1, 2));
    B::fused_probabilities(reshape::<B>(scores, [b, heads.query, n, m]), heads, key_mask)
}

pub(super) fn probabilities<B: Backend>(
    scores: FloatTensor<B>,
    heads: Heads,
    key_mask: Option<BoolTensor<B>>,
) -> FloatTensor<B> {
    let (dtype, device) = (scores.dtype(), B::float_device(&scores));
    let shape = dims::<B>(&scores).try_into().expect("scores [batch, heads, queries, keys]");
    let scores = B::float_mul_scalar(widen::<B>(scores), heads.scale.into());
    let probs = match hidden::<B>(key_mask, heads.causal, shape, &device) {
        Some(hidden) => {
            let scores = B::float_mask_fill(scores, hidden.clone(), (-1e30).into());
            B::float_mask_fill(B::softmax(scores, 3), hidden, 0.0.into())
        }
        None => B::softmax(scores, 3),
    };
    to_dtype::<B>(probs, dtype)
}

pub(super) fn scores_backward<B: Backend>(probs: FloatTensor<B>, grad: FloatTensor<B>, scale: f64) -> FloatTensor<B> {
    let drawn = B::float_mul(grad, probs.clone());
    let total = B::float_sum_dim(drawn.clone(), drawn.rank() - 1);
    B::float_mul_scalar(B::float_sub(drawn, B::float_mul(probs, total)), scale.into())
}

/// The sizes of a tensor of three dimensions.
fn dims3<B: Backend>(t: &FloatTensor<B>) -> [usize; 3] {
    dims::<B>(t).try_into().expect("a tensor [batch, tokens, channels]")
}

pub(super) fn attention<B: Kernels>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    heads: Heads,
    key_mask: Option<BoolTensor<B>>,
) -> FloatTensor<B> {
    let ([b, n, _], m) = (dims3::<B>(&q), k.shape()[1]);
    let probs = attention_probs::<B>(q, k, heads, key_mask);
    let probs = reshape::<B>(probs, [b * heads.key_value, heads.group() * n, m]);
    let out = B::product(probs, to_heads::<B>(v, heads.key_value, 1));
    from_heads::<B>(out, b, n, heads.key_value, heads.group())
}

pub(super) fn attention_backward<B: Kernels>(
    [q, k, v]: [FloatTensor<B>; 3],
    grad: FloatTensor<B>,
    heads: Heads,
    key_mask: Option<BoolTensor<B>>,
    wanted: [bool; 3],
) -> Grads<B, 3> {
    let ([b, n, _], m) = (dims3::<B>(&q), k.shape()[1]);
    let (groups, per_group) = (heads.key_value, heads.group());
    let probs = attention_probs::<B>(q.clone(), k.clone(), heads, key_mask);
    let probs = reshape::<B>(probs, [b * groups, per_group * n, m]);
    let grad = to_heads::<B>(grad, groups, per_group);
    let dv = wanted[2].then(|| {
        let dv = B::product(B::float_swap_dims(probs.clone(), 1, 2), grad.clone());
        from_heads::<B>(dv, b, m, groups, 1)
    });
    if !wanted[0] && !wanted[1] {
        return [None, None, dv];
    }
    let dprobs = B::product(grad, B::float_swap_dims(to_heads::<B>(v, groups, 1), 1, 2));
    let dscores = B::fused_scores_backward(probs, dprobs, heads.scale);
    let dq = wanted[0].then(|| {
        let dq = B::product(dscores.clone(), to_heads::<B>(k, groups, 1));
        from_heads::<B>(dq, b, n, groups, per_group)
    });
    let dk = wanted[1].then(|| {
        let dk = B::product(B::float_swap_dims(dscores, 1, 2), to_heads::<B>(q, groups, per_group));
        from_heads::<B>(dk, b, m, groups, 1)
    });
    [dq, dk, dv]
}

pub(super) fn rope<B: Backend>(x: FloatTensor<B>, heads: usize, turns: Rope) -> FloatTensor<B> {
    let (dtype, device) = (x.dtype(), B::float_device(&x));
    let [b, n, c] = dims3::<B>(&x);
    let half = c / heads / 2;
    let speeds: Vec<f64> = (0..half).map(|pair| turns.speed(pair, half)).collect();
    let angle = |i: usize| (i / half) as f64 * speeds[i % half];
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f32> = (0..n * half).map(|i| f(angle(i)) as f32).collect();
        B::float_from_data(TensorData::new(values, [1, n, 1, 1, half]), &device)
    };
    let (cos, sin) = (table(f64::cos), table(f64::sin));
    let x = reshape::<B>(widen::<B>(x), [b, n, heads, 2, half]);
    let part = |i: usize| {
        let all = Slice::full();
        B::float_slice(x.clone(), &[all, all, all, Slice::from(i..i + 1), all])
    };
    let (first, second) = (part(0), part(1));
    let turned_first =
        B::float_sub(B::float_mul(first.clone(), cos.clone()), B::float_mul(second.clone(), sin.clone()));
    let turned_second = B::float_add(B::float_mul(second, cos), B::float_mul(first, sin));
    to_dtype::<B>(reshape::<B>(B::float_cat(vec![turned_first, turned_second], 3), [b, n, c]), dtype)
}

pub(super) fn adamw_step<B: Backend>(
    [param, grad, m, v]: [FloatTensor<B>; 4],
    step: u32,
    settings: super::AdamW,
) -> [FloatTensor<B>; 3] {
    let super::AdamW { lr, beta1, beta2, eps, weight_decay } = settings;
    let param = B::float_mul_scalar(param, (1.0 - lr * weight_decay).into());
    let m = B::float_add(B::float_mul_scalar(m, beta1.into()), B::float_mul_scalar(grad.clone(), (1.0 - beta1).into()));
    let v = B::float_add(
        B::float_mul_scalar(v, beta2.into()),
        B::float_mul_scalar(B::float_mul(grad.clone(), grad), (1.0 - beta2).into()),
    );
    let [step_size, root_factor] = settings.corrections(step);
    let denominator =
        B::float_add_scalar(B::float_mul_scalar(B::float_sqrt(v.clone()), root_factor.into()), eps.into());
    let change = B::float_mul_scalar(B::float_div(m.clone(), denominator), step_size.into());
    [B::float_sub(param, change), m, v]
}

pub(super) fn softmax_cross_entropy<B: Backend>(logits: FloatTensor<B>, targets: FloatTensor<B>) -> FloatTensor<B> {
    let (dtype, rows) = (logits.dtype(), logits.shape()[0]);
    let log_probs = B::log_softmax(widen::<B>(logits), 1);
    let total = B::float_sum(B::float_mul(log_probs, widen::<B>(targets)));
    to_dtype::<B>(reshape::<B>(B::float_mul_scalar(total, (-1.0 / rows as f64).into()), [1]), dtype)
}

pub(super) fn softmax_cross_entropy_backward<B: Backend>(
    logits: FloatTensor<B>,
    targets: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let (dtype, rows) = (logits.dtype(), logits.shape()[0]);
    let targets = widen::<B>(targets);
    let weight = B::float_sum_dim(targets.clone(), 1);
    let probs = B::softmax(widen::<B>(logits), 1);
    let slope = B::float_sub(B::float_mul(probs, weight), targets);
    let grad = B::float_mul_scalar(reshape::<B>(widen::<B>(grad), [1, 1]), (1.0 / rows as f64).into());
    to_dtype::<B>(B::float_mul(slope, grad), dtype)
}
