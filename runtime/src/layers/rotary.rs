//! `rotary`: rotary positions on every head.

use burn::tensor::{Tensor, TensorPrimitive};

use super::{forward, layers, number, size, take};
use crate::kernels::rope;

struct Rotary {
    heads: usize,
    theta: f64,
}

layers! { "rotary" => |node| Ok(Rotary { heads: size(node, "heads")?, theta: number(node, "theta")? }) }

// [batch, tokens, d] -> [batch, tokens, d]
forward!(Rotary, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let turned = rope(Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(x.numbers())), this.heads, this.theta);
    vec![x.with(turned.into_primitive().tensor())]
});
