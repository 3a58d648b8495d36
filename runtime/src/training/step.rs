//! What a batch says of a model: its loss and the gradients, with the batch whole or in parts.

use burn::tensor::TensorMetadata;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensor;
use burn_autodiff::Autodiff;
use lmv_compiler::plan::TensorId;

use crate::error::Result;
use crate::examples::Examples;
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
    /// Where it runs.
    pub device: &'a B::Device,
}

/// What a batch says of a model.
pub struct Stepped<B: Kernels> {
    /// The loss.
    pub loss: f64,
    /// Its gradient for each of the tensors that were asked for; none at all where the loss is not finite.
    pub gradients: Vec<Option<FloatTensor<B>>>,
    /// The buffers that the step changes, with their values for the next one.
    pub updates: Vec<(TensorId, FloatTensor<B>)>,
}

impl<B: Kernels> Step<'_, B> {
    /// The loss of a batch and its gradients.
    ///
    /// # Errors
    /// Data that do not fit the model or the loss.
    pub fn of(&self, tensors: &[FloatTensor<B>], examples: &Examples, pass: &mut Pass) -> Result<Stepped<B>> {
        self.part(tensors, examples, &self.losses.counts(examples)?, pass)
    }

    /// The same with at most `most` samples at a time, which takes less memory: losses and gradients of the parts are
    /// summed. Norms over the batch see a part each, and their buffers move with each part.
    ///
    /// # Errors
    /// Data that do not fit the model or the loss.
    pub fn in_parts(
        &self,
        tensors: &[FloatTensor<B>],
        examples: Examples,
        most: Option<usize>,
        pass: &mut Pass,
    ) -> Result<Stepped<B>> {
        let Some(most) = most.filter(|most| *most < examples.samples) else {
            return self.of(tensors, &examples, pass);
        };
        let whole = self.losses.counts(&examples)?;
        let mut tensors = tensors.to_vec();
        let mut sum: Option<Stepped<B>> = None;
        for part in examples.parts(most) {
            let stepped = self.part(&tensors, &part, &whole, pass)?;
            for (buffer, value) in &stepped.updates {
                tensors[buffer.0] = value.clone();
            }
            sum = Some(match sum {
                Some(sum) => sum.and(stepped),
                None => stepped,
            });
            if sum.as_ref().is_some_and(|sum| !sum.loss.is_finite()) {
                break;
            }
        }
        match sum {
            Some(sum) => Ok(sum),
            None => unreachable!("a batch has at least one part"),
        }
    }

    /// What one part of a batch adds; `whole` are the batch's counts.
    fn part(&self, tensors: &[FloatTensor<B>], part: &Examples, whole: &[f64], pass: &mut Pass) -> Result<Stepped<B>> {
        let inputs = part.inputs::<B>(&self.network.plan().inputs, self.device)?;
        let taped = self.network.forward(inputs, tensors, self.trained, pass);
        let mut loss = self.losses.of_part(&taped.outputs, part, whole)?;
        let value = Autodiff::<B>::inner(loss.clone());
        if self.scale != 1.0 {
            loss = <Autodiff<B> as burn::tensor::ops::FloatTensorOps<_>>::float_mul_scalar(loss, self.scale.into());
        }
        let mut gradients = Autodiff::<B>::backward(loss);
        // Read behind the backward pass, so that a device has both to do without a wait in between.
        let value = f64::from(values::<B>(value)[0]);
        if !value.is_finite() {
            return Ok(Stepped { loss: value, gradients: Vec::new(), updates: Vec::new() });
        }
        let found = taped.leaves.iter().map(|leaf| {
            let gradient = Autodiff::<B>::grad_remove(leaf, &mut gradients)?;
            Some(if self.scale == 1.0 { gradient } else { B::float_div_scalar(gradient, self.scale.into()) })
        });
        Ok(Stepped { loss: value, gradients: found.collect(), updates: taped.updates })
    }
}

impl<B: Kernels> Stepped<B> {
    /// Both together, of which `next` came later.
    fn and(self, next: Self) -> Self {
        let add = |pair: (Option<FloatTensor<B>>, Option<FloatTensor<B>>)| match pair {
            (Some(one), Some(other)) => Some(B::float_add(one, other)),
            (one, other) => one.or(other),
        };
        let gradients = self.gradients.into_iter().zip(next.gradients).map(add).collect();
        Self { loss: self.loss + next.loss, gradients, updates: next.updates }
    }
}

/// Whether every number of the gradients is finite; one number comes from the device for all of them.
pub fn all_finite<B: Kernels>(gradients: &[Option<FloatTensor<B>>]) -> bool {
    // x - x is zero for a number, and for nothing else.
    let nothing = gradients.iter().flatten().map(|gradient| {
        let zeros = B::float_sub(gradient.clone(), gradient.clone());
        let count = zeros.shape().num_elements();
        B::float_sum(B::float_reshape(zeros, burn::tensor::Shape::from(vec![count])))
    });
    nothing.reduce(B::float_add).is_none_or(|sum| values::<B>(sum)[0] == 0.0)
}
