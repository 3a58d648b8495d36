//! Softmax cross-entropy with soft targets on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{elements, in_order, new_rows, rows_of, tensor};
use super::simd::{exp, max, sum, sum2};
use super::wide;

/// The greatest value of a row, and Σ e^(x − greatest).
#[inline(always)]
fn statistics(row: &[f32]) -> (f32, f32) {
    let top = max(row);
    (top, sum(row, |x| exp(x - top)))
}

wide! {
    /// The loss of each row of `c` logits.
    fn losses(out: &mut [f32], xs: &[f32], ts: &[f32], c: usize) {
        for (out, (x, t)) in out.iter_mut().zip(xs.chunks_exact(c).zip(ts.chunks_exact(c))) {
            let (top, total) = statistics(x);
            let log = total.ln();
            *out = sum2(x, t, |x, t| t * (log - (x - top)));
        }
    }

    /// The gradient of each row of `c` logits.
    fn slopes(out: &mut [f32], xs: &[f32], ts: &[f32], c: usize, scale: f32) {
        for (out, (x, t)) in out.chunks_exact_mut(c).zip(xs.chunks_exact(c).zip(ts.chunks_exact(c))) {
            let (top, total) = statistics(x);
            let weight = sum(t, |t| t) / total;
            for ((o, &x), &t) in out.iter_mut().zip(x).zip(t) {
                *o = (exp(x - top) * weight - t) * scale;
            }
        }
    }
}

pub(super) fn forward(logits: FlexTensor, targets: FlexTensor) -> FlexTensor {
    let (logits, targets) = (in_order(logits), in_order(targets));
    let (rows, c) = rows_of(logits.layout().shape());
    let (xs, ts) = (elements(&logits), elements(&targets));
    let losses = new_rows(rows, 1, |first, out| losses(out, &xs[first * c..], &ts[first * c..], c));
    let total: f64 = losses.iter().map(|&l| f64::from(l)).sum();
    tensor(vec![(total / rows as f64) as f32], [1])
}

pub(super) fn backward(logits: FlexTensor, targets: FlexTensor, grad: FlexTensor) -> FlexTensor {
    let (logits, targets, grad) = (in_order(logits), in_order(targets), in_order(grad));
    let (rows, c) = rows_of(logits.layout().shape());
    let (xs, ts) = (elements(&logits), elements(&targets));
    let scale = elements(&grad)[0] / rows as f32;
    let out = new_rows(rows, c, |first, out| slopes(out, &xs[first * c..], &ts[first * c..], c, scale));
    tensor(out, logits.layout().shape().clone())
}
