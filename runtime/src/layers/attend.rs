//! `attend`: scaled dot-product attention over heads that lie side by side in the last dim.

use super::{flag, forward, layers, size, take};
use crate::kernels::Heads;

struct Attend {
    heads: usize,
    kv_heads: usize,
    causal: bool,
}

layers! {
    "attend" => |node| {
        Ok(Attend { heads: size(node, "heads")?, kv_heads: size(node, "kv_heads")?, causal: flag(node, "causal")? })
    },
}

// [batch, T, d], [batch, S, k], [batch, S, k] -> [batch, T, d]
forward!(Attend, |this, inputs, _weights, _pass| {
    let [q, k, v] = take(inputs);
    let head_dim = q.dims()[2] / this.heads;
    let heads = Heads { key_value: this.kv_heads, causal: this.causal, ..Heads::full(this.heads, head_dim) };
    let y = B::fused_attention(q.tensor.clone(), k.tensor, v.tensor, heads, k.mask);
    vec![q.with(y)]
});
