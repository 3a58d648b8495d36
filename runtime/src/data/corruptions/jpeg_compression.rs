//! `jpeg_compression`, and how all corrupted images are stored.

use std::path::Path;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rand_chacha::ChaCha8Rng;

use super::Severity;
use crate::data::{Pixels, decode};

/// As a JPEG of this quality (make_imagenet_c.py).
pub(super) fn jpeg_compression(image: &Pixels, severity: Severity, _: &mut ChaCha8Rng) -> Pixels {
    let quality = severity.of([25, 18, 15, 10, 7]);
    // What was encoded a line before can be decoded.
    decode(&jpeg(image, quality), Path::new("jpeg_compression")).unwrap_or_else(|_| image.clone())
}

/// `image` as Pillow saves a JPEG by default: libjpeg's tables for the quality, colour at half the width and height. Its
/// Huffman tables are the usual ones, where the published files have some of their own: this makes files larger by a few
/// percent and changes no pixel.
pub(super) fn jpeg(image: &Pixels, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    // Sides are those of `prepare`, far below the format's 65,535, and memory does not refuse to be written.
    let (width, height) = (image.width as u16, image.height as u16);
    encoder.encode(&with_joined_colour(image), width, height, ColorType::Ycbcr).expect("an image that a JPEG can hold");
    bytes
}

/// `[height, width, 3]` of Y, Cb and Cr, with the same Cb and Cr in each square of 2 × 2 pixels.
///
/// The encoder takes the colour of one of the four pixels, libjpeg that of their mean: rounded down and up in turn from
/// one square to the next.
fn with_joined_colour(image: &Pixels) -> Vec<u8> {
    let mut out: Vec<u8> = image.data.as_chunks::<3>().0.iter().flat_map(|pixel| luma_and_colour(*pixel)).collect();
    for y in (0..image.height).step_by(2) {
        for x in (0..image.width).step_by(2) {
            // A last odd row or column counts twice.
            let (right, below) = ((x + 1).min(image.width - 1), (y + 1).min(image.height - 1));
            let square = [(x, y), (right, y), (x, below), (right, below)].map(|(x, y)| (y * image.width + x) * 3);
            for c in [1, 2] {
                let sum: u16 = square.iter().map(|at| u16::from(out[at + c])).sum();
                let joined = ((sum + 1 + (x as u16 / 2) % 2) / 4) as u8;
                square.iter().for_each(|at| out[at + c] = joined);
            }
        }
    }
    out
}

/// Red, green and blue as Y, Cb and Cr of ITU-R BT.601, as JFIF has it, in 1/65,536 as libjpeg reckons.
fn luma_and_colour([red, green, blue]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    const MIDDLE: i32 = (128 << 16) + HALF - 1;
    let sum = |weights: [f64; 3], offset: i32| {
        let [r, g, b] = weights.map(|weight| (weight * 65536.0).round() as i32);
        ((r * i32::from(red) + g * i32::from(green) + b * i32::from(blue) + offset) >> 16) as u8
    };
    [
        sum([0.299, 0.587, 0.114], HALF),
        sum([-0.168_735_892, -0.331_264_108, 0.5], MIDDLE),
        sum([0.5, -0.418_687_589, -0.081_312_411], MIDDLE),
    ]
}
