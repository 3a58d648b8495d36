//! Which tensors of which checkpoints a model is filled by: what is listed, locked and fetched before anything is loaded.

use std::collections::{BTreeMap, BTreeSet};

use lmv_compiler::graph::{Filling, Graph, Parameter};
use lmv_compiler::library::{self, NameTable};

use super::sizes;
use crate::error::{Failure, Result};
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
    found.into_iter().map(|(weights, parameters)| Use { weights, parameters, names: &graph.names }).collect()
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
        for (parameter, layer, local, theirs) in self.block_names(checkpoint)? {
            let info = checkpoint.require(&theirs)?.clone();
            if parameter.shape.numbers().is_some_and(|shape| shape != info.shape) {
                let what = format!(
                    "holds tensor `{theirs}` as {:?}, and {} was expected for `{local}`",
                    info.shape, parameter.shape
                );
                return Err(Failure::at(checkpoint.path(), what)
                    .help("give a checkpoint of the model that the spec declares, or declare the sizes of this one"));
            }
            let ours = format!("layer.{layer}.{local}");
            found.insert(ours.clone(), UsedTensor { ours, theirs, info });
        }
        let wanted: Vec<Wanted> = self
            .named()
            .filter_map(|(parameter, local)| Some(Wanted { name: local.into(), shape: parameter.shape.numbers()? }))
            .collect();
        if !wanted.is_empty() {
            let librarys = library::name_tables().into_iter().chain(library::grid_positions());
            let tables = self.names.iter().cloned().chain(librarys);
            let maps: Vec<NameMap> = tables.map(|(name, pairs)| NameMap { name, pairs }).collect();
            for (ours, theirs) in weights::fill_report(&wanted, checkpoint, &maps)?.names {
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
        Ok(Some(self.block_names(checkpoint)?.into_iter().map(|(.., theirs)| theirs).collect()))
    }

    /// The parameters of blocks: each with its block, its name in there and the checkpoint's.
    fn block_names(&self, checkpoint: &Checkpoint) -> Result<Vec<(&Parameter, usize, &str, String)>> {
        let mut names = Vec::new();
        for (parameter, layer, local) in self.blocks() {
            let Some(Filling::Block { llm, .. }) = &parameter.filled_by else { continue };
            if names.is_empty() {
                weights::check_config(checkpoint, self.weights, &sizes(llm))?;
            }
            names.push((parameter, layer, local, weights::block_tensor(checkpoint, &llm.family, layer, local)?));
        }
        Ok(names)
    }
}
