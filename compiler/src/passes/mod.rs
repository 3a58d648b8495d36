//! Passes: each makes a [`Plan`] of a plan that gives the same outputs, the same taps and the same gradients, up to
//! rounding, with less work. A pass changes frozen parameters only; paths of parameters, what fills them and what a
//! checkpoint holds stay as the graph has them.
//!
//! [`count`] and [`peak`] are none of them: they change nothing, and tell what a plan costs.

pub mod count;
mod freeze_frontier;
mod join_linears;
pub mod peak;

pub use freeze_frontier::freeze_frontier;
pub use join_linears::join_linears;

use crate::graph::Graph;
use crate::plan::Plan;

/// Which passes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// [`join_linears()`].
    pub join_linears: bool,
    /// [`freeze_frontier()`].
    pub freeze_frontier: bool,
}

/// A plan with the same outputs that costs less.
type Pass = fn(Plan) -> Plan;

impl Passes {
    /// All of them.
    pub const ALL: Self = Self { join_linears: true, freeze_frontier: true };
    /// None: the graph runs as it is.
    pub const NONE: Self = Self { join_linears: false, freeze_frontier: false };

    /// The plan of a graph. The frontier comes last, since it marks the nodes that there are in the end.
    pub fn plan(self, graph: &Graph) -> Plan {
        let passes: [(bool, Pass); 2] = [(self.join_linears, join_linears), (self.freeze_frontier, freeze_frontier)];
        let wanted = passes.into_iter().filter(|(wanted, _)| *wanted);
        wanted.fold(Plan::new(graph), |plan, (_, pass)| pass(plan))
    }
}
