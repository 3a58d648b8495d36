//! Batch normalisation on `Flex`. Whatever is summed over rows is summed in f64: the gradient of a bias in front of a batch
//! norm is zero, and an optimizer that divides by a gradient's size takes steps by what rounding leaves of it.

use burn_flex::FlexTensor;

use super::buffer::{elements, in_order, new_rows, rows_of, tensor};
use super::sums::{add_rows, summed};
use super::wide;

wide! {
    /// Adds the squares of what the rows of a part are off the mean.
    fn add_squares(sums: &mut [f64], xs: &[f32], mean: &[f64]) {
        for x in xs.chunks_exact(sums.len()) {
            for ((sum, &x), &mean) in sums.iter_mut().zip(x).zip(mean) {
                let off = f64::from(x) - mean;
                *sum += off * off;
            }
        }
    }

    /// Adds the gradients of a part, and their products with the normalised rows.
    fn add_gradients(level: &mut [f64], along: &mut [f64], xs: &[f32], grads: &[f32], mean: &[f64], factor: &[f64]) {
        let d = level.len();
        for (x, g) in xs.chunks_exact(d).zip(grads.chunks_exact(d)) {
            for i in 0..d {
                let g = f64::from(g[i]);
                level[i] += g;
                along[i] += g * (f64::from(x[i]) - mean[i]) * factor[i];
            }
        }
    }

    /// Rows of the output.
    fn forward_rows(out: &mut [f32], xs: &[f32], mean: &[f32], factor: &[f32], weight: &[f32], bias: &[f32]) {
        let d = weight.len();
        for (out, x) in out.chunks_exact_mut(d).zip(xs.chunks_exact(d)) {
            for i in 0..d {
                out[i] = ((x[i] - mean[i]) * factor[i]).mul_add(weight[i], bias[i]);
            }
        }
    }

    /// Rows of the gradient of the input: `scale` · (grad − level − normalised · along).
    fn input_rows(dx: &mut [f32], xs: &[f32], grads: &[f32], of: &Channels) {
        let d = of.mean.len();
        for ((dx, x), g) in dx.chunks_exact_mut(d).zip(xs.chunks_exact(d)).zip(grads.chunks_exact(d)) {
            for i in 0..d {
                let normed = (f64::from(x[i]) - of.mean[i]) * of.factor[i];
                dx[i] = (of.scale[i] * (f64::from(g[i]) - of.level[i] - normed * of.along[i])) as f32;
            }
        }
    }
}

/// What the gradient of the input takes of each channel.
struct Channels {
    mean: Vec<f64>,
    /// 1 / sqrt(variance + eps).
    factor: Vec<f64>,
    /// `factor` times the weight.
    scale: Vec<f64>,
    /// The mean of the gradient, where the statistics are those of the batch.
    level: Vec<f64>,
    /// The mean of the gradient times the normalised input, where they are.
    along: Vec<f64>,
}

/// The mean and the variance of each channel, without Bessel's correction.
fn moments(xs: &[f32], rows: usize, d: usize) -> [Vec<f64>; 2] {
    let share = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / rows.max(1) as f64).collect::<Vec<f64>>();
    let mean = share(summed(xs, d, d, |_, xs, sums| add_rows(sums, xs)));
    let variance = share(summed(xs, d, d, |_, xs, sums| add_squares(sums, xs, &mean)));
    [mean, variance]
}

pub(super) fn statistics(x: FlexTensor) -> [FlexTensor; 2] {
    let x = in_order(x);
    let (rows, d) = rows_of(x.layout().shape());
    moments(elements(&x), rows, d).map(|of| tensor(of.into_iter().map(|x| x as f32).collect(), [d]))
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    statistics: [FlexTensor; 2],
    eps: f64,
) -> FlexTensor {
    let [x, weight, bias] = [x, weight, bias].map(in_order);
    let [mean, variance] = statistics.map(in_order);
    let (rows, d) = rows_of(x.layout().shape());
    let factor: Vec<f32> = elements(&variance).iter().map(|&v| (1.0 / (f64::from(v) + eps).sqrt()) as f32).collect();
    let (xs, mean, w, b) = (elements(&x), elements(&mean), elements(&weight), elements(&bias));
    let out = new_rows(rows, d, |first, out| forward_rows(out, &xs[first * d..], mean, &factor, w, b));
    tensor(out, x.layout().shape().clone())
}

pub(super) fn backward(
    x: FlexTensor,
    weight: FlexTensor,
    grad: FlexTensor,
    statistics: [FlexTensor; 2],
    eps: f64,
    of_batch: bool,
    wanted: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let [x, weight, grad] = [x, weight, grad].map(in_order);
    let (rows, d) = rows_of(x.layout().shape());
    let (xs, gs) = (elements(&x), elements(&grad));
    // Once more and not those that were given, which are rounded to f32: what they are off would be a slope of its own.
    let [mean, variance] = match of_batch {
        true => moments(xs, rows, d),
        false => statistics.map(|of| elements(&in_order(of)).iter().map(|&x| f64::from(x)).collect()),
    };
    let factor: Vec<f64> = variance.iter().map(|variance| 1.0 / (variance + eps).sqrt()).collect();
    let sums = match of_batch || wanted[1] || wanted[2] {
        true => summed(xs, d, 2 * d, |first, xs, sums| {
            let (level, along) = sums.split_at_mut(d);
            add_gradients(level, along, xs, &gs[first..first + xs.len()], &mean, &factor);
        }),
        false => vec![0.0; 2 * d],
    };
    let (level, along) = sums.split_at(d);
    let narrow = |of: &[f64]| tensor(of.iter().map(|&x| x as f32).collect(), [d]);
    let (dw, db) = (wanted[1].then(|| narrow(along)), wanted[2].then(|| narrow(level)));
    let dx = wanted[0].then(|| {
        let share = if of_batch { 1.0 / rows.max(1) as f64 } else { 0.0 };
        let shares = |of: &[f64]| of.iter().map(|sum| sum * share).collect();
        let scale = factor.iter().zip(elements(&weight)).map(|(factor, &w)| factor * f64::from(w)).collect();
        let of = Channels { level: shares(level), along: shares(along), scale, mean, factor };
        let dx = new_rows(rows, d, |first, dx| input_rows(dx, &xs[first * d..], &gs[first * d..], &of));
        tensor(dx, x.layout().shape().clone())
    });
    [dx, dw, db]
}
