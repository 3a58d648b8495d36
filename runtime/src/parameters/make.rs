//! From the graph's parameters to the tensors that a plan reads: most are a parameter as it is, some are made of several.

use std::collections::{BTreeSet, HashMap, HashSet};

use burn::tensor::ops::FloatTensor;
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use lmv_compiler::graph::Parameter;
use lmv_compiler::plan::{Plan, TensorId, Value};
use rayon::prelude::*;

use crate::error::{Failure, Result};
use crate::kernels::Kernels;
use crate::layers::takes_halves;
use crate::weights::Numbers;
use crate::weights::mapped::MappedBytes;

/// The tensors of a plan on a device, in its order. `values` is asked for the numbers of each parameter, in the order of
/// the graph; a parameter is held in memory for no longer than a tensor waits for it, and becomes the tensor where it
/// can: what several tensors are made of is not copied for any but the last of them.
///
/// # Errors
/// What `values` fails by; a tensor of unknown size.
pub fn make<B: Kernels, N: Into<Numbers>>(
    plan: &Plan,
    device: &B::Device,
    mut values: impl FnMut(&Parameter) -> Result<N>,
) -> Result<Vec<FloatTensor<B>>> {
    let needs: Vec<BTreeSet<usize>> =
        plan.tensors.iter().map(|tensor| tensor.value.parameters().iter().map(|id| id.0).collect()).collect();
    let mut uses = vec![Vec::new(); plan.parameters.len()];
    for (index, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|&parameter| uses[parameter].push(index));
    }
    let mut missing: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    let mut waiting: Vec<usize> = uses.iter().map(Vec::len).collect();
    let mut held = Held::default();
    let mut made: Vec<Option<FloatTensor<B>>> = vec![None; plan.tensors.len()];
    for (id, parameter) in plan.parameters.iter().enumerate() {
        held.0.insert(id, values(parameter)?.into());
        uses[id].iter().for_each(|&index| missing[index] -= 1);
        // A tensor waits for the others that are made of the same: made before them, it would have to copy it.
        let complete = |parameter: &usize| uses[*parameter].iter().all(|&index| missing[index] == 0);
        let mut ready: Vec<usize> =
            (0..made.len()).filter(|&index| made[index].is_none() && needs[index].iter().all(complete)).collect();
        // Products only read what others use up.
        ready.sort_by_key(|&index| !matches!(plan.tensors[index].value, Value::Product { .. }));
        for index in ready {
            let planned = &plan.tensors[index];
            let Some(dims) = planned.shape.numbers() else {
                return Err(Failure::new(format!("the size of `{}` is {}", planned.path, planned.shape)));
            };
            needs[index].iter().for_each(|&parameter| waiting[parameter] -= 1);
            let free = |parameter: usize| waiting[parameter] == 0;
            let numbers = match &planned.value {
                Value::Parameter(id) => held.parameter(id.0, &free),
                value => held.worth(value, &free).into(),
            };
            made[index] = Some(B::float_from_data(data(numbers, &dims), device));
        }
        held.0.retain(|id, _| waiting[*id] > 0);
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

/// Parameters that are still needed, by their ids.
#[derive(Default)]
struct Held(HashMap<usize, Numbers>);

impl Held {
    /// The numbers of a parameter that is here, which become the caller's where nothing else waits for them.
    fn parameter(&mut self, id: usize, free: &dyn Fn(usize) -> bool) -> Numbers {
        let numbers = if free(id) { self.0.remove(&id) } else { self.0.get(&id).cloned() };
        numbers.unwrap_or_else(|| Vec::new().into())
    }

    /// The numbers of a value whose parameters are all here. A matrix that nothing else waits for (`free`) is not copied:
    /// it becomes the value.
    fn worth(&mut self, value: &Value, free: &dyn Fn(usize) -> bool) -> Vec<f32> {
        match value {
            Value::Parameter(id) => self.parameter(id.0, free).into_f32(),
            Value::ScaledColumns { matrix, by } => {
                let by = self.worth(by, &never);
                let mut matrix = self.worth(matrix, free);
                matrix.par_chunks_mut(ROWS_AT_ONCE * by.len().max(1)).for_each(|rows| {
                    for row in rows.chunks_exact_mut(by.len().max(1)) {
                        row.iter_mut().zip(&by).for_each(|(x, factor)| *x *= factor);
                    }
                });
                matrix
            }
            Value::Product { matrix, vector, plus } => {
                let vector = self.worth(vector, &never);
                let mut product = match &**matrix {
                    Value::Parameter(id) if let Some(Numbers::F32(matrix)) = self.0.get(&id.0) => {
                        product(matrix, &vector)
                    }
                    matrix => product(&self.worth(matrix, &never), &vector),
                };
                for (sum, plus) in product.iter_mut().zip(plus.iter().flat_map(|plus| self.worth(plus, &never))) {
                    *sum += f64::from(plus);
                }
                product.into_iter().map(|sum| sum as f32).collect()
            }
            Value::Rows(values) => {
                let mut rows = Vec::new();
                for (i, value) in values.iter().enumerate() {
                    // Free only for the last that reads it.
                    let later = |parameter: usize| {
                        values[i + 1..].iter().any(|value| value.parameters().iter().any(|id| id.0 == parameter))
                    };
                    let mut part = self.worth(value, &|parameter| free(parameter) && !later(parameter));
                    // The first is what the others are put behind.
                    if rows.is_empty() { rows = part } else { rows.append(&mut part) }
                }
                rows
            }
        }
    }
}

/// Rows that one core scales before it asks for more.
const ROWS_AT_ONCE: usize = 64;

fn never(_: usize) -> bool {
    false
}

fn product(matrix: &[f32], vector: &[f32]) -> Vec<f64> {
    let rows = matrix.par_chunks_exact(vector.len().max(1));
    rows.map(|row| row.iter().zip(vector).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()).collect()
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
        let whole = matches!(tensor.value, Value::Parameter(_)) && tensor.frozen;
        if !whole || read_otherwise.contains(&TensorId(index)) {
            tensor.value.parameters().iter().for_each(|id| may[id.0] = false);
        }
    }
    plan.parameters.iter().zip(may).filter(|(_, may)| *may).map(|(parameter, _)| parameter.path.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use lmv_compiler::graph::ParameterId;

    use super::*;

    fn parameter(id: usize) -> Value {
        Value::Parameter(ParameterId(id))
    }

    /// W = [[1, 2], [3, 4]], v = [10, 100], b = [0.5, 0.25].
    fn held() -> Held {
        let numbers = [vec![1.0, 2.0, 3.0, 4.0], vec![10.0, 100.0], vec![0.5, 0.25]];
        Held(numbers.into_iter().map(Numbers::F32).enumerate().collect())
    }

    #[test]
    fn columns_are_scaled_and_not_rows() {
        let scaled = Value::ScaledColumns { matrix: Box::new(parameter(0)), by: Box::new(parameter(1)) };
        assert_eq!(held().worth(&scaled, &never), [10.0, 200.0, 30.0, 400.0]);
        let rows = Value::Rows(vec![scaled, parameter(0)]);
        assert_eq!(held().worth(&rows, &never), [10.0, 200.0, 30.0, 400.0, 1.0, 2.0, 3.0, 4.0]);
        // What nothing else waits for is used up, and not before it was read for the last time.
        let mut held = held();
        assert_eq!(held.worth(&rows, &|_| true), [10.0, 200.0, 30.0, 400.0, 1.0, 2.0, 3.0, 4.0]);
        assert!(!held.0.contains_key(&0) && held.0.contains_key(&2));
    }

    #[test]
    fn a_product_may_have_something_added() {
        let product = |plus| Value::Product { matrix: Box::new(parameter(0)), vector: Box::new(parameter(1)), plus };
        assert_eq!(held().worth(&product(None), &never), [210.0, 430.0]);
        assert_eq!(held().worth(&product(Some(Box::new(parameter(2)))), &never), [210.5, 430.25]);
    }
}
