//! How a checkpoint calls what is in a block of a language model.

use lmv_compiler::library;

use super::LlmSizes;
use crate::error::{Failure, Result};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::file::shown;
use crate::weights::names::{NameMap, Try, Wanted, nearest, same_but_for_ones};

/// A block that is sought in a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The name of the language model in the spec, by which its own tables may call it.
    pub weights: &'a str,
    /// Its family and sizes.
    pub sizes: &'a LlmSizes,
    /// Which block.
    pub layer: usize,
    /// The spec's own tables of names.
    pub own: &'a [NameMap],
}

/// Whether a table of names is one of blocks: `FAMILY_places` says where a checkpoint keeps them, `FAMILY_block` and
/// `FAMILY_block_…` what is in one (`stdlib/weights/blocks.lmv`).
pub fn is_of_blocks(name: &str) -> bool {
    is_places(name) || is_block(name)
}

fn is_places(name: &str) -> bool {
    name.ends_with("_places")
}

fn is_block(name: &str) -> bool {
    name.ends_with("_block") || name.contains("_block_")
}

/// One way to call everything in a block, in the checkpoint's names.
struct Way {
    /// For each wanted tensor the names that it may have.
    names: Vec<Vec<String>>,
    own: bool,
}

impl Way {
    fn found(&self, checkpoint: &Checkpoint) -> usize {
        self.names.iter().filter(|names| names.iter().any(|name| checkpoint.contains(name))).count()
    }
}

