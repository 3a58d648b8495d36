//! `zoom_blur`: a camera that moved towards its object.

use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::field::Field;
use super::zoom::clipped_zoom;
use crate::data::Pixels;

/// How many zooms from 1 upwards, and the step between them: numpy's `arange(1, 1.11, 0.01)` and so on of
/// make_imagenet_c.py. The first of these ends at 1.11 and not before it, by the rounding of its numbers.
const ZOOMS: [(usize, f64); 5] = [(12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)];

/// The mean of the image and its zooms; the first zoom is the image again.
pub(super) fn zoom_blur(image: &Pixels, severity: Severity, _: &mut ChaCha8Rng) -> Pixels {
    let (zooms, step) = severity.of(ZOOMS);
    let image = Field::of(image);
    let mut sum = image.clone();
    for zoom in 0..zooms {
        let zoomed = clipped_zoom(&image, 1.0 + zoom as f64 * step);
        sum.data.iter_mut().zip(zoomed.data).for_each(|(sum, level)| *sum += level);
    }
    sum.map(|level| level / (zooms + 1) as f32).into_pixels()
}
