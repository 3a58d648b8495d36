//! The gate of SwiGLU on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{elements, in_order, new_pair, new_rows, tensor, zip};
use super::simd::sigmoid;

pub(super) fn forward(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
    zip(gate, up, |gate, up| gate * sigmoid(gate) * up)
}

/// The slope of x · sigmoid(x), given the sigmoid.
#[inline(always)]
fn slope(x: f32, s: f32) -> f32 {
    s * x.mul_add(1.0 - s, 1.0)
}

pub(super) fn backward(
    gate: FlexTensor,
    up: FlexTensor,
    grad: FlexTensor,
    wanted: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let shape = gate.layout().shape().clone();
    let (gate, up, grad) = (in_order(gate), in_order(up), in_order(grad));
    let (xs, us, gs) = (elements(&gate), elements(&up), elements(&grad));
    let inputs = |first: usize| xs[first..].iter().zip(&us[first..]).zip(&gs[first..]);
    match wanted {
        [true, true] => {
            let (dgate, dup) = new_pair(xs.len(), |first, dgate, dup| {
                for ((dgate, dup), ((&x, &u), &g)) in dgate.iter_mut().zip(dup).zip(inputs(first)) {
                    let s = sigmoid(x);
                    *dgate = g * u * slope(x, s);
                    *dup = g * x * s;
                }
            });
            [Some(tensor(dgate, shape.clone())), Some(tensor(dup, shape))]
        }
        [true, false] => {
            let dgate = new_rows(xs.len(), 1, |first, out| {
                for (out, ((&x, &u), &g)) in out.iter_mut().zip(inputs(first)) {
                    *out = g * u * slope(x, sigmoid(x));
                }
            });
            [Some(tensor(dgate, shape)), None]
        }
        [false, true] => {
            let dup = new_rows(xs.len(), 1, |first, out| {
                for (out, ((&x, _), &g)) in out.iter_mut().zip(inputs(first)) {
                    *out = g * x * sigmoid(x);
                }
            });
            [None, Some(tensor(dup, shape))]
        }
        [false, false] => [None, None],
    }
}
