//! What `tests/golden/augmentations.py` wrote: the results of timm, torchvision and Pillow on drawn images.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{CenterCrop, RandomResizedCrop, Resize, ResizeExact, Transform, Window};
use crate::data::{Pixels, decode, draws};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augmentations")
}

/// The cases of one kind.
pub(super) fn cases<T: DeserializeOwned>(kind: &str) -> Vec<T> {
    let text = std::fs::read_to_string(folder().join("cases.json")).expect("cases.json");
    let mut all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(all[kind].take()).expect("cases of that kind")
}

/// The images of a file in which they lie one below the other, each of `height` rows.
pub(super) fn stack(file: &str, height: usize) -> Vec<Pixels> {
    let place = folder().join(file);
    let all = decode(&std::fs::read(&place).expect("a golden file"), &place).expect("an image");
    let images = all.data.chunks_exact(all.width * height * 3);
    images.map(|data| Pixels { width: all.width, height, data: data.to_vec() }).collect()
}

/// The image that `scene` of the script draws.
pub(super) fn scene(width: usize, height: usize, seed: usize, grey: bool) -> Pixels {
    let mut image = Pixels::from_fn(width, height, |x, y| {
        if 3 * x < width && 3 * y < height {
            std::array::from_fn(|c| {
                let sum = x * 1103 + y * 2333 + x * y * 7919 + c * 4051 + seed * 631;
                (sum * 48_271 % 65_537 % 256) as u8
            })
        } else {
            let slope = |at: usize, side: usize| (255 * at / (side - 1).max(1)) as u8;
            [slope(x, width), slope(y, height), ((x * x + 3 * y * y + 40 * seed) / 7 % 256) as u8]
        }
    });
    for k in 0..4 {
        let (left, top) = ((seed * 7 + k * 11) % width, (seed * 5 + k * 13) % height);
        let right = left + 3 + (seed + k * k) % (width / 2).max(1);
        let bottom = top + 3 + (seed * 3 + k) % (height / 2).max(1);
        let colour = [(seed * 37 + k * 71) % 256, (k * 101 + seed * 13) % 256, (k * 53 + seed * 29) % 256];
        for y in top..bottom.min(height) {
            for x in left..right.min(width) {
                image.data[(y * width + x) * 3..][..3].copy_from_slice(&colour.map(|level| level as u8));
            }
        }
    }
    if grey {
        image.data.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| *pixel = [pixel[1]; 3]);
    }
    image
}

/// The largest difference of any channel, and the share of the pixels whose channels are all within one level.
pub(super) fn difference(ours: &Pixels, theirs: &Pixels) -> (u8, f64) {
    assert_eq!((ours.width, ours.height), (theirs.width, theirs.height));
    let pixels = ours.data.as_chunks::<3>().0.iter().zip(theirs.data.as_chunks::<3>().0);
    let apart: Vec<u8> = pixels.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)).collect();
    let close = apart.iter().filter(|most| **most <= 1).count();
    (apart.iter().copied().max().unwrap_or(0), close as f64 / apart.len() as f64)
}

#[derive(Debug, Deserialize)]
struct Case {
    width: usize,
    height: usize,
    seed: usize,
    grey: bool,
    window: Window,
}

#[test]
fn twenty_odd_images_are_resized_and_cropped_within_one_level() {
    let cases: Vec<Case> = cases("resizes");
    let expected = stack("resizes.png", 24);
    assert_eq!((cases.len(), expected.len()), (20, 60));
    let mut rng = draws::stream(0, "test", 0, 0);
    for (case, expected) in cases.iter().zip(expected.chunks_exact(3)) {
        let image = scene(case.width, case.height, case.seed, case.grey);
        let whole = ResizeExact { width: 24, height: 24 }.apply(image.clone(), &mut rng);
        let crop = RandomResizedCrop::new(24).cut(image.clone(), case.window);
        let middle = CenterCrop::new(24).apply(Resize::new(24).apply(image, &mut rng), &mut rng);
        for (name, ours, theirs) in
            [("whole", whole, &expected[0]), ("crop", crop, &expected[1]), ("middle", middle, &expected[2])]
        {
            let (most, _) = difference(&ours, theirs);
            assert!(most <= 1, "{name} of {case:?}: {most} levels apart");
        }
    }
}
