//! RandAugment as timm has it (paper.md §3.3): a few operations drawn for each image out of fifteen.

mod affine;
mod enhance;
mod levels;
mod luma;
mod operation;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Transform;
use crate::data::Pixels;

pub use operation::{Chance, FILL, Operation};

/// timm's magnitude at which an operation has its full strength.
const FULL_MAGNITUDE: f64 = 10.0;

/// `rand-m9-mstd0.5-inc1` with its numbers as fields.
#[derive(Clone, Debug)]
pub struct RandAugment {
    /// What is drawn from, with replacement, all alike. At least one.
    pub operations: Vec<Chance>,
    /// How many are drawn for an image.
    pub count: usize,
    /// The mean of the magnitude, 0 to 10.
    pub magnitude: f64,
    /// The deviation of the magnitude, which is drawn anew for each operation and kept within 0 and 10.
    pub std: f64,
    /// The probability that an operation that was drawn is carried out.
    pub p: f64,
}

impl Default for RandAugment {
    /// The paper's (paper.md §3.3).
    fn default() -> Self {
        let operations = Operation::TIMM.map(|operation| Chance { operation, p: 1.0 }).to_vec();
        Self { operations, count: 2, magnitude: 9.0, std: 0.5, p: 0.5 }
    }
}

impl Transform for RandAugment {
    fn apply(&self, mut image: Pixels, rng: &mut ChaCha8Rng) -> Pixels {
        for _ in 0..self.count {
            let Chance { operation, p } = self.operations[rng.random_range(0..self.operations.len())];
            if rng.random::<f64>() >= self.p * p {
                continue;
            }
            let normal: f64 = StandardNormal.sample(rng);
            let magnitude = (self.magnitude + self.std * normal).clamp(0.0, FULL_MAGNITUDE);
            let negative = rng.random::<bool>();
            image = operation.apply(image, magnitude / FULL_MAGNITUDE, negative);
        }
        image
    }
}

#[cfg(test)]
mod tests;
