//! The operations under automatic differentiation: forward as the inner backend does it, and the backward pass it has
//! for each, for the parents that are tracked.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorMetadata};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use rand_chacha::ChaCha8Rng;

use super::{AdamW, Heads, Kernels};

/// Declares a step of the backward pass: what it keeps, and the gradients it makes of that, of the gradient of the
/// output and of which parents are tracked.
macro_rules! step {
    ($name:ident, $n:literal, $keeps:ty, |$state:pat_param, $grad:ident, $wanted:ident| $gradients:expr) => {
        #[derive(Debug)]
        struct $name;

        impl<B: Kernels> Backward<B, $n> for $name {
            type State = $keeps;

            fn backward(self, ops: Ops<Self::State, $n>, grads: &mut Gradients, _: &mut Checkpointer) {
                let $grad = grads.consume::<B>(&ops.node);
                let $wanted: [bool; $n] = ops.parents.each_ref().map(Option::is_some);
                let $state = ops.state;
                let gradients: [Option<FloatTensor<B>>; $n] = $gradients;
                for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
                    if let (Some(parent), Some(gradient)) = (parent, gradient) {
                        grads.register::<B>(parent.id, gradient);
                    }
                }
            }
        }
    };
}

/// Runs a forward pass on the inner backend; keeps what `step` needs only if a parent is tracked.
macro_rules! forward {
    ($step:ident, [$($node:expr),+], $keep:expr, $forward:expr) => {
        match Backward::<B, _>::prepare::<C>($step, [$($node.clone()),+]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = $keep;
                let out = $forward;
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => prep.finish($forward),
        }
    };
}

/// A tensor that may be missing, in the inner backend.
fn inner<B: Kernels, C: CheckpointStrategy>(t: &Option<FloatTensor<Autodiff<B, C>>>) -> Option<FloatTensor<B>> {
    t.as_ref().map(|t| t.primitive.clone())
}

step!(
    LayerNorm,
    3,
    (FloatTensor<B>, Option<FloatTensor<B>>, f64, [bool; 3]),
    |(x, weight, eps, given), grad, wanted| { B::fused_layer_norm_backward(x, weight, grad, eps, both(wanted, given)) }
);

step!(RmsNorm, 2, (FloatTensor<B>, Option<FloatTensor<B>>, f64, [bool; 2]), |(x, weight, eps, given), grad, wanted| {
    B::fused_rms_norm_backward(x, weight, grad, eps, both(wanted, given))
});

step!(
    BatchNorm,
    3,
    ([FloatTensor<B>; 2], [FloatTensor<B>; 2], f64, bool),
    |([x, weight], statistics, eps, of_batch), grad, wanted| {
        B::fused_batch_norm_backward(x, weight, grad, statistics, eps, of_batch, wanted)
    }
);

step!(Gelu, 1, FloatTensor<B>, |x, grad, _wanted| [Some(B::fused_gelu_backward(x, grad))]);

step!(Relu, 1, FloatTensor<B>, |out, grad, _wanted| [Some(B::fused_relu_backward(out, grad))]);

step!(SiluMul, 2, [FloatTensor<B>; 2], |[gate, up], grad, wanted| {
    B::fused_silu_mul_backward(gate, up, grad, wanted)
});

step!(Linear, 3, (Option<FloatTensor<B>>, Option<FloatTensor<B>>, bool), |(x, weight, bias), grad, wanted| {
    B::fused_linear_backward(x, weight, grad, bias && wanted[2])
});

step!(LinearBf16, 3, (Option<FloatTensor<B>>, Option<FloatTensor<B>>, bool), |(x, weight, bias), grad, wanted| {
    B::fused_linear_bf16_backward(x, weight, grad, bias && wanted[2])
});

