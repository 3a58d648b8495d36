//! `snow`: flakes that are enlarged noise in motion, over a whitened image.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::Severity;
use super::field::Field;
use super::motion_blur::{cut, motion};
use super::zoom::clipped_zoom;
use crate::data::Pixels;

/// make_imagenet_c.py's seven numbers of each severity.
#[derive(Clone, Copy)]
struct Snow {
    /// Mean and deviation of the noise that flakes are made of.
    mean: f32,
    deviation: f32,
    /// How many times it is enlarged.
    zoom: f64,
    /// Noise below this is no flake.
    threshold: f32,
    /// Radius and deviation of the flakes' motion blur.
    blur: (f64, f64),
    /// How much of the image is left as it was; the rest is whitened.
    kept: f32,
}

const SNOWS: [Snow; 5] = [
    Snow { mean: 0.1, deviation: 0.3, zoom: 3.0, threshold: 0.5, blur: (10.0, 4.0), kept: 0.8 },
    Snow { mean: 0.2, deviation: 0.3, zoom: 2.0, threshold: 0.5, blur: (12.0, 4.0), kept: 0.7 },
    Snow { mean: 0.55, deviation: 0.3, zoom: 4.0, threshold: 0.9, blur: (12.0, 8.0), kept: 0.7 },
    Snow { mean: 0.55, deviation: 0.3, zoom: 4.5, threshold: 0.85, blur: (12.0, 8.0), kept: 0.65 },
    Snow { mean: 0.55, deviation: 0.3, zoom: 2.5, threshold: 0.85, blur: (12.0, 12.0), kept: 0.55 },
];

/// Flakes that fall along an angle drawn from -135° to -45°.
pub(super) fn snow(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    let noise = Field::layer(image.width, image.height, |_| rng.sample(StandardNormal));
    let angle = rng.random_range(-135.0..-45.0);
    falling(image, severity, noise, angle)
}

/// The same with flakes from `noise`, one channel of mean 0 and deviation 1, along `angle`.
pub(super) fn falling(image: &Pixels, severity: Severity, noise: Field, angle: f64) -> Pixels {
    let Snow { mean, deviation, zoom, threshold, blur, kept } = severity.of(SNOWS);
    let noise = clipped_zoom(&noise.map(|value| mean + deviation * value), zoom);
    // A picture of 256 levels on its way to ImageMagick.
    let flakes =
        noise.map(|value| if value < threshold { 0.0 } else { (value.clamp(0.0, 1.0) * 255.0).floor() / 255.0 });
    let flakes = cut(motion(&flakes, blur.0, blur.1, angle));
    let mut field = Field::of(image);
    let last = flakes.data.len() - 1;
    for (i, pixel) in field.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        // The weights of ITU-R BT.601, as OpenCV's `COLOR_RGB2GRAY` has them.
        let grey = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
        let fallen = flakes.data[i] + flakes.data[last - i];
        *pixel = pixel.map(|level| kept * level + (1.0 - kept) * level.max(grey * 1.5 + 0.5) + fallen);
    }
    field.into_pixels()
}
