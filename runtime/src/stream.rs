//! What flows between layers while a model runs.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorMetadata};
use burn_autodiff::Autodiff;

use crate::kernels::Kernels;

/// A batch of samples at one point of the model.
#[derive(Clone, Debug)]
pub struct Stream<B: Kernels> {
    values: Values<B>,
    masks: Masks<B>,
}

/// What a stream holds: `[batch, ..]`, the shape that the graph gives it with the batch in front.
#[derive(Clone, Debug)]
enum Values<B: Kernels> {
    Numbers(FloatTensor<B>),
    /// Of a stream whose type is `[..] of class(n)`.
    Classes(IntTensor<B>),
}

/// For each dim that varies from sample to sample which of its places are real: the dim, counted without the batch, and
/// `[batch, length]`, true where real. A dim that is not among them is real throughout.
pub type Masks<B> = Vec<(usize, BoolTensor<B>)>;

impl<B: Kernels> Stream<B> {
    /// Numbers, all of them real.
    pub fn new(numbers: FloatTensor<B>) -> Self {
        Self { values: Values::Numbers(numbers), masks: Vec::new() }
    }

    /// Numbers of classes, all of them real.
    pub fn of_classes(classes: IntTensor<B>) -> Self {
        Self { values: Values::Classes(classes), masks: Vec::new() }
    }

    /// The same places with other numbers.
    pub fn with(&self, numbers: FloatTensor<B>) -> Self {
        Self { values: Values::Numbers(numbers), masks: self.masks.clone() }
    }

    /// The same places with other classes.
    pub fn with_classes(&self, classes: IntTensor<B>) -> Self {
        Self { values: Values::Classes(classes), masks: self.masks.clone() }
    }

    /// The same stream, of whose `dim` (without the batch) only some places are real: `[batch, length]`.
    pub fn masked(mut self, dim: usize, mask: Option<BoolTensor<B>>) -> Self {
        self.masks.retain(|(at, _)| *at != dim);
        self.masks.extend(mask.map(|mask| (dim, mask)));
        self
    }

    /// The same numbers, with the masks of `other`, each at the dim that `to` gives for its own; `None` drops it.
    pub fn masked_like(mut self, other: &Self, to: impl Fn(usize) -> Option<usize>) -> Self {
        for (dim, mask) in &other.masks {
            if let Some(dim) = to(*dim) {
                self = self.masked(dim, Some(mask.clone()));
            }
        }
        self
    }

    /// Which places of a dim, counted without the batch, are real: `[batch, length]`; `None` where all are.
    pub fn mask(&self, dim: usize) -> Option<BoolTensor<B>> {
        self.masks.iter().find(|(at, _)| *at == dim).map(|(_, mask)| mask.clone())
    }

    /// The numbers, `[batch, ..]`.
    pub fn numbers(&self) -> FloatTensor<B> {
        match &self.values {
            Values::Numbers(numbers) => numbers.clone(),
            Values::Classes(_) => unreachable!("the checker gives classes only to layers that take them"),
        }
    }

    /// The numbers, `[batch, ..]`, with the only handle to them where this was one.
    pub fn into_numbers(self) -> FloatTensor<B> {
        match self.values {
            Values::Numbers(numbers) => numbers,
            Values::Classes(_) => unreachable!("the checker gives classes only to layers that take them"),
        }
    }

    /// The same places with other numbers, made of these.
    pub fn map(self, f: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>) -> Self {
        let (numbers, masks) = self.into_parts();
        Self { values: Values::Numbers(f(numbers)), masks }
    }

    /// The numbers, `[batch, ..]`, and which places of them are real.
    pub fn into_parts(self) -> (FloatTensor<B>, Masks<B>) {
        let Self { values, masks } = self;
        (Self { values, masks: Vec::new() }.into_numbers(), masks)
    }

    /// The numbers of classes, `[batch, ..]`.
    pub fn classes(&self) -> IntTensor<B> {
        match &self.values {
            Values::Classes(classes) => classes.clone(),
            Values::Numbers(_) => unreachable!("the checker gives numbers only to layers that take them"),
        }
    }

    /// Whether these are numbers of classes.
    pub fn holds_classes(&self) -> bool {
        matches!(self.values, Values::Classes(_))
    }

    /// The same stream on a gradient tape, as a constant: no gradient goes back through it.
    pub fn constant(self) -> Stream<Autodiff<B>> {
        let values = match self.values {
            Values::Numbers(numbers) => Values::Numbers(Autodiff::<B>::from_inner(numbers)),
            Values::Classes(classes) => Values::Classes(classes),
        };
        Stream { values, masks: self.masks }
    }

    /// The dims, batch first.
    pub fn dims(&self) -> Vec<usize> {
        match &self.values {
            Values::Numbers(numbers) => numbers.shape().to_vec(),
            Values::Classes(classes) => classes.shape().to_vec(),
        }
    }

    /// The numbers with `value` in every place of `dim` (without the batch) that is not real.
    pub fn filled(&self, dim: usize, value: f64) -> FloatTensor<B> {
        match self.mask(dim) {
            None => self.numbers(),
            Some(mask) => {
                let not_real = over::<B>(B::bool_not(mask), dim, &self.dims());
                B::float_mask_fill(self.numbers(), not_real, value.into())
            }
        }
    }
}

/// A mask `[batch, length]` of one dim, counted without the batch, spread over tensors of these dims.
pub fn over<B: Kernels>(mask: BoolTensor<B>, dim: usize, dims: &[usize]) -> BoolTensor<B> {
    let mut shape = vec![1; dims.len()];
    (shape[0], shape[dim + 1]) = (dims[0], dims[dim + 1]);
    B::bool_expand(B::bool_reshape(mask, Shape::from(shape)), Shape::from(dims.to_vec()))
}

/// A mask as ones and zeros.
pub fn ones_of<B: Kernels>(mask: BoolTensor<B>) -> FloatTensor<B> {
    let dtype = burn::tensor::FloatDType::F32;
    B::bool_into_float(mask, dtype)
}

/// Gives a tensor new dims that hold the same numbers.
pub fn reshape<B: Kernels>(tensor: FloatTensor<B>, dims: &[usize]) -> FloatTensor<B> {
    B::float_reshape(tensor, Shape::from(dims.to_vec()))
}

/// The part `start..end` of one dim.
pub fn narrow<B: Kernels>(tensor: FloatTensor<B>, dim: usize, start: usize, end: usize) -> FloatTensor<B> {
    B::float_slice(tensor.clone(), &part(&tensor.shape().to_vec(), dim, start, end))
}

/// The slices that leave `start..end` of one dim.
pub fn part(dims: &[usize], dim: usize, start: usize, end: usize) -> Vec<burn::tensor::Slice> {
    let of = |(i, len): (usize, &usize)| if i == dim { (start..end).into() } else { (0..*len).into() };
    dims.iter().enumerate().map(of).collect()
}
