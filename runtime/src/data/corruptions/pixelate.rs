//! `pixelate`: made small and large again.

use fast_image_resize::FilterType;
use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::prepare::resize;
use crate::data::Pixels;

/// To this share of each side and back, both by Pillow's box filter (make_imagenet_c.py).
pub(super) fn pixelate(image: &Pixels, severity: Severity, _: &mut ChaCha8Rng) -> Pixels {
    let share = severity.of([0.6, 0.5, 0.4, 0.3, 0.25]);
    let small = |side: usize| ((side as f64 * share) as usize).max(1);
    let smaller = resize(image, small(image.width), small(image.height), FilterType::Box);
    resize(&smaller, image.width, image.height, FilterType::Box)
}
