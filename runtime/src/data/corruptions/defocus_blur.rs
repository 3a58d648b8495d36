//! `defocus_blur`: a lens out of focus spreads each point over a disk.

use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::convolution::{Tap, convolve};
use super::field::{Border, Field};
use super::gaussian::kernel;
use crate::data::Pixels;

/// The disk's radius in pixels, and the deviation of the blur that smooths its rim (make_imagenet_c.py).
const DISKS: [(isize, f64); 5] = [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)];

pub(super) fn defocus_blur(image: &Pixels, severity: Severity, _: &mut ChaCha8Rng) -> Pixels {
    let (radius, rim) = severity.of(DISKS);
    convolve(&Field::of(image), &disk(radius, rim), Border::MirrorInside).into_pixels()
}

/// A disk with a sum of 1 in a square that reaches 8 pixels from its middle, or as far as the radius; then blurred over
/// 3 × 3 pixels, or 5 × 5 where the radius is above 8.
fn disk(radius: isize, rim: f64) -> Vec<Tap> {
    let (reach, blur) = if radius <= 8 { (8, 1) } else { (radius, 2) };
    let side = 2 * reach as usize + 1;
    let inside = |i: usize| {
        let (x, y) = ((i % side) as isize - reach, (i / side) as isize - reach);
        x * x + y * y <= radius * radius
    };
    let sharp = Field::layer(side, side, |i| f32::from(u8::from(inside(i))));
    let area: f32 = sharp.data.iter().sum();
    let across: Vec<(f64, isize)> = kernel(rim, blur as usize).into_iter().zip(-blur..).collect();
    let square = across.iter().flat_map(|(a, dy)| across.iter().map(move |(b, dx)| (a * b, *dx, *dy)));
    let square: Vec<Tap> = square.map(|(weight, dx, dy)| Tap { dx, dy, weight: weight as f32 / area }).collect();
    let smooth = convolve(&sharp, &square, Border::MirrorInside);
    let taps = smooth.data.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
    taps.map(|(i, weight)| Tap { dx: (i % side) as isize - reach, dy: (i / side) as isize - reach, weight: *weight })
        .collect()
}
