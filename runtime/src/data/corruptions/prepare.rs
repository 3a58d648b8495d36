//! What is done to an image before it is corrupted.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::data::Pixels;

/// The middle `side` × `side` of the image after its short side was resized to `side · 256 / 224`, bilinear:
/// make_imagenet_c.py's `Resize(256)` and `CenterCrop(224)` of torchvision.
pub(super) fn prepare(image: &Pixels, side: usize) -> Pixels {
    let short = side * 256 / 224;
    let (width, height) = (image.width, image.height);
    let (to_width, to_height) =
        if width <= height { (short, short * height / width) } else { (short * width / height, short) };
    center(&resize(image, to_width, to_height, FilterType::Bilinear), side)
}

/// The middle `side` × `side`; both sides of the image are longer.
fn center(image: &Pixels, side: usize) -> Pixels {
    // Python's `round` goes to the even neighbour.
    let first = |length: usize| ((length - side) as f64 / 2.0).round_ties_even() as isize;
    image.window(first(image.width), first(image.height), side, side)
}

thread_local! {
    /// Keeps its buffers from one image to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// `image` at `width` × `height` by Pillow's filter of that name, columns first.
pub(super) fn resize(image: &Pixels, width: usize, height: usize, filter: FilterType) -> Pixels {
    let wide = one_pass(image, width, image.height, filter);
    one_pass(&wide, width, height, filter)
}

fn one_pass(image: &Pixels, width: usize, height: usize, filter: FilterType) -> Pixels {
    if (image.width, image.height) == (width, height) {
        return image.clone();
    }
    // Sides are below 2³² and buffers of the right length, by the decoder's limit on the size and `Pixels`' own
    // promise; the library refuses for no other reason.
    let refused = "an image of at least one pixel, with 3 bytes for each";
    let source = ImageRef::new(image.width as u32, image.height as u32, &image.data, PixelType::U8x3).expect(refused);
    let mut target = Image::new(width as u32, height as u32, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    RESIZER.with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options)).expect(refused);
    Pixels { width, height, data: target.into_vec() }
}
