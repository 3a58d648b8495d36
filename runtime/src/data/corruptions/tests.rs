use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::field::Field;
use super::prepare::prepare;
use super::*;
use crate::data::{Damage, ImageSet, decode, draws};

/// SplitMix64, as runtime/tests/golden/corruptions.py has it.
struct Stream(u64);

impl Stream {
    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From -1 to 1.
    fn around_zero(&mut self) -> f64 {
        self.unit() * 2.0 - 1.0
    }

    /// Near normal.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn golden(name: &str) -> Pixels {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    decode(&std::fs::read(&path).expect("a golden file"), &path).expect("an image")
}

/// No random numbers: for corruptions that have none.
fn none() -> ChaCha8Rng {
    draws::stream(0, "nothing", 0, 0)
}

/// Holds what `corrupt` makes of the drawn picture at each severity, 0 to 4 in `i`, against the strip of that name: on `share`
/// of all levels at most `apart` away.
fn agree(name: &str, apart: u8, share: f64, corrupt: impl Fn(&Pixels, Severity, u64) -> Pixels) {
    let picture = golden("corruptions/picture.png");
    let strip = golden(&format!("corruptions/{name}.png"));
    let side = picture.height;
    for (i, severity) in Severity::ALL.into_iter().enumerate() {
        let wanted = strip.window(0, (i * side) as isize, side, side);
        let found = corrupt(&picture, severity, i as u64);
        let distances: Vec<u8> = found.data.iter().zip(&wanted.data).map(|(a, b)| a.abs_diff(*b)).collect();
        let near = distances.iter().filter(|distance| **distance <= apart).count() as f64 / distances.len() as f64;
        let farthest = distances.iter().max().expect("pixels");
        assert!(near >= share, "{name} {severity:?}: {near:.4} within {apart}, the farthest {farthest}");
    }
}

/// The same for a corruption without random numbers.
fn agree_alone(name: &str, apart: u8, share: f64) {
    let corruption = CORRUPTIONS.iter().find(|corruption| corruption.name == name).expect("a corruption");
    agree(name, apart, share, |picture, severity, _| corruption.apply(picture, severity, &mut none()));
}

#[test]
fn what_is_not_random_is_what_the_libraries_compute() {
    agree_alone("brightness", 1, 1.0);
    agree_alone("contrast", 1, 1.0);
    agree_alone("defocus_blur", 1, 1.0);
    agree_alone("pixelate", 1, 1.0);
    agree_alone("zoom_blur", 1, 1.0);
}

/// Mean distance of the levels.
fn apart(a: &Pixels, b: &Pixels) -> f64 {
    let sum: u32 = a.data.iter().zip(&b.data).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / a.data.len() as f64
}

#[test]
fn jpegs_are_nearly_those_of_pillow() {
    // Two encoders round coefficients apart here and there, and one step of a coefficient moves a whole block by some
    // levels. Colour that is not joined as libjpeg joins it is 11 levels away.
    let picture = golden("corruptions/picture.png");
    let strip = golden("corruptions/jpeg_compression.png");
    for (i, severity) in Severity::ALL.into_iter().enumerate() {
        let wanted = strip.window(0, i as isize * 40, 40, 40);
        let found = jpeg_compression::jpeg_compression(&picture, severity, &mut none());
        let (error, damage) = (apart(&found, &wanted), apart(&picture, &wanted));
        assert!(error < 3.5 && error < damage / 4.0, "{severity:?}: {error:.2} from Pillow's, which did {damage:.2}");
    }
}

#[test]
fn motion_is_that_of_imagemagick() {
    let angles = [-45.0, -17.3, 0.0, 8.8, 40.0];
    agree("motion_blur", 1, 1.0, |picture, severity, i| motion_blur::along(picture, severity, angles[i as usize]));
}

#[test]
fn random_ones_agree_where_their_numbers_are_given() {
    agree("fog", 1, 1.0, |picture, severity, i| {
        let mut stream = Stream(30 + i);
        fog::in_cloud(picture, severity, || stream.around_zero())
    });
    agree("frost", 1, 1.0, |picture, severity, i| {
        let mut stream = Stream(40 + i);
        let ice = Pixels::from_fn(40, 40, |_, _| std::array::from_fn(|_| (stream.unit() * 256.0) as u8));
        frost::under(picture, severity, &ice)
    });
    agree("glass_blur", 1, 0.99, |picture, severity, i| {
        let mut stream = Stream(50 + i);
        glass_blur::shuffled(picture, severity, |reach| (stream.unit() * 2.0 * reach as f64) as isize - reach)
    });
    let angles = [-135.0, -110.5, -90.0, -66.6, -45.0];
    agree("snow", 1, 0.99, |picture, severity, i| {
        let mut stream = Stream(60 + i);
        let noise = Field::layer(40, 40, |_| stream.bell() as f32);
        snow::falling(picture, severity, noise, angles[i as usize])
    });
    agree("elastic_transform", 2, 0.99, |picture, severity, i| {
        let mut stream = Stream(20 + i);
        let corners = std::array::from_fn(|_| std::array::from_fn(|_| stream.around_zero() / 10.0));
        let mut noise = || Field::layer(40, 40, |_| stream.around_zero() as f32);
        let right = noise();
        elastic_transform::pulled(picture, severity, corners, [right, noise()])
    });
}

