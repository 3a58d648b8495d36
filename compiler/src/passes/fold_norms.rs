//! Frozen gains and biases of norms, folded into the frozen linear layers behind them.

use std::collections::HashMap;

use lmv_grammar::ast::{ExprKind, Fact};

use crate::config::Config;
use crate::graph::StreamId;
use crate::library;
use crate::plan::{Node, Plan, TensorId, Value};
use crate::shape::Shape;

/// Takes the gain and the bias of a frozen norm, `rms_norm` or `layer_norm`, into the frozen linear layers that read it,
/// and leaves the norm without them: LLaMA's `attention_norm` into `wq`, `wk` and `wv`, its `ffn_norm` into `w1` and `w3`.
///
/// It is sound because both are linear in each token: with gain g, bias β and the normed token x̂,
/// (x̂·g + β) Wᵀ + b = x̂ (W·diag g)ᵀ + (Wβ + b). A linear layer without bias gets one where the norm has one. Rows do not
/// mix, so padded tokens stay as meaningless as they were, and the mask travels as before.
///
/// It does not apply where the norm or one of its readers is trained, where a reader is no linear layer (the residual
/// sum of a post-norm block), where the norm's output is an output or a tap of the model, or where a weight is shared
/// with a layer elsewhere, which would keep it twice.
pub fn fold_norms(mut plan: Plan) -> Plan {
    let readers = plan.readers();
    let tensor_readers = plan.tensor_readers();
    let visible = plan.visible();
    let affine = affine_layers();
    for index in 0..plan.nodes.len() {
        let node = &plan.nodes[index];
        let [output] = node.outputs[..] else { continue };
        let Some(affine) = affine.get(node.layer.as_str()) else { continue };
        if !visible.contains(&output) && applies(&plan, node, affine, &readers[output.0], &tensor_readers) {
            fold(&mut plan, index, affine, output, &readers[output.0]);
        }
    }
    plan.without_unread_tensors()
}

/// How a layer ends, channel by channel: times a gain, plus a shift. Its declaration says so.
struct Affine {
    gain: &'static str,
    shift: Option<&'static str>,
    /// The argument that its parameters are there by.
    switch: &'static str,
}

/// The layers that end so, by their names.
fn affine_layers() -> HashMap<&'static str, Affine> {
    let affine = |facts: &'static [Fact]| {
        let gain = facts.iter().find_map(|fact| match fact {
            Fact::Gain(name) => Some(name.text.as_str()),
            _ => None,
        })?;
        let shift = facts.iter().find_map(|fact| match fact {
            Fact::Shift(name) => Some(name.text.as_str()),
            _ => None,
        });
        let switch = facts.iter().find_map(|fact| match fact {
            Fact::Weight { name, when: Some(when), .. } if name.text == gain => match &when.kind {
                ExprKind::Name(switch) => Some(switch.as_str()),
                _ => None,
            },
            _ => None,
        })?;
        Some(Affine { gain, shift, switch })
    };
    let declared = library::layer_facts_so_far().into_iter();
    declared.filter_map(|(layer, facts)| Some((layer, affine(facts)?))).collect()
}

fn applies(plan: &Plan, norm: &Node, affine: &Affine, readers: &[usize], tensor_readers: &[Vec<usize>]) -> bool {
    let is_folded = |name: &str| name == affine.gain || Some(name) == affine.shift;
    let foldable = !norm.tensors.is_empty()
        && norm.tensors.iter().all(|(name, tensor)| is_folded(name) && plan.tensors[tensor.0].frozen);
    let takes = |index: &usize| {
        let node = &plan.nodes[*index];
        let own = |tensor: TensorId| tensor_readers[tensor.0].iter().all(|reader| readers.contains(reader));
        plan.is_frozen_linear(node)
            && node.tensors.iter().all(|(_, tensor)| own(*tensor))
            && plan.tensor(node, "weight").is_some_and(|weight| plan.tensors[weight.0].shape.numbers().is_some())
    };
    foldable && !readers.is_empty() && readers.iter().all(takes)
}

fn fold(plan: &mut Plan, norm: usize, affine: &Affine, output: StreamId, readers: &[usize]) {
    let norm = &mut plan.nodes[norm];
    let find = |name: &str, tensors: &[(String, TensorId)]| {
        tensors.iter().find(|(local, _)| local == name).map(|(_, tensor)| *tensor)
    };
    let gain = find(affine.gain, &norm.tensors);
    let bias = affine.shift.and_then(|shift| find(shift, &norm.tensors));
    norm.tensors.clear();
    norm.arguments.insert(affine.switch.into(), Config::Bool(false));
    let value = |plan: &Plan, id: TensorId| Box::new(plan.tensors[id.0].value.clone());
    // Readers that share a weight share what it becomes.
    let mut done: HashMap<(TensorId, Option<TensorId>), (TensorId, Option<TensorId>)> = HashMap::new();
    for &index in readers {
        let reader = &plan.nodes[index];
        debug_assert_eq!(reader.inputs, [output]);
        let path = reader.path.clone();
        let (Some(weight), old_bias) = (plan.tensor(reader, "weight"), plan.tensor(reader, "bias")) else { continue };
        let (new_weight, new_bias) = match done.get(&(weight, old_bias)) {
            Some(new) => *new,
            None => {
                let tensor = plan.tensors[weight.0].clone();
                let matrix = Box::new(tensor.value.clone());
                let new_weight = match gain {
                    Some(gain) => {
                        let scaled = Value::ScaledColumns { matrix: matrix.clone(), by: value(plan, gain) };
                        plan.add_tensor(tensor.path, tensor.shape.clone(), scaled)
                    }
                    None => weight,
                };
                let new_bias = match bias {
                    Some(bias) => {
                        let plus = old_bias.map(|old| value(plan, old));
                        let product = Value::Product { matrix, vector: value(plan, bias), plus };
                        let path =
                            old_bias.map_or_else(|| format!("{path}.bias"), |old| plan.tensors[old.0].path.clone());
                        Some(plan.add_tensor(path, Shape(tensor.shape.0[..1].to_vec()), product))
                    }
                    None => old_bias,
                };
                done.insert((weight, old_bias), (new_weight, new_bias));
                (new_weight, new_bias)
            }
        };
        let reader = &mut plan.nodes[index];
        reader.arguments.insert("bias".into(), Config::Bool(new_bias.is_some()));
        reader.tensors = std::iter::once(("weight".to_owned(), new_weight))
            .chain(new_bias.map(|bias| ("bias".to_owned(), bias)))
            .collect();
    }
}
