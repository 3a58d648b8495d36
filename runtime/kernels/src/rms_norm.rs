//! Root-mean-square normalisation on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{elements, in_order, new_rows, new_rows_and_sum, rows_of, tensor};
use super::layer_norm::vector_or;
use super::simd::{sum, sum2};
use super::wide;

/// 1 / sqrt(mean(x²) + eps) of a row.
#[inline(always)]
fn factor(row: &[f32], eps: f32) -> f32 {
    1.0 / (sum(row, |x| x * x) / row.len() as f32 + eps).sqrt()
}

wide! {
    /// Rows of the output from as many rows of the input.
    fn forward_rows(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) {
        let d = weight.len();
        for (out, x) in out.chunks_exact_mut(d).zip(xs.chunks_exact(d)) {
            let factor = factor(x, eps);
            for ((o, &x), &w) in out.iter_mut().zip(x).zip(weight) {
                *o = x * factor * w;
            }
        }
    }

    /// Rows of the gradient of the input.
    fn input_rows(dx: &mut [f32], xs: &[f32], grads: &[f32], weight: &[f32], eps: f32) {
        let d = weight.len();
        for ((dx, x), g) in dx.chunks_exact_mut(d).zip(xs.chunks_exact(d)).zip(grads.chunks_exact(d)) {
            let factor = factor(x, eps);
            for ((o, &g), &w) in dx.iter_mut().zip(g).zip(weight) {
                *o = g * w;
            }
            let along = sum2(dx, x, |g, x| g * x) * factor * factor / d as f32;
            for (o, &x) in dx.iter_mut().zip(x) {
                *o = x.mul_add(-along, *o) * factor;
            }
        }
    }

    /// Adds what some rows bring to the gradient of the weight.
    fn add_weight(dw: &mut [f32], xs: &[f32], grads: &[f32], eps: f32) {
        let d = dw.len();
        for (x, g) in xs.chunks_exact(d).zip(grads.chunks_exact(d)) {
            let factor = factor(x, eps);
            for ((dw, &x), &g) in dw.iter_mut().zip(x).zip(g) {
                *dw = (x * factor).mul_add(g, *dw);
            }
        }
    }
}

pub(super) fn forward(x: FlexTensor, weight: Option<FlexTensor>, eps: f64) -> FlexTensor {
    let x = in_order(x);
    let (rows, d) = rows_of(x.layout().shape());
    let weight = vector_or(weight, d, 1.0);
    let (xs, w) = (elements(&x), elements(&weight));
    let out = new_rows(rows, d, |first, out| forward_rows(out, &xs[first * d..], w, eps as f32));
    tensor(out, x.layout().shape().clone())
}

pub(super) fn backward(
    x: FlexTensor,
    weight: Option<FlexTensor>,
    grad: FlexTensor,
    eps: f64,
    wanted: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let (x, grad) = (in_order(x), in_order(grad));
    let (rows, d) = rows_of(x.layout().shape());
    let weight = vector_or(weight, d, 1.0);
    let (xs, gs, w, eps) = (elements(&x), elements(&grad), elements(&weight), eps as f32);
    let [width, total] = wanted.map(|wanted| if wanted { d } else { 0 });
    let (dx, dw) = new_rows_and_sum(rows, width, total, |first, count, dx, dw| {
        let rows = first * d..(first + count) * d;
        let (xs, gs) = (&xs[rows.clone()], &gs[rows]);
        if total > 0 {
            add_weight(dw, xs, gs, eps);
        }
        if width > 0 {
            input_rows(dx, xs, gs, w, eps);
        }
    });
    [wanted[0].then(|| tensor(dx, x.layout().shape().clone())), wanted[1].then(|| tensor(dw, [d]))]
}
