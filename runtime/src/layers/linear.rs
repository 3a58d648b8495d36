//! `linear`: y = xWᵀ + b.

use super::{forward, layers, take};

/// The layer and the tensor that the kernel reads in half precision.
pub(super) const TAKES_HALVES: (&str, &str) = ("linear", "weight");

struct Linear;

layers! { "linear" => |_| Ok(Linear) }

// [batch, .., in] -> [batch, .., out]
forward!(Linear, |_this, inputs, weights, pass| {
    let [x] = take(inputs);
    let y = pass.linear::<B>(x.numbers(), weights.always("weight"), weights.get("bias"));
    vec![x.with(y)]
});
