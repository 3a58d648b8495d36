//! `frost`: ice on a window, laid over the image.

use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::frost_textures;
use crate::data::Pixels;

/// How much of the image and of the ice (make_imagenet_c.py).
const BLENDS: [(f32, f32); 5] = [(1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)];

/// The published code lays photographs of ice over the image. They are not ours to give, so ours are drawn, with their
/// colours and contrast: see [`frost_textures`].
pub(super) fn frost(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    under(image, severity, &frost_textures::draw(image.width, rng))
}

/// The image with this `ice` of the same size over it.
pub(super) fn under(image: &Pixels, severity: Severity, ice: &Pixels) -> Pixels {
    let (kept, added) = severity.of(BLENDS);
    let blend = |(level, ice): (&u8, &u8)| kept * f32::from(*level) + added * f32::from(*ice);
    let data = image.data.iter().zip(&ice.data).map(|pair| blend(pair).clamp(0.0, 255.0) as u8).collect();
    Pixels { data, ..*image }
}
