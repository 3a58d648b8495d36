//! From the graph's parameters to the tensors that a plan reads: most are a parameter as it is, some the rows of several.

use std::collections::{HashMap, HashSet};

use burn::tensor::ops::FloatTensor;
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use lmv_compiler::graph::{Parameter, ParameterId};
use lmv_compiler::plan::{Plan, TensorId};

use crate::error::{Failure, Result};
use crate::kernels::Kernels;
use crate::layers::takes_halves;
use crate::weights::Numbers;
use crate::weights::mapped::MappedBytes;

/// The tensors of a plan on a device, in its order. `values` is asked for the numbers of each parameter, in the order of
/// the graph; a parameter is held in memory for no longer than the other parts of its tensor are waited for.
///
/// # Errors
/// What `values` fails by; a tensor of unknown size.
pub fn make<B: Kernels, N: Into<Numbers>>(
    plan: &Plan,
    device: &B::Device,
    mut values: impl FnMut(&Parameter) -> Result<N>,
) -> Result<Vec<FloatTensor<B>>> {
    let mut part_of = vec![None; plan.parameters.len()];
    for (index, tensor) in plan.tensors.iter().enumerate() {
        tensor.parameters.iter().for_each(|id| part_of[id.0] = Some(index));
    }
    let mut held: HashMap<ParameterId, Numbers> = HashMap::new();
    let mut made: Vec<Option<FloatTensor<B>>> = vec![None; plan.tensors.len()];
    for (id, parameter) in plan.parameters.iter().enumerate() {
        let numbers = values(parameter)?.into();
        let Some(index) = part_of[id] else { continue };
        held.insert(ParameterId(id), numbers);
        let planned = &plan.tensors[index];
        if !planned.parameters.iter().all(|part| held.contains_key(part)) {
            continue;
        }
        let Some(dims) = planned.shape.numbers() else {
            return Err(Failure::new(format!("the size of `{}` is {}", planned.path, planned.shape)));
        };
        let parts = planned.parameters.iter().filter_map(|part| held.remove(part)).collect();
        made[index] = Some(B::float_from_data(data(Numbers::stacked(parts), &dims), device));
    }
    Ok(made.into_iter().flatten().collect())
}

/// Numbers as Burn takes them, in the type that they have.
fn data(numbers: Numbers, dims: &[usize]) -> TensorData {
    let mapped = |bytes: MappedBytes, dtype| {
        let bytes = Bytes::from_shared(bytes::Bytes::from_owner(bytes), AllocationProperty::File);
        TensorData::from_bytes(bytes, dims, dtype)
    };
    match numbers {
        Numbers::F32(numbers) => TensorData::new(numbers, dims),
        Numbers::F16(numbers) => TensorData::new(numbers, dims),
        Numbers::BF16(numbers) => TensorData::new(numbers, dims),
        Numbers::MappedF16(bytes) => mapped(bytes, DType::F16),
        Numbers::MappedBF16(bytes) => mapped(bytes, DType::BF16),
    }
}

/// The paths of parameters that may stay in half precision: frozen, and read by nothing but layers that take them so.
pub fn may_be_halves(plan: &Plan) -> HashSet<&str> {
    let read_otherwise: HashSet<TensorId> = plan
        .nodes
        .iter()
        .flat_map(|node| node.tensors.iter().filter(|(name, _)| !takes_halves(&node.layer, name)))
        .map(|(_, id)| *id)
        .collect();
    let mut may: Vec<bool> = plan.parameters.iter().map(|parameter| !parameter.is_trained()).collect();
    for (index, tensor) in plan.tensors.iter().enumerate() {
        if !tensor.frozen || read_otherwise.contains(&TensorId(index)) {
            tensor.parameters.iter().for_each(|id| may[id.0] = false);
        }
    }
    plan.parameters.iter().zip(may).filter(|(_, may)| *may).map(|(parameter, _)| parameter.path.as_str()).collect()
}
