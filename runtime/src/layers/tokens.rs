//! `learned_tokens`, `add_bias` and `sinusoidal_position`: what is added to a stream of tokens, or set beside it.

use burn::tensor::{Shape, TensorData};

use super::{forward, layers, size, take};
use crate::stream::{Stream, reshape};

struct LearnedTokens {
    count: usize,
}
struct AddBias;
struct SinusoidalPosition;

layers! {
    "learned_tokens" => |node| Ok(LearnedTokens { count: size(node, "count")? }),
    "add_bias" => |_| Ok(AddBias),
    "sinusoidal_position" => |_| Ok(SinusoidalPosition),
}

// [batch, .., T, e] -> [batch, .., count, d]
forward!(LearnedTokens, |this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let weight = weights.always("weight");
    let d = burn::tensor::TensorMetadata::shape(&weight)[1];
    let dims = x.dims();
    let front = &dims[..dims.len() - 2];
    let one = reshape::<B>(weight, &[vec![1; front.len()], vec![this.count, d]].concat());
    let tokens = B::float_expand(one, Shape::from([front, &[this.count, d]].concat()));
    vec![Stream::new(tokens).masked_like(&x, |dim| (dim + 1 < front.len()).then_some(dim))]
});

// [batch, .., d] -> [batch, .., d]
forward!(AddBias, |_this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let (rank, bias) = (x.dims().len(), weights.always("bias"));
    let d = burn::tensor::TensorMetadata::shape(&bias)[0];
    let bias = reshape::<B>(bias, &[vec![1; rank - 1], vec![d]].concat());
    vec![x.with(B::float_add(x.numbers(), bias))]
});

/// For token p and channel j of d: p / 10000^(2·floor(j / 2) / d), its sine where j is even, its cosine where j is odd
/// (paper.md §5.1). In double precision, as the reference computes it.
fn waves(tokens: usize, d: usize) -> Vec<f32> {
    let at = |p: usize, j: usize| {
        let angle = p as f64 / 10000f64.powf((2 * (j / 2)) as f64 / d as f64);
        if j.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    (0..tokens).flat_map(|p| (0..d).map(move |j| at(p, j) as f32)).collect()
}

// [batch, .., T, d] -> [batch, .., T, d]
forward!(SinusoidalPosition, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let (tokens, d) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let waves = TensorData::new(waves(tokens, d), [tokens, d]);
    let waves = B::float_from_data(waves, &B::float_device(&x.numbers()));
    let waves = reshape::<B>(waves, &[vec![1; dims.len() - 2], vec![tokens, d]].concat());
    vec![x.with(B::float_add(x.numbers(), waves))]
});
