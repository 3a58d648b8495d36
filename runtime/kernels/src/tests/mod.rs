//! Every fused operation against its plain form, forward and backward, at awkward shapes and layouts.

mod attention;
#[cfg(feature = "gpu")]
mod gpu;
mod linear;
mod norms;
#[cfg(feature = "gpu")]
mod products;
mod training;
mod whole;

use super::*;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{DType, Distribution, TensorData, TensorMetadata};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

type A = Autodiff<Flex>;

const DEVICE: FlexDevice = FlexDevice;

/// Values around zero, the same each time.
fn values<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<Flex, D> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| (next() + next() + next() - 1.5) * 2.0).collect();
    Tensor::from_data(TensorData::new(data, shape), &DEVICE)
}

/// The same values, laid out as a transposed view of a larger buffer.
fn strided<const D: usize>(t: Tensor<Flex, D>) -> Tensor<Flex, D> {
    if D < 2 {
        let n = t.dims()[0];
        return Tensor::cat(vec![t.clone(), t], 0).narrow(0, 0, n);
    }
    let n = t.dims()[D - 2];
    let twice = Tensor::cat(vec![t.clone(), t], D - 2);
    let turned = cooked::<Flex, D>(raw(twice.swap_dims(D - 1, D - 2)).to_contiguous());
    turned.swap_dims(D - 1, D - 2).narrow(D - 2, n, n)
}

fn vec_of<B: Backend, const D: usize>(t: Tensor<B, D>) -> Vec<f32> {
    t.into_data().convert::<f32>().to_vec().expect("values of f32")
}

#[track_caller]
fn assert_near(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: sizes");
    let size = want.iter().fold(1e-3_f32, |a, b| a.max(b.abs()));
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * (size + w.abs()), "{what}: at {i}: {g} for {w}");
    }
}

/// The gradients of inputs from that of the output.
type Backward<'a> = dyn Fn(&[FloatTensor<Flex>], FloatTensor<Flex>) -> Vec<Option<FloatTensor<Flex>>> + 'a;

/// Inputs, each with whether it is tracked.
type Inputs = Vec<(FloatTensor<Flex>, bool)>;

/// The output of `f`, and the gradients of the tracked inputs under a fixed weighing of the output; those of the others
/// have to be missing.
fn run(f: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>, inputs: &Inputs) -> (Vec<f32>, Vec<Option<Vec<f32>>>) {
    let leaf = |(t, tracked): &(FloatTensor<Flex>, bool)| {
        let t = A::from_inner(t.clone());
        if *tracked { t.require_grad() } else { t }
    };
    let inputs: Vec<_> = inputs.iter().map(leaf).collect();
    let out = f(&inputs);
    let n = out.shape().num_elements();
    let out: Tensor<A, 1> = cooked::<A, 1>(<A as burn::tensor::ops::FloatTensorOps<A>>::float_reshape(out, [n].into()));
    let result = vec_of(out.clone());
    if !inputs.iter().any(|t| t.is_tracked()) {
        assert!(!out.is_require_grad());
        return (result, vec![None; inputs.len()]);
    }
    let grads = (out * Tensor::from_inner(values([n], 77))).sum().backward();
    let flat = |t: FloatTensor<Flex>| raw_values(&t);
    (result, inputs.iter().map(|t| A::grad(t, &grads).map(flat)).collect())
}

fn raw_values(t: &FloatTensor<Flex>) -> Vec<f32> {
    t.to_contiguous().storage::<f32>().to_vec()
}

/// `fused` and `plain` give the same outputs and gradients, whichever inputs are tracked and however they lie in
/// memory.
#[track_caller]
fn agree(
    what: &str,
    inputs: &[FloatTensor<Flex>],
    fused: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>,
    plain: &dyn Fn(&[FloatTensor<A>]) -> FloatTensor<A>,
) {
    for tracked in 0..1_u32 << inputs.len() {
        let inputs: Inputs = inputs.iter().enumerate().map(|(i, t)| (t.clone(), tracked >> i & 1 == 1)).collect();
        let ((got, got_grads), (want, want_grads)) = (run(fused, &inputs), run(plain, &inputs));
        assert_near(&got, &want, 1e-5, what);
        for (i, (got, want)) in got_grads.iter().zip(&want_grads).enumerate() {
            assert_eq!(got.is_some(), inputs[i].1, "{what}: a gradient of input {i} only if it is tracked");
            if let (Some(got), Some(want)) = (got, want) {
                assert_near(got, want, 2e-5, &format!("{what}: gradient of input {i} of {tracked:b}"));
            }
        }
    }
}

/// The inputs as they are, and strided.
fn layouts(inputs: Vec<FloatTensor<Flex>>) -> [Vec<FloatTensor<Flex>>; 2] {
    let turn = |t: &FloatTensor<Flex>| match t.shape().num_dims() {
        1 => raw(strided(cooked::<Flex, 1>(t.clone()))),
        2 => raw(strided(cooked::<Flex, 2>(t.clone()))),
        3 => raw(strided(cooked::<Flex, 3>(t.clone()))),
        _ => t.clone(),
    };
    let turned = inputs.iter().map(turn).collect();
    [inputs, turned]
}

const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [2, 3, 5], [1, 7, 32], [3, 1, 33], [2, 65, 96], [5, 41, 130]];

fn p<const D: usize>(shape: [usize; D], seed: u64) -> FloatTensor<Flex> {
    raw(values(shape, seed))
}

/// A mask that hides some keys of each batch, and all keys of the last.
fn mask(b: usize, m: usize) -> Tensor<Flex, 2, Bool> {
    Tensor::from_data(TensorData::new(mask_values(b, m), [b, m]), &DEVICE)
}

fn mask_values(b: usize, m: usize) -> Vec<bool> {
    (0..b * m).map(|i| i / m + 1 < b.max(2) && (i % m) * 7 % 5 != 2).collect()
}
