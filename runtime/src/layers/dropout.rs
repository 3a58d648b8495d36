//! `dropout`: while training, sets numbers to zero at random.

use burn::tensor::TensorData;
use rand::Rng;

use super::{forward, layers, number, take};

struct Dropout {
    p: f64,
}

layers! { "dropout" => |node| Ok(Dropout { p: number(node, "p")? }) }

forward!(Dropout, |this, inputs, _weights, pass| {
    let [x] = take(inputs);
    let Some(rng) = pass.training.as_mut().filter(|_| this.p > 0.0) else { return vec![x] };
    let dims = x.dims();
    let keep = (1.0 - this.p).clamp(0.0, 1.0);
    // What stays is scaled up, so that the expectation is what evaluation sees.
    let scale: Vec<f32> = (0..dims.iter().product::<usize>())
        .map(|_| if rng.random::<f64>() < keep { (1.0 / keep) as f32 } else { 0.0 })
        .collect();
    let scale = B::float_from_data(TensorData::new(scale, dims), &B::float_device(&x.numbers()));
    vec![x.with(B::float_mul(x.numbers(), scale))]
});
