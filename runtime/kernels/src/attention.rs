//! Attention on `Flex`: a task to each head, its scores in a scratch buffer that stays in the cache.
//!
//! Heads are read where they lie, side by side in the last dimension. The backward pass computes the probabilities
//! again rather than keep them. A task takes a whole key and value head there, so that the queries which share it add
//! to its gradients in a fixed order.

use burn::tensor::ops::{BoolTensor, FloatTensorOps};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::Heads;
use super::buffer::{Mat, MatMut, new_rows, product, tensor};
use super::simd::{exp, max, sum, sum2};
use super::wide;

/// Scores one task holds at a time.
const SCORES: usize = 1 << 16;

/// A tensor `[batch, rows, channels]` whose channels are next to each other.
struct Tokens {
    tensor: FlexTensor,
    batch_step: usize,
    row_step: usize,
    batch: usize,
    rows: usize,
    channels: usize,
}

impl Tokens {
    /// `tensor` as it lies in memory where its channels are next to each other, else a copy.
    fn new(tensor: FlexTensor) -> Self {
        let steps = |t: &FlexTensor| -> Option<[usize; 2]> {
            let strides = t.layout().strides();
            let ordered = strides[2] == 1 || t.layout().shape()[2] == 1;
            let step = |i: usize| usize::try_from(strides[i]).ok();
            ordered.then(|| Some([step(0)?, step(1)?])).flatten()
        };
        let (tensor, [batch_step, row_step]) = match steps(&tensor) {
            Some(found) => (tensor, found),
            None => {
                let copy = tensor.to_contiguous();
                let found = steps(&copy).expect("a tensor in order");
                (copy, found)
            }
        };
        let [batch, rows, channels] = tensor.layout().shape()[..] else { panic!("a tensor [batch, tokens, channels]") };
        Self { tensor, batch_step, row_step, batch, rows, channels }
    }

    /// The `part`-th of the slices of `width` channels of batch `b`.
    fn head(&self, b: usize, part: usize, width: usize) -> Mat<'_> {
        assert!(b < self.batch && (part + 1) * width <= self.channels, "a head of the tensor");
        let start = self.tensor.layout().start_offset() + b * self.batch_step + part * width;
        let data = self.tensor.storage::<f32>().get(start..).unwrap_or_default();
        Mat::new(data, self.rows, width, self.row_step, 1)
    }
}

/// Which keys are real, `[b, m]`.
struct Mask(Option<FlexTensor>);

impl Mask {
    fn new(mask: Option<BoolTensor<Flex>>) -> Self {
        Self(mask.map(|mask| mask.to_contiguous()))
    }

    /// The mask of batch `b`, if it hides any of its `m` keys.
    fn of(&self, b: usize, m: usize) -> Option<&[u8]> {
        let keep = &self.0.as_ref()?.bytes()[b * m..(b + 1) * m];
        keep.contains(&0).then_some(keep)
    }
}

/// Turns a row of scores into e^(score − greatest), zero where a key is hidden. Gives 1 / their sum, zero if all are
/// hidden.
#[inline(always)]
fn weights(row: &mut [f32], seen: usize, keep: Option<&[u8]>) -> f32 {
    let (row, later) = row.split_at_mut(seen);
    later.fill(0.0);
    if let Some(keep) = keep {
        for (s, &keep) in row.iter_mut().zip(keep) {
            *s = if keep == 0 { f32::NEG_INFINITY } else { *s };
        }
    }
    let top = max(row);
    if top == f32::NEG_INFINITY && !row.iter().any(|s| s.is_nan()) {
        row.fill(0.0);
        return 0.0;
    }
    for s in row.iter_mut() {
        *s = exp(*s - top);
    }
    if let Some(keep) = keep {
        for (s, &keep) in row.iter_mut().zip(keep) {
            *s = if keep == 0 { 0.0 } else { *s };
        }
    }
    1.0 / sum(row, |s| s)
}

