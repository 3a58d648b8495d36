//! A whole step of training, taken as training takes it.

use burn_autodiff::Autodiff;
use lmv_compiler::passes::count::step_flops;

use super::{Benchmark, Found, Part, Ready};
use crate::error::{Failure, Result};
use crate::examples::placed::Destination;
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::losses::{Losses, Use};
use crate::network::TapedNetwork;
use crate::training::loss_scale::LossScale;
use crate::training::recipe;
use crate::training::seeds::Seeds;
use crate::training::step::Step;
use crate::training::update::{At, Trained, Update};

/// Steps that may be left out for too large a scale of the loss: so many halve 65,536 to 2^-16.
const LEFT_OUT: u64 = 32;

impl Benchmark<'_> {
    pub(super) fn train<B: Kernels>(
        &mut self,
        ready: &mut Ready<B>,
        device: &B::Device,
        found: &mut Found,
    ) -> Result<Option<()>> {
        let Some(recipe) = &self.experiment.train else {
            found.left_out.push((Part::Train, "the spec has no recipe to train by".to_owned()));
            return Ok(Some(()));
        };
        let Ready { plan, tensors, examples } = ready;
        let network = TapedNetwork::<B>::new(plan, &[])?;
        let losses = Losses::<Autodiff<B>>::new(recipe::loss(&recipe.fields)?, &plan.outputs, Use::Training)?;
        let update = Update::of(recipe)?;
        let mut trained = Trained::<B>::all(plan, recipe, tensors, device);
        let indices: Vec<usize> = trained.iter().map(|trained| trained.index).collect();
        let seeds = Seeds::new(self.seed);
        let flops = step_flops(plan) * examples.samples as f64;
        let (precision, micro_batch, samples) = (self.precision, self.micro_batch, examples.samples);
        let mut number = 0;
        let mut scale = LossScale::of(precision);
        let done = self.repeat(Part::Train, (Some(flops), Some(samples), None), found, |_| {
            // As in training: a step whose scale is too large is left out. What counts is a step that is taken, and the first
            // one, before those that count, finds the scale for all.
            loop {
                let mut pass = Pass::training(seeds.stream("drop_path", 0, number));
                pass.precision = precision;
                let step = Step {
                    network: &network,
                    losses: &losses,
                    trained: &indices,
                    scale: scale.map_or(1.0, |scale| scale.scale),
                    norm: update.clip.is_some() || scale.is_some(),
                    device,
                };
                let destination = Destination { ports: &plan.inputs, device, most: micro_batch };
                let stepped = step.in_parts(tensors, destination.place(examples.clone())?, &mut pass)?;
                if !stepped.loss.is_finite() {
                    return Err(Failure::new(format!("the loss is {} at step {}", stepped.loss, number + 1)));
                }
                for (buffer, value) in stepped.updates {
                    tensors[buffer.0] = value;
                }
                if let Some(scale) = &mut scale {
                    let finite = stepped.norm.is_none_or(f64::is_finite);
                    scale.update(finite);
                    if !finite && scale.left_out < LEFT_OUT {
                        continue;
                    }
                    if !finite {
                        let what =
                            format!("gradients are not finite in {precision}, whatever the loss is multiplied by");
                        return Err(Failure::new(what).help("`--precision bf16` has the range of f32"));
                    }
                }
                number += 1;
                // A rate that leaves the model about where it is, however many steps are taken.
                let lr = update.optimizer.lr.min(1e-6);
                let at = At { lr: &|_| lr, step: number as u32, norm: stepped.norm, plan };
                update.apply(tensors, &mut trained, stepped.gradients, at, device)?;
                return B::sync(device).map_err(|error| Failure::new(format!("the device failed: {error:?}")));
            }
        })?;
        if let (Some(()), Some(LossScale { scale, .. })) = (done, scale) {
            found.notes.push(format!("the loss was multiplied by {scale}, as training in {precision} does"));
        }
        Ok(done)
    }
}
