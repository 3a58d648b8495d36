//! Sampling and grouping of clouds of points where they are, so that a step waits for no coordinates: what
//! [`geometry`](crate::geometry) does, and in its order. A GPU may fuse a product and a sum, so that distances which differ in
//! the last place only can fall the other way.

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::submit::Launch;
use super::tensors::empty;

/// Units of a cube.
const CUBE: u32 = 256;

/// Units of a cube that look around a centre each: few, so that few centres make many cubes.
const CENTRES: u32 = 64;

/// Nearest points of a centre that a unit keeps at most; each has a place of its own in registers, or in what overflows them.
pub(super) const NEAREST: usize = 128;

/// Farther than every point.
const FAR: f32 = f32::MAX;

#[cube]
fn squared_distance(points: &Tensor<f32>, at: u32, x: f32, y: f32, z: f32) -> f32 {
    let first = (at * 3) as usize;
    let dx = points[first] - x;
    let dy = points[first + 1] - y;
    let dz = points[first + 2] - z;
    dx * dx + dy * dy + dz * dz
}

/// Input: points `[batch, N, 3]`, f32. Output: `[batch, count]`, i32.
#[derive(Debug)]
pub(super) struct Farthest {
    pub count: usize,
    pub near_origin: f64,
}

impl Launch for Farthest {
    const NAME: &'static str = "lmv farthest points";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let [points] = inputs.try_into().unwrap_or_else(|_| panic!("points"));
        let (batch, length) = (points.meta.shape()[0], points.meta.shape()[1]);
        let taken = empty(&points, [batch, self.count], DType::I32);
        if batch * length * self.count == 0 {
            return vec![taken];
        }
        // How far each point is from all that were taken.
        let known = empty(&points, [batch, length], DType::F32);
        farthest::launch::<R>(
            &points.client.clone(),
            cubecl::calculate_cube_count_elemwise(&points.client, batch * CUBE as usize, CubeDim::new_1d(CUBE)),
            CubeDim::new_1d(CUBE),
            points.into_tensor_arg(),
            known.into_tensor_arg(),
            taken.clone().into_tensor_arg(),
            batch as u32,
            length as u32,
            self.count as u32,
            // Squared distances are compared with it as f64 on the host: a rounded limit decides as the exact one where it is
            // not rounded up.
            below(self.near_origin),
        );
        vec![taken]
    }
}

/// The largest f32 that is not above a number.
fn below(limit: f64) -> f32 {
    let near = limit as f32;
    if f64::from(near) > limit { near.next_down() } else { near }
}

/// One cube takes the points of a cloud.
#[cube(launch)]
fn farthest(
    points: &Tensor<f32>,
    known: &mut Tensor<f32>,
    taken: &mut Tensor<i32>,
    batch: u32,
    length: u32,
    count: u32,
    near_origin: f32,
) {
    let mut farthest_of = SharedMemory::<f32>::new(256usize);
    let mut number_of = SharedMemory::<u32>::new(256usize);
    let cloud = CUBE_POS as u32;
    let unit = UNIT_POS_X as usize;
    if cloud < batch {
        let first = cloud * length;
        let mut i = UNIT_POS_X;
        while i < length {
            // What is never to be taken is nearer than everything from the beginning.
            let from_origin = squared_distance(points, first + i, 0.0, 0.0, 0.0);
            let mut start = f32::new(-1.0);
            if from_origin > near_origin {
                start = f32::new(FAR);
            }
            known[(first + i) as usize] = start;
            i += CUBE_DIM_X;
        }
        let mut last = 0u32;
        let mut place = 0u32;
        while place < count {
            if UNIT_POS_X == 0 {
                taken[(cloud * count + place) as usize] = i32::cast_from(last);
            }
            let at = ((first + last) * 3) as usize;
            let x = points[at];
            let y = points[at + 1];
            let z = points[at + 2];
            let mut most = f32::new(-1.0);
            let mut number = 0u32;
            let mut i = UNIT_POS_X;
            while i < length {
                let of = (first + i) as usize;
                let distance = squared_distance(points, first + i, x, y, z);
                let mut nearest = known[of];
                if distance < nearest {
                    nearest = distance;
                    known[of] = nearest;
                }
                if nearest > most {
                    most = nearest;
                    number = i;
                }
                i += CUBE_DIM_X;
            }
            farthest_of[unit] = most;
            number_of[unit] = number;
            sync_cube();
            #[unroll]
            for step in 0..8u32 {
                let half = comptime!(128usize >> step);
                if unit < half {
                    let (mine, other) = (farthest_of[unit], farthest_of[unit + half]);
                    // Of equally far ones the first.
                    let earlier = number_of[unit + half] < number_of[unit];
                    if other > mine || (other == mine && earlier) {
                        farthest_of[unit] = other;
                        number_of[unit] = number_of[unit + half];
                    }
                }
                sync_cube();
            }
            last = number_of[0];
            // All have read it before it is written again.
            sync_cube();
            place += 1;
        }
    }
}

