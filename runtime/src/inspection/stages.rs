//! Where in a model groups of points become tokens, and through which stages these go.

use lmv_compiler::graph::StreamId;
use lmv_compiler::plan::{Node, Plan};

use crate::error::{Failure, Result};
use crate::network::find_tap;

/// The groups that a model makes of a cloud.
pub struct Groups {
    /// The numbers of their centres, `[groups]`.
    pub centres: StreamId,
    /// The numbers of their points, `[groups, size]`.
    pub neighbours: StreamId,
    /// How many.
    pub count: usize,
}

/// A stream with a token for each group.
pub struct Stage {
    /// The path of what gave it, or the tap's name.
    pub name: String,
    /// `[groups, width]`, or with a token more in front.
    pub stream: StreamId,
}

impl Groups {
    /// Those of the only farthest-point sampling and the only search for neighbours of a model.
    ///
    /// # Errors
    /// A model that makes no groups, or makes them more than once.
    pub fn of(plan: &Plan) -> Result<Self> {
        let only = |layer: &str| {
            let mut all = plan.nodes.iter().filter(|node| node.layer == layer);
            match (all.next(), all.next()) {
                (Some(node), None) => Ok(node),
                (None, _) => {
                    Err(Failure::new(format!("the model has no `{layer}`, and so no groups of points to show"))
                        .help("`lmvc inspect` draws models that group the points of a cloud, such as `point_bert`"))
                }
                _ => Err(Failure::new(format!("the model has several `{layer}`, and which groups to show is open"))),
            }
        };
        let (taken, near) = (only("farthest_points")?, only("nearest_points")?);
        let count = plan.shape(taken.outputs[0]).numbers().and_then(|dims| dims.first().copied());
        let count = count.ok_or_else(|| Failure::new("how many groups the model makes is open"))?;
        Ok(Self { centres: taken.outputs[0], neighbours: near.outputs[0], count })
    }
}

/// The part of a model that a node is in: the first word of its path.
fn part(node: &Node) -> &str {
    node.path.split('.').next().unwrap_or_default()
}

/// For each part of the model the last stream with a token for each group, beginning with the encoder; what stands behind the
/// attention of a block of a language model (paper.md §10.2); and the taps that are asked for.
///
/// # Errors
/// A tap that there is not, or that has no token for each group.
pub fn stages(plan: &Plan, groups: &Groups, taps: &[String]) -> Result<Vec<Stage>> {
    let of_groups = |stream: StreamId| match plan.shape(stream).numbers().as_deref() {
        Some(&[tokens, _]) => [groups.count, groups.count + 1].contains(&tokens),
        _ => false,
    };
    // A class token in front tells the stream of the transformer from what is reckoned beside it.
    let widest = plan.nodes.iter().flat_map(|node| &node.outputs).filter(|stream| of_groups(**stream));
    let tokens = |stream: StreamId| plan.shape(stream).numbers().map_or(0, |dims| dims[0]);
    let most = widest.map(|stream| tokens(*stream)).max().unwrap_or(0);
    let mut all: Vec<(usize, Stage)> = Vec::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let Some(&stream) = node.outputs.iter().find(|stream| of_groups(**stream) && tokens(**stream) == most) else {
            continue;
        };
        let name = part(node);
        // What only leads to the head is none: its last stream is that of its norm.
        match all.last_mut().filter(|(_, stage)| stage.name == name) {
            Some((at, stage)) => (*at, stage.stream) = (index, stream),
            None => all.push((index, Stage { name: name.to_owned(), stream })),
        }
    }
    if all.len() > 1 {
        all.pop_if(|(_, stage)| plan.nodes.last().is_some_and(|last| part(last) == stage.name));
    }
    let made_by = |stream: StreamId| plan.nodes.iter().position(|node| node.outputs.contains(&stream)).unwrap_or(0);
    for tap in plan.taps.iter().filter(|tap| tap.name.ends_with(".after_attention") && of_groups(tap.stream)) {
        let place = made_by(tap.stream);
        let behind = all.iter().position(|(at, _)| *at >= place).unwrap_or(all.len());
        all.insert(behind, (place, Stage { name: tap.name.clone(), stream: tap.stream }));
    }
    let mut stages: Vec<Stage> = all.into_iter().map(|(_, stage)| stage).collect();
    for tap in taps {
        let stream = find_tap(&plan.taps, tap)?;
        if !of_groups(stream) {
            let shape = plan.shape(stream);
            return Err(Failure::new(format!(
                "`{tap}` is {shape}, and has no token for each of {} groups",
                groups.count
            )));
        }
        stages.push(Stage { name: tap.clone(), stream });
    }
    Ok(stages)
}