step!(Product, 2, [FloatTensor<B>; 2], |[lhs, rhs], grad, wanted| {
    let turned = |t: &FloatTensor<B>| B::float_swap_dims(t.clone(), t.rank() - 2, t.rank() - 1);
    let of_lhs = wanted[0].then(|| summed_to::<B>(B::product(grad.clone(), turned(&rhs)), lhs.shape()));
    let of_rhs = wanted[1].then(|| summed_to::<B>(B::product(turned(&lhs), grad), rhs.shape()));
    [of_lhs, of_rhs]
});

step!(Attention, 3, ([FloatTensor<B>; 3], Heads, Option<BoolTensor<B>>), |(qkv, heads, mask), grad, wanted| {
    B::fused_attention_backward(qkv, grad, heads, mask, wanted)
});

step!(JoinedAttention, 1, (FloatTensor<B>, Heads, Option<BoolTensor<B>>), |(x, heads, mask), grad, _wanted| {
    [Some(B::fused_joined_attention_backward(x, grad, heads, mask))]
});

step!(CrossEntropy, 1, [FloatTensor<B>; 2], |[logits, targets], grad, _wanted| {
    [Some(B::fused_softmax_cross_entropy_backward(logits, targets, grad))]
});

/// A gradient summed over the dims that its tensor was broadcast along.
fn summed_to<B: Kernels>(grad: FloatTensor<B>, shape: Shape) -> FloatTensor<B> {
    (0..shape.num_dims()).fold(grad, |grad, dim| match shape[dim] == grad.shape()[dim] {
        true => grad,
        false => B::float_sum_dim(grad, dim),
    })
}

