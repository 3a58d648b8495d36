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
    let (mean, variance) = match pass.training.is_some() && this.updates {
        true => {
            let mean = B::float_mean_dim(table.clone(), 0);
            let off = B::float_sub(table.clone(), mean.clone());
            let variance = B::float_mean_dim(B::float_mul(off.clone(), off), 0);
            // What is kept is the unbiased variance, as PyTorch has it; what normalises is the biased one.
            let unbiased = rows as f64 / (rows as f64 - 1.0).max(1.0);
            for (name, now, factor) in [("running_mean", &mean, 1.0), ("running_var", &variance, unbiased)] {
                let now = B::float_mul_scalar(reshape::<B>(now.clone(), &[d]), factor.into());
                if let Some(id) = weights.id(name) {
                    pass.update::<B>(id, moved::<B>(weights.always(name), now, this.momentum));
                }
            }
            (mean, variance)
        }
        false => {
            let kept = |name: &str| reshape::<B>(weights.always(name), &[1, d]);
            (kept("running_mean"), kept("running_var"))
        }
    };
    let along = |name: &str| reshape::<B>(weights.always(name), &[1, d]);
    let deviation = B::float_sqrt(B::float_add_scalar(variance, this.eps.into()));
    let normed = B::float_div(B::float_sub(table, mean), deviation);
    let normed = B::float_add(B::float_mul(normed, along("weight")), along("bias"));
    vec![x.with(reshape::<B>(normed, &dims))]
});
