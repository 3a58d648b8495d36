//! What kernels share that go through the rows of a matrix: one row is read by `units` units side by side, which put together
//! what each has found.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::features::Plane;
use cubecl::prelude::*;

/// Units of a cube.
const CUBE: u32 = 256;

/// Values of a row that one unit takes at most before a second one is given to the row.
const EACH: usize = 8;

/// How the rows of a matrix are dealt out.
pub(super) struct Dealt {
    pub count: CubeCount,
    pub dim: CubeDim,
    /// How units of a row put together what they have found.
    pub together: Together,
}

/// How the units of a row put together what each has found.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Together {
    /// Units of a row, a power of two.
    pub units: u32,
    /// Whether they are a plane, which adds without going through memory.
    pub plane: bool,
}

/// Deals out `rows` rows of `width` values.
pub(super) fn deal<R: CubeRuntime>(like: &CubeTensor<R>, rows: usize, width: usize) -> Dealt {
    let properties = like.client.properties();
    let hardware = &properties.hardware;
    let most = CUBE.min(hardware.max_units_per_cube).min(hardware.max_cube_dim.0);
    let plane = hardware.plane_size_min.max(1);
    let wanted = width.div_ceil(EACH).next_power_of_two() as u32;
    let units = wanted.clamp(plane.min(most), most);
    let side_by_side = most / units;
    let dim = CubeDim::new_2d(units, side_by_side);
    let plane_of_units = properties.features.plane.contains(Plane::Ops)
        && hardware.plane_size_min == hardware.plane_size_max
        && units == plane;
    Dealt {
        count: cubecl::calculate_cube_count_elemwise(&like.client, rows * units as usize, dim),
        dim,
        together: Together { units, plane: plane_of_units },
    }
}

/// The row of this unit; at or past the last one where there are more units than rows.
#[cube]
pub(super) fn row() -> usize {
    CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize
}

/// How two findings become one.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Joined {
    Sum,
    Largest,
}

/// The sum over the units of each row. All units of the cube have to come here.
#[cube]
pub(super) fn sum(value: f32, shared: &mut SharedMemory<f32>, #[comptime] together: Together) -> f32 {
    if comptime!(together.plane) { plane_sum(value) } else { through_memory(value, shared, together, Joined::Sum) }
}

/// The largest over the units of each row. All units of the cube have to come here.
#[cube]
pub(super) fn largest(value: f32, shared: &mut SharedMemory<f32>, #[comptime] together: Together) -> f32 {
    if comptime!(together.plane) { plane_max(value) } else { through_memory(value, shared, together, Joined::Largest) }
}

/// Halves the findings of each row until one is left.
#[cube]
fn through_memory(
    value: f32,
    shared: &mut SharedMemory<f32>,
    #[comptime] together: Together,
    #[comptime] joined: Joined,
) -> f32 {
    let first = UNIT_POS_Y * comptime!(together.units);
    let at = (first + UNIT_POS_X) as usize;
    // What was found last may still be read.
    sync_cube();
    shared[at] = value;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(together.units.ilog2()) {
        let half = comptime!(together.units >> (step + 1));
        if UNIT_POS_X < half {
            let other = shared[at + half as usize];
            match comptime!(joined) {
                Joined::Sum => shared[at] += other,
                Joined::Largest => shared[at] = max(shared[at], other),
            }
        }
        sync_cube();
    }
    shared[first as usize]
}
