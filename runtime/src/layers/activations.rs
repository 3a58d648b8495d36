//! `gelu`, `relu` and `silu_gate`: number by number.

use super::{forward, layers, take};

struct Gelu;
struct Relu;
struct SiluGate;

layers! {
    "gelu" => |_| Ok(Gelu),
    "relu" => |_| Ok(Relu),
    "silu_gate" => |_| Ok(SiluGate),
}

forward!(Gelu, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.with(B::fused_gelu(x.tensor.clone()))]
});

forward!(Relu, |_this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![x.with(B::fused_relu(x.tensor.clone()))]
});

forward!(SiluGate, |_this, inputs, _weights, _pass| {
    let [gate, up] = take(inputs);
    vec![gate.with(B::fused_silu_mul(gate.tensor.clone(), up.tensor))]
});
