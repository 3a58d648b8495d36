//! `attention_weights`: what `attend` weighs the tokens with, for looking at.

use burn::tensor::{Bool, Tensor, TensorPrimitive};

use super::{flag, forward, layers, size, take};
use crate::kernels::{Heads, attention_probs};
use crate::stream::Stream;

struct AttentionWeights {
    heads: usize,
    kv_heads: usize,
    causal: bool,
}

layers! {
    "attention_weights" => |node| {
        Ok(AttentionWeights {
            heads: size(node, "heads")?,
            kv_heads: size(node, "kv_heads")?,
            causal: flag(node, "causal")?,
        })
    },
}

// [batch, T, d], [batch, S, k] -> [batch, heads, T, S]
forward!(AttentionWeights, |this, inputs, _weights, _pass| {
    let [q, k] = take(inputs);
    let head_dim = q.dims()[2] / this.heads;
    let heads = Heads { key_value: this.kv_heads, causal: this.causal, ..Heads::full(this.heads, head_dim) };
    let tensor = |t| Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(t));
    let mask = k.mask.map(Tensor::<B, 2, Bool>::from_primitive);
    let weights = attention_probs(tensor(q.tensor), tensor(k.tensor), heads, mask);
    vec![Stream::new(weights.into_primitive().tensor())]
});
