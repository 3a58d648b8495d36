//! `gelu`, `relu`, `tanh`, `sigmoid` and `silu_gate`: number by number.

use super::{forward, layers, take};

struct Gelu;
struct Relu;
struct Tanh;
struct Sigmoid;
struct SiluGate;

layers! {
    "gelu" => |_| Ok(Gelu),
    "relu" => |_| Ok(Relu),
    "tanh" => |_| Ok(Tanh),
    "sigmoid" => |_| Ok(Sigmoid),
    "silu_gate" => |_| Ok(SiluGate),
}

forward!(Gelu, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.map(B::fused_gelu)]
});

forward!(Relu, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.map(B::fused_relu)]
});

forward!(Tanh, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.with(B::float_tanh(x.numbers()))]
});

forward!(Sigmoid, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.with(B::sigmoid(x.numbers()))]
});

forward!(SiluGate, |_this, inputs, _weights, _pass| {
    let [gate, up] = take(inputs);
    vec![gate.map(|gate| B::fused_silu_mul(gate, up.into_numbers()))]
});
