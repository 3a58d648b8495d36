//! The fifteen corruptions of ImageNet-C (Hendrycks and Dietterich, 2019), each at five severities, made here.
//!
//! The definitions and all their constants are those of the authors' `make_imagenet_c.py` (github.com/hendrycks/robustness,
//! ImageNet-C/create_c); what the libraries under it compute is held against these libraries by golden files, with the random
//! numbers given. Two things differ: random numbers come from [`draws`](super::draws), so that the result depends on the
//! seed, the corruption, the severity and the image's name alone, and `frost` is drawn, not photographed (see
//! `frost_textures`).
//!
//! Lengths in the constants are pixels of 224 × 224 images.

mod brightness;
mod convolution;
mod defocus_blur;
mod elastic_transform;
mod field;
mod fog;
mod folder;
mod frost;
mod frost_textures;
mod gaussian;
mod glass_blur;
mod jpeg_compression;
mod motion_blur;
mod noise;
mod pixelate;
mod prepare;
mod snow;
mod zoom;
mod zoom_blur;

use rand_chacha::ChaCha8Rng;

use super::Pixels;

pub use folder::{CorruptImages, Corrupted, MARKER, corrupt_images};

/// How bad: 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity(u8);

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The severity of this number; `None` outside 1 to 5.
    pub fn new(number: u8) -> Option<Self> {
        (1..=5).contains(&number).then_some(Self(number))
    }

    /// 1 to 5.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its own of five constants.
    fn of<T: Copy>(self, constants: [T; 5]) -> T {
        constants[usize::from(self.0) - 1]
    }
}

/// A way to make an image worse.
#[derive(Clone, Copy, Debug)]
pub struct Corruption {
    /// Its name, and that of its folder (paper.md §3.4).
    pub name: &'static str,
    apply: fn(&Pixels, Severity, &mut ChaCha8Rng) -> Pixels,
}

impl Corruption {
    /// The square `image`, corrupted. Whatever is random about it is drawn from `rng`.
    pub fn apply(&self, image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
        (self.apply)(image, severity, rng)
    }
}

/// All fifteen, by name.
pub const CORRUPTIONS: [Corruption; 15] = [
    Corruption { name: "brightness", apply: brightness::brightness },
    Corruption { name: "contrast", apply: brightness::contrast },
    Corruption { name: "defocus_blur", apply: defocus_blur::defocus_blur },
    Corruption { name: "elastic_transform", apply: elastic_transform::elastic_transform },
    Corruption { name: "fog", apply: fog::fog },
    Corruption { name: "frost", apply: frost::frost },
    Corruption { name: "gaussian_noise", apply: noise::gaussian_noise },
    Corruption { name: "glass_blur", apply: glass_blur::glass_blur },
    Corruption { name: "impulse_noise", apply: noise::impulse_noise },
    Corruption { name: "jpeg_compression", apply: jpeg_compression::jpeg_compression },
    Corruption { name: "motion_blur", apply: motion_blur::motion_blur },
    Corruption { name: "pixelate", apply: pixelate::pixelate },
    Corruption { name: "shot_noise", apply: noise::shot_noise },
    Corruption { name: "snow", apply: snow::snow },
    Corruption { name: "zoom_blur", apply: zoom_blur::zoom_blur },
];

#[cfg(test)]
mod tests;
