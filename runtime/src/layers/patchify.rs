//! `patchify`: an image cut into patches, each made a token. The convolution's kernel is its stride, so it is one matrix
//! product of the patches.

use super::{forward, layers, size, take};
use crate::stream::{Stream, reshape};

struct Patchify {
    patch: usize,
}

layers! { "patchify" => |node| Ok(Patchify { patch: size(node, "patch")? }) }

// [batch, in, h, w] -> [batch, (h / patch) * (w / patch), d]
forward!(Patchify, |this, inputs, weights, pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let [batch, channels, height, width] = [dims[0], dims[1], dims[2], dims[3]];
    let (p, rows, columns) = (this.patch, height / this.patch, width / this.patch);
    // [batch, in, rows, p, columns, p] -> [batch, rows, columns, in, p, p]
    let cut = reshape::<B>(x.numbers(), &[batch, channels, rows, p, columns, p]);
    let cut = B::float_permute(cut, &[0, 2, 4, 1, 3, 5]);
    let patches = reshape::<B>(cut, &[batch, rows * columns, channels * p * p]);
    let weight = weights.always("weight");
    let d = burn::tensor::TensorMetadata::shape(&weight)[0];
    let weight = reshape::<B>(weight, &[d, channels * p * p]);
    vec![Stream::new(pass.linear::<B>(patches, weight, weights.get("bias")))]
});
