//! `mean_tokens` and `max_tokens`: one vector of all real tokens.

use super::{forward, layers, take};
use crate::stream::{Stream, ones_of, over, reshape};

struct MeanTokens;
struct MaxTokens;

layers! {
    "mean_tokens" => |_| Ok(MeanTokens),
    "max_tokens" => |_| Ok(MaxTokens),
}

// [batch, T, d] -> [batch, d]
forward!(MeanTokens, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let mean = match x.mask(0) {
        None => B::float_mean_dim(x.numbers(), 1),
        Some(mask) => {
            // A sample without a single real token has the mean zero rather than none.
            let count = B::float_clamp_min(B::float_sum_dim(ones_of::<B>(mask), 1), 1.0.into());
            let count = reshape::<B>(count, &[dims[0], 1, 1]);
            B::float_div(B::float_sum_dim(x.filled(0, 0.0), 1), count)
        }
    };
    vec![Stream::new(reshape::<B>(mean, &[dims[0], dims[2]]))]
});

// [batch, .., T, d] -> [batch, .., d]
forward!(MaxTokens, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let (tokens, last) = (dims.len() - 2, dims.len() - 1);
    let mut largest = B::float_max_dim(x.filled(tokens - 1, f64::NEG_INFINITY), tokens);
    if let Some(mask) = x.mask(tokens - 1) {
        // A sample without a single real token has zero rather than minus infinity.
        let none = B::bool_not(B::bool_any_dim(mask, 1));
        let mut at = dims.clone();
        at[tokens] = 1;
        largest = B::float_mask_fill(largest, over::<B>(none, tokens - 1, &at), 0.0.into());
    }
    let kept = [&dims[..tokens], &[dims[last]]].concat();
    vec![Stream::new(reshape::<B>(largest, &kept)).masked_like(&x, |dim| (dim + 1 < tokens).then_some(dim))]
});
