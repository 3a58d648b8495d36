//! A step of AdamW as one kernel, which writes the parameter and both moments where they are.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::AdamW;
use super::submit::Launch;
use super::tensors::owned;

/// Units of a cube.
const CUBE: u32 = 256;

/// Inputs: parameter, gradient and the two moments, of one shape, `f32`. Outputs: parameter and moments.
#[derive(Debug)]
pub(super) struct Step {
    pub step: u32,
    pub settings: AdamW,
}

impl Launch for Step {
    const NAME: &'static str = "lmv AdamW";

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let [param, grad, m, v] = inputs.try_into().unwrap_or_else(|_| panic!("four tensors"));
        let [param, m, v] = [param, m, v].map(owned);
        let count = param.meta.shape().num_elements();
        if count == 0 {
            return vec![param, m, v];
        }
        let AdamW { lr, beta1, beta2, eps, weight_decay } = self.settings;
        let [step_size, root_factor] = self.settings.corrections(self.step);
        let dim = CubeDim::new_1d(CUBE);
        step::launch::<R>(
            &param.client.clone(),
            cubecl::calculate_cube_count_elemwise(&param.client, count, dim),
            dim,
            param.clone().into_tensor_arg(),
            grad.into_tensor_arg(),
            m.clone().into_tensor_arg(),
            v.clone().into_tensor_arg(),
            count as u32,
            (1.0 - lr * weight_decay) as f32,
            beta1 as f32,
            (1.0 - beta1) as f32,
            beta2 as f32,
            (1.0 - beta2) as f32,
            root_factor as f32,
            eps as f32,
            step_size as f32,
        );
        vec![param, m, v]
    }
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn step(
    param: &mut Tensor<f32>,
    grad: &Tensor<f32>,
    m: &mut Tensor<f32>,
    v: &mut Tensor<f32>,
    count: u32,
    kept: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    root_factor: f32,
    eps: f32,
    step_size: f32,
) {
    let at = ABSOLUTE_POS;
    if at < count as usize {
        let g = grad[at];
        let first = m[at] * beta1 + g * rest1;
        let second = v[at] * beta2 + g * g * rest2;
        m[at] = first;
        v[at] = second;
        param[at] = param[at] * kept - first / (f32::sqrt(second) * root_factor + eps) * step_size;
    }
}
