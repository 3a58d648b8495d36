//! The operations on [`Flex`]: fused over all cores for `f32`, plain for any other type.

use burn::tensor::TensorData;
use burn::tensor::ops::{BoolTensor, FloatTensor, FloatTensorOps};
use burn_flex::Flex;

use super::buffer::{all_f32, copied};
use super::half_weight::HalfWeight;
use super::{
    AdamW, Heads, Kernels, adamw, attention, average, batch_norm, cross_entropy, gelu, layer_norm, linear, plain,
    rms_norm, silu_mul,
};

type T = FloatTensor<Flex>;

impl Kernels for Flex {
    const ROUNDS_OPERANDS: bool = true;

    fn takes_halves(_: &Self::Device) -> bool {
        true
    }

    fn fused_layer_norm(x: T, weight: Option<T>, bias: Option<T>, eps: f64) -> T {
        if !all_f32([&x].into_iter().chain(&weight).chain(&bias)) {
            return plain::layer_norm::<Self>(x, weight, bias, eps);
        }
        layer_norm::forward(x, weight, bias, eps)
    }

    fn fused_layer_norm_backward(x: T, weight: Option<T>, grad: T, eps: f64, wanted: [bool; 3]) -> [Option<T>; 3] {
        if !all_f32([&x, &grad].into_iter().chain(&weight)) {
            return plain::layer_norm_backward::<Self>(x, weight, grad, eps, wanted);
        }
        layer_norm::backward(x, weight, grad, eps, wanted)
    }

    fn fused_rms_norm(x: T, weight: Option<T>, eps: f64) -> T {
        if !all_f32([&x].into_iter().chain(&weight)) {
            return plain::rms_norm::<Self>(x, weight, eps);
        }
        rms_norm::forward(x, weight, eps)
    }

    fn fused_rms_norm_backward(x: T, weight: Option<T>, grad: T, eps: f64, wanted: [bool; 2]) -> [Option<T>; 2] {
        if !all_f32([&x, &grad].into_iter().chain(&weight)) {
            return plain::rms_norm_backward::<Self>(x, weight, grad, eps, wanted);
        }
        rms_norm::backward(x, weight, grad, eps, wanted)
    }

    fn fused_batch_statistics(x: T) -> [T; 2] {
        if all_f32([&x]) { batch_norm::statistics(x) } else { plain::batch_statistics::<Self>(x) }
    }

    fn fused_batch_norm(x: T, weight: T, bias: T, statistics: [T; 2], eps: f64, _of_batch: bool) -> T {
        if !all_f32([&x, &weight, &bias, &statistics[0], &statistics[1]]) {
            return plain::batch_norm::<Self>(x, weight, bias, statistics, eps);
        }
        batch_norm::forward(x, weight, bias, statistics, eps)
    }

    fn fused_batch_norm_backward(
        x: T,
        weight: T,
        grad: T,
        statistics: [T; 2],
        eps: f64,
        of_batch: bool,
        wanted: [bool; 3],
    ) -> [Option<T>; 3] {
        if !all_f32([&x, &weight, &grad, &statistics[0], &statistics[1]]) {
            return plain::batch_norm_backward::<Self>([x, weight, grad], statistics, eps, of_batch, wanted);
        }
        batch_norm::backward(x, weight, grad, statistics, eps, of_batch, wanted)
    }

    fn fused_gelu(x: T) -> T {
        if all_f32([&x]) { gelu::gelu(x) } else { plain::gelu::<Self>(x) }
    }

    fn fused_gelu_backward(x: T, grad: T) -> T {
        if all_f32([&x, &grad]) { gelu::gelu_backward(x, grad) } else { plain::gelu_backward::<Self>(x, grad) }
    }

    fn fused_relu(x: T) -> T {
        if all_f32([&x]) { gelu::relu(x) } else { <Self as burn::tensor::ops::ActivationOps<Self>>::relu(x) }
    }

    fn fused_relu_backward(output: T, grad: T) -> T {
        if all_f32([&output, &grad]) {
            gelu::relu_backward(output, grad)
        } else {
            <Self as burn::tensor::ops::ActivationOps<Self>>::relu_backward(output, grad)
        }
    }

    fn fused_silu_mul(gate: T, up: T) -> T {
        if all_f32([&gate, &up]) { silu_mul::forward(gate, up) } else { plain::silu_mul::<Self>(gate, up) }
    }

    fn fused_silu_mul_backward(gate: T, up: T, grad: T, wanted: [bool; 2]) -> [Option<T>; 2] {
        if !all_f32([&gate, &up, &grad]) {
            return plain::silu_mul_backward::<Self>(gate, up, grad, wanted);
        }
        silu_mul::backward(gate, up, grad, wanted)
    }

