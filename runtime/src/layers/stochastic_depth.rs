//! `stochastic_depth`: while training, drops a sample's whole stream at random.

use burn::tensor::{Tensor, TensorData, TensorMetadata};
use rand::Rng;

use super::{forward, layers, number, take};
use crate::stream::reshape;

struct StochasticDepth {
    p: f64,
}

layers! { "stochastic_depth" => |node| Ok(StochasticDepth { p: number(node, "p")? }) }

forward!(StochasticDepth, |this, inputs, _weights, pass| {
    let [x] = take(inputs);
    let Some(rng) = pass.training.as_mut().filter(|_| this.p > 0.0) else { return vec![x] };
    let dims = x.dims();
    let keep = (1.0 - this.p).clamp(0.0, 1.0);
    // What stays is scaled up, so that the expectation is what evaluation sees (timm's `scale_by_keep`).
    let scale: Vec<f32> =
        (0..dims[0]).map(|_| if rng.random::<f64>() < keep { (1.0 / keep) as f32 } else { 0.0 }).collect();
    let device = B::float_device(&x.numbers());
    let scale = Tensor::<B, 1>::from_data(TensorData::new(scale, [dims[0]]), &device).into_primitive().tensor();
    let mut ones = vec![1; dims.len()];
    ones[0] = scale.shape()[0];
    vec![x.map(|x| B::float_mul(x, reshape::<B>(scale, &ones)))]
});
