//! `position`: a learned vector added to each token.

use super::{forward, layers, take};

struct Position;

layers! { "position" => |_| Ok(Position) }

// [batch, tokens, d] -> [batch, tokens, d]
forward!(Position, |_this, inputs, weights, _pass| {
    let [x] = take(inputs);
    vec![x.with(B::float_add(x.tensor.clone(), weights.always("embed")))]
});