/// Where both are set. An input that is not given has the node of another one in its place.
fn both<const N: usize>(wanted: [bool; N], given: [bool; N]) -> [bool; N] {
    std::array::from_fn(|i| wanted[i] && given[i])
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    const ROUNDS_OPERANDS: bool = B::ROUNDS_OPERANDS;

    fn takes_halves(device: &B::Device) -> bool {
        B::takes_halves(device)
    }

    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: Option<FloatTensor<Self>>,
        bias: Option<FloatTensor<Self>>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let (w, b) = (inner::<B, C>(&weight), inner::<B, C>(&bias));
        let given = [true, w.is_some(), b.is_some()];
        let nodes = [&x.node, &weight.as_ref().unwrap_or(&x).node, &bias.as_ref().unwrap_or(&x).node];
        forward!(LayerNorm, [nodes[0], nodes[1], nodes[2]], (x.primitive.clone(), w.clone(), eps, given), {
            B::fused_layer_norm(x.primitive, w, b, eps)
        })
    }

    fn fused_rms_norm(x: FloatTensor<Self>, weight: Option<FloatTensor<Self>>, eps: f64) -> FloatTensor<Self> {
        let w = inner::<B, C>(&weight);
        let given = [true, w.is_some()];
        let nodes = [&x.node, &weight.as_ref().unwrap_or(&x).node];
        forward!(RmsNorm, [nodes[0], nodes[1]], (x.primitive.clone(), w.clone(), eps, given), {
            B::fused_rms_norm(x.primitive, w, eps)
        })
    }

    /// Outside of the graph: what goes through them is a part of the norm's own backward pass.
    fn fused_batch_statistics(x: FloatTensor<Self>) -> [FloatTensor<Self>; 2] {
        B::fused_batch_statistics(x.primitive).map(<Self as AutodiffBackend>::from_inner)
    }

    fn fused_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        statistics: [FloatTensor<Self>; 2],
        eps: f64,
        of_batch: bool,
    ) -> FloatTensor<Self> {
        let statistics = statistics.map(|of| of.primitive);
        let keep = ([x.primitive.clone(), weight.primitive.clone()], statistics.clone(), eps, of_batch);
        forward!(BatchNorm, [&x.node, &weight.node, &bias.node], keep, {
            B::fused_batch_norm(x.primitive, weight.primitive, bias.primitive, statistics, eps, of_batch)
        })
    }

    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        forward!(Gelu, [&x.node], x.primitive.clone(), B::fused_gelu(x.primitive))
    }

    fn fused_relu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        // The output tells as much as the input, and the layer after keeps it anyway.
        let out = B::fused_relu(x.primitive);
        forward!(Relu, [&x.node], out.clone(), out)
    }

    fn fused_silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        forward!(SiluMul, [&gate.node, &up.node], [gate.primitive.clone(), up.primitive.clone()], {
            B::fused_silu_mul(gate.primitive, up.primitive)
        })
    }

    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let b = inner::<B, C>(&bias);
        let bias_node = &bias.as_ref().unwrap_or(&x).node;
        // What a frozen layer was given is not kept: only the gradient of its weight would need it.
        let keep = (
            weight.is_tracked().then(|| x.primitive.clone()),
            x.is_tracked().then(|| weight.primitive.clone()),
            b.is_some(),
        );
        forward!(Linear, [&x.node, &weight.node, bias_node], keep, B::fused_linear(x.primitive, weight.primitive, b))
    }

    fn fused_linear_bf16(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let b = inner::<B, C>(&bias);
        let bias_node = &bias.as_ref().unwrap_or(&x).node;
        let keep = (
            weight.is_tracked().then(|| x.primitive.clone()),
            x.is_tracked().then(|| weight.primitive.clone()),
            b.is_some(),
        );
        forward!(LinearBf16, [&x.node, &weight.node, bias_node], keep, {
            B::fused_linear_bf16(x.primitive, weight.primitive, b)
        })
    }

    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        let keep = || [lhs.primitive.clone(), rhs.primitive.clone()];
        forward!(Product, [&lhs.node, &rhs.node], keep(), B::product(lhs.primitive, rhs.primitive))
    }

    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        let keep = || ([q.primitive.clone(), k.primitive.clone(), v.primitive.clone()], heads, key_mask.clone());
        forward!(Attention, [&q.node, &k.node, &v.node], keep(), {
            B::fused_attention(q.primitive, k.primitive, v.primitive, heads, key_mask)
        })
    }

    fn fused_joined_attention(
        x: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        let keep = (x.primitive.clone(), heads, key_mask.clone());
        forward!(JoinedAttention, [&x.node], keep, B::fused_joined_attention(x.primitive, heads, key_mask))
    }

    /// Through whole numbers no gradient goes.
    fn farthest_points(points: FloatTensor<Self>, count: usize, near_origin: f64) -> IntTensor<Self> {
        B::farthest_points(points.primitive, count, near_origin)
    }

    fn ball_query(points: FloatTensor<Self>, centres: FloatTensor<Self>, radius: f64, count: usize) -> IntTensor<Self> {
        B::ball_query(points.primitive, centres.primitive, radius, count)
    }

    fn nearest_points(points: FloatTensor<Self>, centres: FloatTensor<Self>, count: usize) -> IntTensor<Self> {
        B::nearest_points(points.primitive, centres.primitive, count)
    }

    /// Outside of the graph: the results are leaves without gradient.
    fn kept(dims: &[usize], keep: f64, rng: &mut ChaCha8Rng, device: &B::Device) -> FloatTensor<Self> {
        Self::from_inner(B::kept(dims, keep, rng, device))
    }

    fn fused_adamw_step(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: u32,
        settings: AdamW,
    ) -> [FloatTensor<Self>; 3] {
        let [param, grad, m, v] = [param, grad, m, v].map(|t| t.primitive);
        B::fused_adamw_step(param, grad, m, v, step, settings).map(<Self as AutodiffBackend>::from_inner)
    }

    fn fused_softmax_cross_entropy(logits: FloatTensor<Self>, targets: FloatTensor<Self>) -> FloatTensor<Self> {
        let keep = || [logits.primitive.clone(), targets.primitive.clone()];
        forward!(CrossEntropy, [&logits.node], keep(), {
            B::fused_softmax_cross_entropy(logits.primitive, targets.primitive)
        })
    }
}
