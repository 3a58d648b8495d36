//! `split3`: the last dim in three equal parts.

use super::{forward, layers, take};
use crate::stream::narrow;

struct Split3;

layers! { "split3" => |_| Ok(Split3) }

// [batch, .., d] -> three of [batch, .., d / 3]
forward!(Split3, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let third = dims[last] / 3;
    (0..3).map(|i| x.with(narrow::<B>(x.tensor.clone(), last, i * third, (i + 1) * third))).collect()
});
