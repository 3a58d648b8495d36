//! From the graph's parameters to the tensors that a plan reads: most are a parameter as it is, some are made of several.

use std::collections::{BTreeSet, HashMap};

use burn::tensor::ops::FloatTensor;
use lmv_compiler::graph::{Parameter, ParameterId};
use lmv_compiler::plan::{Plan, Value};

use crate::error::{Failure, Result};
use crate::kernels::Kernels;
use crate::network::tensor;

/// The tensors of a plan on a device, in its order. `values` is asked for the numbers of each parameter, in the order of
/// the graph; a parameter is held in memory for no longer than a tensor waits for it.
///
/// # Errors
/// What `values` fails by; a tensor of unknown size.
pub fn make<B: Kernels>(
    plan: &Plan,
    device: &B::Device,
    mut values: impl FnMut(&Parameter) -> Result<Vec<f32>>,
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
        held.0.insert(id, values(parameter)?);
        for &index in &uses[id] {
            missing[index] -= 1;
            if missing[index] > 0 {
                continue;
            }
            let planned = &plan.tensors[index];
            let Some(dims) = planned.shape.numbers() else {
                return Err(Failure::new(format!("the size of `{}` is {}", planned.path, planned.shape)));
            };
            needs[index].iter().for_each(|&parameter| waiting[parameter] -= 1);
            let numbers = match planned.value {
                Value::Parameter(ParameterId(id)) if waiting[id] == 0 => held.0.remove(&id).unwrap_or_default(),
                ref value => held.worth(value),
            };
            made[index] = Some(tensor::<B>(numbers, &dims, device));
        }
        held.0.retain(|id, _| waiting[*id] > 0);
    }
    Ok(made.into_iter().flatten().collect())
}

/// Parameters that are still needed, by their ids.
#[derive(Default)]
struct Held(HashMap<usize, Vec<f32>>);

impl Held {
    /// The numbers of a value whose parameters are all here.
    fn worth(&self, value: &Value) -> Vec<f32> {
        match value {
            Value::Parameter(id) => self.0.get(&id.0).cloned().unwrap_or_default(),
            Value::ScaledColumns { matrix, by } => {
                let (mut matrix, by) = (self.worth(matrix), self.worth(by));
                for row in matrix.chunks_exact_mut(by.len().max(1)) {
                    row.iter_mut().zip(&by).for_each(|(x, factor)| *x *= factor);
                }
                matrix
            }
            Value::Product { matrix, vector, plus } => {
                let (matrix, vector) = (self.worth(matrix), self.worth(vector));
                let rows = matrix.chunks_exact(vector.len().max(1));
                let mut product: Vec<f64> =
                    rows.map(|row| row.iter().zip(&vector).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()).collect();
                for (sum, plus) in product.iter_mut().zip(plus.iter().flat_map(|plus| self.worth(plus))) {
                    *sum += f64::from(plus);
                }
                product.into_iter().map(|sum| sum as f32).collect()
            }
            Value::Rows(values) => values.iter().flat_map(|value| self.worth(value)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(id: usize) -> Value {
        Value::Parameter(ParameterId(id))
    }

    /// W = [[1, 2], [3, 4]], v = [10, 100], b = [0.5, 0.25].
    fn held() -> Held {
        Held(HashMap::from([(0, vec![1.0, 2.0, 3.0, 4.0]), (1, vec![10.0, 100.0]), (2, vec![0.5, 0.25])]))
    }

    #[test]
    fn columns_are_scaled_and_not_rows() {
        let scaled = Value::ScaledColumns { matrix: Box::new(parameter(0)), by: Box::new(parameter(1)) };
        assert_eq!(held().worth(&scaled), [10.0, 200.0, 30.0, 400.0]);
        let rows = Value::Rows(vec![scaled, parameter(0)]);
        assert_eq!(held().worth(&rows), [10.0, 200.0, 30.0, 400.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_product_may_have_something_added() {
        let product = |plus| Value::Product { matrix: Box::new(parameter(0)), vector: Box::new(parameter(1)), plus };
        assert_eq!(held().worth(&product(None)), [210.0, 430.0]);
        assert_eq!(held().worth(&product(Some(Box::new(parameter(2))))), [210.5, 430.25]);
    }
}
