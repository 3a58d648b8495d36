//! `mean_tokens`: the mean over the real tokens.

use burn::tensor::{Bool, Tensor, TensorPrimitive};

use super::{forward, layers, take};
use crate::stream::Stream;

struct MeanTokens;

layers! { "mean_tokens" => |_| Ok(MeanTokens) }

// [batch, tokens, d] -> [batch, d]
forward!(MeanTokens, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let [batch, tokens, d] = take_dims(&x.dims());
    let tensor: Tensor<B, 3> = Tensor::from_primitive(TensorPrimitive::Float(x.tensor));
    let mean: Tensor<B, 2> = match x.mask {
        None => tensor.mean_dim(1).reshape([batch, d]),
        Some(mask) => {
            let real = Tensor::<B, 2, Bool>::from_primitive(mask).float().reshape([batch, tokens, 1]);
            // A sample without a single real token has the mean zero rather than none.
            let count = real.clone().sum_dim(1).clamp_min(1.0);
            ((tensor * real).sum_dim(1) / count).reshape([batch, d])
        }
    };
    vec![Stream::new(mean.into_primitive().tensor())]
});

fn take_dims(dims: &[usize]) -> [usize; 3] {
    [dims[0], dims[1], dims[2]]
}
