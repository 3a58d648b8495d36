//! The Gaussian filter of scipy and scikit-image.

use super::convolution::{Tap, convolve};
use super::field::{Border, Field};

/// Blurred with a standard deviation of `sigma` pixels. The kernel ends `truncate` deviations from its middle, rounded to
/// the nearest pixel (`scipy.ndimage.gaussian_filter`).
pub(super) fn gaussian(field: &Field, sigma: f64, truncate: f64, border: Border) -> Field {
    let weights = kernel(sigma, (truncate * sigma + 0.5) as usize);
    let radius = (weights.len() / 2) as isize;
    let offsets = || weights.iter().zip(-radius..);
    let down: Vec<Tap> = offsets().map(|(weight, dy)| Tap { dx: 0, dy, weight: *weight as f32 }).collect();
    let right: Vec<Tap> = offsets().map(|(weight, dx)| Tap { dx, dy: 0, weight: *weight as f32 }).collect();
    convolve(&convolve(field, &down, border), &right, border)
}

/// exp(-x²/2σ²) for x from `-radius` to `radius`, with a sum of 1.
pub(super) fn kernel(sigma: f64, radius: usize) -> Vec<f64> {
    let radius = radius as isize;
    let weights: Vec<f64> = (-radius..=radius).map(|x| (-((x * x) as f64) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}