/// Which points are looked for around a centre.
#[derive(Clone, Copy, Debug)]
pub(super) enum Around {
    /// The first ones nearer than this; see [`geometry::within`](crate::geometry::within).
    Within(f64),
    /// The nearest; see [`geometry::nearest`](crate::geometry::nearest).
    Nearest,
}

/// Inputs: points `[batch, N, 3]` and centres `[batch, M, 3]`, f32. Output: `[batch, M, count]`, i32.
#[derive(Debug)]
pub(super) struct Grouped {
    pub around: Around,
    pub count: usize,
}

impl Launch for Grouped {
    const NAME: &'static str = "lmv grouped points";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let [points, centres] = inputs.try_into().unwrap_or_else(|_| panic!("points and centres"));
        let (batch, length) = (points.meta.shape()[0], points.meta.shape()[1]);
        let wanted = centres.meta.shape()[1];
        let found = empty(&points, [batch, wanted, self.count], DType::I32);
        if batch * length * wanted * self.count == 0 {
            return vec![found];
        }
        let dim = CubeDim::new_1d(CENTRES);
        let client = points.client.clone();
        let cubes = cubecl::calculate_cube_count_elemwise(&client, batch * wanted, dim);
        let out = found.clone().into_tensor_arg();
        let (points, centres) = (points.into_tensor_arg(), centres.into_tensor_arg());
        let [all, length, wanted] = [batch * wanted, length, wanted].map(|size| size as u32);
        match self.around {
            Around::Within(radius) => within::launch::<R>(
                &client,
                cubes,
                dim,
                points,
                centres,
                out,
                all,
                length,
                wanted,
                self.count as u32,
                (radius * radius) as f32,
            ),
            Around::Nearest => {
                nearest::launch::<R>(&client, cubes, dim, points, centres, out, all, length, wanted, self.count)
            }
        }
        vec![found]
    }
}

/// One unit looks around a centre; those of a cloud read the same points at the same time.
#[cube(launch)]
fn within(
    points: &Tensor<f32>,
    centres: &Tensor<f32>,
    found: &mut Tensor<i32>,
    all: u32,
    length: u32,
    wanted: u32,
    count: u32,
    limit: f32,
) {
    let centre = ABSOLUTE_POS as u32;
    if centre < all {
        let at = (centre * 3) as usize;
        let first = centre / wanted * length;
        let out = centre * count;
        let mut have = 0u32;
        let mut filling = 0i32;
        let mut i = 0u32;
        while i < length && have < count {
            if squared_distance(points, first + i, centres[at], centres[at + 1], centres[at + 2]) < limit {
                if have == 0 {
                    filling = i32::cast_from(i);
                }
                found[(out + have) as usize] = i32::cast_from(i);
                have += 1;
            }
            i += 1;
        }
        while have < count {
            found[(out + have) as usize] = filling;
            have += 1;
        }
    }
}

#[cube(launch)]
fn nearest(
    points: &Tensor<f32>,
    centres: &Tensor<f32>,
    found: &mut Tensor<i32>,
    all: u32,
    length: u32,
    wanted: u32,
    #[comptime] count: usize,
) {
    let centre = ABSOLUTE_POS as u32;
    if centre < all {
        let at = (centre * 3) as usize;
        let first = centre / wanted * length;
        let out = centre as usize * count;
        let mut near = Array::<f32>::new(count);
        let mut have = 0usize;
        let mut i = 0u32;
        while i < length {
            let distance = squared_distance(points, first + i, centres[at], centres[at + 1], centres[at + 2]);
            // An equally near point that comes later is no nearer.
            let mut place = have;
            if have == count {
                place = count - 1;
                if distance >= near[count - 1] {
                    place = count;
                }
            } else {
                have += 1;
            }
            if place < count {
                // Those that are farther move up.
                let mut moving = place > 0;
                while moving {
                    if near[place - 1] > distance {
                        near[place] = near[place - 1];
                        found[out + place] = found[out + place - 1];
                        place -= 1;
                        moving = place > 0;
                    } else {
                        moving = false;
                    }
                }
                near[place] = distance;
                found[out + place] = i32::cast_from(i);
            }
            i += 1;
        }
    }
}
