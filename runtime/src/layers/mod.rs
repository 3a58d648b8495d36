//! The arithmetic of the library's `extern` layers, one file each. A file offers `LAYERS`, the names it runs with the
//! function that makes one from its arguments; [`build`] finds it. What a layer takes, gives, owns and means is declared in
//! `stdlib/`.

mod activations;
mod arithmetic;
mod attend;
mod batch_norm;
mod dropout;
mod linear;
mod norms;
mod patchify;
mod picking;
mod points;
mod pooling;
mod rearranging;
mod rotary;
mod split;
mod stochastic_depth;
mod tokens;
mod tubelets;
mod words;

use std::any::Any;

use burn::tensor::ops::FloatTensor;
use lmv_compiler::plan::{Node, TensorId};
use rand_chacha::ChaCha8Rng;

use crate::error::{Failure, Result};
use crate::kernels::Kernels;
use crate::precision::Precision;
use crate::stream::Stream;

/// A layer at work.
pub trait Layer<B: Kernels>: Send + Sync {
    /// Runs the layer on its inputs, in the order and with the shapes of its signature, batch first.
    fn forward(&self, inputs: Vec<Stream<B>>, weights: &Weights<'_, B>, pass: &mut Pass) -> Vec<Stream<B>>;
}

/// What a layer reads, by the names in its declaration.
pub struct Weights<'a, B: Kernels> {
    pub(crate) names: &'a [(String, TensorId)],
    pub(crate) tensors: &'a [FloatTensor<B>],
}

impl<B: Kernels> Weights<'_, B> {
    /// The parameter, if the layer has it with its arguments.
    pub fn get(&self, name: &str) -> Option<FloatTensor<B>> {
        self.names.iter().find(|(n, _)| n == name).map(|(_, id)| self.tensors[id.0].clone())
    }

    /// Which of the plan's tensors a parameter or buffer is.
    pub fn id(&self, name: &str) -> Option<TensorId> {
        self.names.iter().find(|(n, _)| n == name).map(|(_, id)| *id)
    }

    /// A parameter that the declaration always gives the layer.
    pub fn always(&self, name: &str) -> FloatTensor<B> {
        match self.get(name) {
            Some(tensor) => tensor,
            None => unreachable!("the declaration in stdlib/ gives this layer `{name}`; a test runs every layer"),
        }
    }
}

/// Whether a layer reads this tensor of it in half precision, too, where the backend does
/// ([`Kernels::takes_halves`]).
pub fn takes_halves(layer: &str, tensor: &str) -> bool {
    (layer, tensor) == linear::TAKES_HALVES
}

/// What a forward pass is for, and what comes of it besides its outputs.
pub struct Pass {
    /// The random numbers of a training step; absent while evaluating.
    pub training: Option<ChaCha8Rng>,
    /// What matrix products are computed in.
    pub precision: Precision,
    /// Whether the layer that runs has parameters, all of them frozen.
    pub(crate) frozen: bool,
    /// New values of buffers, each a tensor of the backend that its layer ran on.
    updates: Vec<(TensorId, Box<dyn Any>)>,
}

impl Pass {
    /// A pass that only looks.
    pub fn evaluating() -> Self {
        Self { training: None, precision: Precision::F32, frozen: false, updates: Vec::new() }
    }

    /// A pass of a training step, with its random numbers.
    pub fn training(random: ChaCha8Rng) -> Self {
        Self { training: Some(random), precision: Precision::F32, frozen: false, updates: Vec::new() }
    }

    /// A linear layer at the precision of the pass: x `[.., in]`, weight `[out, in]`, bias `[out]` → `[.., out]`.
    pub(crate) fn linear<B: Kernels>(
        &self,
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        if self.rounds_operands::<B>() {
            return B::fused_linear_bf16(x, weight, bias);
        }
        let precision = self.products();
        let narrow = |t| precision.narrow::<B>(t);
        precision.widen::<B>(B::fused_linear(narrow(x), narrow(weight), bias.map(narrow)))
    }

    /// What the layer that runs computes its products in.
    fn products(&self) -> Precision {
        self.precision.within(self.frozen)
    }

    /// Whether products in half precision take and give `f32`, and round what they multiply by themselves.
    fn rounds_operands<B: Kernels>(&self) -> bool {
        self.products() == Precision::Bf16 && B::ROUNDS_OPERANDS
    }

    /// Gives a buffer its value for the next step.
    fn update<B: Kernels>(&mut self, buffer: TensorId, value: FloatTensor<B>) {
        self.updates.push((buffer, Box::new(value)));
    }

