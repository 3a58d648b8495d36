//! Tensors as our kernels want them: one value behind the other. Burn's own on CUDA begin each row at a round address, with a gap
//! behind it where its width is not round.

use burn::tensor::{DType, Shape};
use burn_cubecl::CubeRuntime;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// A tensor of whatever values, on the device of another.
pub(super) fn empty<R: CubeRuntime>(beside: &CubeTensor<R>, shape: impl Into<Shape>, dtype: DType) -> CubeTensor<R> {
    empty_device_contiguous_dtype(beside.client.clone(), beside.device.clone(), shape.into(), dtype)
}

/// A tensor of the shape and type of another, of whatever values.
pub(super) fn empty_like<R: CubeRuntime>(t: &CubeTensor<R>) -> CubeTensor<R> {
    empty(t, t.meta.shape().clone(), t.dtype)
}

/// A tensor that may be written to: itself if nothing else holds its buffer, or a copy.
pub(super) fn owned<R: CubeRuntime>(t: CubeTensor<R>) -> CubeTensor<R> {
    if t.can_mut() && t.is_contiguous() {
        return t;
    }
    let copy = empty_like(&t);
    let (client, dtype) = (t.client.clone(), t.dtype.into());
    cubecl::std::tensor::copy_into(&client, t.binding(), copy.clone().binding(), dtype);
    copy
}

/// Rows of a tensor `[.., width]`, and their width.
pub(super) fn rows_of<R: CubeRuntime>(t: &CubeTensor<R>) -> (usize, usize) {
    let shape = t.meta.shape();
    let width = shape[shape.num_dims() - 1];
    (shape.num_elements() / width.max(1), width)
}
