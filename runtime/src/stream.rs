//! What flows between layers while a model runs.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{BoolTensor, FloatTensor};
use burn::tensor::{Shape, TensorMetadata};
use burn_autodiff::Autodiff;

use crate::kernels::Kernels;

/// A batch of samples at one point of the model.
#[derive(Clone, Debug)]
pub struct Stream<B: Kernels> {
    /// `[batch, ..]`: the shape that the graph gives this stream, with the batch in front.
    pub tensor: FloatTensor<B>,
    /// `[batch, tokens]`, true where a token is real; absent where all are.
    pub mask: Option<BoolTensor<B>>,
}

impl<B: Kernels> Stream<B> {
    /// A stream without padding.
    pub fn new(tensor: FloatTensor<B>) -> Self {
        Self { tensor, mask: None }
    }

    /// The same tokens with another tensor.
    pub fn with(&self, tensor: FloatTensor<B>) -> Self {
        Self { tensor, mask: self.mask.clone() }
    }

    /// The same stream on a gradient tape, as a constant: no gradient goes back through it.
    pub fn constant(self) -> Stream<Autodiff<B>> {
        Stream { tensor: Autodiff::<B>::from_inner(self.tensor), mask: self.mask }
    }

    /// The dims, batch first.
    pub fn dims(&self) -> Vec<usize> {
        self.tensor.shape().to_vec()
    }
}

/// Gives a tensor new dims that hold the same numbers.
pub fn reshape<B: Kernels>(tensor: FloatTensor<B>, dims: &[usize]) -> FloatTensor<B> {
    B::float_reshape(tensor, Shape::from(dims.to_vec()))
}

/// The part `start..end` of one dim.
pub fn narrow<B: Kernels>(tensor: FloatTensor<B>, dim: usize, start: usize, end: usize) -> FloatTensor<B> {
    let slices: Vec<burn::tensor::Slice> = tensor
        .shape()
        .to_vec()
        .into_iter()
        .enumerate()
        .map(|(i, len)| if i == dim { (start..end).into() } else { (0..len).into() })
        .collect();
    B::float_slice(tensor, &slices)
}
