//! What a batch says of a model: its loss and the gradients, with the batch whole or in parts.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensor;
use burn_autodiff::Autodiff;
use lmv_compiler::plan::TensorId;

use crate::error::Result;
use crate::examples::Examples;
use crate::examples::placed::{Destination, Part, Placed};
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::losses::Losses;
use crate::network::{TapedNetwork, values};

/// A model and what is asked of it.
pub struct Step<'a, B: Kernels> {
    /// The model.
    pub network: &'a TapedNetwork<B>,
    /// What is to be made small.
    pub losses: &'a Losses<Autodiff<B>>,
    /// The tensors of the plan whose gradients are wanted, by their indexes.
    pub trained: &'a [usize],
    /// What the loss is multiplied by on the way back; the gradients are divided by it.
    pub scale: f64,
    /// Whether the norm of the gradients is wanted.
    pub norm: bool,
    /// Where it runs.
    pub device: &'a B::Device,
}

/// What a batch says of a model.
pub struct Stepped<B: Kernels> {
    /// The loss.
    pub loss: f64,
    /// The L2 norm over all gradients, where it is wanted. It is finite where all of them are.
    pub norm: Option<f64>,
    /// Its gradient for each of the tensors that were asked for.
    pub gradients: Vec<Option<FloatTensor<B>>>,
    /// The buffers that the step changes, with their values for the next one.
    pub updates: Vec<(TensorId, FloatTensor<B>)>,
}

/// The same on the device: nothing of it was waited for.
struct Pending<B: Kernels> {
    loss: FloatTensor<B>,
    gradients: Vec<Option<FloatTensor<B>>>,
    updates: Vec<(TensorId, FloatTensor<B>)>,
}

impl<B: Kernels> Step<'_, B> {
    /// The loss of a batch and its gradients.
    ///
    /// # Errors
    /// Data that do not fit the model or the loss.
    pub fn of(&self, tensors: &[FloatTensor<B>], examples: &Examples, pass: &mut Pass) -> Result<Stepped<B>> {
        let ports = &self.network.plan().inputs;
        let placed = Destination { ports, device: self.device, most: None }.place(examples.clone())?;
        self.in_parts(tensors, placed, pass)
    }

    /// The same of samples that are on the device. In several parts, which takes less memory, losses and gradients of the parts
    /// are summed. Norms over the batch see a part each, and their buffers move with each part.
    ///
    /// # Errors
    /// Data that do not fit the model or the loss.
    pub fn in_parts(&self, tensors: &[FloatTensor<B>], placed: Placed<B>, pass: &mut Pass) -> Result<Stepped<B>> {
        let counts = placed.parts.iter().map(|part| self.losses.counts(&part.examples));
        let counts = counts.collect::<Result<Vec<_>>>()?;
        let whole = counts.into_iter().reduce(|sum, part| sum.iter().zip(part).map(|(sum, part)| sum + part).collect());
        let whole = whole.unwrap_or_default();
        let mut moved: Option<Vec<FloatTensor<B>>> = None;
        let mut sum: Option<Pending<B>> = None;
        let last = placed.parts.len().saturating_sub(1);
        for (number, part) in placed.parts.into_iter().enumerate() {
            let pending = self.part(moved.as_deref().unwrap_or(tensors), part, &whole, pass)?;
            if number < last && !pending.updates.is_empty() {
                let moved = moved.get_or_insert_with(|| tensors.to_vec());
                for (buffer, value) in &pending.updates {
                    moved[buffer.0] = value.clone();
                }
            }
            sum = Some(match sum {
                Some(sum) => sum.and(pending),
                None => pending,
            });
        }
        match sum {
            Some(sum) => Ok(self.waited_for(sum)),
            None => unreachable!("a batch has at least one part"),
        }
    }

    /// What one part of a batch adds; `whole` are the batch's counts.
    fn part(&self, tensors: &[FloatTensor<B>], part: Part<B>, whole: &[f64], pass: &mut Pass) -> Result<Pending<B>> {
        let taped = self.network.forward(part.inputs, tensors, self.trained, pass);
        let mut loss = self.losses.of_part(&taped.outputs, &part.examples, whole)?;
        let value = Autodiff::<B>::inner(loss.clone());
        if self.scale != 1.0 {
            loss = <Autodiff<B> as burn::tensor::ops::FloatTensorOps<_>>::float_mul_scalar(loss, self.scale.into());
        }
        let mut gradients = Autodiff::<B>::backward(loss);
        let found = taped.leaves.iter().map(|leaf| {
            let gradient = Autodiff::<B>::grad_remove(leaf, &mut gradients)?;
            Some(if self.scale == 1.0 { gradient } else { B::float_div_scalar(gradient, self.scale.into()) })
        });
        Ok(Pending { loss: value, gradients: found.collect(), updates: taped.updates })
    }

    /// Reads what a step has to know of itself: the one wait for the device in it, behind everything that was asked of it.
    fn waited_for(&self, pending: Pending<B>) -> Stepped<B> {
        let Pending { loss, gradients, updates } = pending;
        let read = match self.norm {
            true => {
                let norm = B::fused_norm(gradients.iter().flatten().cloned().collect(), self.device);
                B::float_cat(vec![loss, norm], 0)
            }
            false => loss,
        };
        let read = values::<B>(read);
        Stepped { loss: f64::from(read[0]), norm: read.get(1).copied().map(f64::from), gradients, updates }
    }
}

impl<B: Kernels> Pending<B> {
    /// Both together, of which `next` came later.
    fn and(self, next: Self) -> Self {
        let add = |pair: (Option<FloatTensor<B>>, Option<FloatTensor<B>>)| match pair {
            (Some(one), Some(other)) => Some(B::float_add(one, other)),
            (one, other) => one.or(other),
        };
        let gradients = self.gradients.into_iter().zip(next.gradients).map(add).collect();
        Self { loss: B::float_add(self.loss, next.loss), gradients, updates: next.updates }
    }
}
