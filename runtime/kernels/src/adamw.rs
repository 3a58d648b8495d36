//! The step of AdamW on `Flex`: one pass over parameter, gradient and moments, in place where they are not shared.

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::AdamW;
use super::buffer::{elements, in_order, unshared};
use super::wide;

/// Elements one task takes.
const TASK: usize = 8192;

/// The settings of a step as the loop wants them.
#[derive(Clone, Copy)]
struct Numbers {
    decay: f32,
    beta2: f32,
    new1: f32,
    new2: f32,
    eps: f32,
    step_size: f32,
    root_factor: f32,
}

wide! {
    fn update(params: &mut [f32], ms: &mut [f32], vs: &mut [f32], grads: &[f32], n: Numbers) {
        for (((p, m), v), &g) in params.iter_mut().zip(ms).zip(vs).zip(grads) {
            *m = (g - *m).mul_add(n.new1, *m);
            *v = (*v).mul_add(n.beta2, g * g * n.new2);
            *p = p.mul_add(n.decay, -n.step_size * *m / v.sqrt().mul_add(n.root_factor, n.eps));
        }
    }
}

/// The tensor alone in its buffer, copied if it is not.
fn own(t: FlexTensor) -> FlexTensor {
    let mut t = in_order(t);
    if unshared(&mut t).is_some() {
        return t;
    }
    super::buffer::tensor(elements(&t).to_vec(), t.layout().shape().clone())
}

pub(super) fn step(
    param: FlexTensor,
    grad: FlexTensor,
    m: FlexTensor,
    v: FlexTensor,
    step: u32,
    settings: AdamW,
) -> [FlexTensor; 3] {
    let AdamW { lr, beta1, beta2, eps, weight_decay } = settings;
    let [step_size, root_factor] = settings.corrections(step).map(|x| x as f32);
    let decay = (1.0 - lr * weight_decay) as f32;
    let [beta2, new1, new2, eps] = [beta2, 1.0 - beta1, 1.0 - beta2, eps].map(|x| x as f32);
    let grad = in_order(grad);
    let [mut param, mut m, mut v] = [param, m, v].map(own);
    let parts = param.storage_mut::<f32>().par_chunks_mut(TASK).zip(m.storage_mut::<f32>().par_chunks_mut(TASK));
    let parts = parts.zip(v.storage_mut::<f32>().par_chunks_mut(TASK)).zip(elements(&grad).par_chunks(TASK));
    let numbers = Numbers { decay, beta2, new1, new2, eps, step_size, root_factor };
    parts.for_each(|(((p, m), v), g)| update(p, m, v, g, numbers));
    [param, m, v]
}
