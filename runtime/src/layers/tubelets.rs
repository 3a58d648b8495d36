//! `tubelets`: a clip cut into tubes of space and time, each made a token. The convolution's kernel is its stride, so it is
//! one matrix product of the tubes.

use super::{forward, layers, size, take};
use crate::stream::{Stream, reshape};

struct Tubelets {
    tubelet: usize,
    patch: usize,
}

layers! { "tubelets" => |node| Ok(Tubelets { tubelet: size(node, "tubelet")?, patch: size(node, "patch")? }) }

// [batch, in, f, h, w] -> [batch, (f / tubelet) * (h / patch) * (w / patch), d]
forward!(Tubelets, |this, inputs, weights, pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let (t, p) = (this.tubelet, this.patch);
    let [batch, channels, times, rows, columns] = [dims[0], dims[1], dims[2] / t, dims[3] / p, dims[4] / p];
    // [batch, in, times, t, rows, p, columns, p] -> [batch, times, rows, columns, in, t, p, p]
    let cut = reshape::<B>(x.into_numbers(), &[batch, channels, times, t, rows, p, columns, p]);
    let cut = B::float_permute(cut, &[0, 2, 4, 6, 1, 3, 5, 7]);
    let width = channels * t * p * p;
    let tubes = reshape::<B>(cut, &[batch, times * rows * columns, width]);
    let weight = weights.always("weight");
    let d = burn::tensor::TensorMetadata::shape(&weight)[0];
    vec![Stream::new(pass.linear::<B>(tubes, reshape::<B>(weight, &[d, width]), weights.get("bias")))]
});
