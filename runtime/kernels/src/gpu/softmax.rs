//! The softmax of attention and its backward pass: each one kernel, in place, with scale, causal mask and hidden keys inside.

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::rows::{self, Together};
use super::submit::Launch;
use super::tensors::{empty, owned, rows_of};

/// Scores to probabilities. Inputs: scores `[.., n, m]`, rows in the order batch, heads, queries; the key mask `[batch, m]` if
/// `masked`. A query that sees nothing has zeros.
#[derive(Debug)]
pub(super) struct Probabilities {
    /// Rows of a sample: heads times queries.
    pub rows_of_sample: usize,
    /// Queries of a head.
    pub queries: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Whether query i sees keys 0 to i only.
    pub causal: bool,
    /// Whether there is a key mask.
    pub masked: bool,
}

impl Launch for Probabilities {
    const NAME: &'static str = "lmv attention probabilities";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let mut inputs = inputs.into_iter();
        let scores = owned(inputs.next().expect("scores"));
        let (rows, width) = rows_of(&scores);
        if rows * width == 0 {
            return vec![scores];
        }
        // A kernel has a mask in any case; where there is none, it is not read.
        let mask = inputs.next().unwrap_or_else(|| empty(&scores, [1], DType::U32));
        let dealt = rows::deal(&scores, rows, width);
        let types = [scores.dtype.into(), mask.dtype.into()];
        probabilities::launch::<R>(
            &scores.client.clone(),
            dealt.count,
            dealt.dim,
            scores.clone().into_tensor_arg(),
            mask.into_tensor_arg(),
            rows as u32,
            width as u32,
            self.rows_of_sample as u32,
            self.queries as u32,
            self.scale,
            self.causal,
            self.masked,
            dealt.together,
            types,
        );
        vec![scores]
    }
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn probabilities<F: Float, B: Int>(
    scores: &mut Tensor<F>,
    mask: &Tensor<B>,
    rows: u32,
    width: u32,
    rows_of_sample: u32,
    queries: u32,
    scale: f32,
    #[comptime] causal: bool,
    #[comptime] masked: bool,
    #[comptime] together: Together,
    #[define(F, B)] _types: [StorageType; 2],
) {
    let mut shared = SharedMemory::<f32>::new(comptime!(256usize));
    let row = rows::row() as u32;
    let first = row * width;
    let sample = row / rows_of_sample;
    // A row past the last one has no values; its units still meet the others.
    let mut end = 0u32;
    if row < rows {
        end = width;
    }
    if comptime!(causal) {
        end = min(end, row % queries + 1);
    }

    let mut top = f32::new(-1e30);
    let mut i = UNIT_POS_X;
    while i < end {
        let seen = if comptime!(masked) { mask[(sample * width + i) as usize] != B::new(0) } else { true.runtime() };
        if seen {
            top = max(top, f32::cast_from(scores[(first + i) as usize]) * scale);
        }
        i += CUBE_DIM_X;
    }
    let top = rows::largest(top, &mut shared, together);

    let mut total = f32::new(0.0);
    let mut i = UNIT_POS_X;
    while i < end {
        let seen = if comptime!(masked) { mask[(sample * width + i) as usize] != B::new(0) } else { true.runtime() };
        if seen {
            total += f32::exp(f32::cast_from(scores[(first + i) as usize]) * scale - top);
        }
        i += CUBE_DIM_X;
    }
    let total = rows::sum(total, &mut shared, together);

    if row < rows {
        let mut i = UNIT_POS_X;
        while i < width {
            let mut seen = i < end;
            if comptime!(masked) {
                seen = seen && mask[(sample * width + i) as usize] != B::new(0);
            }
            let mut probability = f32::new(0.0);
            if seen {
                probability = f32::exp(f32::cast_from(scores[(first + i) as usize]) * scale - top) / total;
            }
            scores[(first + i) as usize] = F::cast_from(probability);
            i += CUBE_DIM_X;
        }
    }
}

/// The gradient of scores from that of probabilities: (gradient − their sum weighed by the probabilities) · probability · scale.
/// Inputs: gradient and probabilities, `[.., m]`.
#[derive(Debug)]
pub(super) struct ScoresBackward {
    /// What scores were multiplied by.
    pub scale: f32,
}

impl Launch for ScoresBackward {
    const NAME: &'static str = "lmv attention scores backward";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let [grad, probabilities] = inputs.try_into().unwrap_or_else(|_| panic!("a gradient and probabilities"));
        let grad = owned(grad);
        let (rows, width) = rows_of(&grad);
        if rows * width == 0 {
            return vec![grad];
        }
        let dealt = rows::deal(&grad, rows, width);
        let dtype = grad.dtype.into();
        scores_backward::launch::<R>(
            &grad.client.clone(),
            dealt.count,
            dealt.dim,
            grad.clone().into_tensor_arg(),
            probabilities.into_tensor_arg(),
            rows as u32,
            width as u32,
            self.scale,
            dealt.together,
            dtype,
        );
        vec![grad]
    }
}

#[cube(launch)]
fn scores_backward<F: Float>(
    grad: &mut Tensor<F>,
    probabilities: &Tensor<F>,
    rows: u32,
    width: u32,
    scale: f32,
    #[comptime] together: Together,
    #[define(F)] _type: StorageType,
) {
    let mut shared = SharedMemory::<f32>::new(comptime!(256usize));
    let row = rows::row() as u32;
    let first = row * width;
    let mut end = 0u32;
    if row < rows {
        end = width;
    }
    let mut weighed = f32::new(0.0);
    let mut i = UNIT_POS_X;
    while i < end {
        let at = (first + i) as usize;
        weighed += f32::cast_from(grad[at]) * f32::cast_from(probabilities[at]);
        i += CUBE_DIM_X;
    }
    let weighed = rows::sum(weighed, &mut shared, together);
    let mut i = UNIT_POS_X;
    while i < end {
        let at = (first + i) as usize;
        let slope = (f32::cast_from(grad[at]) - weighed) * f32::cast_from(probabilities[at]) * scale;
        grad[at] = F::cast_from(slope);
        i += CUBE_DIM_X;
    }
}
