//! Streams cut, joined and laid out anew: nothing here computes.

use burn::tensor::Shape;

use super::{forward, layers, size, take};
use crate::kernels::{Kernels, booleans};
use crate::stream::{Stream, narrow, over, part, reshape};

struct Concat;
struct ConcatTokens;
struct FirstTokens;
struct SplitAt {
    first: usize,
}
struct Split3;
struct Tokens {
    first: usize,
    end: usize,
}
struct Token {
    index: usize,
}
struct Flatten;
struct Unflatten {
    parts: usize,
}
struct Transpose;
struct Swap;
struct RepeatInterleave {
    times: usize,
}
struct Spread;
struct Copies;

layers! {
    "concat" => |_| Ok(Concat),
    "concat_tokens" => |_| Ok(ConcatTokens),
    "first_tokens" => |_| Ok(FirstTokens),
    "split_at" => |node| Ok(SplitAt { first: size(node, "first")? }),
    "split3" => |_| Ok(Split3),
    "tokens" => |node| Ok(Tokens { first: size(node, "first")?, end: size(node, "end")? }),
    "token" => |node| Ok(Token { index: size(node, "index")? }),
    "flatten" => |_| Ok(Flatten),
    "unflatten" => |node| Ok(Unflatten { parts: size(node, "parts")? }),
    "transpose" => |_| Ok(Transpose),
    "swap" => |_| Ok(Swap),
    "repeat_interleave" => |node| Ok(RepeatInterleave { times: size(node, "times")? }),
    "spread" => |_| Ok(Spread),
    "copies" => |_| Ok(Copies),
}

// [batch, .., a], [batch, .., b] -> [batch, .., a + b]
forward!(Concat, |_this, inputs, _weights, _pass| {
    let [a, b] = take(inputs);
    let last = a.dims().len() - 1;
    let joined = B::float_cat(vec![a.numbers(), b.numbers()], last);
    vec![Stream::new(joined).masked_like(&b, Some).masked_like(&a, Some)]
});

// [batch, T, d], [batch, S, d] -> [batch, T + S, d]
forward!(ConcatTokens, |_this, inputs, _weights, _pass| {
    let [a, b] = take(inputs);
    let joined = Stream::new(B::float_cat(vec![a.numbers(), b.numbers()], 1));
    if a.mask(0).is_none() && b.mask(0).is_none() {
        return vec![joined];
    }
    let mask = |stream: &Stream<B>| {
        stream.mask(0).unwrap_or_else(|| {
            let dims = stream.dims();
            booleans::<B>(vec![true; dims[0] * dims[1]], [dims[0], dims[1]], &B::float_device(&stream.numbers()))
        })
    };
    vec![joined.masked(0, Some(B::bool_cat(vec![mask(&a), mask(&b)], 1)))]
});

// [batch, N, d], [batch, T, e] -> [batch, T, d]
forward!(FirstTokens, |_this, inputs, _weights, _pass| {
    let [x, like] = take(inputs);
    let tokens = like.dims()[1];
    vec![Stream::new(narrow::<B>(x.numbers(), 1, 0, tokens)).masked(0, like.mask(0))]
});

// [batch, .., d] -> [batch, .., first], [batch, .., d - first]
forward!(SplitAt, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let cut = |start, end| x.with(narrow::<B>(x.numbers(), last, start, end));
    vec![cut(0, this.first), cut(this.first, dims[last])]
});

// [batch, .., d] -> three of [batch, .., d / 3]
forward!(Split3, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let third = dims[last] / 3;
    (0..3).map(|i| x.with(narrow::<B>(x.numbers(), last, i * third, (i + 1) * third))).collect()
});

// [batch, .., T, d] -> [batch, .., end - first, d]
forward!(Tokens, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let tokens = dims.len() - 2;
    let mask =
        x.mask(tokens - 1).map(|mask| B::bool_slice(mask, &part(&[dims[0], dims[tokens]], 1, this.first, this.end)));
    vec![x.with(narrow::<B>(x.numbers(), tokens, this.first, this.end)).masked(tokens - 1, mask)]
});

// [batch, T, d] -> [batch, d]
forward!(Token, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let one = narrow::<B>(x.into_numbers(), 1, this.index, this.index + 1);
    vec![Stream::new(reshape::<B>(one, &[dims[0], dims[2]]))]
});