#[test]
fn images_are_cut_as_torchvision_cuts_them() {
    for name in ["wide", "high"] {
        let found = prepare(&golden(&format!("images/{name}.png")), 24);
        let wanted = golden(&format!("corruptions/prepared_{name}.png"));
        assert_eq!((found.width, found.height), (24, 24));
        assert!(found.data.iter().zip(&wanted.data).all(|(a, b)| a.abs_diff(*b) <= 1), "{name}");
    }
}

#[test]
fn every_corruption_takes_images_without_contrast_and_of_small_size() {
    for corruption in CORRUPTIONS {
        for severity in Severity::ALL {
            for image in [Pixels::black(32, 32), Pixels::from_fn(32, 32, |_, _| [255; 3])] {
                let out = corruption.apply(&image, severity, &mut none());
                assert_eq!((out.width, out.height, out.data.len()), (32, 32, 32 * 32 * 3), "{}", corruption.name);
            }
        }
    }
}

/// Two classes of drawn images in `folder`: `a/1.png`, `a/2.bmp`, `b/3.JPEG`.
fn originals(folder: &Path) -> ImageSet {
    let image = Pixels::from_fn(50, 40, |x, y| [x as u8 * 5, y as u8 * 6, 90]);
    for (name, format) in [
        ("a/1.png", image::ImageFormat::Png),
        ("a/2.bmp", image::ImageFormat::Bmp),
        ("b/3.JPEG", image::ImageFormat::Png),
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a class")).expect("a folder");
        image::save_buffer_with_format(&path, &image.data, 50, 40, image::ColorType::Rgb8, format).expect("an image");
    }
    ImageSet::open(folder, "").expect("a set")
}

/// Every file under `folder` with its bytes, by its path in it.
fn files(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).expect("inside").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(entry.path()).expect("a file"));
            }
        }
    }
    found
}

fn some_corruptions() -> CorruptImages {
    let named = |name: &&str| *CORRUPTIONS.iter().find(|corruption| corruption.name == *name).expect("a corruption");
    CorruptImages {
        corruptions: ["fog", "impulse_noise"].iter().map(named).collect(),
        severities: vec![Severity(2), Severity(5)],
        side: 32,
        ..CorruptImages::default()
    }
}

fn corrupt(set: &ImageSet, out: &Path, options: &CorruptImages) -> crate::error::Result<Corrupted> {
    corrupt_images(set, out, options, &Damage::new(), &AtomicBool::new(false), &|_| {})
}

#[test]
fn a_folder_goes_on_where_it_stopped_and_ends_the_same() {
    let (source, first, second) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let set = originals(source.path());
    let one = CorruptImages { threads: 1, ..some_corruptions() };
    let made = corrupt(&set, first.path(), &one).expect("made");
    assert_eq!(made, Corrupted { written: 12, kept: 0, finished: true });
    let whole = files(first.path());
    assert_eq!(whole.len(), 12 + 1, "{:?}", whole.keys());
    assert!(whole.contains_key("fog/2/a/1.png") && whole.contains_key("impulse_noise/5/b/3.JPEG"));
    assert!(whole.contains_key("fog/5/a/2.bmp.png"));
    assert!(whole["fog/2/b/3.JPEG"].starts_with(&[0xff, 0xd8]) && whole["fog/2/a/1.png"].starts_with(b"\x89PNG"));

    // Threads, another order of corruptions and a stop in the middle change nothing.
    let mut other = CorruptImages { threads: 3, ..some_corruptions() };
    other.corruptions.reverse();
    let stop = AtomicBool::new(false);
    let stopping = |_| stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let alone = CorruptImages { threads: 1, ..other.clone() };
    let begun = corrupt_images(&set, second.path(), &alone, &Damage::new(), &stop, &stopping).expect("begun");
    assert_eq!(begun, Corrupted { written: 4, kept: 0, finished: false });
    // One file was cut short, one is empty, as after a power cut.
    let cut = second.path().join("fog/2/a/1.png");
    std::fs::write(&cut, &whole["fog/2/a/1.png"][..40]).unwrap();
    std::fs::write(second.path().join("fog/5/a/1.png"), b"").unwrap();
    let made = corrupt(&set, second.path(), &other).expect("made");
    assert_eq!(made, Corrupted { written: 10, kept: 2, finished: true });
    assert_eq!(files(second.path()), whole);
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let set = originals(source.path());
    let refused = corrupt(&set, source.path(), &some_corruptions()).expect_err("it holds the originals");
    assert!(refused.what.contains("holds other files"), "{refused}");
    corrupt(&set, out.path(), &some_corruptions()).expect("made");
    let other = CorruptImages { seed: 1, ..some_corruptions() };
    let refused = corrupt(&set, out.path(), &other).expect_err("another seed");
    assert!(refused.what.contains("found seed 0") && refused.what.contains("asked for seed 1"), "{refused}");
    let refused = corrupt(&set, out.path(), &CorruptImages { side: 5000, ..other }).expect_err("too large");
    assert!(refused.what.contains("expected 32 to 1024"), "{refused}");
}
