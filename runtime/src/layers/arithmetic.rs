//! Arithmetic on streams, number by number or along the last dims.

use burn::tensor::ops::FloatTensor;

use super::{forward, layers, number, take};
use crate::kernels::Kernels;
use crate::stream::{Stream, reshape};

struct Add;
struct Multiply;
struct Scale {
    by: f64,
}
struct Reciprocal {
    eps: f64,
}
struct Matmul;
struct Softmax;
struct SumToOne;
struct Length;
struct CumulativeSum;

layers! {
    "add" => |_| Ok(Add),
    "multiply" => |_| Ok(Multiply),
    "scale" => |node| Ok(Scale { by: number(node, "by")? }),
    "reciprocal" => |node| Ok(Reciprocal { eps: number(node, "eps")? }),
    "matmul" => |_| Ok(Matmul),
    "softmax" => |_| Ok(Softmax),
    "sum_to_one" => |_| Ok(SumToOne),
    "length" => |_| Ok(Length),
    "cumulative_sum" => |_| Ok(CumulativeSum),
}

/// A result of two streams of one shape: what one of them knows to be filled up is so in both.
fn of_both<B: Kernels>(
    a: Stream<B>,
    b: Stream<B>,
    f: impl FnOnce(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> Stream<B> {
    let ((a, of_a), (b, of_b)) = (a.into_parts(), b.into_parts());
    of_b.into_iter().chain(of_a).fold(Stream::new(f(a, b)), |stream, (dim, mask)| stream.masked(dim, Some(mask)))
}

forward!(Add, |_this, inputs, _weights, _pass| {
    let [a, b] = take(inputs);
    let alike = a.dims() == b.dims();
    // The second one is the branch, as a rule, which nothing else reads, so that the sum can take its place; what goes
    // around it is kept for its norm.
    vec![of_both(a, b, |a, b| if alike { B::float_add(b, a) } else { B::float_add(a, b) })]
});

forward!(Multiply, |_this, inputs, _weights, _pass| {
    let [a, b] = take(inputs);
    vec![of_both(a, b, |a, b| B::float_mul(a, b))]
});

forward!(Scale, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.with(B::float_mul_scalar(x.numbers(), this.by.into()))]
});

forward!(Reciprocal, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.with(B::float_recip(B::float_add_scalar(x.numbers(), this.eps.into())))]
});

// [batch, .., a, b], [batch, .., b, c] -> [batch, .., a, c]
forward!(Matmul, |_this, inputs, _weights, _pass| {
    let [a, b] = take(inputs);
    let last = a.dims().len() - 2;
    // What only fills a sample up counts as zero, on either side of the product.
    let product = B::product(a.filled(last, 0.0), b.filled(last - 1, 0.0));
    let rows = Stream::new(product).masked_like(&a, |dim| (dim < last).then_some(dim));
    vec![rows.masked(last, b.mask(last))]
});

// [batch, .., d] -> [batch, .., d]
forward!(Softmax, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let scores = x.filled(last - 1, f64::NEG_INFINITY);
    // A row without a real place has no largest score: it is held against zero, and is zero throughout.
    let largest =
        B::float_clamp_min(B::float_max_dim(B::float_detach(scores.clone()), last), f64::from(f32::MIN).into());
    let powers = B::float_exp(B::float_sub(scores, largest));
    let sum = B::float_clamp_min(B::float_sum_dim(powers.clone(), last), f64::from(f32::MIN_POSITIVE).into());
    vec![x.with(B::float_div(powers, sum))]
});

// [batch, .., d] -> [batch, .., d]
forward!(SumToOne, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let last = x.dims().len() - 1;
    let parts = x.filled(last - 1, 0.0);
    vec![x.with(B::float_div(parts.clone(), B::float_sum_dim(parts, last)))]
});

// [batch, .., d] -> [batch, ..]
forward!(Length, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let parts = x.filled(last - 1, 0.0);
    let squared = B::float_sum_dim(B::float_mul(parts.clone(), parts), last);
    let length = reshape::<B>(B::float_sqrt(squared), &dims[..last]);
    vec![Stream::new(length).masked_like(&x, |dim| (dim + 1 < last).then_some(dim))]
});

// [batch, .., T, d] -> [batch, .., T, d]
forward!(CumulativeSum, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let tokens = dims.len() - 2;
    vec![x.with(B::float_cumsum(x.filled(tokens - 1, 0.0), tokens))]
});
