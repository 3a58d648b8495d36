//! JPEG, as Pillow reads it.

use std::borrow::Cow;
use std::path::Path;

use image::ImageFormat;
use jpeg_decoder::PixelFormat;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{check_size, cut_short, damaged};
use crate::data::Pixels;
use crate::error::Result;

/// The RGB pixels of a JPEG, of which only the uppermost `rows` need to be right; what is not decoded is black. Four channels
/// are taken for inverted CMYK, Adobe's way, as Pillow does.
pub(super) fn decode(bytes: &[u8], place: &Path, rows: impl FnOnce(usize, usize) -> usize) -> Result<Pixels> {
    let outline = Outline::of(bytes);
    if let Some((width, height)) = outline.size {
        check_size(width, height, ImageFormat::Jpeg, place)?;
    }
    // The decoder fills what is missing with grey and says nothing, so this is found out here.
    if !outline.ends {
        return Err(cut_short(bytes, ImageFormat::Jpeg, place));
    }
    // Strict first, to be told of what goes wrong. Many real files break the standard in ways that do no harm, and
    // those decode in the second attempt.
    let bytes = outline.cut_below(bytes, rows);
    let pixels = match outline.apart {
        true => scan_by_scan(&bytes),
        false => attempt(&bytes, &outline, true).or_else(|_| attempt(&bytes, &outline, false)),
    };
    let mut pixels = pixels.map_err(|why| damaged(place, ImageFormat::Jpeg, &why))?;
    if let (Cow::Owned(_), Some((width, height))) = (&bytes, outline.size) {
        pixels.data.resize(width * height * 3, 0);
        pixels.height = height;
    }
    Ok(pixels)
}

fn attempt(bytes: &[u8], outline: &Outline, strict: bool) -> Result<Pixels, String> {
    // The decoder takes three channels without a marker for YCbCr. Asked for YCbCr it leaves them as they are.
    let out = if outline.plain_rgb { ColorSpace::YCbCr } else { ColorSpace::RGB };
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(super::LONGEST_SIDE)
        .set_max_height(super::LONGEST_SIDE)
        .jpeg_set_out_colorspace(out);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let data = decoder.decode().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    if data.len() != width * height * 3 {
        return Err(format!("{} channels for each pixel, expected 1, 3 or 4", data.len() / (width * height).max(1)));
    }
    Ok(Pixels { width, height, data })
}

/// A JPEG whose channels are coded one after the other, by a decoder that is half as fast: the other one reads such a file
/// without complaint, and with halved colours gives other pixels (zune-jpeg 0.5.15).
fn scan_by_scan(bytes: &[u8]) -> Result<Pixels, String> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let data = decoder.decode().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("it has no size")?;
    let data = match info.pixel_format {
        PixelFormat::RGB24 => data,
        PixelFormat::L8 => data.into_iter().flat_map(|grey| [grey; 3]).collect(),
        _ => return Err("its channels are coded one after the other, and are neither three of one byte nor one".into()),
    };
    Ok(Pixels { width: info.width.into(), height: info.height.into(), data })
}

/// What the markers of a JPEG say, without decoding it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outline {
    /// Width and height of the frame.
    size: Option<(usize, usize)>,
    /// Whether it is sequential and has a scan that does not have all channels.
    apart: bool,
    /// Whether the end-of-image marker is there.
    ends: bool,
    /// For a frame whose rows of blocks come one after the other, from the top: where its height stands, and how many rows of
    /// pixels a row of blocks has.
    by_rows: Option<(usize, usize)>,
    /// Whether the channels are called R, G and B and nothing says otherwise: libjpeg's rule for files that are not
    /// YCbCr.
    plain_rgb: bool,
}

