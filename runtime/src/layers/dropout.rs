//! `dropout`: while training, sets numbers to zero at random.

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
    let scale = B::kept(&dims, keep, rng, &B::float_device(&x.numbers()));
    vec![x.with(B::float_mul(x.numbers(), scale))]
});
