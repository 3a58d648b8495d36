//! Points in space: which lie far from each other, and which lie near each other (paper.md, Appendix B).
//!
//! Clouds are `[N, 3]`, row-major. Distances are squared and summed in the order x, y, z, without fused operations, so
//! that they are the numbers of any other program that does the same in f32.

mod farthest;
mod near;

pub use farthest::farthest;
pub use near::{nearest, within};

/// Points looked at in one go: the loops over a block are vectors, what is decided by it is not.
const BLOCK: usize = 256;

/// A cloud with its coordinates apart, padded to whole blocks with points that are never to be looked at.
pub struct Planes {
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
    len: usize,
}

impl Planes {
    /// Of a cloud `[N, 3]`.
    pub fn new(points: &[f32]) -> Self {
        let len = points.len() / 3;
        let plane = |axis: usize| {
            let mut plane: Vec<f32> = points.chunks_exact(3).map(|point| point[axis]).collect();
            // Infinitely far from every point.
            plane.resize(len.next_multiple_of(BLOCK), f32::INFINITY);
            plane
        };
        Self { x: plane(0), y: plane(1), z: plane(2), len }
    }

    /// How many points.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The coordinates of a point.
    fn point(&self, index: usize) -> [f32; 3] {
        [self.x[index], self.y[index], self.z[index]]
    }

    /// The blocks of the three planes, each with the number of its first point.
    fn blocks(&self) -> impl Iterator<Item = (usize, [&[f32; BLOCK]; 3])> {
        let [x, y, z] = [&self.x, &self.y, &self.z].map(|plane| plane.as_chunks::<BLOCK>().0);
        x.iter().zip(y).zip(z).enumerate().map(|(number, ((x, y), z))| (number * BLOCK, [x, y, z]))
    }
}

/// The squared distance of two points, each of which is x, y, z.
#[inline(always)]
pub fn squared_distance([x, y, z]: [f32; 3], [a, b, c]: [f32; 3]) -> f32 {
    let (dx, dy, dz) = (x - a, y - b, z - c);
    dx * dx + dy * dy + dz * dz
}

#[cfg(test)]
mod tests;
