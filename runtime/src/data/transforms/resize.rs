//! The short side to a given length, the shape kept.

use rand_chacha::ChaCha8Rng;

use super::Transform;
use super::resize_exact::bicubic;
use crate::data::Pixels;

/// Bicubic until the short side has `size` pixels; the long side is `size · long / short` rounded down, as in
/// torchvision.
#[derive(Clone, Debug)]
pub struct Resize {
    /// The short side of the result.
    pub size: usize,
}

impl Resize {
    /// To a short side of `size`.
    pub fn new(size: usize) -> Self {
        Self { size }
    }

    /// The width and height of the result for an image of `width` × `height`.
    fn target(&self, width: usize, height: usize) -> (usize, usize) {
        if width <= height { (self.size, self.size * height / width) } else { (self.size * width / height, self.size) }
    }
}

impl Transform for Resize {
    fn apply(&self, image: Pixels, _: &mut ChaCha8Rng) -> Pixels {
        let (width, height) = self.target(image.width, image.height);
        bicubic(image, width, height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_side_is_rounded_down() {
        // torchvision.transforms.functional._compute_resized_output_size
        assert_eq!(Resize::new(256).target(500, 375), (341, 256));
        assert_eq!(Resize::new(256).target(375, 500), (256, 341));
        assert_eq!(Resize::new(256).target(300, 300), (256, 256));
        assert_eq!(Resize::new(32).target(1, 1000), (32, 32_000));
    }
}
