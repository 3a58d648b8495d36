//! Layer and root-mean-square normalisation: forward one kernel; backward one for the gradient of the input, and one that adds
//! up those of weight and bias over a part of the rows.

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::rows::{self, Together};
use super::submit::Launch;
use super::tensors::{empty, empty_like, rows_of};

/// What is done beside dividing by the root of the mean square.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Kind {
    /// Whether the mean is taken off first, as layer normalisation does.
    pub centred: bool,
    pub weight: bool,
    pub bias: bool,
}

/// Inputs: x `[.., d]`, weight `[d]` and bias `[d]` as the kind has them. Output: as x.
#[derive(Debug)]
pub(super) struct Norm {
    pub kind: Kind,
    pub eps: f32,
}

impl Launch for Norm {
    const NAME: &'static str = "lmv norm";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let mut inputs = inputs.into_iter();
        let x = inputs.next().expect("x");
        let out = empty_like(&x);
        let (rows, width) = rows_of(&x);
        if rows * width == 0 {
            return vec![out];
        }
        // What is not there is not read.
        let mut vector = |given: bool| match given {
            true => inputs.next().expect("a vector"),
            false => empty(&x, [1], DType::F32),
        };
        let (weight, bias) = (vector(self.kind.weight), vector(self.kind.bias));
        let types = [x.dtype.into(), weight.dtype.into(), bias.dtype.into()];
        let dealt = rows::deal(&x, rows, width);
        norm::launch::<R>(
            &x.client.clone(),
            dealt.count,
            dealt.dim,
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            bias.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            rows as u32,
            width as u32,
            self.eps,
            self.kind,
            dealt.together,
            types,
        );
        vec![out]
    }
}

/// The mean that is taken off a row, and the factor 1 / sqrt(mean square + eps).
#[cube]
fn level_and_factor<F: Float>(
    x: &Tensor<F>,
    first: u32,
    end: u32,
    width: u32,
    eps: f32,
    shared: &mut SharedMemory<f32>,
    #[comptime] centred: bool,
    #[comptime] together: Together,
) -> (f32, f32) {
    let count = f32::cast_from(width);
    let mut level = f32::new(0.0);
    if comptime!(centred) {
        let mut i = UNIT_POS_X;
        while i < end {
            level += f32::cast_from(x[(first + i) as usize]);
            i += CUBE_DIM_X;
        }
        level = rows::sum(level, shared, together) / count;
    }
    let mut square = f32::new(0.0);
    let mut i = UNIT_POS_X;
    while i < end {
        let off = f32::cast_from(x[(first + i) as usize]) - level;
        square += off * off;
        i += CUBE_DIM_X;
    }
    let square = rows::sum(square, shared, together) / count;
    (level, f32::new(1.0) / f32::sqrt(square + eps))
}

#[cube(launch)]
fn norm<F: Float, W: Float, V: Float>(
    x: &Tensor<F>,
    weight: &Tensor<W>,
    bias: &Tensor<V>,
    out: &mut Tensor<F>,
    rows: u32,
    width: u32,
    eps: f32,
    #[comptime] kind: Kind,
    #[comptime] together: Together,
    #[define(F, W, V)] _types: [StorageType; 3],
) {
    let mut shared = SharedMemory::<f32>::new(comptime!(256usize));
    let row = rows::row() as u32;
    let first = row * width;
    let mut end = 0u32;
    if row < rows {
        end = width;
    }
    let (level, factor) =
        level_and_factor::<F>(x, first, end, width, eps, &mut shared, comptime!(kind.centred), together);
    let mut i = UNIT_POS_X;
    while i < end {
        let at = (first + i) as usize;
        let mut value = (f32::cast_from(x[at]) - level) * factor;
        if comptime!(kind.weight) {
            value *= f32::cast_from(weight[i as usize]);
        }
        if comptime!(kind.bias) {
            value += f32::cast_from(bias[i as usize]);
        }
        out[at] = F::cast_from(value);
        i += CUBE_DIM_X;
    }
}

/// Inputs: x and the gradient of the output `[.., d]`, weight `[d]` as the kind has it. Outputs: the gradient of x; level and
/// factor of every row, `[rows, 2]`, which [`VectorsBackward`] takes.
#[derive(Debug)]
pub(super) struct NormBackward {
    pub kind: Kind,
    pub eps: f32,
}

impl Launch for NormBackward {
    const NAME: &'static str = "lmv norm backward";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let mut inputs = inputs.into_iter();
        let (x, grad) = (inputs.next().expect("x"), inputs.next().expect("a gradient"));
        let (rows, width) = rows_of(&x);
        let (out, found) = (empty_like(&x), empty(&x, [rows, 2], DType::F32));
        if rows * width == 0 {
            return vec![out, found];
        }
        let weight = inputs.next().unwrap_or_else(|| empty(&x, [1], DType::F32));
        let types = [x.dtype.into(), weight.dtype.into()];
        let dealt = rows::deal(&x, rows, width);
        norm_backward::launch::<R>(
            &x.client.clone(),
            dealt.count,
            dealt.dim,
            x.into_tensor_arg(),
            grad.into_tensor_arg(),
            weight.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            found.clone().into_tensor_arg(),
            rows as u32,
            width as u32,
            self.eps,
            self.kind,
            dealt.together,
            types,
        );
        vec![out, found]
    }
}

