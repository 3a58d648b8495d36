//! GELU and ReLU on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{map, zip};
use super::simd::normal;

pub(super) fn gelu(x: FlexTensor) -> FlexTensor {
    map(x, |x| x * normal(x).0)
}

pub(super) fn gelu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
    zip(grad, x, |g, x| {
        let (below, density) = normal(x);
        g * x.mul_add(density, below)
    })
}

pub(super) fn relu(x: FlexTensor) -> FlexTensor {
    map(x, |x| if x < 0.0 { 0.0 } else { x })
}

pub(super) fn relu_backward(output: FlexTensor, grad: FlexTensor) -> FlexTensor {
    zip(grad, output, |g, y| if y <= 0.0 { 0.0 } else { g })
}
