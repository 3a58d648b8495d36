//! Left and right exchanged, by chance.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Transform;
use crate::data::Pixels;

/// Mirrors the image with probability `p`.
#[derive(Clone, Debug)]
pub struct HorizontalFlip {
    /// In `[0, 1]`.
    pub p: f64,
}

impl Default for HorizontalFlip {
    /// Half of the images (paper.md §3.3).
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Transform for HorizontalFlip {
    fn apply(&self, mut image: Pixels, rng: &mut ChaCha8Rng) -> Pixels {
        if rng.random::<f64>() < self.p {
            for row in image.data.chunks_exact_mut(image.width * 3) {
                let (pixels, _) = row.as_chunks_mut::<3>();
                pixels.reverse();
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::draws;

    #[test]
    fn a_flip_mirrors_rows_and_keeps_colours() {
        let image = Pixels::from_fn(3, 2, |x, y| [x as u8, y as u8, 7]);
        let mut rng = draws::stream(0, "test", 0, 0);
        let flipped = HorizontalFlip { p: 1.0 }.apply(image.clone(), &mut rng);
        assert_eq!(flipped, Pixels::from_fn(3, 2, |x, y| [2 - x as u8, y as u8, 7]));
        assert_eq!(HorizontalFlip { p: 0.0 }.apply(image.clone(), &mut rng), image);
    }

    #[test]
    fn half_of_the_images_are_flipped() {
        let image = Pixels::from_fn(2, 1, |x, _| [x as u8; 3]);
        let mut rng = draws::stream(0, "test", 0, 0);
        let flipped = (0..10_000).filter(|_| HorizontalFlip::default().apply(image.clone(), &mut rng) != image).count();
        assert!((4_800..5_200).contains(&flipped), "{flipped}");
    }
}