impl Block<'_> {
    fn ways(&self, locals: &[&str]) -> Vec<Way> {
        let librarys = |begins: &str| -> Vec<NameMap> {
            let of_it = library::name_tables().into_iter().filter(|(name, _)| name.starts_with(begins));
            of_it.map(|(name, pairs)| NameMap { name, pairs }).collect()
        };
        let family = &self.sizes.family;
        let own =
            |of: fn(&str) -> bool| self.own.iter().filter(move |map| of(&map.name)).cloned().map(|map| (map, true));
        let places: Vec<(NameMap, bool)> =
            own(is_places).chain(librarys(&format!("{family}_places")).into_iter().map(|map| (map, false))).collect();
        let blocks: Vec<(NameMap, bool)> =
            own(is_block).chain(librarys(&format!("{family}_block")).into_iter().map(|map| (map, false))).collect();
        let mut ways = Vec::new();
        // A table of a spec may also call them by the whole name that they have in the model.
        for map in self.own.iter().filter(|map| !is_of_blocks(&map.name)) {
            let names = locals.iter().map(|local| {
                let short = format!("layer.{}.{local}", self.layer);
                let whole = format!("{}.{short}", self.weights);
                map.candidates(&whole).chain(map.candidates(&short)).collect()
            });
            ways.push(Way { names: names.collect(), own: true });
        }
        for (block, own_block) in &blocks {
            for (place, own_place) in &places {
                // Each pair of a table of places is a place by itself.
                for pair in &place.pairs {
                    let place = NameMap { name: place.name.clone(), pairs: vec![pair.clone()] };
                    let names = locals.iter().map(|local| {
                        let theirs = block.candidates(local).map(|theirs| format!("{}.{theirs}", self.layer));
                        theirs.filter_map(|whole| place.theirs(&whole)).collect()
                    });
                    ways.push(Way { names: names.collect(), own: *own_block || *own_place });
                }
            }
        }
        ways
    }

    /// For each local name, the names that are tried, the likeliest first. Where tables of the spec's own find anything,
    /// what they say of a tensor is all that is tried for it.
    fn candidates(&self, checkpoint: &Checkpoint, locals: &[&str]) -> Vec<Vec<String>> {
        let mut ways: Vec<(usize, Way)> =
            self.ways(locals).into_iter().map(|way| (way.found(checkpoint), way)).collect();
        // Stable: of equals the one further up in the tables is first.
        ways.sort_by_key(|(found, _)| std::cmp::Reverse(*found));
        let best = ways.iter().find(|(found, way)| way.own && *found > 0).map(|(_, way)| &way.names);
        (0..locals.len())
            .map(|at| match best.map(|names| &names[at]).filter(|names| !names.is_empty()) {
                Some(names) => names.clone(),
                None => {
                    let mut all: Vec<String> = Vec::new();
                    for name in ways.iter().flat_map(|(_, way)| &way.names[at]) {
                        if !all.contains(name) {
                            all.push(name.clone());
                        }
                    }
                    all
                }
            })
            .collect()
    }

    /// The checkpoint's names for these tensors of the block (`attention.wq.weight`). Names alone are looked at: the shards
    /// need not be there.
    ///
    /// # Errors
    /// When some are missing, with all of them, and what the block has instead.
    pub fn names(&self, checkpoint: &Checkpoint, wanted: &[Wanted]) -> Result<Vec<String>> {
        self.find(checkpoint, wanted, false)
    }

    /// [`Self::names`] of tensors that are there and have the shapes that are wanted.
    ///
    /// # Errors
    /// The same, with what has another shape; and a shard that cannot be opened.
    pub fn tensors(&self, checkpoint: &Checkpoint, wanted: &[Wanted]) -> Result<Vec<String>> {
        self.find(checkpoint, wanted, true)
    }

    fn find(&self, checkpoint: &Checkpoint, wanted: &[Wanted], shapes: bool) -> Result<Vec<String>> {
        let locals: Vec<&str> = wanted.iter().map(|w| w.name.as_str()).collect();
        let candidates = self.candidates(checkpoint, &locals);
        let pairs = locals.iter().zip(&candidates);
        let pairs = pairs.flat_map(|(local, names)| names.iter().map(|name| ((*local).to_owned(), name.clone())));
        let map = NameMap { name: "the block's names".into(), pairs: pairs.collect() };
        let found = Try::of(&map, None, wanted, checkpoint, &[]);
        if found.found == 0 && !wanted.is_empty() {
            return Err(self.absent(checkpoint, &locals, &candidates[0]));
        }
        if found.found == wanted.len() && !shapes {
            return Ok(found.names.into_iter().flatten().collect());
        }
        if found.found == wanted.len() {
            let mut wrong = Vec::new();
            for (w, theirs) in wanted.iter().zip(found.names.iter().flatten()) {
                let info = checkpoint.require(theirs)?;
                if !same_but_for_ones(&info.shape, &w.shape) {
                    wrong.push((w, theirs, info));
                }
            }
            match wrong[..] {
                [] => return Ok(found.names.into_iter().flatten().collect()),
                [(w, theirs, info)] => {
                    return Err(Failure::at(
                        checkpoint.file_of(theirs),
                        format!(
                            "holds tensor `{}` as {:?}, and {:?} was expected for `{}`",
                            shown(theirs),
                            info.shape,
                            w.shape,
                            w.name
                        ),
                    )
                    .help("give a checkpoint of the model that the spec declares, or declare the sizes of this one"));
                }
                _ => {}
            }
        }
        let used: Vec<&str> = found.names.iter().flatten().map(String::as_str).collect();
        let number = format!(".{}.", self.layer);
        let prefix = used.iter().find_map(|name| Some(&name[..name.find(&number)? + number.len()]));
        let inside = |name: &&str| !used.contains(name) && prefix.is_none_or(|prefix| name.starts_with(prefix));
        let left_over: Vec<&str> = checkpoint.names().filter(inside).collect();
        let filled = format!("block {} of `{}`", self.layer, self.weights);
        Err(found.failure(wanted, checkpoint, &left_over, &[], &filled).help(format!(
            "give a checkpoint of family `{}` with the sizes that the spec declares, or say its names in a table of the \
             spec's own",
            self.sizes.family
        )))
    }

    fn absent(&self, checkpoint: &Checkpoint, locals: &[&str], tried: &[String]) -> Failure {
        let (family, layer, local) = (&self.sizes.family, self.layer, locals[0]);
        if tried.is_empty() {
            return Failure::at(
                checkpoint.path(),
                format!(
                    "cannot give `{}`: no block of family `{}` has a tensor of this name",
                    shown(local),
                    shown(family)
                ),
            );
        }
        let names: Vec<String> = tried.iter().map(|name| format!("`{name}`")).collect();
        let what = match locals.len() {
            1 => format!("holds no `{local}` of block {layer} of a model of family `{family}`"),
            _ => format!("holds nothing of block {layer} of a model of family `{family}`"),
        };
        let failure =
            Failure::at(checkpoint.path(), what).note(format!("`{local}` was sought as {}", names.join(", ")));
        let number = format!("{layer}.");
        let prefixes = tried.iter().filter_map(|name| Some(name.split_once(&number)?.0));
        let held = prefixes.filter_map(|prefix| last_layer(checkpoint, prefix)).max();
        match held {
            Some(last) if last < layer => failure
                .note(format!("its blocks are 0 to {last}"))
                .help("take a block that it has, or give a checkpoint of the model that the spec declares"),
            _ => {
                let all = tried.iter().find_map(|name| nearest(name, checkpoint.names()));
                let failure = match all {
                    Some(near) => failure.note(format!("the nearest name in it is `{}`", shown(near))),
                    None => failure,
                };
                failure.help(format!(
                    "give a checkpoint of family `{family}` in Hugging Face's or Meta's layout, or say its names in a \
                     table of the spec's own"
                ))
            }
        }
    }
}

