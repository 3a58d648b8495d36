//! Operations that go from a plainer image through the image itself, and beyond it: Pillow's `ImageEnhance`.

use super::levels::blend;
use super::luma::luma;
use crate::data::Pixels;

/// From grey (factor 0) to the image (1) and beyond: `ImageEnhance.Color`.
pub(super) fn color(mut image: Pixels, factor: f32) -> Pixels {
    for pixel in image.data.as_chunks_mut::<3>().0 {
        let grey = luma(*pixel);
        *pixel = pixel.map(|level| blend(grey, level, factor));
    }
    image
}

/// From smooth (factor 0) to the image (1) and beyond: `ImageEnhance.Sharpness`. Pixels on the edge stay.
pub(super) fn sharpness(mut image: Pixels, factor: f32) -> Pixels {
    let (width, height) = (image.width, image.height);
    if width < 3 || height < 3 {
        return image;
    }
    let bytes = width * 3;
    let source = image.data.clone();
    let inner = 3..bytes - 3;
    for y in 1..height - 1 {
        let [above, row, below] = [y - 1, y, y + 1].map(|y| &source[y * bytes..][..bytes]);
        let target = &mut image.data[y * bytes..][inner.clone()];
        // The sums of three rows, and then of three columns: each of the nine once, and four more of the one in the middle.
        let columns: Vec<u16> =
            above.iter().zip(row).zip(below).map(|((a, b), c)| u16::from(*a) + u16::from(*b) + u16::from(*c)).collect();
        let nine = columns.iter().zip(&columns[3..]).zip(&columns[6..]).map(|((a, b), c)| a + b + c);
        for ((out, nine), level) in target.iter_mut().zip(nine).zip(&row[inner.clone()]) {
            let sum = nine + 4 * u16::from(*level);
            // `ImageFilter.SMOOTH`: the middle counts five times and its neighbours once, over 13, rounded.
            let smooth = (2 * sum + 13) / 26;
            *out = blend(smooth as u8, *level, factor);
        }
    }
    image
}
