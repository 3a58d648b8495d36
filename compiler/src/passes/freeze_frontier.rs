//! The freeze frontier: where training needs no gradients.

use crate::plan::{Gradients, Plan};

/// Marks for each node which gradients a step of training can need: those of its inputs where a trained parameter is
/// upstream of them, those of its parameters where one of them is trained. A node that needs neither runs without a
/// gradient tape: the whole of `frozen(encoder)` in `frozen(encoder) >> head`.
///
/// It is sound because a gradient is only ever asked for trained parameters: what does not depend on one has none to
/// pass on, and its forward pass is the same on and off the tape. Nodes keep their order, so what they draw at random
/// is the same too.
///
/// It changes nothing in a model whose trained parameters are at the front, but for frozen layers behind them, which
/// are marked as needing no gradient of their weights.
pub fn freeze_frontier(mut plan: Plan) -> Plan {
    let mut trained_upstream = vec![false; plan.streams.len()];
    for node in &mut plan.nodes {
        node.gradients = Gradients {
            inputs: node.inputs.iter().any(|stream| trained_upstream[stream.0]),
            parameters: node.tensors.iter().any(|(_, tensor)| !plan.tensors[tensor.0].frozen),
        };
        if node.gradients.any() {
            node.outputs.iter().for_each(|stream| trained_upstream[stream.0] = true);
        }
    }
    plan
}
