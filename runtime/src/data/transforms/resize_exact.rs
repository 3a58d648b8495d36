//! To a given width and height, whatever the image's own shape.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;

use super::Transform;
use crate::data::Pixels;

/// Bicubic to `width` × `height` as Pillow does it: the kernel is Keys' with a = -0.5 and widens when the image shrinks
/// (antialiasing).
#[derive(Clone, Debug)]
pub struct ResizeExact {
    /// Columns of the result.
    pub width: usize,
    /// Rows of the result.
    pub height: usize,
}

impl Transform for ResizeExact {
    fn apply(&self, image: Pixels, _: &mut ChaCha8Rng) -> Pixels {
        bicubic(image, self.width, self.height)
    }
}

thread_local! {
    /// Keeps its buffers from one image to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// `image` at `width` × `height`, bicubic.
pub(super) fn bicubic(image: Pixels, width: usize, height: usize) -> Pixels {
    // One direction after the other, because the levels between are cut to 0..=255 and the order shows near
    // hard edges. Rows first was Pillow's order when the paper was written; Pillow 13 begins with the cheaper direction.
    let rows = image.height;
    one_pass(one_pass(image, width.max(1), rows), width.max(1), height.max(1))
}

fn one_pass(image: Pixels, width: usize, height: usize) -> Pixels {
    if (image.width, image.height) == (width, height) {
        return image;
    }
    // Sides are below 2³² and buffers of the right length, by the decoder's limit on the size and `Pixels`' own
    // promise; the library refuses for no other reason.
    let refused = "an image of at least one pixel, with 3 bytes for each";
    let source = ImageRef::new(image.width as u32, image.height as u32, &image.data, PixelType::U8x3).expect(refused);
    let mut target = Image::new(width as u32, height as u32, PixelType::U8x3);
    // Catmull and Rom's kernel is Keys' with a = -0.5.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    RESIZER.with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options)).expect(refused);
    Pixels { width, height, data: target.into_vec() }
}
