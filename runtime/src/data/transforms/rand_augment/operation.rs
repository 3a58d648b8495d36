//! The fifteen operations, and what a strength between 0 and 1 means to each.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::affine::Affine;
use super::{enhance, levels};
use crate::data::Pixels;
use crate::data::transforms::Transform;

/// What comes in where an operation moves the image away: ImageNet's mean colour, `round(255 · mean)` (paper.md §3.3).
pub const FILL: [u8; 3] = [124, 116, 104];

/// One operation with what it does at full strength, timm's magnitude of 10. Less strength is less of it, and no strength
/// is next to nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// Each channel stretched to the whole range. Has no strength.
    AutoContrast,
    /// Each channel's levels spread until all are as frequent as can be. Has no strength.
    Equalize,
    /// 255 minus each level. Has no strength.
    Invert,
    /// Turned by up to so many degrees, one way or the other.
    Rotate(f64),
    /// So many bits of a level kept at no strength, and the fewer the stronger.
    Posterize(f64),
    /// Levels from a threshold on inverted; it falls from 256 by up to so much.
    Solarize(f64),
    /// Up to so much added to the levels below 128.
    SolarizeAdd(f64),
    /// Colours up to this share weaker or stronger.
    Color(f64),
    /// Contrast up to this share weaker or stronger.
    Contrast(f64),
    /// Up to this share darker or brighter.
    Brightness(f64),
    /// Up to this share smoother or sharper.
    Sharpness(f64),
    /// Rows moved sideways by up to this share of their distance from the top.
    ShearX(f64),
    /// Columns moved up or down by up to this share of their distance from the left.
    ShearY(f64),
    /// Moved sideways by up to this share of the width.
    TranslateX(f64),
    /// Moved up or down by up to this share of the height.
    TranslateY(f64),
}

impl Operation {
    /// The fifteen as timm has them under `inc1` (paper.md §3.3).
    pub const TIMM: [Self; 15] = [
        Self::AutoContrast,
        Self::Equalize,
        Self::Invert,
        Self::Rotate(30.0),
        Self::Posterize(4.0),
        Self::Solarize(256.0),
        Self::SolarizeAdd(110.0),
        Self::Color(0.9),
        Self::Contrast(0.9),
        Self::Brightness(0.9),
        Self::Sharpness(0.9),
        Self::ShearX(0.3),
        Self::ShearY(0.3),
        Self::TranslateX(0.45),
        Self::TranslateY(0.45),
    ];

    /// `image` after the operation at `strength`, 0 to 1. `negative` turns the other way, moves the other way, makes
    /// weaker and not stronger, where there are two ways.
    pub fn apply(self, image: Pixels, strength: f64, negative: bool) -> Pixels {
        let signed = |most: f64| if negative { -(strength * most) } else { strength * most };
        let factor = |most: f64| (1.0 + signed(most)) as f32;
        let (width, height) = (image.width, image.height);
        match self {
            Self::AutoContrast => levels::auto_contrast(image),
            Self::Equalize => levels::equalize(image),
            Self::Invert => levels::invert(image),
            Self::Rotate(degrees) => Affine::rotate(signed(degrees), width, height).apply(&image, FILL),
            Self::Posterize(bits) => levels::posterize(image, bits as u32 - (strength * bits) as u32),
            Self::Solarize(depth) => levels::solarize(image, 256 - ((strength * depth) as u32).min(256)),
            Self::SolarizeAdd(most) => levels::solarize_add(image, (strength * most) as u32),
            Self::Color(most) => enhance::color(image, factor(most)),
            Self::Contrast(most) => levels::contrast(image, factor(most)),
            Self::Brightness(most) => levels::brightness(image, factor(most)),
            Self::Sharpness(most) => enhance::sharpness(image, factor(most)),
            Self::ShearX(share) => Affine::shear_x(signed(share)).apply(&image, FILL),
            Self::ShearY(share) => Affine::shear_y(signed(share)).apply(&image, FILL),
            Self::TranslateX(share) => Affine::translate_x(signed(share) * width as f64).apply(&image, FILL),
            Self::TranslateY(share) => Affine::translate_y(signed(share) * height as f64).apply(&image, FILL),
        }
    }
}

/// An operation that an image gets with a probability: by itself in a list of augmentations, at a strength drawn evenly
/// between none and full, or in what RandAugment draws from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// What is done.
    pub operation: Operation,
    /// In `[0, 1]`.
    pub p: f64,
}

impl Transform for Chance {
    fn apply(&self, image: Pixels, rng: &mut ChaCha8Rng) -> Pixels {
        if rng.random::<f64>() >= self.p {
            return image;
        }
        let (strength, negative) = (rng.random::<f64>(), rng.random::<bool>());
        self.operation.apply(image, strength, negative)
    }
}