// [batch, .., a, b] -> [batch, .., a * b]
forward!(Flatten, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let (a, b) = (dims[last - 1], dims[last]);
    let flat = reshape::<B>(x.numbers(), &[&dims[..last - 1], &[a * b]].concat());
    let places = |mask, dim| over::<B>(mask, dim, &[dims[0], a, b]);
    let mask = match (x.mask(last - 2), x.mask(last - 1)) {
        (None, None) => None,
        (Some(rows), None) => Some(places(rows, 0)),
        (None, Some(columns)) => Some(places(columns, 1)),
        (Some(rows), Some(columns)) => Some(B::bool_and(places(rows, 0), places(columns, 1))),
    };
    let mask = mask.map(|mask| B::bool_reshape(mask, Shape::from(vec![dims[0], a * b])));
    vec![Stream::new(flat).masked_like(&x, |dim| (dim + 2 < last).then_some(dim)).masked(last - 2, mask)]
});

// [batch, .., d] -> [batch, .., parts, d / parts]
forward!(Unflatten, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let last = dims.len() - 1;
    let width = dims[last].checked_div(this.parts).unwrap_or(0);
    vec![x.with(reshape::<B>(x.numbers(), &[&dims[..last], &[this.parts, width]].concat()))]
});

/// Two dims, batch counted, in each other's place.
fn exchanged<B: Kernels>(x: &Stream<B>, one: usize, other: usize) -> Stream<B> {
    let moved = move |dim: usize| match dim + 1 {
        at if at == one => Some(other - 1),
        at if at == other => Some(one - 1),
        _ => Some(dim),
    };
    Stream::new(B::float_swap_dims(x.numbers(), one, other)).masked_like(x, moved)
}

// [batch, .., a, b] -> [batch, .., b, a]
forward!(Transpose, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let last = x.dims().len() - 1;
    vec![exchanged(&x, last - 1, last)]
});

// [batch, .., a, b, c] -> [batch, .., b, a, c]
forward!(Swap, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let last = x.dims().len() - 1;
    vec![exchanged(&x, last - 2, last - 1)]
});

// [batch, .., a, b, c] -> [batch, .., a * times, b, c]
forward!(RepeatInterleave, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    if this.times == 1 {
        return vec![x];
    }
    let dims = x.dims();
    let (front, back) = dims.split_at(dims.len() - 2);
    let repeated = B::float_expand(
        reshape::<B>(x.numbers(), &[front, &[1], back].concat()),
        Shape::from([front, &[this.times], back].concat()),
    );
    let (a, outer) = (front[front.len() - 1], &front[..front.len() - 1]);
    let at = front.len() - 2;
    let mask = x.mask(at).map(|mask| {
        let times = over::<B>(mask, 0, &[dims[0], a, this.times]);
        B::bool_reshape(times, Shape::from(vec![dims[0], a * this.times]))
    });
    vec![x.with(reshape::<B>(repeated, &[outer, &[a * this.times], back].concat())).masked(at, mask)]
});

// [batch, .., d], [batch, .., T, e] -> [batch, .., T, d]
forward!(Spread, |_this, inputs, _weights, _pass| {
    let [x, like] = take(inputs);
    let (dims, seen) = (x.dims(), like.dims());
    let (last, tokens) = (dims.len() - 1, seen[seen.len() - 2]);
    let one = reshape::<B>(x.numbers(), &[&dims[..last], &[1, dims[last]]].concat());
    let spread = B::float_expand(one, Shape::from([&dims[..last], &[tokens, dims[last]]].concat()));
    vec![Stream::new(spread).masked_like(&like, |dim| (dim < last).then_some(dim))]
});

// [batch, L, d], [batch, A, K, e] -> [batch, A, L, d]
forward!(Copies, |_this, inputs, _weights, _pass| {
    let [x, like] = take(inputs);
    let (dims, copies) = (x.dims(), like.dims()[1]);
    let one = reshape::<B>(x.numbers(), &[dims[0], 1, dims[1], dims[2]]);
    let copied = B::float_expand(one, Shape::from(vec![dims[0], copies, dims[1], dims[2]]));
    vec![Stream::new(copied).masked(0, like.mask(0)).masked(1, x.mask(0))]
});
