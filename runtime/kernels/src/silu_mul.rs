//! The gate of SwiGLU on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{elements, in_order, new_pair, new_rows, tensor, zip};
use super::simd::sigmoid;
use super::wide;

/// The slope of x · sigmoid(x), given the sigmoid.
#[inline(always)]
fn slope(x: f32, s: f32) -> f32 {
    s * x.mul_add(1.0 - s, 1.0)
}

wide! {
    fn silu_mul(gates: &mut [f32], ups: &[f32]) {
        for (x, &u) in gates.iter_mut().zip(ups) {
            *x = *x * sigmoid(*x) * u;
        }
    }

    /// Both gradients from those of the outputs.
    fn slopes(dgates: &mut [f32], dups: &mut [f32], gates: &[f32], ups: &[f32], grads: &[f32]) {
        for ((dgate, dup), ((&x, &u), &g)) in dgates.iter_mut().zip(dups).zip(gates.iter().zip(ups).zip(grads)) {
            let s = sigmoid(x);
            *dgate = g * u * slope(x, s);
            *dup = g * x * s;
        }
    }

    fn slope_of_gate(dgates: &mut [f32], gates: &[f32], ups: &[f32], grads: &[f32]) {
        for (dgate, ((&x, &u), &g)) in dgates.iter_mut().zip(gates.iter().zip(ups).zip(grads)) {
            *dgate = g * u * slope(x, sigmoid(x));
        }
    }

    fn slope_of_up(dups: &mut [f32], gates: &[f32], grads: &[f32]) {
        for (dup, (&x, &g)) in dups.iter_mut().zip(gates.iter().zip(grads)) {
            *dup = g * x * sigmoid(x);
        }
    }
}

pub(super) fn forward(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
    zip(gate, up, silu_mul)
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
    match wanted {
        [true, true] => {
            let (dgate, dup) = new_pair(xs.len(), |first, dgate, dup| {
                slopes(dgate, dup, &xs[first..], &us[first..], &gs[first..]);
            });
            [Some(tensor(dgate, shape.clone())), Some(tensor(dup, shape))]
        }
        [true, false] => {
            let dgate = new_rows(xs.len(), 1, |first, dgate| {
                slope_of_gate(dgate, &xs[first..], &us[first..], &gs[first..]);
            });
            [Some(tensor(dgate, shape)), None]
        }
        [false, true] => {
            let dup = new_rows(xs.len(), 1, |first, dup| slope_of_up(dup, &xs[first..], &gs[first..]));
            [None, Some(tensor(dup, shape))]
        }
        [false, false] => [None, None],
    }
}
