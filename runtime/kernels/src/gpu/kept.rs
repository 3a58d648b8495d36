//! What dropout keeps, drawn where it is used: nothing goes to the device but a seed, and nothing is waited for. (Burn's own seed
//! is one for all of the process, and setting it waits for all that was asked for before.)

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::submit::Launch;
use super::tensors::empty;

/// Units of a cube.
const CUBE: u32 = 256;

/// Input: the two halves of a seed, `[2]`, i32. Output: 1 / keep with probability `keep`, else 0.
#[derive(Debug)]
pub(super) struct Kept {
    pub dims: Vec<usize>,
    pub keep: f64,
}

impl Launch for Kept {
    const NAME: &'static str = "lmv kept";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let [seed] = inputs.try_into().unwrap_or_else(|_| panic!("a seed"));
        let out = empty(&seed, self.dims.clone(), DType::F32);
        let count = out.meta.shape().num_elements();
        if count > 0 {
            let dim = CubeDim::new_1d(CUBE);
            kept::launch::<R>(
                &seed.client.clone(),
                cubecl::calculate_cube_count_elemwise(&seed.client, count, dim),
                dim,
                seed.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                count as u32,
                self.keep as f32,
                (1.0 / self.keep) as f32,
            );
        }
        vec![out]
    }
}

/// A number that looks like any other, of a number: PCG's output permutation of one step of its generator (O'Neill 2014;
/// "RXS-M-XS", 32 bits).
#[cube]
fn scrambled(number: u32) -> u32 {
    let state = number * 747_796_405u32 + 2_891_336_453u32;
    let word = ((state >> ((state >> 28) + 4)) ^ state) * 277_803_737u32;
    (word >> 22) ^ word
}

#[cube(launch)]
fn kept(seed: &Tensor<i32>, out: &mut Tensor<f32>, count: u32, keep: f32, by: f32) {
    let at = ABSOLUTE_POS as u32;
    if at < count {
        let low = u32::cast_from(seed[0]);
        let high = u32::cast_from(seed[1]);
        let drawn = scrambled(scrambled(at + scrambled(low)) ^ high);
        // 24 bits, as many as an f32 tells apart below 1.
        let drawn = f32::cast_from(drawn >> 8) / 16_777_216.0;
        let mut value = f32::new(0.0);
        if drawn < keep {
            value = by;
        }
        out[ABSOLUTE_POS] = value;
    }
}
