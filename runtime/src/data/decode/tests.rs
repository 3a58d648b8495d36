use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::data::draws;
use crate::data::transforms::{CenterCrop, Resize, ResizeExact, Transform};

/// What tests/golden/make_images.py wrote: files, and what Pillow and torchvision make of them.
#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    input: String,
    what: String,
    arguments: Vec<usize>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images")
}

fn golden_bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden().join(name)).expect("a golden file")
}

fn index() -> Golden {
    serde_json::from_slice(&golden_bytes("cases.json")).expect("cases.json")
}

fn read(name: &str) -> Pixels {
    decode(&golden_bytes(name), Path::new(name)).expect("a golden image")
}

/// The largest difference of any channel, and the mean.
fn difference(ours: &Pixels, theirs: &Pixels) -> (u8, f64) {
    assert_eq!((ours.width, ours.height), (theirs.width, theirs.height));
    let apart: Vec<u8> = ours.data.iter().zip(&theirs.data).map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = apart.iter().map(|d| f64::from(*d)).sum();
    (apart.iter().copied().max().unwrap_or(0), sum / apart.len() as f64)
}

#[test]
fn transforms_agree_with_pillow_within_one_grey_level() {
    let mut rng = draws::stream(0, "test", 0, 0);
    for case in index().cases {
        let input = read(&format!("{}.png", case.input));
        let ours = match (case.what.as_str(), &case.arguments[..]) {
            ("resize", [size]) => Resize::new(*size).apply(input, &mut rng),
            ("resize_exact", [width, height]) => ResizeExact { width: *width, height: *height }.apply(input, &mut rng),
            ("center_crop", [size]) => CenterCrop::new(*size).apply(input, &mut rng),
            ("resized_crop", [top, left, height, width, size]) => {
                let window = input.window(*left as isize, *top as isize, *width, *height);
                ResizeExact { width: *size, height: *size }.apply(window, &mut rng)
            }
            ("eval", [short, size]) => {
                CenterCrop::new(*size).apply(Resize::new(*short).apply(input, &mut rng), &mut rng)
            }
            other => panic!("an unknown case {other:?}"),
        };
        let (most, mean) = difference(&ours, &read(&format!("{}.png", case.name)));
        println!("{}: at most {most}, on average {mean:.4}", case.name);
        assert!(most <= 1, "{}: {most}", case.name);
    }
}

#[test]
fn files_decode_to_what_pillow_makes_of_them() {
    for (file, rgb) in index().files {
        let (most, mean) = difference(&read(&file), &read(&rgb));
        println!("{file}: at most {most}, on average {mean:.4}");
        // Decoders of JPEG differ in rounding and, more so, in how they widen colour of half resolution.
        let allowed = if file == "rgb420.jpg" || file == "progressive.jpg" {
            (6, 0.6)
        } else if file.ends_with(".jpg") {
            (3, 0.1)
        } else {
            (0, 0.0)
        };
        assert!(most <= allowed.0 && mean <= allowed.1, "{file}: at most {most}, on average {mean:.4}");
    }
}

#[test]
fn inverted_ycck_becomes_rgb() {
    // Adobe's way: all four channels inverted, then C, M and Y as YCbCr.
    let smooth = read("rgb.bmp");
    let inverted: Vec<u8> = smooth.data.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 200]).collect();
    for kind in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
        // This encoder inverts what it is given.
        let cmyk: Vec<u8> = inverted.iter().map(|value| 255 - value).collect();
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 98);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_1_1);
        encoder.encode(&cmyk, smooth.width as u16, smooth.height as u16, kind).expect("encoded");
        let ours = decode(&bytes, Path::new("cmyk.jpg")).expect("an image");
        let mut theirs = smooth.clone();
        theirs.data.iter_mut().for_each(|value| *value = (f64::from(*value) * 200.0 / 255.0).round() as u8);
        let (most, mean) = difference(&ours, &theirs);
        assert!(most <= 8 && mean < 1.5, "{kind:?}: at most {most}, on average {mean:.2}");
    }
}

