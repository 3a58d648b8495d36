//! `layer_norm` and `rms_norm`, both over the last dim.

use super::{forward, layers, number, take};

struct LayerNorm {
    eps: f64,
}

struct RmsNorm {
    eps: f64,
}

layers! {
    "layer_norm" => |node| Ok(LayerNorm { eps: number(node, "eps")? }),
    "rms_norm" => |node| Ok(RmsNorm { eps: number(node, "eps")? }),
}

// [batch, .., d] -> [batch, .., d]
forward!(LayerNorm, |this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let y = B::fused_layer_norm(x.tensor.clone(), weights.get("weight"), weights.get("bias"), this.eps);
    vec![x.with(y)]
});

// [batch, .., d] -> [batch, .., d]
forward!(RmsNorm, |this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let y = B::fused_rms_norm(x.tensor.clone(), weights.get("weight"), this.eps);
    vec![x.with(y)]
});
