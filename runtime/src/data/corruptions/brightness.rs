//! `brightness` and `contrast`.

use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::field::Field;
use crate::data::Pixels;

/// The value of HSV, which is the largest of the three levels, goes up by this; hue and saturation stay
/// (make_imagenet_c.py).
pub(super) fn brightness(image: &Pixels, severity: Severity, _: &mut ChaCha8Rng) -> Pixels {
    let more = severity.of([0.1, 0.2, 0.3, 0.4, 0.5]);
    let mut field = Field::of(image);
    for pixel in field.data.as_chunks_mut::<3>().0 {
        let value = pixel.iter().copied().fold(0.0, f32::max);
        let brighter = (value + more).min(1.0);
        // With hue and saturation fixed all three levels are proportional to the value; black has neither, and turns grey.
        *pixel = if value > 0.0 { pixel.map(|level| level * brighter / value) } else { [brighter; 3] };
    }
    field.into_pixels()
}

/// The distance of each channel from its mean is multiplied by this (make_imagenet_c.py).
pub(super) fn contrast(image: &Pixels, severity: Severity, _: &mut ChaCha8Rng) -> Pixels {
    let less = severity.of([0.4, 0.3, 0.2, 0.1, 0.05]);
    let mut field = Field::of(image);
    let mut means = [0.0_f64; 3];
    for pixel in image.data.as_chunks::<3>().0 {
        means.iter_mut().zip(pixel).for_each(|(mean, level)| *mean += f64::from(*level));
    }
    let means = means.map(|sum| (sum / (255 * image.width * image.height) as f64) as f32);
    for pixel in field.data.as_chunks_mut::<3>().0 {
        pixel.iter_mut().zip(means).for_each(|(level, mean)| *level = (*level - mean) * less + mean);
    }
    field.into_pixels()
}