    fn fused_linear(x: T, weight: T, bias: Option<T>) -> T {
        let half = HalfWeight::is_one(&weight);
        if !all_f32([&x].into_iter().chain((!half).then_some(&weight)).chain(&bias)) {
            return plain::linear::<Self>(x, weight, bias);
        }
        linear::forward(x, weight, bias)
    }

    fn fused_linear_backward(x: Option<T>, weight: Option<T>, grad: T, bias: bool) -> [Option<T>; 3] {
        let full = weight.as_ref().filter(|weight| !HalfWeight::is_one(weight));
        if !all_f32([&grad].into_iter().chain(&x).chain(full)) {
            return plain::linear_backward::<Self>(x, weight, grad, bias);
        }
        linear::backward(x, weight, grad, bias)
    }

    fn fused_linear_bf16(x: T, weight: T, bias: Option<T>) -> T {
        linear::forward_bf16(x, weight, bias)
    }

    fn fused_linear_bf16_backward(x: Option<T>, weight: Option<T>, grad: T, bias: bool) -> [Option<T>; 3] {
        linear::backward_bf16(x, weight, grad, bias)
    }

    fn fused_attention(q: T, k: T, v: T, heads: Heads, key_mask: Option<BoolTensor<Self>>) -> T {
        if !all_f32([&q, &k, &v]) {
            return plain::attention::<Self>(q, k, v, heads, key_mask);
        }
        attention::forward(q, k, v, heads, key_mask)
    }

    fn fused_attention_backward(
        qkv: [T; 3],
        grad: T,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
        wanted: [bool; 3],
    ) -> [Option<T>; 3] {
        if !all_f32(qkv.iter().chain([&grad])) {
            return plain::attention_backward::<Self>(qkv, grad, heads, key_mask, wanted);
        }
        attention::backward(qkv, grad, heads, key_mask, wanted)
    }

    fn fused_joined_attention(x: T, heads: Heads, key_mask: Option<BoolTensor<Self>>) -> T {
        if !all_f32([&x]) {
            let [q, k, v] = plain::thirds::<Self>(x);
            return plain::attention::<Self>(q, k, v, heads, key_mask);
        }
        attention::joined(x, heads, key_mask)
    }

    fn fused_joined_attention_backward(x: T, grad: T, heads: Heads, key_mask: Option<BoolTensor<Self>>) -> T {
        if !all_f32([&x, &grad]) {
            let found = plain::attention_backward::<Self>(plain::thirds::<Self>(x), grad, heads, key_mask, [true; 3]);
            return Self::float_cat(found.into_iter().flatten().collect(), 2);
        }
        attention::joined_backward(x, grad, heads, key_mask)
    }

    fn fused_adamw_step(param: T, grad: T, m: T, v: T, step: u32, settings: AdamW) -> [T; 3] {
        if !all_f32([&param, &grad, &m, &v]) {
            return plain::adamw_step::<Self>([param, grad, m, v], step, settings);
        }
        adamw::step(param, grad, m, v, step, settings)
    }

    fn fused_norm(tensors: Vec<T>, device: &Self::Device) -> T {
        let norm = match all_f32(&tensors) {
            true => average::norm(tensors),
            false => {
                let widened = tensors.into_iter().map(|t| Self::float_cast(t, burn::tensor::FloatDType::F32));
                average::norm(widened.collect())
            }
        };
        Self::float_from_data(TensorData::new(vec![norm as f32], [1]), device)
    }

    fn fused_scale(t: T, by: f32) -> T {
        if all_f32([&t]) { average::scale(t, by) } else { Self::float_mul_scalar(t, by.into()) }
    }

    fn fused_average(average: T, t: T, decay: f64) -> T {
        if !all_f32([&average, &t]) {
            let kept = Self::float_mul_scalar(average, decay.into());
            return Self::float_add(kept, Self::float_mul_scalar(t, (1.0 - decay).into()));
        }
        average::average(average, t, decay)
    }

    fn fused_copy(t: T) -> T {
        if all_f32([&t]) { copied(t) } else { Self::float_add_scalar(t, 0.0.into()) }
    }

    fn fused_softmax_cross_entropy(logits: T, targets: T) -> T {
        if !all_f32([&logits, &targets]) {
            return plain::softmax_cross_entropy::<Self>(logits, targets);
        }
        cross_entropy::forward(logits, targets)
    }

    fn fused_softmax_cross_entropy_backward(logits: T, targets: T, grad: T) -> T {
        if !all_f32([&logits, &targets, &grad]) {
            return plain::softmax_cross_entropy_backward::<Self>(logits, targets, grad);
        }
        cross_entropy::backward(logits, targets, grad)
    }
}
