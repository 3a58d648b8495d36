//! A rectangle of noise in place of a part of the image.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::PlaneTransform;

/// timm's `RandomErasing` in mode `pixel` with a count of 1 (paper.md §3.3): with probability `p`, up to ten times, a share
/// of the area and a ratio of height to width are drawn, and if the rectangle is smaller than the image a place for it. Its
/// numbers are from a normal distribution of deviation 1, each of its own.
#[derive(Clone, Debug)]
pub struct RandomErasing {
    /// In `[0, 1]`.
    pub p: f64,
}

/// Smallest and largest share of the area (paper.md §3.3).
const SHARE: (f64, f64) = (0.02, 1.0 / 3.0);
/// Smallest ratio of height to width; the largest is its inverse (paper.md §3.3).
const FLATTEST: f64 = 0.3;

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rectangle {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl RandomErasing {
    /// What to erase of an image of `height` × `width`. `uniform` gives numbers between 0 and 1, the first of which says
    /// whether.
    fn draw(&self, height: usize, width: usize, mut uniform: impl FnMut() -> f64) -> Option<Rectangle> {
        if uniform() >= self.p {
            return None;
        }
        let between = |low: f64, high: f64, at: f64| low + (high - low) * at;
        for _ in 0..10 {
            let area = between(SHARE.0, SHARE.1, uniform()) * (height * width) as f64;
            let ratio = between(FLATTEST.ln(), -FLATTEST.ln(), uniform()).exp();
            // Python's `round` goes to the even neighbour.
            let h = (area * ratio).sqrt().round_ties_even() as usize;
            let w = (area / ratio).sqrt().round_ties_even() as usize;
            if w < width && h < height {
                let mut place = |rest: usize| ((uniform() * (rest + 1) as f64) as usize).min(rest);
                let top = place(height - h);
                let left = place(width - w);
                return Some(Rectangle { top, left, height: h, width: w });
            }
        }
        None
    }
}

impl PlaneTransform for RandomErasing {
    fn apply(&self, planes: &mut [f32], height: usize, width: usize, rng: &mut ChaCha8Rng) {
        let Some(erased) = self.draw(height, width, || rng.random()) else { return };
        for plane in planes.chunks_exact_mut(height * width) {
            for row in plane.chunks_exact_mut(width).skip(erased.top).take(erased.height) {
                row[erased.left..erased.left + erased.width].fill_with(|| StandardNormal.sample(rng));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::data::draws;
    use crate::data::transforms::golden;

    #[derive(Debug, Deserialize)]
    struct Case {
        height: usize,
        width: usize,
        numbers: Vec<f64>,
        /// Row, column, height, width.
        rectangle: Option<[usize; 4]>,
    }

    #[test]
    fn rectangles_are_timms_for_the_same_numbers() {
        let cases: Vec<Case> = golden::cases("erasings");
        assert!(cases.iter().any(|case| case.rectangle.is_none()) && cases.iter().any(|case| case.numbers.len() > 5));
        for case in cases {
            let mut numbers = case.numbers.iter().copied();
            let drawn = RandomErasing { p: 0.25 }.draw(case.height, case.width, || numbers.next().expect("a number"));
            let found = drawn.filter(|r| r.height * r.width > 0).map(|r| [r.top, r.left, r.height, r.width]);
            assert_eq!(found, case.rectangle, "{case:?}");
            assert_eq!(numbers.next(), None, "all numbers are used: {case:?}");
        }
    }

    #[test]
    fn what_is_erased_is_noise_and_the_rest_stays() {
        let mut rng = draws::stream(0, "test", 0, 0);
        let (mut shares, mut sum, mut squares, mut count) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..400 {
            let mut planes = vec![9.0_f32; 3 * 40 * 50];
            RandomErasing { p: 1.0 }.apply(&mut planes, 40, 50, &mut rng);
            let erased: Vec<usize> = (0..2000).filter(|i| planes[*i] != 9.0).collect();
            assert!((0..2000).all(|i| (planes[i] == 9.0) == (planes[i + 2000] == 9.0)), "all channels lose the same");
            shares += erased.len() as f64 / 2000.0;
            for value in erased.iter().flat_map(|i| [planes[*i], planes[i + 2000], planes[i + 4000]]).map(f64::from) {
                (sum, squares, count) = (sum + value, squares + value * value, count + 1.0);
            }
        }
        // The mean of shares drawn evenly between 0.02 and 1/3; large flat ones do not fit and are drawn anew.
        assert!((0.14..0.19).contains(&(shares / 400.0)), "{}", shares / 400.0);
        assert!(
            (sum / count).abs() < 0.01 && (squares / count - 1.0).abs() < 0.01,
            "{} {}",
            sum / count,
            squares / count
        );
    }

    #[test]
    fn without_luck_nothing_happens() {
        let mut rng = draws::stream(0, "test", 0, 0);
        let mut touched = 0;
        for _ in 0..2000 {
            let mut planes = vec![9.0_f32; 3 * 16 * 16];
            RandomErasing { p: 0.25 }.apply(&mut planes, 16, 16, &mut rng);
            touched += usize::from(planes.iter().any(|value| *value != 9.0));
        }
        assert!((440..560).contains(&touched), "{touched} of 2000");
    }
}
