//! `fgsm` and `pgd`: top-1 on images that are changed a little, each towards a larger loss (paper.md §3.4). Changes are
//! measured in pixels, 0 to 1, before normalisation.

use lmv_compiler::config::Call;
use rand::Rng;

/// How images are changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attack {
    /// How far a pixel may be moved, of 1.
    pub eps: f32,
    /// How far one step moves it.
    pub step: f32,
    /// How many steps.
    pub steps: usize,
    /// Whether the first step begins at a random place within `eps`, not at the image.
    pub random_start: bool,
}

/// The fast gradient sign method: one step of `eps`.
pub fn fgsm(call: &Call) -> Attack {
    let eps = call.float("eps").unwrap_or(1.0 / 255.0) as f32;
    Attack { eps, step: eps, steps: 1, random_start: false }
}

/// Projected gradient descent.
pub fn pgd(call: &Call) -> Attack {
    Attack {
        eps: call.float("eps").unwrap_or(1.0 / 255.0) as f32,
        step: call.float("step").unwrap_or(0.5 / 255.0) as f32,
        steps: call.size("steps").unwrap_or(5),
        random_start: true,
    }
}

impl Attack {
    /// Where it begins, from images in pixels.
    pub fn start(&self, images: &[f32], rng: &mut impl Rng) -> Vec<f32> {
        let mut noise = || if self.random_start { rng.random_range(-self.eps..=self.eps) } else { 0.0 };
        images.iter().map(|&pixel| (pixel + noise()).clamp(0.0, 1.0)).collect()
    }

    /// One step: `at` moves by the sign of the loss's gradient, and stays within `eps` of `images` and between 0 and 1. A
    /// gradient of zero moves nothing.
    pub fn advance(&self, images: &[f32], at: &mut [f32], gradient: &[f32]) {
        for ((at, &image), &gradient) in at.iter_mut().zip(images).zip(gradient) {
            // `signum` of zero is one, and NaN has none.
            let sign = if gradient > 0.0 {
                1.0
            } else if gradient < 0.0 {
                -1.0
            } else {
                0.0
            };
            let change = (*at + self.step * sign - image).clamp(-self.eps, self.eps);
            *at = (image + change).clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn one_step_of_fgsm_goes_by_the_sign() {
        let attack = Attack { eps: 0.1, step: 0.1, steps: 1, random_start: false };
        let images = [0.5, 0.5, 0.5, 0.95, 0.05];
        let mut at = attack.start(&images, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(at, images, "it begins at the image");
        attack.advance(&images, &mut at, &[1e-9, -3.0, 0.0, 2.0, -2.0]);
        let expected = [0.6, 0.4, 0.5, 1.0, 0.0];
        assert!(at.iter().zip(expected).all(|(at, e): (&f32, f32)| (at - e).abs() < 1e-6), "{at:?}");
    }

    #[test]
    fn pgd_stays_within_its_bounds() {
        let attack = Attack { eps: 0.02, step: 0.015, steps: 4, random_start: true };
        let images = vec![0.0, 0.3, 0.5, 1.0];
        let mut at = attack.start(&images, &mut ChaCha8Rng::seed_from_u64(1));
        assert_ne!(at, images, "it begins beside the image");
        for _ in 0..attack.steps {
            attack.advance(&images, &mut at, &[1.0, 1.0, -1.0, -1.0]);
        }
        let expected = [0.02, 0.32, 0.48, 0.98];
        assert!(at.iter().zip(expected).all(|(at, e): (&f32, f32)| (at - e).abs() < 1e-6), "{at:?}");
    }
}