#[test]
fn sixteen_bits_lose_their_low_byte() {
    let grey = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![0x1234_u16, 0xffff]).expect("two pixels");
    let rgb =
        image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(1, 1, vec![0x12ff_u16, 0x80ff, 0x00ff]).expect("a pixel");
    let png = |image: DynamicImage| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).expect("written");
        decode(bytes.get_ref(), Path::new("x.png")).expect("an image").data
    };
    assert_eq!(png(DynamicImage::ImageLuma16(grey)), [0x12, 0x12, 0x12, 0xff, 0xff, 0xff]);
    assert_eq!(png(DynamicImage::ImageRgb16(rgb)), [0x12, 0x80, 0x00]);
}

fn message(bytes: &[u8]) -> String {
    decode(bytes, Path::new("dogs/1.jpg")).expect_err("no image").to_string()
}

#[test]
fn what_is_no_image_is_called_what_it_is() {
    assert!(message(b"").starts_with("dogs/1.jpg: is empty (0 bytes), expected an image"));
    let text = message(b"hello\nworld");
    assert!(text.contains("dogs/1.jpg: is not an image: it begins with \"hello\", which is text"), "{text}");
    assert!(message(b"<!DOCTYPE html><html>").contains("web page"));
    assert!(message(b"version https://git-lfs.github.com/spec/v1\noid").contains("Git LFS"));
    assert!(message(b"\0\0\0\x1cftypavif").contains("HEIF family (\"avif\""));
    assert!(message(&[0, 1, 2, 250]).contains("begins with the bytes 00 01 02 fa"));
    // A letter of two bytes across the edge of what is looked at is still text.
    assert!(message("é".repeat(100).replacen('é', "xé", 1).as_bytes()).contains("which is text"));
}

#[test]
fn an_image_cut_short_is_said_to_be() {
    for file in ["rgb.jpg", "rgb420.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "rgba.png", "rgb.bmp", "rgb.webp"]
    {
        let bytes = golden_bytes(file);
        for part in [0.35, 0.6, 0.9] {
            let cut = &bytes[..(bytes.len() as f64 * part) as usize];
            let text = message(cut);
            assert!(text.contains("cut short") || text.contains("damaged"), "{file}: {text}");
            if file.ends_with(".jpg") {
                assert!(
                    text.contains(&format!("the JPEG is cut short: its data ends after {} bytes", cut.len())),
                    "{text}"
                );
            }
        }
    }
    let jpeg = golden_bytes("rgb.jpg");
    assert!(message(&jpeg[..jpeg.len() - 3]).contains("cut short"));
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    let mut jpeg = golden_bytes("rgb.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a start of frame");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    assert!(message(&jpeg).contains("the JPEG says it has 65535 × 65535 pixels, expected at most 20000"));
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x4e, 0x20, 0x4e, 0x20]);
    assert!(message(&jpeg).contains("20000 × 20000 pixels"));

    // A bitmap has no checksum in its header, so its size can be changed.
    let mut bitmap = golden_bytes("rgb.bmp");
    bitmap[18..26].copy_from_slice(&[0x50, 0xc3, 0, 0, 0x50, 0xc3, 0, 0]);
    assert!(message(&bitmap).contains("the BMP says it has 50000 × 50000 pixels"), "{}", message(&bitmap));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_never_panic(
        start in prop::sample::select(vec![
            &b""[..], b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\x20\0\0\0WEBPVP8 ", b"GIF89a", b"II*\0", b"MM\0*",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = [start, &rest].concat();
        let _ = decode(&bytes, Path::new("random"));
    }

    #[test]
    fn changed_bytes_never_panic(
        file in prop::sample::select(vec![
            "rgb.jpg", "rgb420.jpg", "progressive.jpg", "cmyk.jpg", "palette.png", "rgb.bmp", "rgb.webp", "palette.gif", "rgb.tif",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = golden_bytes(file);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(image) = decode(&bytes, Path::new(file)) {
            prop_assert_eq!(image.data.len(), image.width * image.height * 3);
        }
    }
}
