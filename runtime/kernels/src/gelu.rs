//! GELU and ReLU on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{map, zip};
use super::simd::normal;
use super::wide;

wide! {
    /// x · Φ(x).
    fn gelu_of(xs: &mut [f32]) {
        xs.iter_mut().for_each(|x| *x *= normal(*x).0);
    }

    /// The gradients of inputs from those of their outputs.
    fn gelu_slope(grads: &mut [f32], xs: &[f32]) {
        for (g, &x) in grads.iter_mut().zip(xs) {
            let (below, density) = normal(x);
            *g *= x.mul_add(density, below);
        }
    }

    /// max(x, 0), NaN for NaN.
    fn relu_of(xs: &mut [f32]) {
        xs.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x });
    }

    /// The gradients of inputs from those of their outputs.
    fn relu_slope(grads: &mut [f32], outputs: &[f32]) {
        for (g, &y) in grads.iter_mut().zip(outputs) {
            *g = if y <= 0.0 { 0.0 } else { *g };
        }
    }
}

pub(super) fn gelu(x: FlexTensor) -> FlexTensor {
    map(x, gelu_of)
}

pub(super) fn gelu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
    zip(grad, x, gelu_slope)
}

pub(super) fn relu(x: FlexTensor) -> FlexTensor {
    map(x, relu_of)
}

pub(super) fn relu_backward(output: FlexTensor, grad: FlexTensor) -> FlexTensor {
    zip(grad, output, relu_slope)
}
