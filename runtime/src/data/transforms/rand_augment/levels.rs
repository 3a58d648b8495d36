//! Operations that give each level of a channel another one, whatever is around the pixel, with Pillow's rounding.

use super::luma::luma;
use crate::data::Pixels;

/// What becomes of the 256 levels of red, green and blue.
type Tables = [[u8; 256]; 3];

/// 255 minus each level: `ImageOps.invert`.
pub(super) fn invert(image: Pixels) -> Pixels {
    every(image, |level| 255 - level)
}

/// The highest `bits` bits of each level: `ImageOps.posterize`. Of 0 bits nothing is left, as in Pillow before it refused
/// that.
pub(super) fn posterize(image: Pixels, bits: u32) -> Pixels {
    let low = 0xff_u8.checked_shr(bits).unwrap_or(0);
    every(image, |level| level & !low)
}

/// Levels from `threshold` on inverted: `ImageOps.solarize`.
pub(super) fn solarize(image: Pixels, threshold: u32) -> Pixels {
    every(image, |level| if u32::from(level) < threshold { level } else { 255 - level })
}

/// `more` added to the levels below 128: timm's `solarize_add`.
pub(super) fn solarize_add(image: Pixels, more: u32) -> Pixels {
    let more = more.min(255) as u8;
    every(image, |level| if level < 128 { level.saturating_add(more) } else { level })
}

/// `factor` times each level: `ImageEnhance.Brightness`.
pub(super) fn brightness(image: Pixels, factor: f32) -> Pixels {
    every(image, |level| blend(0, level, factor))
}

/// Each level `factor` times as far from the mean of the image's luma: `ImageEnhance.Contrast`.
pub(super) fn contrast(image: Pixels, factor: f32) -> Pixels {
    let pixels = image.data.as_chunks::<3>().0;
    let sum: u64 = pixels.iter().map(|pixel| u64::from(luma(*pixel))).sum();
    let mean = (sum as f64 / pixels.len() as f64 + 0.5) as u8;
    every(image, |level| blend(mean, level, factor))
}

/// Each channel stretched to the whole range: `ImageOps.autocontrast`.
pub(super) fn auto_contrast(image: Pixels) -> Pixels {
    let tables = histograms(&image).map(|counts| {
        let low = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let high = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        if high <= low {
            return std::array::from_fn(|level| level as u8);
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        std::array::from_fn(|level| (level as f64 * scale + offset) as u8)
    });
    look_up(image, &tables)
}

/// Each channel's levels spread until all are as frequent as can be: `ImageOps.equalize`.
pub(super) fn equalize(image: Pixels) -> Pixels {
    let tables = histograms(&image).map(|counts| {
        let last = counts.iter().rev().find(|count| **count > 0).copied().unwrap_or(0);
        let step = (counts.iter().sum::<u32>() - last) / 255;
        if step == 0 {
            return std::array::from_fn(|level| level as u8);
        }
        let mut below = step / 2;
        std::array::from_fn(|level| {
            let new = (below / step).min(255) as u8;
            below += counts[level];
            new
        })
    });
    look_up(image, &tables)
}

/// The way from `from` to `to`, `factor` long: 0 is `from`, 1 is `to`, and it goes on beyond both. Pillow's
/// `Image.blend`, in single precision and cut to a whole number.
pub(super) fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor * (to - from)) as u8
}

fn every(image: Pixels, new: impl Fn(u8) -> u8) -> Pixels {
    let table: [u8; 256] = std::array::from_fn(|level| new(level as u8));
    let mut image = image;
    for level in &mut image.data {
        *level = table[usize::from(*level)];
    }
    image
}

fn look_up(mut image: Pixels, [red, green, blue]: &Tables) -> Pixels {
    for [r, g, b] in image.data.as_chunks_mut::<3>().0 {
        (*r, *g, *b) = (red[usize::from(*r)], green[usize::from(*g)], blue[usize::from(*b)]);
    }
    image
}

/// How often each level of each channel occurs.
fn histograms(image: &Pixels) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in image.data.as_chunks::<3>().0 {
        for (counts, level) in counts.iter_mut().zip(pixel) {
            counts[usize::from(*level)] += 1;
        }
    }
    counts
}