/// The highest number that follows `prefix` in a name.
fn last_layer(checkpoint: &Checkpoint, prefix: &str) -> Option<usize> {
    checkpoint.names().filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sizes, with};
    use super::*;

    fn wanted(names: &[&str]) -> Vec<Wanted> {
        names.iter().map(|name| Wanted { name: (*name).to_owned(), shape: vec![1] }).collect()
    }

    fn table(name: &str, pairs: &[(&str, &str)]) -> NameMap {
        NameMap { name: name.into(), pairs: pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect() }
    }

    const WANTED: [&str; 3] = ["attention.wq.weight", "attention_norm.weight", "ffn_norm.weight"];

    #[test]
    fn all_that_is_wrong_is_told_of_the_block_alone() {
        let (_dir, c) = with(
            &[
                "model.layers.0.input_layernorm.weight",
                "model.layers.1.self_attn.q_proj.weight",
                "model.layers.1.input_layernorms.weight",
                "model.layers.1.post_attention_layernorm.weight",
            ],
            None,
        );
        let block = Block { weights: "mine", sizes: &sizes(), layer: 1, own: &[] };
        let mut wanted = wanted(&WANTED);
        wanted[2].shape = vec![7];
        let failure = block.tensors(&c, &wanted).unwrap_err();
        assert_eq!(
            failure.what,
            "does not fill block 1 of `mine`: of 3 tensors 1 are missing and 1 have another shape"
        );
        assert_eq!(
            failure.notes,
            [
                "missing: `attention_norm.weight`, sought as `model.layers.1.input_layernorm.weight`; the nearest name is \
                 `model.layers.1.input_layernorms.weight`",
                "another shape: `ffn_norm.weight` is [7], and `model.layers.1.post_attention_layernorm.weight` in the \
                 checkpoint is [1]",
                "left over in the checkpoint: `model.layers.1.input_layernorms.weight`",
            ]
        );
    }

    #[test]
    fn tables_of_the_spec_go_before_the_library_s() {
        let places = table("my_places", &[("{i}.*", "h.{i}.*")]);
        let inside =
            table("my_block", &[("attention.wq.weight", "sa.q.weight"), ("attention_norm.weight", "n1.weight")]);
        let names = ["h.1.sa.q.weight", "h.1.n1.weight", "h.1.post_attention_layernorm.weight"];
        let (_dir, c) = with(&names, None);
        let own = [places, inside];
        let block = Block { weights: "mine", sizes: &sizes(), layer: 1, own: &own };
        // What the table does not say is the library's, in the same place.
        assert_eq!(block.tensors(&c, &wanted(&WANTED)).unwrap(), names);
        // By whole names, in one table.
        let whole = [table(
            "mine",
            &[
                ("mine.layer.{i}.attention.wq.weight", "h.{i}.sa.q.weight"),
                ("mine.layer.{i}.attention_norm.weight", "h.{i}.n1.weight"),
                ("mine.layer.{i}.ffn_norm.weight", "h.{i}.post_attention_layernorm.weight"),
            ],
        )];
        let block = Block { own: &whole, ..block };
        assert_eq!(block.tensors(&c, &wanted(&WANTED)).unwrap(), names);
        // A mistake in it is told, and the library's names do not stand in.
        let names = [
            "model.layers.1.self_attn.q_proj.weight",
            "model.layers.1.n1.weight",
            "model.layers.1.input_layernorm.weight",
        ];
        let (_dir, c) = with(&names, None);
        let typo = [table(
            "my_block",
            &[("attention_norm.weight", "n1.weight"), ("attention.wq.weight", "self_attn.q_prj.weight")],
        )];
        let block = Block { own: &typo, ..block };
        let failure = block.tensors(&c, &wanted(&WANTED[..2])).unwrap_err();
        assert!(failure.notes[0].contains("sought as `model.layers.1.self_attn.q_prj.weight`"), "{failure}");
    }
}