wide! {
    /// Turns rows of `m` scores, the first that of query `first`, into probabilities.
    fn softmax(scores: &mut [f32], m: usize, first: usize, causal: bool, keep: Option<&[u8]>) {
        for (i, row) in scores.chunks_exact_mut(m.max(1)).enumerate() {
            let factor = weights(row, if causal { m.min(first + i + 1) } else { m }, keep);
            row.iter_mut().for_each(|w| *w *= factor);
        }
    }

    /// As [`softmax`]; and turns the gradients of the probabilities into those of the scores.
    fn softmax_slopes(
        scores: &mut [f32],
        slopes: &mut [f32],
        m: usize,
        first: usize,
        causal: bool,
        keep: Option<&[u8]>,
    ) {
        let rows = scores.chunks_exact_mut(m.max(1)).zip(slopes.chunks_exact_mut(m.max(1)));
        for (i, (row, slopes)) in rows.enumerate() {
            let factor = weights(row, if causal { m.min(first + i + 1) } else { m }, keep);
            row.iter_mut().for_each(|w| *w *= factor);
            let along = sum2(row, slopes, |p, s| p * s);
            for (s, &p) in slopes.iter_mut().zip(&*row) {
                *s = p * (*s - along);
            }
        }
    }
}

/// Queries whose scores against `m` keys fit the scratch buffer, of `n`.
fn queries_at_a_time(n: usize, m: usize) -> usize {
    (SCORES / m.max(1)).clamp(16, n.max(16)).min(n)
}

pub(super) fn forward(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    heads: Heads,
    key_mask: Option<BoolTensor<Flex>>,
) -> FlexTensor {
    let (q, k, v, mask) = (Tokens::new(q), Tokens::new(k), Tokens::new(v), Mask::new(key_mask));
    let (n, m, hd) = (q.rows, k.rows, q.channels / heads.query);
    let mut out = new_rows(q.batch * n, q.channels, |_, _| {});
    let at_a_time = queries_at_a_time(n, m);
    let views = MatMut::split(&mut out, q.batch, n, heads.query, hd);
    views.into_par_iter().enumerate().for_each_init(Vec::new, |scratch: &mut Vec<f32>, (task, mut out)| {
        let (b, head) = (task / heads.query, task % heads.query);
        let (qs, shared) = (q.head(b, head, hd), head / heads.group());
        let (ks, vs, keep) = (k.head(b, shared, hd), v.head(b, shared, hd), mask.of(b, m));
        scratch.resize(at_a_time * m, 0.0);
        for first in (0..n).step_by(at_a_time) {
            let count = at_a_time.min(n - first);
            let scores = &mut scratch[..count * m];
            product(
                &mut MatMut::new(scores, count, m),
                qs.rows(first, count),
                ks.t(),
                heads.scale as f32,
                false,
                false,
            );
            let mut out = out.part(first, count, 0..hd);
            softmax(scores, m, first, heads.causal, keep);
            product(&mut out, Mat::new(scores, count, m, m, 1), vs, 1.0, false, false);
        }
    });
    let shape = [q.batch, n, q.channels];
    tensor(out, shape)
}

/// The views of [`MatMut::split`] of a buffer that is wanted, else as many times `None`.
fn views(out: &mut Option<Vec<f32>>, batch: usize, rows: usize, parts: usize, width: usize) -> Vec<Option<MatMut<'_>>> {
    match out {
        Some(out) => MatMut::split(out, batch, rows, parts, width).into_iter().map(Some).collect(),
        None => (0..batch * parts).map(|_| None).collect(),
    }
}

/// What attention was computed from, and the gradient of what it gave.
struct Past {
    q: Tokens,
    k: Tokens,
    v: Tokens,
    grad: Tokens,
    mask: Mask,
    heads: Heads,
}

impl Past {
    fn new([q, k, v]: [FlexTensor; 3], grad: FlexTensor, heads: Heads, key_mask: Option<BoolTensor<Flex>>) -> Self {
        let [q, k, v, grad] = [q, k, v, grad].map(Tokens::new);
        Self { q, k, v, grad, mask: Mask::new(key_mask), heads }
    }

    /// Channels of a head.
    fn width(&self) -> usize {
        self.q.channels / self.heads.query
    }

