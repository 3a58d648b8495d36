//! From the bytes of a file to its pixels.

mod jpeg;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::Pixels;
use crate::error::{Failure, Result};

/// The longest side that is decoded.
pub const LONGEST_SIDE: usize = 20_000;
/// The most pixels that are decoded: where Pillow stops for fear of a decompression bomb.
pub const MOST_PIXELS: usize = 2 * 89_478_485;

const REPLACE: &str = "replace the file, or take it out of the data";

/// The image in `bytes`; `place` is where they come from, for the message if they are no image.
///
/// JPEG (grey, RGB, CMYK and YCCK), PNG, BMP, WebP, GIF (its first frame) and TIFF, told apart by their content and not
/// by the file's name. The result is what Pillow's `convert("RGB")` gives: transparency is dropped without blending,
/// an orientation in EXIF is not applied. Where Pillow turns 16-bit grey white by clipping, its high byte is taken.
///
/// # Errors
/// A file that is empty, no image, cut short, damaged, or larger than [`LONGEST_SIDE`] or [`MOST_PIXELS`].
pub fn decode(bytes: &[u8], place: &Path) -> Result<Pixels> {
    decode_top(bytes, place, |_, height| height)
}

/// The same where only the uppermost rows are wanted: `rows` is told width and height, and says how many. What is below them
/// may be black, in a JPEG that is not progressive; it then was not decoded, and damage there is not found.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_top(bytes: &[u8], place: &Path, rows: impl FnOnce(usize, usize) -> usize) -> Result<Pixels> {
    if bytes.is_empty() {
        return Err(Failure::at(place, "is empty (0 bytes), expected an image").help(REPLACE));
    }
    let format = match image::guess_format(bytes) {
        Ok(
            format @ (ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::Bmp
            | ImageFormat::WebP
            | ImageFormat::Gif
            | ImageFormat::Tiff),
        ) => format,
        _ => return Err(no_image(bytes, place)),
    };
    // The decoders are other people's code reading other people's files: should one panic, one image is lost and not
    // the run.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, place, rows),
        _ => by_image_crate(bytes, format, place),
    }));
    decoded.unwrap_or_else(|_| Err(damaged(place, format, "its decoder gave up")))
}

fn by_image_crate(bytes: &[u8], format: ImageFormat, place: &Path) -> Result<Pixels> {
    let why = |error: ImageError| match &error {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => cut_short(bytes, format, place),
        _ => damaged(place, format, &error.to_string()),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // The size is looked at below, with a better message.
    reader.no_limits();
    let decoder = reader.into_decoder().map_err(why)?;
    let (width, height) = decoder.dimensions();
    check_size(width as usize, height as usize, format, place)?;
    DynamicImage::from_decoder(decoder).map(into_pixels).map_err(why)
}

fn into_pixels(image: DynamicImage) -> Pixels {
    let (width, height) = (image.width() as usize, image.height() as usize);
    // 16 bits a channel are cut, not rounded, as in Pillow.
    let high = |value: u16| (value >> 8) as u8;
    let data = match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => image.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect(),
        DynamicImage::ImageLuma8(image) => image.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageRgb16(image) => image.pixels().flat_map(|p| [high(p[0]), high(p[1]), high(p[2])]).collect(),
        DynamicImage::ImageRgba16(image) => image.pixels().flat_map(|p| [high(p[0]), high(p[1]), high(p[2])]).collect(),
        DynamicImage::ImageLuma16(image) => image.pixels().flat_map(|p| [high(p[0]); 3]).collect(),
        DynamicImage::ImageLumaA16(image) => image.pixels().flat_map(|p| [high(p[0]); 3]).collect(),
        other => other.into_rgb8().into_raw(),
    };
    Pixels { width, height, data }
}

fn check_size(width: usize, height: usize, format: ImageFormat, place: &Path) -> Result<()> {
    let format = name_of(format);
    if width == 0 || height == 0 {
        return Err(Failure::at(
            place,
            format!("the {format} says it has {width} × {height} pixels, expected at least one"),
        )
        .help(REPLACE));
    }
    if width > LONGEST_SIDE || height > LONGEST_SIDE || width * height > MOST_PIXELS {
        return Err(Failure::at(
            place,
            format!(
                "the {format} says it has {width} × {height} pixels, expected at most {LONGEST_SIDE} on a side and \
                 {MOST_PIXELS} in all"
            ),
        )
        .help("if it is a real image, make it smaller; if not, take it out of the data"));
    }
    Ok(())
}

fn cut_short(bytes: &[u8], format: ImageFormat, place: &Path) -> Failure {
    let what = format!("the {} is cut short: its data ends after {} bytes", name_of(format), bytes.len());
    Failure::at(place, what).help("copy or download the file again")
}

fn damaged(place: &Path, format: ImageFormat, why: &str) -> Failure {
    Failure::at(place, format!("the {} is damaged: {why}", name_of(format))).help(REPLACE)
}

fn name_of(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Tiff => "TIFF",
        _ => "image",
    }
}

/// The failure about bytes that begin like no image lmv reads.
fn no_image(bytes: &[u8], place: &Path) -> Failure {
    let help = |what: String, help: &str| Failure::at(place, what).help(help);
    if bytes.get(4..8) == Some(b"ftyp") {
        let brand = String::from_utf8_lossy(&bytes[8..bytes.len().min(12)]).trim().to_string();
        return help(
            format!("is a file of the HEIF family ({brand:?}: HEIC, AVIF or video), which is not read"),
            "convert it to JPEG or PNG",
        );
    }
    let Some(text) = leading_text(bytes) else {
        let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        return help(
            format!("is not an image: it begins with the bytes {}, which no known format does", first.join(" ")),
            "expected JPEG, PNG, BMP, WebP, GIF or TIFF; replace the file, or take it out of the data",
        );
    };
    let shown: String = text.chars().take(24).collect();
    let lower = text.to_lowercase();
    if lower.starts_with("version https://git-lfs") {
        return help("is not an image but a pointer of Git LFS".into(), "fetch the real file: `git lfs pull`");
    }
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return help(
            format!("is not an image: it begins with {shown:?}, which is a web page"),
            "the download gave an error page; download the file again",
        );
    }
    help(format!("is not an image: it begins with {shown:?}, which is text"), REPLACE)
}

/// The first line of `bytes`, if they begin with at least one line or 24 characters of text.
fn leading_text(bytes: &[u8]) -> Option<&str> {
    let head = &bytes[..bytes.len().min(64)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character cut at the end of the head is no reason to call it something else.
        Err(error) if error.valid_up_to() + 4 > head.len() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let readable = !text.is_empty() && text.chars().all(|c| !c.is_control() || c.is_whitespace());
    let text = text.trim_start_matches('\u{feff}').trim();
    (readable && !text.is_empty()).then(|| text.lines().next().unwrap_or(text))
}

#[cfg(test)]
mod tests;