impl Outline {
    /// The same JPEG with a frame that ends below the rows that are wanted. Decoders stop with the frame, and leave alone
    /// what is coded behind it. One more row of blocks is kept, since halved colours are widened by those next to them.
    fn cut_below<'b>(&self, bytes: &'b [u8], rows: impl FnOnce(usize, usize) -> usize) -> Cow<'b, [u8]> {
        let (Some((width, height)), Some((at, block)), false) = (self.size, self.by_rows, self.apart) else {
            return Cow::Borrowed(bytes);
        };
        let kept = (rows(width, height).div_ceil(block) + 1) * block;
        match u16::try_from(kept) {
            Ok(short) if kept < height => {
                let mut bytes = bytes.to_vec();
                bytes[at..at + 2].copy_from_slice(&short.to_be_bytes());
                Cow::Owned(bytes)
            }
            _ => Cow::Borrowed(bytes),
        }
    }

    fn of(bytes: &[u8]) -> Self {
        let mut outline = Self::default();
        let (mut marked, mut sequential, mut channels) = (false, false, 0);
        let mut at = 2;
        loop {
            // To the next marker: over fill bytes, stuffed bytes and, after a start of scan, the coded data.
            let Some(&[first, code]) = bytes.get(at..at + 2).and_then(|pair| pair.first_chunk()) else {
                return outline;
            };
            if first != 0xff || matches!(code, 0x00 | 0xff) {
                at += 1;
                continue;
            }
            at += 2;
            match code {
                // Restarts and the like stand alone.
                0x01 | 0xd0..=0xd8 => continue,
                0xd9 => {
                    outline.ends = true;
                    return outline;
                }
                _ => {}
            }
            let Some(&[high, low]) = bytes.get(at..at + 2).and_then(|pair| pair.first_chunk()) else {
                return outline;
            };
            let length = usize::from(u16::from_be_bytes([high, low])).max(2);
            let Some(segment) = bytes.get(at + 2..at + length) else { return outline };
            match code {
                0xe0 => marked |= segment.starts_with(b"JFIF"),
                0xee => marked |= segment.starts_with(b"Adobe"),
                // Start of frame: precision, height, width, number of channels, three bytes for each.
                0xc0..=0xcf if !matches!(code, 0xc4 | 0xc8 | 0xcc) && segment.len() >= 6 => {
                    let side = |i: usize| usize::from(u16::from_be_bytes([segment[i], segment[i + 1]]));
                    outline.size = Some((side(3), side(1)));
                    (sequential, channels) = (matches!(code, 0xc0 | 0xc1), segment[5]);
                    let names: Vec<u8> = segment[6..].iter().step_by(3).copied().collect();
                    let taller = segment[6..].chunks_exact(3).map(|channel| usize::from(channel[1] & 15)).max();
                    outline.by_rows = sequential.then_some((at + 3, 8 * taller.unwrap_or(1)));
                    outline.plain_rgb = !marked && segment[5] == 3 && names == *b"RGB";
                }
                // Start of scan: the number of channels in it, and then coded data. Where the file ends as it should, there
                // is no need to go through them.
                0xda => {
                    outline.apart |= sequential && segment.first().is_some_and(|&here| here < channels);
                    if bytes.ends_with(&[0xff, 0xd9]) {
                        outline.ends = true;
                        return outline;
                    }
                }
                _ => {}
            }
            at += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::*;

    fn outline() -> Outline {
        Outline { by_rows: Some((15, 8)), ..Outline::default() }
    }

    #[test]
    fn the_outline_sees_past_a_thumbnail() {
        // Start, an APP1 segment that holds a whole small JPEG, start of frame of 3 × 2, scan, some data, end.
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9];
        bytes.extend([0xff, 0xc0, 0, 17, 8, 0, 2, 0, 3, 3, b'R', 0x11, 0, b'G', 0x11, 0, b'B', 0x11, 0]);
        bytes.extend([0xff, 0xda, 0, 3, 3, 7, 0xff, 0x00, 9]);
        assert_eq!(Outline::of(&bytes), Outline { size: Some((3, 2)), ends: false, plain_rgb: true, ..outline() });
        bytes.extend([0xff, 0xd9]);
        assert_eq!(Outline::of(&bytes), Outline { size: Some((3, 2)), ends: true, plain_rgb: true, ..outline() });
    }

    #[test]
    fn channels_that_are_coded_one_after_the_other_are_read() {
        let (width, height) = (61_u16, 45_u16);
        let at = |i: usize| (i % usize::from(width), i / usize::from(width));
        let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height))
            .flat_map(|i| [at(i).0 * 4, at(i).1 * 5, at(i).0 + at(i).1].map(|value| value as u8))
            .collect();
        for (sampling, optimized) in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2]
            .map(|s| [(s, false), (s, true)])
            .concat()
        {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 95);
            encoder.set_sampling_factor(sampling);
            // This encoder codes channels apart where it chooses its own Huffman codes.
            encoder.set_optimized_huffman_tables(optimized);
            encoder.encode(&pixels, width, height, ColorType::Rgb).expect("it is encoded");
            assert_eq!(Outline::of(&bytes).apart, optimized);
            let read = decode(&bytes, Path::new("a.jpg"), |_, height| height).expect("it is read");
            let off: u64 = read.data.iter().zip(&pixels).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            let mean = off as f64 / pixels.len() as f64;
            assert!(mean < 1.5, "{sampling:?}, optimized {optimized}: off by {mean} in the mean");
        }
    }

    #[test]
    fn the_rows_that_are_wanted_are_those_of_the_whole_image() {
        let (width, height) = (83_u16, 157_u16);
        let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8;
        let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(noise).collect();
        let grey: Vec<u8> = (0..usize::from(width) * usize::from(height)).map(noise).collect();
        let samplings = [
            SamplingFactor::F_1_1,
            SamplingFactor::F_2_1,
            SamplingFactor::F_1_2,
            SamplingFactor::F_2_2,
            SamplingFactor::F_4_1,
        ];
        for (sampling, restarts, progressive) in
            samplings.map(|s| [(s, 0, false), (s, 3, false), (s, 0, true)]).concat()
        {
            for (data, color) in [(&pixels, ColorType::Rgb), (&grey, ColorType::Luma)] {
                let mut bytes = Vec::new();
                let mut encoder = Encoder::new(&mut bytes, 90);
                encoder.set_sampling_factor(sampling);
                encoder.set_restart_interval(restarts);
                encoder.set_progressive(progressive);
                encoder.encode(data, width, height, color).expect("it is encoded");
                let read = |rows: usize| decode(&bytes, Path::new("a.jpg"), |_, _| rows).expect("it is read");
                let whole = read(usize::from(height));
                let row = usize::from(width) * 3;
                for rows in 0..=usize::from(height) {
                    let top = read(rows);
                    assert_eq!((top.width, top.height, top.data.len()), (83, 157, whole.data.len()));
                    assert!(top.data[..rows * row] == whole.data[..rows * row], "{sampling:?} {restarts} {rows} rows");
                }
                // It is really cut: else there would be nothing to test.
                let by_rows = !progressive && !Outline::of(&bytes).apart;
                assert_eq!(read(1).data.ends_with(&[0; 83 * 3]), by_rows, "{sampling:?} {color:?}");
            }
        }
    }
}
