//! `glass_blur`: frosted glass, which shuffles pixels with their neighbours.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::field::{Border, Field};
use super::gaussian::gaussian;
use crate::data::Pixels;

/// The blur's deviation before and after the shuffle, how far a pixel may come from, and how often all are shuffled
/// (make_imagenet_c.py).
const GLASSES: [(f64, isize, usize); 5] = [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)];

pub(super) fn glass_blur(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    shuffled(image, severity, |reach| rng.random_range(-reach as i64..reach as i64) as isize)
}

/// The same with the displacements from `draw(reach)`, which gives whole numbers from `-reach` to `reach - 1`: one for
/// the column, one for the row.
///
/// The published code means to swap two pixels, and copies one over the other instead, because numpy's rows are views:
/// so do we.
pub(super) fn shuffled(image: &Pixels, severity: Severity, mut draw: impl FnMut(isize) -> isize) -> Pixels {
    let (deviation, reach, times) = severity.of(GLASSES);
    let blur = |image: &Pixels| gaussian(&Field::of(image), deviation, 4.0, Border::Edge).into_pixels();
    let mut image = blur(image);
    let (width, height) = (image.width as isize, image.height as isize);
    for _ in 0..times {
        for y in (reach + 1..=height - reach).rev() {
            for x in (reach + 1..=width - reach).rev() {
                let (dx, dy) = (draw(reach), draw(reach));
                let place = |x: isize, y: isize| ((y * width + x) * 3) as usize;
                let from = place(x + dx, y + dy);
                image.data.copy_within(from..from + 3, place(x, y));
            }
        }
    }
    blur(&image)
}