    /// The new values that layers on the backend `B` left since the last call.
    pub(crate) fn take_updates<B: Kernels>(&mut self) -> impl Iterator<Item = (TensorId, FloatTensor<B>)> + use<B> {
        let updates = std::mem::take(&mut self.updates);
        updates.into_iter().filter_map(|(buffer, value)| Some((buffer, *value.downcast::<FloatTensor<B>>().ok()?)))
    }
}

/// A layer made from its arguments.
pub type Maker<B> = fn(&Node) -> Result<Box<dyn Layer<B>>>;

fn table<B: Kernels>() -> Vec<&'static [(&'static str, Maker<B>)]> {
    vec![
        activations::layers(),
        arithmetic::layers(),
        attend::layers(),
        batch_norm::layers(),
        dropout::layers(),
        linear::layers(),
        norms::layers(),
        patchify::layers(),
        picking::layers(),
        points::layers(),
        pooling::layers(),
        rearranging::layers(),
        rotary::layers(),
        stochastic_depth::layers(),
        tokens::layers(),
        tubelets::layers(),
        words::layers(),
    ]
}

/// The names of all layers of the library that Rust runs.
pub fn names() -> Vec<&'static str> {
    table::<burn_flex::Flex>().into_iter().flatten().map(|(name, _)| *name).collect()
}

/// The layer of a node.
///
/// # Errors
/// The library declares a layer that no file here runs; a test keeps the two lists equal.
pub fn build<B: Kernels>(node: &Node) -> Result<Box<dyn Layer<B>>> {
    let mut all = table::<B>().into_iter().chain([split::layers()]).flatten();
    let maker = all.find(|(name, _)| *name == node.layer).map(|(_, maker)| *maker);
    match maker {
        Some(maker) => maker(node),
        None => Err(Failure::new(format!("this lmvc cannot run the layer `{}` at {}", node.layer, node.path))),
    }
}

/// A whole-number argument; the checker gave every parameter a value.
fn size(node: &Node, name: &str) -> Result<usize> {
    let value = node.arguments.get(name).and_then(lmv_compiler::config::Config::int);
    value.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| argument(node, name, "a whole number of at least 0"))
}

/// A numeric argument.
fn number(node: &Node, name: &str) -> Result<f64> {
    node.arguments
        .get(name)
        .and_then(lmv_compiler::config::Config::float)
        .ok_or_else(|| argument(node, name, "a number"))
}

/// A list of numbers among the arguments.
fn numbers(node: &Node, name: &str) -> Result<Vec<f64>> {
    let items = match node.arguments.get(name) {
        Some(lmv_compiler::config::Config::List(items)) => {
            items.iter().map(lmv_compiler::config::Config::float).collect()
        }
        _ => None,
    };
    items.ok_or_else(|| argument(node, name, "a list of numbers"))
}

/// A truth value among the arguments.
fn flag(node: &Node, name: &str) -> Result<bool> {
    match node.arguments.get(name) {
        Some(lmv_compiler::config::Config::Bool(flag)) => Ok(*flag),
        _ => Err(argument(node, name, "true or false")),
    }
}

fn argument(node: &Node, name: &str, expected: &str) -> Failure {
    let found = node.arguments.get(name).map_or("nothing".to_owned(), ToString::to_string);
    Failure::new(format!("`{name}` of {} at {} is {found}, and should be {expected}", node.layer, node.path))
}

/// The layers of a file, as a constant table.
macro_rules! layers {
    ($($name:expr => $maker:expr),* $(,)?) => {
        pub(super) fn layers<B: crate::kernels::Kernels>() -> &'static [(&'static str, super::Maker<B>)] {
            &[$(($name, |node| {
                let make: fn(&lmv_compiler::plan::Node) -> crate::error::Result<_> = $maker;
                Ok(Box::new(make(node)?))
            })),*]
        }
    };
}
use layers;

/// A forward pass written as one function of the inputs, for a layer without parameters.
macro_rules! forward {
    ($layer:ty, |$self_:ident, $inputs:ident, $weights:ident, $pass:ident| $body:expr) => {
        impl<B: crate::kernels::Kernels> super::Layer<B> for $layer {
            fn forward(
                &self,
                $inputs: Vec<crate::stream::Stream<B>>,
                $weights: &super::Weights<'_, B>,
                $pass: &mut super::Pass,
            ) -> Vec<crate::stream::Stream<B>> {
                let $self_ = self;
                $body
            }
        }
    };
}
use forward;

/// Takes a layer's streams out of the list that the graph made as long as the signature.
fn take<B: Kernels, const N: usize>(inputs: Vec<Stream<B>>) -> [Stream<B>; N] {
    match inputs.try_into() {
        Ok(streams) => streams,
        Err(streams) => unreachable!("the checker gave this layer {} streams for {N}", streams.len()),
    }
}
