//! Farthest-point sampling.

use super::{BLOCK, Planes, squared_distance};
use crate::wide;

/// Running greatest values within a block.
const LANES: usize = 32;

wide! {
    /// Brings `known`, the distance of each point of a block from all that were taken, up to date with one more, `from`;
    /// gives the greatest of them.
    fn bring_near(known: &mut [f32; BLOCK], block: [&[f32; BLOCK]; 3], from: [f32; 3], greatest: &mut f32) {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for start in (0..BLOCK).step_by(LANES) {
            for (lane, most) in lanes.iter_mut().enumerate() {
                let i = start + lane;
                let d = squared_distance([block[0][i], block[1][i], block[2][i]], from);
                let nearest = if d < known[i] { d } else { known[i] };
                known[i] = nearest;
                *most = if nearest > *most { nearest } else { *most };
            }
        }
        *greatest = lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    }
}

/// The numbers of `count` points of a cloud, each the farthest from all before it, the first being point 0; of equally far
/// ones the first. Points whose squared distance from the origin is at most `near_origin` are never taken after point 0.
/// Where none is left, the first of those that count is taken again, and point 0 where none counts.
pub fn farthest(cloud: &Planes, count: usize, near_origin: f64) -> Vec<i32> {
    // What is never to be taken is nearer than everything from the beginning.
    let counts =
        |index: usize| index < cloud.len() && f64::from(squared_distance(cloud.point(index), [0.0; 3])) > near_origin;
    let mut known: Vec<f32> =
        (0..cloud.x.len()).map(|index| if counts(index) { f32::INFINITY } else { f32::NEG_INFINITY }).collect();
    let (known, _) = known.as_chunks_mut::<BLOCK>();
    let mut taken = Vec::with_capacity(count);
    let mut last = 0;
    for _ in 0..count {
        taken.push(last as i32);
        let from = cloud.point(last);
        let (mut far, mut farthest) = (f32::NEG_INFINITY, 0);
        for ((first, block), known) in cloud.blocks().zip(&mut *known) {
            let mut greatest = f32::NEG_INFINITY;
            bring_near(known, block, from, &mut greatest);
            if greatest > far {
                let at = known.iter().position(|&d| d == greatest).unwrap_or(0);
                (far, farthest) = (greatest, first + at);
            }
        }
        last = farthest;
    }
    taken
}
