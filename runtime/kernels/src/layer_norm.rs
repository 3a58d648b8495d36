//! Layer normalisation on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{elements, in_order, new_rows, new_rows_and_sum, rows_of, tensor};
use super::simd::{sum, sum2};
use super::wide;

/// The mean of a row, and 1 / sqrt(var + eps).
#[inline(always)]
fn statistics(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = sum(row, |x| x) / n;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

wide! {
    /// Rows of the output from as many rows of the input.
    fn forward_rows(out: &mut [f32], xs: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
        let d = weight.len();
        for (out, x) in out.chunks_exact_mut(d).zip(xs.chunks_exact(d)) {
            let (mean, factor) = statistics(x, eps);
            for (((o, &x), &w), &b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                *o = ((x - mean) * factor).mul_add(w, b);
            }
        }
    }

    /// Rows of the gradient of the input.
    fn input_rows(dx: &mut [f32], xs: &[f32], grads: &[f32], weight: &[f32], eps: f32) {
        let d = weight.len();
        for ((dx, x), g) in dx.chunks_exact_mut(d).zip(xs.chunks_exact(d)).zip(grads.chunks_exact(d)) {
            let (mean, factor) = statistics(x, eps);
            for ((o, &g), &w) in dx.iter_mut().zip(g).zip(weight) {
                *o = g * w;
            }
            let level = sum(dx, |g| g) / d as f32;
            let along = sum2(dx, x, |g, x| g * (x - mean)) * factor * factor / d as f32;
            for (o, &x) in dx.iter_mut().zip(x) {
                *o = (x - mean).mul_add(-along, *o - level) * factor;
            }
        }
    }

    /// Adds what some rows bring to the gradients of weight and bias.
    fn add_parameters(dw: &mut [f32], db: &mut [f32], xs: &[f32], grads: &[f32], eps: f32) {
        let d = dw.len();
        for (x, g) in xs.chunks_exact(d).zip(grads.chunks_exact(d)) {
            let (mean, factor) = statistics(x, eps);
            for (((dw, db), &x), &g) in dw.iter_mut().zip(&mut *db).zip(x).zip(g) {
                *dw = ((x - mean) * factor).mul_add(g, *dw);
                *db += g;
            }
        }
    }
}

/// The elements of a vector of parameters, or `len` times what its absence stands for.
pub(super) fn vector_or(v: Option<FlexTensor>, len: usize, absent: f32) -> FlexTensor {
    v.map_or_else(|| tensor(vec![absent; len], [len]), in_order)
}

pub(super) fn forward(x: FlexTensor, weight: Option<FlexTensor>, bias: Option<FlexTensor>, eps: f64) -> FlexTensor {
    let x = in_order(x);
    let (rows, d) = rows_of(x.layout().shape());
    let (weight, bias) = (vector_or(weight, d, 1.0), vector_or(bias, d, 0.0));
    let (xs, w, b) = (elements(&x), elements(&weight), elements(&bias));
    let out = new_rows(rows, d, |first, out| forward_rows(out, &xs[first * d..], w, b, eps as f32));
    tensor(out, x.layout().shape().clone())
}

pub(super) fn backward(
    x: FlexTensor,
    weight: Option<FlexTensor>,
    grad: FlexTensor,
    eps: f64,
    wanted: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let (x, grad) = (in_order(x), in_order(grad));
    let (rows, d) = rows_of(x.layout().shape());
    let weight = vector_or(weight, d, 1.0);
    let (xs, gs, w, eps) = (elements(&x), elements(&grad), elements(&weight), eps as f32);
    let width = if wanted[0] { d } else { 0 };
    let total = if wanted[1] || wanted[2] { 2 * d } else { 0 };
    let (dx, mut dw) = new_rows_and_sum(rows, width, total, |first, count, dx, sums| {
        let rows = first * d..(first + count) * d;
        let (xs, gs) = (&xs[rows.clone()], &gs[rows]);
        if total > 0 {
            let (dw, db) = sums.split_at_mut(d);
            add_parameters(dw, db, xs, gs, eps);
        }
        if width > 0 {
            input_rows(dx, xs, gs, w, eps);
        }
    });
    let db = if total > 0 { dw.split_off(d) } else { Vec::new() };
    [
        wanted[0].then(|| tensor(dx, x.layout().shape().clone())),
        wanted[1].then(|| tensor(dw, [d])),
        wanted[2].then(|| tensor(db, [d])),
    ]
}
