//! `linear`: y = xWᵀ + b.

use super::{forward, layers, take};

struct Linear;

layers! { "linear" => |_| Ok(Linear) }

// [batch, .., in] -> [batch, .., out]
forward!(Linear, |_this, inputs, weights, pass| {
    let [x] = take(inputs);
    let y = pass.linear::<B>(x.numbers(), weights.always("weight"), weights.get("bias"));
    vec![x.with(y)]
});
