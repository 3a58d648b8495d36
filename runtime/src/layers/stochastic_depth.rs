//! `stochastic_depth`: while training, drops a sample's whole stream at random.

use super::{forward, layers, number, take};

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
    let mut each = vec![1; dims.len()];
    each[0] = dims[0];
    let scale = B::kept(&each, keep, rng, &B::float_device(&x.numbers()));
    vec![x.map(|x| B::float_mul(x, scale))]
});
