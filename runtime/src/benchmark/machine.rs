//! What the machine reaches at most: a matrix product of the size that the model spends most on, and a copy.

use std::time::Instant;

use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;
use lmv_compiler::plan::Plan;

use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::network::{tensor, values};
use crate::precision::Precision;

/// Numbers of a tensor that is copied: 24 MiB, small enough for memory that stays with the process.
const COPIED: usize = 6 << 20;
/// Tensors that are copied in a try, and their copies: 384 MiB, which no cache holds.
const COPIES: usize = 8;
/// The best of so many counts, after one that does not.
const TRIES: usize = 5;

/// What a machine reaches at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Floating-point operations a second of the product.
    pub flops: f64,
    /// The product's rows, terms and columns: `[rows, terms]` by `[terms, columns]`.
    pub product: [usize; 3],
    /// Bytes a second that a copy reads and writes, both counted.
    pub bytes: f64,
}

impl Machine {
    /// The better of two measurements, each of the product and the copy.
    pub fn or_better(self, other: Self) -> Self {
        Self { flops: self.flops.max(other.flops), bytes: self.bytes.max(other.bytes), ..self }
    }
}

/// Measures the machine for a plan on batches of so many samples.
pub fn measure<B: Kernels>(plan: &Plan, batch: usize, precision: Precision, device: &B::Device) -> Machine {
    let (product, frozen) = costliest(plan, batch).unwrap_or(([1024; 3], false));
    let [rows, terms, columns] = product;
    let ones = |dims: [usize; 2]| tensor::<B>(vec![1.0; dims[0] * dims[1]], &dims, device);
    let (x, weight) = (ones([rows, terms]), ones([columns, terms]));
    let mut pass = Pass::evaluating();
    (pass.precision, pass.frozen) = (precision, frozen);
    let of_product = best(|| wait::<B>(pass.linear::<B>(x.clone(), weight.clone(), None)));
    drop((x, weight));
    let sources: Vec<_> = (0..COPIES).map(|_| tensor::<B>(vec![1.0; COPIED], &[COPIED], device)).collect();
    let of_copy = best(|| {
        let copies: Vec<_> = sources.iter().map(|source| B::fused_copy(source.clone())).collect();
        copies.into_iter().for_each(wait::<B>);
    });
    let operations = 2.0 * product.map(|n| n as f64).iter().product::<f64>();
    Machine { flops: operations / of_product, product, bytes: (2 * 4 * COPIES * COPIED) as f64 / of_copy }
}

/// The bytes of a tensor.
pub fn bytes_of<B: Kernels>(tensor: &FloatTensor<B>) -> usize {
    tensor.shape().num_elements() * tensor.dtype().size()
}

/// The product of the linear layer that costs most: rows, terms, columns, and whether the layer is frozen.
fn costliest(plan: &Plan, batch: usize) -> Option<([usize; 3], bool)> {
    let linears = plan.nodes.iter().filter(|node| node.layer == "linear");
    let node = linears.max_by(|a, b| a.flops.unwrap_or(0.0).total_cmp(&b.flops.unwrap_or(0.0)))?;
    let weight = plan.tensor(node, "weight")?;
    let [columns, terms] = plan.tensors[weight.0].shape.numbers()?[..] else { return None };
    let tokens = node.flops? / (2 * columns * terms).max(1) as f64;
    let rows = ((tokens * batch as f64).round() as usize).max(1);
    Some(([rows, terms, columns], plan.tensors[weight.0].frozen))
}

/// Seconds of the fastest try.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let tries = (0..TRIES).map(|_| {
        let began = Instant::now();
        run();
        began.elapsed().as_secs_f64()
    });
    tries.fold(f64::INFINITY, f64::min)
}

/// Waits until a tensor is there, by reading one number of it.
fn wait<B: Kernels>(tensor: FloatTensor<B>) {
    let first: Vec<burn::tensor::Slice> = tensor.shape().iter().map(|_| (0..1).into()).collect();
    drop(values::<B>(B::float_slice(tensor, &first)));
}
