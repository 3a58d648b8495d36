//! `layer_norm`, `rms_norm` and `std_norm`, all over the last dim.

use super::{forward, layers, number, take};
use crate::stream::reshape;

struct LayerNorm {
    eps: f64,
}

struct RmsNorm {
    eps: f64,
}

struct StdNorm {
    eps: f64,
}

layers! {
    "layer_norm" => |node| Ok(LayerNorm { eps: number(node, "eps")? }),
    "std_norm" => |node| Ok(StdNorm { eps: number(node, "eps")? }),
    "rms_norm" => |node| Ok(RmsNorm { eps: number(node, "eps")? }),
}

// [batch, .., d] -> [batch, .., d]
forward!(LayerNorm, |this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let y = B::fused_layer_norm(x.numbers(), weights.get("weight"), weights.get("bias"), this.eps);
    vec![x.with(y)]
});

// [batch, .., d] -> [batch, .., d]
forward!(RmsNorm, |this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let y = B::fused_rms_norm(x.numbers(), weights.get("weight"), this.eps);
    vec![x.with(y)]
});

// [batch, .., d] -> [batch, .., d]
forward!(StdNorm, |this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let along = |name: &str| reshape::<B>(weights.always(name), &[vec![1; last], vec![dims[last]]].concat());
    let centred = B::float_sub(x.numbers(), B::float_mean_dim(x.numbers(), last));
    let squares = B::float_sum_dim(B::float_mul(centred.clone(), centred.clone()), last);
    // The unbiased deviation: divided by d - 1.
    let deviation = B::float_sqrt(B::float_div_scalar(squares, (dims[last] as f64 - 1.0).into()));
    let normed = B::float_div(centred, B::float_add_scalar(deviation, this.eps.into()));
    vec![x.with(B::float_add(B::float_mul(normed, along("a_2")), along("b_2")))]
});
