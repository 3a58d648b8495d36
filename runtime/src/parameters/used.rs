//! Which tensors of which checkpoints a model is filled by: what is listed, locked and fetched before anything is loaded.

use std::collections::{BTreeMap, BTreeSet};

use lmv_compiler::graph::{Filling, Graph, LlmSizes, Parameter};
use lmv_compiler::library::{self, NameTable};

use super::settings::Settings;
use super::{library_maps, own_maps, sizes};
use crate::error::Result;
use crate::weights::{self, Checkpoint, NameMap, TensorInfo, Wanted};

/// What a model takes of the weights of one name.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    /// The name, as `lmv.toml` has it: `llama7b`.
    pub weights: &'a str,
    /// The parameters that they fill.
    parameters: Vec<&'a Parameter>,
    /// The spec's own tables of checkpoint names.
    names: &'a [NameTable],
    /// What a configuration of the checkpoint may say as well.
    settings: Settings,
}

/// What a model takes of one block of a language model.
pub(super) struct Group<'a> {
    pub weights: &'a str,
    pub llm: &'a LlmSizes,
    pub layer: usize,
    /// With their names in the block.
    pub parameters: Vec<(&'a Parameter, &'a str)>,
}

/// The blocks that fill parameters. A block that is used in two ways is there twice.
pub(super) fn groups<'a>(parameters: impl Iterator<Item = &'a Parameter>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for parameter in parameters {
        let Some(Filling::Block { weights, layer, local, llm }) = &parameter.filled_by else { continue };
        // One after the other in the model, so the last is looked at first; a block that stands twice has every name twice.
        let same = |group: &&mut Group<'a>| {
            (group.weights, group.layer, group.llm) == (weights.as_str(), *layer, llm)
                && group.parameters.iter().all(|(_, known)| known != local)
        };
        match groups.iter_mut().rev().find(same) {
            Some(group) => group.parameters.push((parameter, local)),
            None => groups.push(Group { weights, llm, layer: *layer, parameters: vec![(parameter, local)] }),
        }
    }
    groups
}

/// The checkpoint's names for the parameters of a block, all of which must be there, fit, and be all that it has.
pub(super) fn block_tensors(checkpoint: &Checkpoint, group: &Group<'_>, own: &[NameMap]) -> Result<Vec<String>> {
    let sizes = sizes(group.llm);
    weights::check_declared(checkpoint, group.weights, &sizes)?;
    let block = weights::Block { weights: group.weights, sizes: &sizes, layer: group.layer, own };
    let names = block.tensors(checkpoint, &wanted(&group.parameters))?;
    weights::check_taken(checkpoint, &names.iter().map(String::as_str).collect())?;
    Ok(names)
}

/// The tensors that a `pretrained` takes of a checkpoint, and what it says of how it found them.
pub(super) fn named_tensors(
    checkpoint: &Checkpoint,
    wanted: &[Wanted],
    names: &[NameTable],
) -> Result<weights::Filling> {
    let own: Vec<NameMap> = own_maps(names).into_iter().filter(|map| !weights::is_of_blocks(&map.name)).collect();
    let grids = library::grid_positions().map(|(name, pairs)| NameMap { name, pairs });
    let maps: Vec<NameMap> = library_maps().into_iter().chain(grids).collect();
    let report = weights::fill_report_with(wanted, checkpoint, &own, &maps)?;
    weights::check_taken(checkpoint, &report.names.iter().map(|(_, theirs)| theirs.as_str()).collect())?;
    Ok(report)
}

fn wanted(parameters: &[(&Parameter, &str)]) -> Vec<Wanted> {
    let known = parameters.iter().filter_map(|(parameter, local)| Some((local, parameter.shape.numbers()?)));
    known.map(|(local, shape)| Wanted { name: (*local).to_owned(), shape }).collect()
}

/// A tensor of a checkpoint that fills a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedTensor {
    /// Our name, which no layout of checkpoints changes: `layer.31.attention.wq.weight`, `blocks.0.norm1.weight`.
    pub ours: String,
    /// The checkpoint's.
    pub theirs: String,
    /// Its type and shape in the file.
    pub info: TensorInfo,
}

