//! `add`: the sum of two streams of one shape.

use super::{forward, layers, take};

struct Add;

layers! { "add" => |_| Ok(Add) }

forward!(Add, |_this, inputs, _weights, _pass| {
    let [a, b] = take(inputs);
    vec![a.with(B::float_add(a.tensor.clone(), b.tensor))]
});
