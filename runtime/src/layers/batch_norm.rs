//! `batch_norm`: each channel of the last dim normalised over the batch and all other dims.

use burn::tensor::ops::FloatTensor;

use super::{forward, layers, number, take};
use crate::kernels::Kernels;
use crate::stream::reshape;

struct BatchNorm {
    momentum: f64,
    eps: f64,
    /// Whether a step of training uses the batch's own statistics and keeps them; a frozen layer's stay as they are.
    updates: bool,
}

layers! {
    "batch_norm" => |node| Ok(BatchNorm {
        momentum: number(node, "momentum")?,
        eps: number(node, "eps")?,
        updates: node.updates,
    }),
}

/// momentum · now + (1 - momentum) · before.
fn moved<B: Kernels>(before: FloatTensor<B>, now: FloatTensor<B>, momentum: f64) -> FloatTensor<B> {
    let now = B::float_mul_scalar(B::float_detach(now), momentum.into());
    B::float_add(B::float_mul_scalar(before, (1.0 - momentum).into()), now)
}

// [batch, .., d] -> [batch, .., d]
forward!(BatchNorm, |this, inputs, weights, pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let d = dims[dims.len() - 1];
    let rows: usize = dims[..dims.len() - 1].iter().product();
    let table = reshape::<B>(x.numbers(), &[rows, d]);
    let of_batch = pass.training.is_some() && this.updates;
    let statistics = match of_batch {
        true => {
            let found = B::fused_batch_statistics(table.clone());
            // What is kept is the unbiased variance, as PyTorch has it; what normalises is the biased one.
            let unbiased = rows as f64 / (rows as f64 - 1.0).max(1.0);
            for (name, now, factor) in [("running_mean", &found[0], 1.0), ("running_var", &found[1], unbiased)] {
                let now = B::float_mul_scalar(now.clone(), factor.into());
                if let Some(id) = weights.id(name) {
                    pass.update::<B>(id, moved::<B>(weights.always(name), now, this.momentum));
                }
            }
            found
        }
        false => [weights.always("running_mean"), weights.always("running_var")],
    };
    let (weight, bias) = (weights.always("weight"), weights.always("bias"));
    let normed = B::fused_batch_norm(table, weight, bias, statistics, this.eps, of_batch);
    vec![x.with(reshape::<B>(normed, &dims))]
});
