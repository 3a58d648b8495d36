//! `attend`, `self_attend`, `attention_weights` and `causal_mask`: scaled dot-product attention over heads that lie side by side in the
//! last dim, in one step.

use burn::tensor::{Bool, Tensor, TensorPrimitive};

use super::{flag, forward, layers, size, take};
use crate::kernels::{Heads, attention_probs, booleans};
use crate::stream::Stream;

struct Attend(Grouped);
struct SelfAttend {
    heads: usize,
}
struct AttentionWeights(Grouped);
struct CausalMask;

struct Grouped {
    heads: usize,
    kv_heads: usize,
    causal: bool,
}

impl Grouped {
    fn of(node: &lmv_compiler::plan::Node) -> crate::error::Result<Self> {
        Ok(Self { heads: size(node, "heads")?, kv_heads: size(node, "kv_heads")?, causal: flag(node, "causal")? })
    }

    /// For queries of this width.
    fn over(&self, width: usize) -> Heads {
        Heads { key_value: self.kv_heads, causal: self.causal, ..Heads::full(self.heads, width / self.heads) }
    }
}

layers! {
    "attend" => |node| Ok(Attend(Grouped::of(node)?)),
    "self_attend" => |node| Ok(SelfAttend { heads: size(node, "heads")? }),
    "attention_weights" => |node| Ok(AttentionWeights(Grouped::of(node)?)),
    "causal_mask" => |_| Ok(CausalMask),
}

// [batch, T, d], [batch, S, k], [batch, S, k] -> [batch, T, d]
forward!(Attend, |this, inputs, _weights, pass| {
    let [q, k, v] = take(inputs);
    let heads = this.0.over(q.dims()[2]);
    let mask = k.mask(0);
    if pass.rounds_operands::<B>() {
        return vec![q.with(B::fused_attention(q.numbers(), k.into_numbers(), v.into_numbers(), heads, mask))];
    }
    let precision = pass.products();
    let narrow = |t| precision.narrow::<B>(t);
    let seen = B::fused_attention(narrow(q.numbers()), narrow(k.into_numbers()), narrow(v.into_numbers()), heads, mask);
    vec![q.with(precision.widen::<B>(seen))]
});

// [batch, T, 3 d] -> [batch, T, d]
forward!(SelfAttend, |this, inputs, _weights, pass| {
    let [x] = take(inputs);
    let heads = Heads::full(this.heads, x.dims()[2] / 3 / this.heads);
    let mask = x.mask(0);
    if pass.rounds_operands::<B>() {
        return vec![x.map(|x| B::fused_joined_attention(x, heads, mask))];
    }
    let precision = pass.products();
    vec![x.map(|x| precision.widen::<B>(B::fused_joined_attention(precision.narrow::<B>(x), heads, mask)))]
});

// [batch, T, d], [batch, S, k] -> [batch, heads, T, S]
forward!(AttentionWeights, |this, inputs, _weights, _pass| {
    let [q, k] = take(inputs);
    let heads = this.0.over(q.dims()[2]);
    let (rows, columns) = (q.mask(0), k.mask(0));
    let tensor = |x: Stream<B>| Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(x.into_numbers()));
    let mask = columns.clone().map(Tensor::<B, 2, Bool>::from_primitive);
    let weights = attention_probs(tensor(q), tensor(k), heads, mask);
    vec![Stream::new(weights.into_primitive().tensor()).masked(1, rows).masked(2, columns)]
});

// [batch, .., T, S] -> [batch, .., T, S]
forward!(CausalMask, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let (rows, columns) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let later = (0..rows).flat_map(|t| (0..columns).map(move |s| s > t)).collect::<Vec<bool>>();
    let mut shape = vec![1; dims.len() - 2];
    shape.extend([rows, columns]);
    let later = booleans::<B>(later, shape, &B::float_device(&x.numbers()));
    let later = B::bool_expand(later, dims.into());
    vec![x.with(B::float_mask_fill(x.numbers(), later, f64::NEG_INFINITY.into()))]
});
