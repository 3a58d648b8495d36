//! What a step of training does with whole sets of numbers on `Flex`: their norm, scaling, and the average of weights.

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::buffer::{elements, in_order, update};
use super::wide;

/// Values that are summed at a time. A fixed number, so that the sum does not depend on how many threads there are.
const CHUNK: usize = 1 << 16;

wide! {
    /// Every number times `by`.
    fn scale_by(xs: &mut [f32], by: f32) {
        xs.iter_mut().for_each(|x| *x *= by);
    }

    /// keep · x + take · y.
    fn blend(xs: &mut [f32], ys: &[f32], keep: f32, take: f32) {
        for (x, &y) in xs.iter_mut().zip(ys) {
            *x = *x * keep + y * take;
        }
    }
}

/// The L2 norm over all values of all slices, in f64. The same on any number of threads.
pub fn global_norm(gradients: &[&[f32]]) -> f64 {
    let sums: Vec<f64> = gradients
        .par_iter()
        .flat_map(|gradient| gradient.par_chunks(CHUNK))
        .map(|chunk| chunk.iter().map(|&value| f64::from(value) * f64::from(value)).sum())
        .collect();
    sums.iter().sum::<f64>().sqrt()
}

pub(super) fn norm(tensors: Vec<FlexTensor>) -> f64 {
    let tensors: Vec<FlexTensor> = tensors.into_iter().map(in_order).collect();
    let slices: Vec<&[f32]> = tensors.iter().map(elements).collect();
    global_norm(&slices)
}

pub(super) fn scale(t: FlexTensor, by: f32) -> FlexTensor {
    update(t, |_, part| scale_by(part, by))
}

pub(super) fn average(average: FlexTensor, t: FlexTensor, decay: f64) -> FlexTensor {
    assert_eq!(average.layout().shape(), t.layout().shape(), "tensors of one shape");
    let t = in_order(t);
    let ys = elements(&t);
    let (keep, take) = (decay as f32, (1.0 - decay) as f32);
    update(average, |first, part| blend(part, &ys[first..first + part.len()], keep, take))
}
