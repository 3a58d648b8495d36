//! A plan as a step of training runs it: the nodes that need gradients on the tape, all others without one.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn_autodiff::Autodiff;
use lmv_compiler::plan::{Plan, TensorId};

use super::Course;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::layers::{self, Layer, Pass, Weights};
use crate::stream::Stream;

/// The layers of a plan for training. Nodes that the plan wants no gradients of run on `B` itself; where a stream
/// passes from them to the others, it goes onto the tape as a constant.
pub struct TapedNetwork<B: Kernels> {
    course: Course,
    layers: Vec<Runs<B>>,
}

enum Runs<B: Kernels> {
    Plain(Box<dyn Layer<B>>),
    Taped(Box<dyn Layer<Autodiff<B>>>),
}

#[derive(Clone)]
enum Flow<B: Kernels> {
    Plain(Stream<B>),
    Taped(Stream<Autodiff<B>>),
}

impl<B: Kernels> Flow<B> {
    fn taped(self) -> Stream<Autodiff<B>> {
        match self {
            Flow::Plain(stream) => stream.constant(),
            Flow::Taped(stream) => stream,
        }
    }
}

/// What came of a forward pass on the tape.
pub struct Taped<B: Kernels> {
    /// The outputs of the model, then the taps in the order they were asked for.
    pub outputs: Vec<Stream<Autodiff<B>>>,
    /// For each of the trained tensors, what its gradient is found by.
    pub leaves: Vec<FloatTensor<Autodiff<B>>>,
    /// The buffers that the step changes, with their values for the next one.
    pub updates: Vec<(TensorId, FloatTensor<B>)>,
}

impl<B: Kernels> TapedNetwork<B> {
    /// The network that computes the plan's outputs, and the taps whose names are given.
    ///
    /// # Errors
    /// A tap that the spec does not name, with the names that it has.
    pub fn new(plan: &Plan, taps: &[String]) -> Result<Self> {
        let course = Course::new(plan, taps)?;
        let layers = plan.nodes.iter().map(|node| {
            Ok(match node.gradients.any() {
                true => Runs::Taped(layers::build(node)?),
                false => Runs::Plain(layers::build(node)?),
            })
        });
        Ok(Self { layers: layers.collect::<Result<Vec<_>>>()?, course })
    }

    /// The plan it runs.
    pub fn plan(&self) -> &Plan {
        &self.course.plan
    }

    /// Runs the model: one stream for each input of the plan, one tensor for each of its tensors, those that are
    /// `trained` by their indexes. No other tensor is a variable of the tape, so no gradient is computed for it.
    pub fn forward(
        &self,
        inputs: Vec<Stream<B>>,
        tensors: &[FloatTensor<B>],
        trained: &[usize],
        pass: &mut Pass,
    ) -> Taped<B> {
        let mut taped: Vec<FloatTensor<Autodiff<B>>> =
            tensors.iter().map(|tensor| Autodiff::<B>::from_inner(tensor.clone())).collect();
        for &index in trained {
            taped[index] = Autodiff::<B>::float_set_require_grad(taped[index].clone(), true);
        }
        let mut updates = Vec::new();
        let outputs = self.course.run(inputs.into_iter().map(Flow::Plain).collect(), |index, inputs| {
            let names = &self.course.plan.nodes[index].tensors;
            pass.frozen = self.course.frozen[index];
            match &self.layers[index] {
                Runs::Taped(layer) => {
                    let inputs = inputs.into_iter().map(Flow::taped).collect();
                    let outputs = layer.forward(inputs, &Weights { names, tensors: &taped }, pass);
                    updates.extend(
                        pass.take_updates::<Autodiff<B>>().map(|(id, value)| (id, Autodiff::<B>::inner(value))),
                    );
                    outputs.into_iter().map(Flow::Taped).collect()
                }
                Runs::Plain(layer) => {
                    let inputs = inputs.into_iter().map(|flow| match flow {
                        Flow::Plain(stream) => stream,
                        Flow::Taped(_) => unreachable!("a node behind one with gradients has gradients too"),
                    });
                    let outputs = layer.forward(inputs.collect(), &Weights { names, tensors }, pass);
                    updates.extend(pass.take_updates::<B>());
                    outputs.into_iter().map(Flow::Plain).collect()
                }
            }
        });
        Taped {
            outputs: outputs.into_iter().map(Flow::taped).collect(),
            updates,
            leaves: trained.iter().map(|&index| taped[index].clone()).collect(),
        }
    }
}
