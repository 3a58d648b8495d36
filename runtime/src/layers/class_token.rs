//! `class_token`: a learned token in front of the others.

use burn::tensor::{Bool, Shape, Tensor};

use super::{forward, layers, take};
use crate::stream::Stream;

struct ClassToken;

layers! { "class_token" => |_| Ok(ClassToken) }

// [batch, tokens, d] -> [batch, tokens + 1, d]
forward!(ClassToken, |_this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let token = B::float_expand(weights.always("token"), Shape::from(vec![dims[0], 1, dims[2]]));
    let tensor = B::float_cat(vec![token, x.tensor.clone()], 1);
    // The class token is as real as any.
    let mask = x.mask.map(|mask| {
        let mask = Tensor::<B, 2, Bool>::from_primitive(mask);
        let device = mask.device();
        let one = Tensor::<B, 2>::ones([dims[0], 1], &device).greater_elem(0.0);
        Tensor::cat(vec![one, mask], 1).into_primitive()
    });
    vec![Stream { tensor, mask }]
});
