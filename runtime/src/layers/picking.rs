//! Elements of a stream picked by their numbers, and tokens kept or left out.

use burn::tensor::{IntDType, Shape, TensorMetadata, get_device_settings};

use super::{forward, layers, take};
use crate::kernels::bool_dtype;
use crate::stream::{Stream, reshape};

struct Gather;
struct Argmax;
struct Keep;

layers! {
    "gather" => |_| Ok(Gather),
    "argmax" => |_| Ok(Argmax),
    "keep" => |_| Ok(Keep),
}

// [batch, N, d], [batch, ..] -> [batch, .., d]
forward!(Gather, |_this, inputs, _weights, _pass| {
    let [x, which] = take(inputs);
    let (dims, wanted) = (x.dims(), which.dims());
    let (batch, length, d) = (dims[0], dims[1], dims[2]);
    let numbers = which.classes();
    let (count, dtype) = (wanted[1..].iter().product::<usize>(), IntDType::from(numbers.dtype()));
    // Numbers within a sample become rows of all samples below each other.
    let device = B::int_device(&numbers);
    let first = B::int_mul_scalar(B::int_arange(0..batch as i64, &device, dtype), (length as i64).into());
    let first = B::int_reshape(first, Shape::from(vec![batch, 1]));
    let rows = B::int_add(B::int_reshape(numbers, Shape::from(vec![batch, count])), first);
    let rows = B::int_reshape(rows, Shape::from(vec![batch * count]));
    let picked = B::float_select(reshape::<B>(x.numbers(), &[batch * length, d]), 0, rows);
    vec![which.with(reshape::<B>(picked, &[&wanted[..], &[d]].concat()))]
});

// [batch, .., c] -> [batch, ..]
forward!(Argmax, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let int_dtype = get_device_settings::<B>(&B::float_device(&x.numbers())).int_dtype;
    let largest = B::float_argmax(B::float_detach(x.filled(last - 1, f64::NEG_INFINITY)), last, int_dtype);
    let largest = B::int_reshape(largest, Shape::from(dims[..last].to_vec()));
    vec![Stream::of_classes(largest).masked_like(&x, |dim| (dim + 1 < last).then_some(dim))]
});

// [batch, N, d], [batch, N] -> [batch, N, d]
forward!(Keep, |_this, inputs, _weights, _pass| {
    let [x, class] = take(inputs);
    let device = B::int_device(&class.classes());
    let mut real = B::int_equal_elem(class.classes(), 1i64.into(), bool_dtype::<B>(&device));
    if let Some(mask) = x.mask(0) {
        real = B::bool_and(real, mask);
    }
    vec![x.masked(0, Some(real))]
});
