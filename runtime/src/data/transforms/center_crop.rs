//! The middle of the image.

use rand_chacha::ChaCha8Rng;

use super::Transform;
use crate::data::Pixels;

/// The middle `size` × `size`; a smaller image is padded with black first. Odd rests fall as in torchvision.
#[derive(Clone, Debug)]
pub struct CenterCrop {
    /// Both sides of the result.
    pub size: usize,
}

impl CenterCrop {
    /// To `size` × `size`.
    pub fn new(size: usize) -> Self {
        Self { size }
    }
}

impl Transform for CenterCrop {
    fn apply(&self, image: Pixels, _: &mut ChaCha8Rng) -> Pixels {
        let (left, top) = (offset(image.width, self.size), offset(image.height, self.size));
        image.window(left, top, self.size, self.size)
    }
}

/// Where a crop of `size` begins on a side of `length`; negative where black is to be added.
fn offset(length: usize, size: usize) -> isize {
    if length < size {
        // torchvision pads the smaller half before, and then has nothing left to cut.
        -(((size - length) / 2) as isize)
    } else {
        // Python's `round` goes to the even neighbour.
        ((length - size) as f64 / 2.0).round_ties_even() as isize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_rests_fall_as_in_torchvision() {
        // int(round((length - size) / 2.0)): 0.5 → 0, 1.5 → 2, 2.5 → 2.
        assert_eq!([offset(5, 4), offset(7, 4), offset(9, 4), offset(8, 4)], [0, 2, 2, 2]);
        // (size - length) // 2 before the image.
        assert_eq!([offset(3, 4), offset(1, 4), offset(2, 4)], [0, -1, -1]);
    }
}
