//! What happens to an image between the decoder and the model. One transform is one file; each does what the
//! torchvision transform of the same name does to a Pillow image.

mod center_crop;
#[cfg(test)]
mod golden;
mod horizontal_flip;
pub mod rand_augment;
mod random_crop;
mod random_erasing;
mod random_resized_crop;
mod resize;
mod resize_exact;

use std::fmt::Debug;

use rand_chacha::ChaCha8Rng;

use super::Pixels;

pub use center_crop::CenterCrop;
pub use horizontal_flip::HorizontalFlip;
pub use rand_augment::RandAugment;
pub use random_crop::RandomCrop;
pub use random_erasing::RandomErasing;
pub use random_resized_crop::{RandomResizedCrop, Window};
pub use resize::Resize;
pub use resize_exact::ResizeExact;

/// One step between the decoder and the model.
pub trait Transform: Debug + Send + Sync {
    /// The image after this step. Whatever is random about it is drawn from `rng` and from nowhere else.
    fn apply(&self, image: Pixels, rng: &mut ChaCha8Rng) -> Pixels;

    /// How many rows from the top [`Transform::apply`] would look at, given an image of this size and these random numbers: the
    /// others need not be decoded where it is the first step.
    fn rows(&self, _width: usize, height: usize, _rng: &ChaCha8Rng) -> usize {
        height
    }
}

/// One step between the numbers that an image was made into and the model.
pub trait PlaneTransform: Debug + Send + Sync {
    /// Changes `planes`, `[3, height, width]`, normalised. Whatever is random about it is drawn from `rng` and from nowhere
    /// else.
    fn apply(&self, planes: &mut [f32], height: usize, width: usize, rng: &mut ChaCha8Rng);
}

/// The steps of the paper's training without RandAugment (paper.md §3.3): crop of random size and place to
/// `size` × `size`, flip half of the images.
pub fn imagenet_train(size: usize) -> Vec<Box<dyn Transform>> {
    vec![Box::new(RandomResizedCrop::new(size)), Box::new(HorizontalFlip::default())]
}

/// The steps of the paper's evaluation (paper.md §3.3): short side to `size · 256 / 224`, centre crop `size` × `size`.
pub fn imagenet_eval(size: usize) -> Vec<Box<dyn Transform>> {
    vec![Box::new(Resize::new(size * 256 / 224)), Box::new(CenterCrop::new(size))]
}

/// The usual steps for CIFAR's small training images: a crop of `size` × `size` after `padding` of black on all sides,
/// flip half of the images.
pub fn cifar_train(size: usize, padding: usize) -> Vec<Box<dyn Transform>> {
    vec![Box::new(RandomCrop::new(size, padding)), Box::new(HorizontalFlip::default())]
}
