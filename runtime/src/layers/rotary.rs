//! `rotary`: rotary positions on every head.

use burn::tensor::{Tensor, TensorPrimitive};

use super::{argument, forward, layers, number, numbers, size, take};
use crate::kernels::{Rope, Scaling, rope};

struct Rotary {
    heads: usize,
    turns: Rope,
}

layers! {
    "rotary" => |node| {
        let scaling = match numbers(node, "scaling")?[..] {
            [] => Scaling::None,
            [factor] if factor > 0.0 => Scaling::All { factor },
            [factor, low, high, original] if factor > 0.0 && 0.0 < low && low < high && original > 0.0 => {
                Scaling::Slow { factor, low, high, original }
            }
            _ => return Err(argument(node, "scaling", "`[]`, `[factor]`, or `[factor, low, high, original]` with low < high")),
        };
        Ok(Rotary { heads: size(node, "heads")?, turns: Rope { theta: number(node, "theta")?, scaling } })
    }
}

// [batch, tokens, d] -> [batch, tokens, d]
forward!(Rotary, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let turned = rope(Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(x.numbers())), this.heads, this.turns);
    vec![x.with(turned.into_primitive().tensor())]
});
