//! What a recipe does to a cloud (paper.md §4.3).

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::geometry::{Planes, farthest, squared_distance};

/// Of the kernel that the paper's code samples by: points whose squared distance from the origin is at most this are not
/// taken (paper.md §4.1).
const NEAR_ORIGIN: f64 = 1e-3;

/// One step, on a cloud `[N, 3]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Augment {
    /// The points in random order.
    Shuffle,
    /// So many points by farthest-point sampling from the first; all of them where there are no more.
    SampleFarthest(usize),
    /// So many points at random, none twice; all of them where there are no more.
    SampleRandom(usize),
    /// Each axis times a factor of its own between the two.
    Scale(f32, f32),
    /// The whole cloud along each axis by up to so much either way.
    Move(f32),
}

/// How many points of a cloud lie far enough from the origin to be taken by [`Augment::SampleFarthest`].
pub fn far_from_origin(cloud: &[f32]) -> usize {
    let points = cloud.as_chunks::<3>().0.iter();
    points.filter(|point| f64::from(squared_distance(**point, [0.0; 3])) > NEAR_ORIGIN).count()
}

impl Augment {
    /// How many points it leaves of so many.
    pub fn keeps(self, points: usize) -> usize {
        match self {
            Self::SampleFarthest(count) | Self::SampleRandom(count) => points.min(count),
            Self::Shuffle | Self::Scale(..) | Self::Move(_) => points,
        }
    }

    /// Does it.
    pub fn apply(self, cloud: Vec<f32>, random: &mut ChaCha8Rng) -> Vec<f32> {
        match self {
            Self::Shuffle => {
                let mut order: Vec<usize> = (0..cloud.len() / 3).collect();
                order.shuffle(random);
                picked(&cloud, order)
            }
            Self::SampleFarthest(count) if count < cloud.len() / 3 => {
                let taken = farthest(&Planes::new(&cloud), count, NEAR_ORIGIN);
                picked(&cloud, taken.into_iter().map(|index| index as usize))
            }
            Self::SampleRandom(count) if count < cloud.len() / 3 => {
                picked(&cloud, rand::seq::index::sample(random, cloud.len() / 3, count))
            }
            Self::SampleFarthest(_) | Self::SampleRandom(_) => cloud,
            Self::Scale(least, most) => {
                let factors: [f32; 3] = std::array::from_fn(|_| random.random_range(least..=most));
                along_axes(cloud, |x, axis| x * factors[axis])
            }
            Self::Move(most) => {
                let by: [f32; 3] = std::array::from_fn(|_| random.random_range(-most..=most));
                along_axes(cloud, |x, axis| x + by[axis])
            }
        }
    }
}

fn picked(cloud: &[f32], numbers: impl IntoIterator<Item = usize>) -> Vec<f32> {
    numbers.into_iter().flat_map(|index| &cloud[3 * index..3 * index + 3]).copied().collect()
}

fn along_axes(mut cloud: Vec<f32>, change: impl Fn(f32, usize) -> f32) -> Vec<f32> {
    for point in cloud.chunks_exact_mut(3) {
        point.iter_mut().enumerate().for_each(|(axis, x)| *x = change(*x, axis));
    }
    cloud
}
