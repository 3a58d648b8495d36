//! Root-mean-square normalisation on `Flex`.

use burn_flex::FlexTensor;

use super::buffer::{elements, in_order, new_rows, new_rows_and_sum, rows_of, tensor};
use super::layer_norm::vector_or;
use super::simd::{sum, sum2};

/// 1 / sqrt(mean(x²) + eps) of a row.
#[inline(always)]
fn factor(row: &[f32], eps: f32) -> f32 {
    1.0 / (sum(row, |x| x * x) / row.len() as f32 + eps).sqrt()
}

pub(super) fn forward(x: FlexTensor, weight: Option<FlexTensor>, eps: f64) -> FlexTensor {
    let x = in_order(x);
    let (rows, d) = rows_of(x.layout().shape());
    let weight = vector_or(weight, d, 1.0);
    let (xs, w, eps) = (elements(&x), elements(&weight), eps as f32);
    let out = new_rows(rows, d, |first, out| {
        for (out, x) in out.chunks_exact_mut(d).zip(xs[first * d..].chunks_exact(d)) {
            let factor = factor(x, eps);
            for ((o, &x), &w) in out.iter_mut().zip(x).zip(w) {
                *o = x * factor * w;
            }
        }
    });
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
    let (dx, dw) = new_rows_and_sum(rows, width, total, |first, count, out, sums| {
        for i in 0..count {
            let row = (first + i) * d..(first + i + 1) * d;
            let (x, g) = (&xs[row.clone()], &gs[row]);
            let factor = factor(x, eps);
            for ((dw, &x), &g) in sums.iter_mut().zip(x).zip(g) {
                *dw = (x * factor).mul_add(g, *dw);
            }
            if width > 0 {
                let out = &mut out[i * d..(i + 1) * d];
                for ((o, &g), &w) in out.iter_mut().zip(g).zip(w) {
                    *o = g * w;
                }
                let along = sum2(out, x, |g, x| g * x) * factor * factor / d as f32;
                for (o, &x) in out.iter_mut().zip(x) {
                    *o = (*o - x * along) * factor;
                }
            }
        }
    });
    [wanted[0].then(|| tensor(dx, x.layout().shape().clone())), wanted[1].then(|| tensor(dw, [d]))]
}