/// What a graph takes of each name of weights, in the order of the names. `of` picks the parameters that count.
pub fn uses<'a>(graph: &'a Graph, of: impl Fn(&Parameter) -> bool) -> Vec<Use<'a>> {
    let mut found: BTreeMap<&str, Vec<&Parameter>> = BTreeMap::new();
    for parameter in graph.parameters.iter().filter(|parameter| of(parameter)) {
        if let Some(Filling::Block { weights, .. } | Filling::Named { weights, .. }) = &parameter.filled_by {
            found.entry(weights).or_default().push(parameter);
        }
    }
    let nodes = || graph.nodes.iter().map(|node| (&*node.layer, &*node.path, &node.arguments));
    let settings = |weights: &str| Settings::of(nodes(), &graph.parameters, weights);
    let found = found.into_iter();
    found
        .map(|(weights, parameters)| Use { weights, parameters, names: &graph.names, settings: settings(weights) })
        .collect()
}

impl Use<'_> {
    /// In words: `block 31`, `blocks 0, 1 and 31`, `154 tensors`, or both.
    pub fn in_words(&self) -> String {
        let blocks: BTreeSet<usize> = self.blocks().map(|(_, layer, _)| layer).collect();
        let named = self.named().count();
        let blocks: Vec<String> = blocks.into_iter().map(|block| block.to_string()).collect();
        let blocks = match blocks.as_slice() {
            [] => None,
            [one] => Some(format!("block {one}")),
            [several @ .., last] => Some(format!("blocks {} and {last}", several.join(", "))),
        };
        let named = (named > 0).then(|| format!("{named} {}", if named == 1 { "tensor" } else { "tensors" }));
        [blocks, named].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn blocks(&self) -> impl Iterator<Item = (&Parameter, usize, &str)> {
        self.parameters.iter().filter_map(|parameter| match &parameter.filled_by {
            Some(Filling::Block { layer, local, .. }) => Some((*parameter, *layer, local.as_str())),
            _ => None,
        })
    }

    fn named(&self) -> impl Iterator<Item = (&Parameter, &str)> {
        self.parameters.iter().filter_map(|parameter| match &parameter.filled_by {
            Some(Filling::Named { local, .. }) => Some((*parameter, local.as_str())),
            _ => None,
        })
    }

    /// The tensors of `checkpoint` that fill them, in the order of our names. Headers are read, and no numbers.
    ///
    /// # Errors
    /// As for loading them: what is missing, what has another shape, a configuration of another model.
    pub fn tensors(&self, checkpoint: &Checkpoint) -> Result<Vec<UsedTensor>> {
        let mut found = BTreeMap::new();
        let own = own_maps(self.names);
        for group in groups(self.parameters.iter().copied()) {
            let names = block_tensors(checkpoint, &group, &own)?;
            for ((_, local), theirs) in group.parameters.iter().zip(names) {
                let info = checkpoint.require(&theirs)?.clone();
                let ours = format!("layer.{}.{local}", group.layer);
                found.insert(ours.clone(), UsedTensor { ours, theirs, info });
            }
        }
        let wanted = wanted(&self.named().collect::<Vec<_>>());
        if !wanted.is_empty() {
            self.settings.check(checkpoint, self.weights)?;
            for (ours, theirs) in named_tensors(checkpoint, &wanted, self.names)?.names {
                let info = checkpoint.require(&theirs)?.clone();
                found.insert(ours.clone(), UsedTensor { ours, theirs, info });
            }
        }
        Ok(found.into_values().collect())
    }

    /// The checkpoint's names for them, by an index of its shards alone: these need not be there. `None` where names
    /// alone do not tell, as for what a `pretrained` fills, so that all shards are needed.
    ///
    /// # Errors
    /// A checkpoint of another model.
    pub fn names(&self, checkpoint: &Checkpoint) -> Result<Option<Vec<String>>> {
        if self.named().next().is_some() {
            return Ok(None);
        }
        let own = own_maps(self.names);
        let mut names = Vec::new();
        for group in groups(self.parameters.iter().copied()) {
            let sizes = sizes(group.llm);
            weights::check_declared(checkpoint, self.weights, &sizes)?;
            let block = weights::Block { weights: self.weights, sizes: &sizes, layer: group.layer, own: &own };
            names.extend(block.names(checkpoint, &wanted(&group.parameters))?);
        }
        Ok(Some(names))
    }
}
