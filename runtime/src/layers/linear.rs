//! `linear`: y = xWᵀ + b.

use super::{forward, layers, take};

struct Linear;

layers! { "linear" => |_| Ok(Linear) }

// [batch, .., in] -> [batch, .., out]
forward!(Linear, |_this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let y = B::fused_linear(x.numbers(), weights.always("weight"), weights.get("bias"));
    vec![x.with(y)]
});
