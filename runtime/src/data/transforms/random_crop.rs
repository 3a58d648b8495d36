//! A crop of fixed size at a random place.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Transform;
use crate::data::Pixels;

/// Pads with `padding` black pixels on all four sides and takes `size` × `size` from a uniformly drawn place. An image
/// that is smaller even so is padded until it fits.
#[derive(Clone, Debug)]
pub struct RandomCrop {
    /// Both sides of the result.
    pub size: usize,
    /// Black pixels added on each side beforehand.
    pub padding: usize,
}

impl RandomCrop {
    /// `size` × `size` after `padding`.
    pub fn new(size: usize, padding: usize) -> Self {
        Self { size, padding }
    }
}

impl Transform for RandomCrop {
    fn apply(&self, image: Pixels, rng: &mut ChaCha8Rng) -> Pixels {
        let mut start = |length: usize| {
            let before = self.padding + self.size.saturating_sub(length + 2 * self.padding);
            let padded = length + 2 * before;
            rng.random_range(0..=padded - self.size) as isize - before as isize
        };
        let top = start(image.height);
        let left = start(image.width);
        image.window(left, top, self.size, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::draws;
    use std::collections::BTreeSet;

    #[test]
    fn every_place_comes_up_and_the_outside_is_black() {
        let image = Pixels::from_fn(4, 4, |x, y| [10 + x as u8, 10 + y as u8, 1]);
        let mut rng = draws::stream(0, "test", 0, 0);
        let crop = RandomCrop::new(4, 1);
        let seen: BTreeSet<Vec<u8>> = (0..500).map(|_| crop.apply(image.clone(), &mut rng).data).collect();
        let all: BTreeSet<Vec<u8>> = (-1..=1)
            .flat_map(|top| (-1..=1).map(move |left| (left, top)))
            .map(|(l, t)| image.window(l, t, 4, 4).data)
            .collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_smaller_image_is_padded_until_it_fits() {
        let mut rng = draws::stream(0, "test", 0, 0);
        let white = Pixels::from_fn(2, 3, |_, _| [255; 3]);
        for _ in 0..50 {
            let out = RandomCrop::new(5, 0).apply(white.clone(), &mut rng);
            assert_eq!((out.width, out.height), (5, 5));
            assert_eq!(out.data.iter().filter(|byte| **byte == 255).count(), 18);
        }
    }
}