    /// Writes the gradients of q, k and v, each by views of its wanted key and value heads, batch by batch; those of q
    /// have all query heads of theirs.
    fn gradients(&self, views: Vec<[Option<MatMut<'_>>; 3]>) {
        let Self { q, k, v, grad: g, mask, heads } = self;
        let (n, m, hd) = (q.rows, k.rows, self.width());
        let (group, scale) = (heads.group(), heads.scale as f32);
        let at_a_time = queries_at_a_time(n, m);
        views.into_par_iter().enumerate().for_each_init(Vec::new, |scratch: &mut Vec<f32>, (task, views)| {
            let [mut dq, mut dk, mut dv] = views;
            let (b, shared) = (task / heads.key_value, task % heads.key_value);
            let (ks, vs, keep) = (k.head(b, shared, hd), v.head(b, shared, hd), mask.of(b, m));
            scratch.resize(2 * at_a_time * m, 0.0);
            let (probs, slopes) = scratch.split_at_mut(at_a_time * m);
            for member in 0..group {
                let head = shared * group + member;
                let (qs, gs) = (q.head(b, head, hd), g.head(b, head, hd));
                for first in (0..n).step_by(at_a_time) {
                    let count = at_a_time.min(n - first);
                    let started = member > 0 || first > 0;
                    let (probs, slopes) = (&mut probs[..count * m], &mut slopes[..count * m]);
                    let (qs, gs) = (qs.rows(first, count), gs.rows(first, count));
                    product(&mut MatMut::new(probs, count, m), qs, ks.t(), scale, false, false);
                    if dq.is_some() || dk.is_some() {
                        product(&mut MatMut::new(slopes, count, m), gs, vs.t(), 1.0, false, false);
                    }
                    softmax_slopes(probs, slopes, m, first, heads.causal, keep);
                    let (probs, slopes) = (Mat::new(probs, count, m, m, 1), Mat::new(slopes, count, m, m, 1));
                    if let Some(dq) = &mut dq {
                        let mut dq = dq.part(first, count, member * hd..(member + 1) * hd);
                        product(&mut dq, slopes, ks, scale, false, false);
                    }
                    if let Some(dk) = &mut dk {
                        product(dk, slopes.t(), qs, scale, started, false);
                    }
                    if let Some(dv) = &mut dv {
                        product(dv, probs.t(), gs, 1.0, started, false);
                    }
                }
            }
        });
    }
}

pub(super) fn backward(
    qkv: [FlexTensor; 3],
    grad: FlexTensor,
    heads: Heads,
    key_mask: Option<BoolTensor<Flex>>,
    wanted: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let past = Past::new(qkv, grad, heads, key_mask);
    let Past { q, k, v, .. } = &past;
    let mut out = [(wanted[0], q), (wanted[1], k), (wanted[2], v)]
        .map(|(wanted, like)| wanted.then(|| new_rows(like.batch * like.rows, like.channels, |_, _| {})));
    {
        let [dq, dk, dv] = &mut out;
        let hd = past.width();
        let views = |out, rows, width| views(out, q.batch, rows, heads.key_value, width);
        let all = views(dq, q.rows, heads.group() * hd).into_iter().zip(views(dk, k.rows, hd));
        past.gradients(all.zip(views(dv, k.rows, hd)).map(|((dq, dk), dv)| [dq, dk, dv]).collect());
    }
    let shapes = [q, k, v].map(|t| [t.batch, t.rows, t.channels]);
    let mut shapes = shapes.into_iter();
    out.map(|out| {
        let shape = shapes.next().expect("three shapes");
        out.map(|out| tensor(out, shape))
    })
}

/// The three thirds of the channels, where they lie.
fn thirds(x: &FlexTensor) -> [FlexTensor; 3] {
    let shape = x.layout().shape();
    let (tokens, third) = (shape[1], shape[2] / 3);
    [0, 1, 2].map(|i| {
        let slices = [(0..shape[0]).into(), (0..tokens).into(), (i * third..(i + 1) * third).into()];
        Flex::float_slice(x.clone(), &slices)
    })
}

pub(super) fn joined(x: FlexTensor, heads: Heads, key_mask: Option<BoolTensor<Flex>>) -> FlexTensor {
    let [q, k, v] = thirds(&x);
    forward(q, k, v, heads, key_mask)
}

/// The gradient of q, k and v side by side: each is written where it belongs.
pub(super) fn joined_backward(
    x: FlexTensor,
    grad: FlexTensor,
    heads: Heads,
    key_mask: Option<BoolTensor<Flex>>,
) -> FlexTensor {
    let past = Past::new(thirds(&x), grad, heads, key_mask);
    let [batch, tokens, channels] = x.layout().shape()[..] else { panic!("a tensor [batch, tokens, channels]") };
    let mut out = new_rows(batch * tokens, channels, |_, _| {});
    let mut views = MatMut::split(&mut out, batch, tokens, 3 * heads.query, past.width()).into_iter().map(Some);
    let mut all: Vec<[Option<MatMut<'_>>; 3]> = Vec::with_capacity(batch * heads.query);
    for _ in 0..batch {
        let [q, k, v] = [0, 1, 2].map(|_| views.by_ref().take(heads.query).collect::<Vec<_>>());
        all.extend(q.into_iter().zip(k).zip(v).map(|((q, k), v)| [q, k, v]));
    }
    drop(views);
    past.gradients(all);
    tensor(out, [batch, tokens, channels])
}
