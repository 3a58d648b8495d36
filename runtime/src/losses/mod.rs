//! What training makes small, one file each. A file offers the names it computes with the function that makes one from its
//! arguments, as the layers do; what a loss takes and means is declared in `stdlib/`.

mod cross_entropy;
mod pairs;

use burn::tensor::ops::FloatTensor;
use lmv_compiler::config::{Call, Config};
use lmv_compiler::graph::Port;

use crate::error::{Failure, Result};
use crate::examples::{Batch, Examples};
use crate::kernels::Kernels;
use crate::stream::Stream;

/// A loss at work.
pub trait Loss<B: Kernels>: Send + Sync {
    /// The mean over the batch, `[1]`: of these outputs of the model, held against these fields of the data, both in the
    /// order of its signature.
    ///
    /// # Errors
    /// A field that is not what the signature says, such as a label that is no class.
    fn of(&self, outputs: &[Stream<B>], fields: &[&Batch]) -> Result<FloatTensor<B>>;

    /// How many the mean of a batch is over: its samples, where nothing else is said. The means of a batch's parts, each
    /// weighed by this, make the mean of the whole.
    fn count(&self, fields: &[&Batch]) -> f64 {
        fields.first().map_or(0.0, |field| field.dims[0] as f64)
    }
}

/// A loss made from its arguments.
type Maker<B> = fn(&Call) -> Result<Box<dyn Loss<B>>>;

fn table<B: Kernels>() -> Vec<(&'static str, Maker<B>)> {
    [cross_entropy::losses(), pairs::losses()].into_iter().flatten().copied().collect()
}

/// The names of all losses that Rust computes.
pub fn names() -> Vec<&'static str> {
    table::<burn_flex::Flex>().into_iter().map(|(name, _)| name).collect()
}

/// The loss of a recipe: one, or a weighted sum of several, of one output each or of all.
pub struct Losses<B: Kernels> {
    parts: Vec<Part<B>>,
}

struct Part<B: Kernels> {
    weight: f64,
    loss: Box<dyn Loss<B>>,
    /// Which of the model's outputs.
    outputs: Vec<usize>,
    fields: Vec<String>,
}

/// What a loss is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To be made small.
    Training,
    /// To be looked at, on the evaluation split: without what only helps training, such as label smoothing.
    Looking,
}

impl<B: Kernels> Losses<B> {
    /// The loss that a recipe says, over the outputs of a model.
    ///
    /// # Errors
    /// One that Rust does not compute.
    pub fn new(loss: &Config, outputs: &[Port], used: Use) -> Result<Self> {
        let mut parts = Vec::new();
        collect(loss, 1.0, outputs, used, &mut parts)?;
        Ok(Self { parts })
    }

    /// The loss of a batch, `[1]`. `outputs` are those of the model.
    ///
    /// # Errors
    /// Data that the loss cannot be taken of.
    pub fn of(&self, outputs: &[Stream<B>], examples: &Examples) -> Result<FloatTensor<B>> {
        self.of_part(outputs, examples, &self.counts(examples)?)
    }

    /// What one part of a batch adds to the loss of the whole, `[1]`; `whole` are the counts of that.
    ///
    /// # Errors
    /// Data that the loss cannot be taken of.
    pub fn of_part(&self, outputs: &[Stream<B>], part: &Examples, whole: &[f64]) -> Result<FloatTensor<B>> {
        let mut sum: Option<FloatTensor<B>> = None;
        for ((term, count), whole) in self.parts.iter().zip(self.counts(part)?).zip(whole) {
            let taken: Vec<Stream<B>> = term.outputs.iter().map(|&index| outputs[index].clone()).collect();
            let mut value = term.loss.of(&taken, &term.fields(part)?)?;
            // A whole batch without a real token has a loss of zero, and so have its parts.
            let weight = term.weight * if count == *whole { 1.0 } else { count / whole };
            if weight != 1.0 {
                value = B::float_mul_scalar(value, weight.into());
            }
            sum = Some(match sum {
                Some(sum) => B::float_add(sum, value),
                None => value,
            });
        }
        sum.ok_or_else(|| Failure::new("the recipe has no loss"))
    }

    /// For each loss of the sum, how many its mean over a batch is over.
    ///
    /// # Errors
    /// A field that the data does not give.
    pub fn counts(&self, examples: &Examples) -> Result<Vec<f64>> {
        self.parts.iter().map(|part| Ok(part.loss.count(&part.fields(examples)?))).collect()
    }
}

impl<B: Kernels> Part<B> {
    /// The fields that the loss takes, in the order of its signature.
    fn fields<'e>(&self, examples: &'e Examples) -> Result<Vec<&'e Batch>> {
        self.fields.iter().map(|field| examples.field(field)).collect()
    }
}

fn collect<B: Kernels>(
    loss: &Config,
    weight: f64,
    outputs: &[Port],
    used: Use,
    parts: &mut Vec<Part<B>>,
) -> Result<()> {
    match loss {
        Config::Call(call) => {
            let maker = table::<B>().into_iter().find(|(name, _)| *name == call.name).map(|(_, maker)| maker);
            let (Some(maker), Some(on)) = (maker, &call.on) else {
                return Err(Failure::new(format!("this lmvc cannot train with the loss `{}`", call.name)));
            };
            let mut call = (**call).clone();
            if used == Use::Looking {
                call.arguments.remove("smoothing");
            }
            let index = |name: &String| outputs.iter().position(|port| port.name == *name);
            let outputs: Vec<usize> = on.outputs.iter().filter_map(index).collect();
            parts.push(Part { weight, loss: maker(&call)?, outputs, fields: on.fields.clone() });
            Ok(())
        }
        Config::Record(losses) => losses.iter().try_for_each(|(_, loss)| collect(loss, weight, outputs, used, parts)),
        Config::Sum(losses) => losses.iter().try_for_each(|loss| collect(loss, weight, outputs, used, parts)),
        Config::Scaled(factor, loss) => collect(loss, weight * factor, outputs, used, parts),
        other => Err(Failure::new(format!("this lmvc cannot train with the loss `{other}`"))),
    }
}
