//! `motion_blur`: a camera that moved, as ImageMagick's `MotionBlurImage` has it.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::convolution::{Tap, convolve};
use super::field::{Border, Field};
use crate::data::Pixels;

/// The radius and the deviation of the blur, in pixels (make_imagenet_c.py).
const BLURS: [(f64, f64); 5] = [(10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)];

/// Along an angle drawn from -45° to 45°.
pub(super) fn motion_blur(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    along(image, severity, rng.random_range(-45.0..45.0))
}

/// Along `angle`, in degrees from the columns' direction to the rows'.
pub(super) fn along(image: &Pixels, severity: Severity, angle: f64) -> Pixels {
    let (radius, deviation) = severity.of(BLURS);
    cut(motion(&Field::of(image), radius, deviation, angle)).into_pixels()
}

/// Each pixel becomes a sum of itself and those up to twice the radius ahead of it, with the weights of half a Gaussian;
/// ImageMagick 6's `MotionBlurImage`, whose places are rounded to whole pixels and whose image goes on with its edge.
pub(super) fn motion(field: &Field, radius: f64, deviation: f64, angle: f64) -> Field {
    let steps = 2 * radius.ceil() as usize + 1;
    let weights: Vec<f64> = (0..steps).map(|i| (-((i * i) as f64) / (2.0 * deviation * deviation)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let (down, right) = angle.to_radians().sin_cos();
    let offset = |i: usize, along: f64| (i as f64 * along - 0.5).ceil() as isize;
    let taps: Vec<Tap> = weights
        .iter()
        .enumerate()
        .map(|(i, weight)| Tap { dx: offset(i, right), dy: offset(i, down), weight: (weight / sum) as f32 })
        .collect();
    convolve(field, &taps, Border::Edge)
}

/// Levels on one of the 256 that a PNG keeps, as ImageMagick 6 puts them there: to the nearest of its 65,536, and then
/// cut.
pub(super) fn cut(field: Field) -> Field {
    // A little above the level, so that it is the same when it is made a byte.
    field.map(|level| (((level * 65_535.0).round() / 257.0).floor() + 0.01) / 255.0)
}
