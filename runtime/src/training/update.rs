//! What a step does with its gradients: clip, AdamW, average.

use std::collections::BTreeSet;

use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;
use lmv_compiler::Recipe;
use lmv_compiler::plan::Plan;

use super::{clip, recipe};
use crate::error::Result;
use crate::kernels::{AdamW, Kernels};
use crate::network::{tensor, values};

/// A parameter that is trained: its place among the plan's tensors and the state of its optimizer.
pub struct Trained<B: Kernels> {
    /// Its index among the plan's tensors.
    pub index: usize,
    /// Whether weights decay.
    pub decay: bool,
    /// What the optimizer's learning rate is multiplied by for it.
    pub rate: f64,
    /// The average of its gradient.
    pub m: FloatTensor<B>,
    /// The average of its gradient squared.
    pub v: FloatTensor<B>,
    /// Its average over the steps, where the recipe keeps one.
    pub average: Option<FloatTensor<B>>,
}

impl<B: Kernels> Trained<B> {
    /// What a plan trains, before the first step: of what its outputs need.
    pub fn all(plan: &Plan, recipe: &Recipe, tensors: &[FloatTensor<B>], device: &B::Device) -> Vec<Self> {
        let needed = plan.needed_for(plan.outputs.iter().map(|port| port.stream));
        let needed = plan.nodes.iter().zip(needed).filter(|(_, needed)| *needed).map(|(node, _)| node);
        let used: BTreeSet<usize> = needed.flat_map(|node| &node.tensors).map(|(_, id)| id.0).collect();
        let keeps_average = recipe::ema(&recipe.fields).is_some();
        let trained = plan.trained().filter(|(index, _)| used.contains(index)).map(|(index, parameter)| {
            let dims = tensors[index].shape().to_vec();
            let zeros = || tensor::<B>(vec![0.0; dims.iter().product()], &dims, device);
            Trained {
                index,
                decay: !recipe::undecayed(&recipe.fields, parameter),
                rate: recipe::rate(&recipe.fields, parameter),
                m: zeros(),
                v: zeros(),
                average: keeps_average.then(|| tensors[index].clone()),
            }
        });
        trained.collect()
    }
}

/// How a recipe goes from gradients to parameters.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// AdamW at the base learning rate.
    pub optimizer: AdamW,
    /// The largest norm of the gradient.
    pub clip: Option<f64>,
    /// How much of the average stays at a step.
    pub ema: Option<f64>,
}

/// Where in a run a step is.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The learning rate of a parameter, by what the optimizer's is multiplied by for it.
    pub lr: &'a dyn Fn(f64) -> f64,
    /// The number of the step, 1 at the first.
    pub step: u32,
    /// The norm of the gradients, where the recipe clips.
    pub norm: Option<f64>,
    /// The plan that is trained, for names.
    pub plan: &'a Plan,
}

impl Update {
    /// As a recipe says it.
    ///
    /// # Errors
    /// A setting out of range.
    pub fn of(recipe: &Recipe) -> Result<Self> {
        Ok(Self {
            optimizer: recipe::optimizer(&recipe.fields)?,
            clip: recipe::clip(&recipe.fields),
            ema: recipe::ema(&recipe.fields),
        })
    }

    /// Takes a step: one gradient for each of `trained`.
    ///
    /// # Errors
    /// A gradient that is not finite, where the recipe clips.
    pub fn apply<B: Kernels>(
        &self,
        tensors: &mut [FloatTensor<B>],
        trained: &mut [Trained<B>],
        mut gradients: Vec<Option<FloatTensor<B>>>,
        at: At<'_>,
        device: &B::Device,
    ) -> Result<()> {
        let At { lr, step, norm, plan } = at;
        let path = |tensor: usize| plan.tensors[tensor].path.clone();
        if let (Some(limit), Some(norm)) = (self.clip, norm) {
            clip_to::<B>(&mut gradients, (norm, limit), &|index| path(trained[index].index))?;
        }
        // Stands in for a tensor that is being changed; clones of it cost nothing, on a device least of all.
        let nothing = tensor::<B>(vec![0.0], &[1], device);
        for (trained, gradient) in trained.iter_mut().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let weight_decay = if trained.decay { self.optimizer.weight_decay } else { 0.0 };
            let settings = AdamW { lr: lr(trained.rate), weight_decay, ..self.optimizer };
            // Taken out rather than cloned: the only handle to a tensor lets the step work in place.
            let parameter = std::mem::replace(&mut tensors[trained.index], nothing.clone());
            let m = std::mem::replace(&mut trained.m, nothing.clone());
            let v = std::mem::replace(&mut trained.v, nothing.clone());
            let [parameter, m, v] = B::fused_adamw_step(parameter, gradient, m, v, step, settings);
            if let (Some(decay), Some(average)) = (self.ema, trained.average.take()) {
                trained.average = Some(B::fused_average(average, parameter.clone(), decay));
            }
            tensors[trained.index] = parameter;
            trained.m = m;
            trained.v = v;
        }
        Ok(())
    }
}

/// Scales the gradients, whose norm over all parameters is `norm`, so that it is at most `limit`.
fn clip_to<B: Kernels>(
    gradients: &mut [Option<FloatTensor<B>>],
    (norm, limit): (f64, f64),
    first: &dyn Fn(usize) -> String,
) -> Result<()> {
    let clipped = clip::clip(norm, limit).map_err(|failure| {
        let broken = gradients.iter().position(|gradient| {
            let numbers = gradient.iter().flat_map(|gradient| values::<B>(gradient.clone()));
            numbers.into_iter().any(|value| !value.is_finite())
        });
        match broken {
            Some(index) => failure.note(format!("the first gradient with such a value is that of `{}`", first(index))),
            None => failure,
        }
    })?;
    if clipped.factor < 1.0 {
        for gradient in gradients.iter_mut() {
            *gradient = gradient.take().map(|gradient| B::fused_scale(gradient, clipped.factor));
        }
    }
    Ok(())
}