#[cube(launch)]
fn norm_backward<F: Float, W: Float>(
    x: &Tensor<F>,
    grad: &Tensor<F>,
    weight: &Tensor<W>,
    out: &mut Tensor<F>,
    found: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    eps: f32,
    #[comptime] kind: Kind,
    #[comptime] together: Together,
    #[define(F, W)] _types: [StorageType; 2],
) {
    let mut shared = SharedMemory::<f32>::new(comptime!(256usize));
    let row = rows::row() as u32;
    let first = row * width;
    let mut end = 0u32;
    if row < rows {
        end = width;
    }
    let (level, factor) =
        level_and_factor::<F>(x, first, end, width, eps, &mut shared, comptime!(kind.centred), together);
    let mut slope_sum = f32::new(0.0);
    let mut along_sum = f32::new(0.0);
    let mut i = UNIT_POS_X;
    while i < end {
        let at = (first + i) as usize;
        let mut slope = f32::cast_from(grad[at]);
        if comptime!(kind.weight) {
            slope *= f32::cast_from(weight[i as usize]);
        }
        slope_sum += slope;
        along_sum += slope * (f32::cast_from(x[at]) - level) * factor;
        i += CUBE_DIM_X;
    }
    let count = f32::cast_from(width);
    let along = rows::sum(along_sum, &mut shared, together) / count;
    let mut middle = f32::new(0.0);
    if comptime!(kind.centred) {
        middle = rows::sum(slope_sum, &mut shared, together) / count;
    }
    let mut i = UNIT_POS_X;
    while i < end {
        let at = (first + i) as usize;
        let mut slope = f32::cast_from(grad[at]);
        if comptime!(kind.weight) {
            slope *= f32::cast_from(weight[i as usize]);
        }
        let normed = (f32::cast_from(x[at]) - level) * factor;
        out[at] = F::cast_from((slope - middle - normed * along) * factor);
        i += CUBE_DIM_X;
    }
    if row < rows && UNIT_POS_X == 0 {
        found[(row * 2) as usize] = level;
        found[(row * 2 + 1) as usize] = factor;
    }
}

/// Rows that one unit adds up at least.
const ROWS_EACH: usize = 64;

/// Cubes that a device starts side by side in one direction, at most: what Vulkan, Metal, DirectX 12 and CUDA all allow.
const CUBES: usize = 65_535;

/// Units of a cube, each with a channel of its own.
const CHANNELS: u32 = 64;

/// Rows that one unit adds up, of so many.
fn rows_each(rows: usize) -> usize {
    rows.div_ceil(CUBES).max(ROWS_EACH)
}

/// Parts that the rows are taken in.
pub(super) fn parts(rows: usize) -> usize {
    rows.div_ceil(rows_each(rows)).max(1)
}

/// Sums over a part of the rows each. Inputs: x and the gradient of the output `[.., d]`, and what [`NormBackward`] found.
/// Outputs: for the weight and for the bias, `[parts, d]` in `f32`.
#[derive(Debug)]
pub(super) struct VectorsBackward;

impl Launch for VectorsBackward {
    const NAME: &'static str = "lmv norm vectors backward";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let [x, grad, found] = inputs.try_into().unwrap_or_else(|_| panic!("x, a gradient and what was found"));
        let (rows, width) = rows_of(&x);
        let parts = parts(rows);
        let [for_weight, for_bias] = [(); 2].map(|()| empty(&x, [parts, width], DType::F32));
        if width == 0 {
            return vec![for_weight, for_bias];
        }
        let dtype = x.dtype.into();
        vectors_backward::launch::<R>(
            &x.client.clone(),
            CubeCount::Static((width as u32).div_ceil(CHANNELS), parts as u32, 1),
            CubeDim::new_1d(CHANNELS),
            x.into_tensor_arg(),
            grad.into_tensor_arg(),
            found.into_tensor_arg(),
            for_weight.clone().into_tensor_arg(),
            for_bias.clone().into_tensor_arg(),
            rows as u32,
            width as u32,
            rows_each(rows) as u32,
            dtype,
        );
        vec![for_weight, for_bias]
    }
}

#[cube(launch)]
fn vectors_backward<F: Float>(
    x: &Tensor<F>,
    grad: &Tensor<F>,
    found: &Tensor<f32>,
    for_weight: &mut Tensor<f32>,
    for_bias: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    rows_each: u32,
    #[define(F)] _type: StorageType,
) {
    let channel = CUBE_POS_X * CUBE_DIM_X + UNIT_POS_X;
    if channel < width {
        let mut row = CUBE_POS_Y * rows_each;
        let end = min(row + rows_each, rows);
        let mut weight_sum = f32::new(0.0);
        let mut bias_sum = f32::new(0.0);
        while row < end {
            let at = (row * width + channel) as usize;
            let slope = f32::cast_from(grad[at]);
            let normed = (f32::cast_from(x[at]) - found[(row * 2) as usize]) * found[(row * 2 + 1) as usize];
            weight_sum += slope * normed;
            bias_sum += slope;
            row += 1;
        }
        let at = (CUBE_POS_Y * width + channel) as usize;
        for_weight[at] = weight_sum;
        for_bias[at] = bias_sum;
    }
}
