//! `fog`: a cloud that is drawn by halves of squares and diamonds.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::field::Field;
use crate::data::Pixels;

/// How much fog, and by how much each finer octave of the cloud is fainter (make_imagenet_c.py).
const FOGS: [(f32, f64); 5] = [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)];

pub(super) fn fog(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    in_cloud(image, severity, || rng.random_range(-1.0..1.0))
}

/// The same in the cloud of the numbers, -1 to 1, that `draw` gives.
pub(super) fn in_cloud(image: &Pixels, severity: Severity, draw: impl FnMut() -> f64) -> Pixels {
    let (fog, decay) = severity.of(FOGS);
    let mut field = Field::of(image);
    let brightest = field.data.iter().copied().fold(0.0, f32::max);
    let side = image.width.max(image.height).next_power_of_two();
    let cloud = plasma(side, decay, draw);
    for (i, pixel) in field.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let here = cloud[i / image.width * side + i % image.width];
        *pixel = pixel.map(|level| (level + fog * here) * brightest / (brightest + fog));
    }
    field.into_pixels()
}

/// `[side, side]` heights from 0 to 1 by the diamond-square algorithm, `side` a power of two; it goes on at its other
/// side. Each new point is the mean of the four around it plus the square of the octave's height, which begins at 100, times
/// a number of `draw`.
pub(super) fn plasma(side: usize, decay: f64, mut draw: impl FnMut() -> f64) -> Vec<f32> {
    let mut heights = vec![0.0_f64; side * side];
    let (mut step, mut wibble) = (side, 100.0);
    let mask = side - 1;
    while step >= 2 {
        let half = step / 2;
        let mut fill = |first: (usize, usize), around: [(usize, usize); 4], heights: &mut Vec<f64>| {
            for y in (0..side).step_by(step) {
                for x in (0..side).step_by(step) {
                    let at = |(dx, dy): (usize, usize)| ((y + dy) & mask) * side + ((x + dx) & mask);
                    let sum: f64 = around.iter().map(|place| heights[at(*place)]).sum();
                    heights[at(first)] = sum / 4.0 + wibble * wibble * draw();
                }
            }
        };
        // One step back, round the other side.
        let back = side - half;
        fill((half, half), [(0, 0), (step, 0), (0, step), (step, step)], &mut heights);
        fill((half, 0), [(0, 0), (step, 0), (half, half), (half, back)], &mut heights);
        fill((0, half), [(0, 0), (0, step), (half, half), (back, half)], &mut heights);
        step = half;
        wibble /= decay;
    }
    let lowest = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A single point has no range.
    let range = if highest > lowest { highest - lowest } else { 1.0 };
    heights.iter().map(|height| ((height - lowest) / range) as f32).collect()
}
