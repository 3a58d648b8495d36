//! Sums over rows in f64, the parts in a fixed order: for what must come out as zero where it is zero.

use rayon::prelude::*;

use super::wide;

/// Numbers that one task sums.
const TASK: usize = 1 << 15;

wide! {
    /// Adds the rows of a part.
    pub(super) fn add_rows(sums: &mut [f64], xs: &[f32]) {
        for x in xs.chunks_exact(sums.len()) {
            for (sum, &x) in sums.iter_mut().zip(x) {
                *sum += f64::from(x);
            }
        }
    }
}

/// Sums of `width` numbers over rows of `d`, each part by `f`, in a fixed order.
pub(super) fn summed(xs: &[f32], d: usize, width: usize, f: impl Fn(usize, &[f32], &mut [f64]) + Sync) -> Vec<f64> {
    let each = (TASK / d.max(1)).max(1) * d.max(1);
    let parts: Vec<Vec<f64>> = xs
        .par_chunks(each)
        .enumerate()
        .map(|(part, xs)| {
            let mut sums = vec![0.0; width];
            f(part * each, xs, &mut sums);
            sums
        })
        .collect();
    let mut all = vec![0.0; width];
    parts.iter().for_each(|part| all.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
    all
}
