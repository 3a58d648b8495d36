//! `binary_cross_entropy` and `mse`: numbers held against numbers, one by one.

use burn::tensor::ops::FloatTensor;

use super::{Loss, Maker};
use crate::error::{Failure, Result};
use crate::examples::{Batch, Values};
use crate::kernels::Kernels;
use crate::network::tensor;
use crate::stream::Stream;

struct BinaryCrossEntropy;
struct MeanSquares;

pub(super) fn losses<B: Kernels>() -> &'static [(&'static str, Maker<B>)] {
    &[("binary_cross_entropy", |_| Ok(Box::new(BinaryCrossEntropy))), ("mse", |_| Ok(Box::new(MeanSquares)))]
}

/// The output, and the field as numbers of its dims on its device.
fn pair<B: Kernels>(
    outputs: &[Stream<B>],
    fields: &[&Batch],
) -> Result<(FloatTensor<B>, FloatTensor<B>, usize, usize)> {
    let (found, field) = (&outputs[0], fields[0]);
    let dims = found.dims();
    let count = dims.iter().product();
    match &field.values {
        Values::Numbers(values) if values.len() == count => {
            let found = found.numbers();
            let wanted = tensor::<B>(values.clone(), &dims, &B::float_device(&found));
            Ok((found, wanted, dims[0], count))
        }
        _ => Err(Failure::new(format!("the model gives {dims:?}, and the data has {:?}", field.dims))),
    }
}

impl<B: Kernels> Loss<B> for BinaryCrossEntropy {
    fn of(&self, outputs: &[Stream<B>], fields: &[&Batch]) -> Result<FloatTensor<B>> {
        let (x, y, batch, _) = pair(outputs, fields)?;
        // max(x, 0) − x·y + log(1 + e^−|x|), which overflows nowhere.
        let positive = B::fused_relu(x.clone());
        let tail = B::float_log1p(B::float_exp(B::float_neg(B::float_abs(x.clone()))));
        let each = B::float_add(B::float_sub(positive, B::float_mul(x, y)), tail);
        Ok(B::float_div_scalar(B::float_sum(each), (batch as f64).into()))
    }
}

impl<B: Kernels> Loss<B> for MeanSquares {
    fn of(&self, outputs: &[Stream<B>], fields: &[&Batch]) -> Result<FloatTensor<B>> {
        let (x, y, _, count) = pair(outputs, fields)?;
        let off = B::float_sub(x, y);
        Ok(B::float_div_scalar(B::float_sum(B::float_mul(off.clone(), off)), (count as f64).into()))
    }
}
