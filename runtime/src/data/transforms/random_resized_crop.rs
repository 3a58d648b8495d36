//! A crop of random area, shape and place, brought to one size: the paper's main augmentation.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::Transform;
use super::resize_exact::bicubic;
use crate::data::Pixels;

/// torchvision's `RandomResizedCrop`, bicubic (paper.md §3.3).
///
/// Up to ten times: an area drawn uniformly from `scale` of the image's, a ratio of width to height drawn from `ratio`
/// uniformly in its logarithm, sides rounded, and if they fit a uniform place. If none fits: the largest centred crop
/// whose ratio is allowed.
#[derive(Clone, Debug)]
pub struct RandomResizedCrop {
    /// Both sides of the result.
    pub size: usize,
    /// Smallest and largest part of the image's area.
    pub scale: (f64, f64),
    /// Smallest and largest ratio of width to height.
    pub ratio: (f64, f64),
}

/// A window in an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// Columns before it.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Its columns, at least 1.
    pub width: usize,
    /// Its rows, at least 1.
    pub height: usize,
}

impl RandomResizedCrop {
    /// To `size` × `size`, with area 0.08 to 1 and ratio 3/4 to 4/3 (paper.md §3.3).
    pub fn new(size: usize) -> Self {
        Self { size, scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }
    }

    /// The pixels of `window`, which lies in the image, brought to the size.
    pub fn cut(&self, image: Pixels, window: Window) -> Pixels {
        let Window { left, top, width, height } = window;
        // Cut first: the kernel must not see pixels outside the crop.
        bicubic(image.window(left as isize, top as isize, width, height), self.size, self.size)
    }

    fn draw(&self, width: usize, height: usize, rng: &mut ChaCha8Rng) -> Window {
        let area = (width * height) as f64;
        for _ in 0..10 {
            let target = area * rng.random_range(self.scale.0..=self.scale.1);
            let ratio = rng.random_range(self.ratio.0.ln()..=self.ratio.1.ln()).exp();
            // Python's `round` goes to the even neighbour.
            let w = (target * ratio).sqrt().round_ties_even() as usize;
            let h = (target / ratio).sqrt().round_ties_even() as usize;
            if 0 < w && w <= width && 0 < h && h <= height {
                let top = rng.random_range(0..=height - h);
                let left = rng.random_range(0..=width - w);
                return Window { left, top, width: w, height: h };
            }
        }
        self.centred(width, height)
    }

    /// The largest crop in the middle of `width` × `height` whose ratio is allowed.
    fn centred(&self, width: usize, height: usize) -> Window {
        let ratio = width as f64 / height as f64;
        let (w, h) = if ratio < self.ratio.0 {
            (width, (width as f64 / self.ratio.0).round_ties_even() as usize)
        } else if ratio > self.ratio.1 {
            ((height as f64 * self.ratio.1).round_ties_even() as usize, height)
        } else {
            (width, height)
        };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Window { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }
}

impl Transform for RandomResizedCrop {
    fn apply(&self, image: Pixels, rng: &mut ChaCha8Rng) -> Pixels {
        let window = self.draw(image.width, image.height, rng);
        self.cut(image, window)
    }

    fn rows(&self, width: usize, height: usize, rng: &ChaCha8Rng) -> usize {
        let window = self.draw(width, height, &mut rng.clone());
        window.top + window.height
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::draws;

    #[test]
    fn crops_keep_to_their_area_and_ratio() {
        let crop = RandomResizedCrop::new(8);
        let mut rng = draws::stream(0, "test", 0, 0);
        let (mut areas, mut logs, mut inside) = (0.0, 0.0, 0);
        for _ in 0..4000 {
            let w = crop.draw(400, 300, &mut rng);
            assert!(w.left + w.width <= 400 && w.top + w.height <= 300);
            let part = (w.width * w.height) as f64 / 120_000.0;
            let ratio = w.width as f64 / w.height as f64;
            assert!((0.079..=1.0).contains(&part) && (0.74..=1.35).contains(&ratio), "{w:?}");
            areas += part;
            logs += ratio.ln();
            inside += usize::from(ratio > 1.0);
        }
        // torchvision over 20,000 draws on 400 × 300: mean area 0.435, mean log ratio 0.031, 58 % wider than high.
        assert!((areas / 4000.0 - AREA).abs() < 0.015, "{}", areas / 4000.0);
        assert!((logs / 4000.0 - LOG_RATIO).abs() < 0.012, "{}", logs / 4000.0);
        assert!((inside as f64 / 4000.0 - WIDER).abs() < 0.03, "{}", inside as f64 / 4000.0);
    }
    const AREA: f64 = 0.435;
    const LOG_RATIO: f64 = 0.0314;
    const WIDER: f64 = 0.579;

    #[test]
    fn an_image_no_crop_fits_gets_the_middle() {
        let crop = RandomResizedCrop { scale: (0.9, 1.0), ..RandomResizedCrop::new(8) };
        let mut rng = draws::stream(0, "test", 0, 0);
        // RandomResizedCrop.get_params on 1000 × 10 and 10 × 1000.
        let wide = crop.draw(1000, 10, &mut rng);
        assert_eq!(wide, Window { left: 493, top: 0, width: 13, height: 10 });
        let high = crop.draw(10, 1000, &mut rng);
        assert_eq!(high, Window { left: 0, top: 493, width: 10, height: 13 });
    }

    #[test]
    fn a_single_pixel_is_an_image_too() {
        let mut rng = draws::stream(0, "test", 0, 0);
        let out = RandomResizedCrop::new(4).apply(Pixels { width: 1, height: 1, data: vec![9, 8, 7] }, &mut rng);
        assert_eq!(out, Pixels::from_fn(4, 4, |_, _| [9, 8, 7]));
    }
}
