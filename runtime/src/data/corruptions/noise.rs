//! Noise of sensors: `gaussian_noise`, `shot_noise` and `impulse_noise`. The constants are those of make_imagenet_c.py.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

use super::Severity;
use super::field::Field;
use crate::data::Pixels;

/// Normal noise of this standard deviation, in levels from 0 to 1, on every channel by itself.
pub(super) fn gaussian_noise(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    let deviation = severity.of([0.08, 0.12, 0.18, 0.26, 0.38]);
    let mut field = Field::of(image);
    for level in &mut field.data {
        *level += deviation * rng.sample::<f32, _>(StandardNormal);
    }
    field.into_pixels()
}

/// A level of 1 stands for this many photons on average, and each channel of each pixel counts its own.
pub(super) fn shot_noise(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    let photons: f32 = severity.of([60.0, 25.0, 12.0, 5.0, 3.0]);
    let mut field = Field::of(image);
    for level in &mut field.data {
        // Black counts nothing, and is no Poisson distribution to the crate.
        if let Ok(distribution) = Poisson::new(*level * photons) {
            *level = distribution.sample(rng) / photons;
        }
    }
    field.into_pixels()
}

/// Salt and pepper: this share of all channels is set to 0 or 255, one as likely as the other.
pub(super) fn impulse_noise(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    let share = severity.of([0.03, 0.06, 0.09, 0.17, 0.27]);
    let mut image = image.clone();
    for level in &mut image.data {
        if rng.random::<f32>() <= share {
            *level = if rng.random() { 255 } else { 0 };
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::draws;

    /// Mean and variance of the levels, 0 to 1, of a grey image of level 102 after the noise.
    fn moments(noise: fn(&Pixels, Severity, &mut ChaCha8Rng) -> Pixels, severity: u8) -> (f64, f64) {
        let grey = Pixels::from_fn(200, 200, |_, _| [102; 3]);
        let severity = Severity::new(severity).expect("1 to 5");
        let noisy = noise(&grey, severity, &mut draws::stream(0, "noise", 0, 0));
        // The bytes are rounded down: half a level less on average.
        let levels: Vec<f64> = noisy.data.iter().map(|level| (f64::from(*level) + 0.5) / 255.0).collect();
        let mean = levels.iter().sum::<f64>() / levels.len() as f64;
        (mean, levels.iter().map(|level| (level - mean).powi(2)).sum::<f64>() / levels.len() as f64)
    }

    #[test]
    fn moments_are_those_of_the_definitions() {
        // Where nothing is cut off at 0 and 1: N(0.4, c²), Poisson(0.4 c)/c with variance 0.4/c.
        let (mean, variance) = moments(gaussian_noise, 1);
        assert!((mean - 0.4).abs() < 2e-3 && (variance / 0.08_f64.powi(2) - 1.0).abs() < 0.02, "{mean} {variance}");
        let (mean, variance) = moments(gaussian_noise, 2);
        assert!((mean - 0.4).abs() < 2e-3 && (variance / 0.12_f64.powi(2) - 1.0).abs() < 0.02, "{mean} {variance}");
        for (severity, photons) in [(1, 60.0), (2, 25.0)] {
            let (mean, variance) = moments(shot_noise, severity);
            assert!((mean - 0.4).abs() < 3e-3 && (variance * photons / 0.4 - 1.0).abs() < 0.02, "{mean} {variance}");
        }
        // A share s at 0 or 1 with a half each: mean 0.4 + 0.1 s, variance 0.1 s² … = E[x²] - mean².
        for (severity, share) in [(1, 0.03), (5, 0.27)] {
            let (mean, variance) = moments(impulse_noise, severity);
            let wanted = 0.4 * (1.0 - share) + 0.5 * share;
            let square = 0.16 * (1.0 - share) + 0.5 * share;
            assert!((mean - wanted).abs() < 4e-3, "{mean} {wanted}");
            assert!((variance - (square - wanted * wanted)).abs() < 3e-3, "{variance}");
        }
    }

    #[test]
    fn black_stays_black_in_shot_noise() {
        let black = Pixels::black(9, 9);
        let severity = Severity::new(5).expect("1 to 5");
        assert_eq!(shot_noise(&black, severity, &mut draws::stream(0, "noise", 0, 0)), black);
    }
}
