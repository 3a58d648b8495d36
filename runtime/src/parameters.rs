//! The values of a model's parameters: where each comes from, and getting it there.

mod make;
mod settings;
pub mod used;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::ops::FloatTensor;
use lmv_compiler::config::Config;
use lmv_compiler::graph::{Filling, Graph, LlmSizes, Parameter};
use lmv_compiler::library::{self, NameTable};
use lmv_compiler::plan::Plan;

pub use self::make::{make, may_be_halves};
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::init;
use crate::kernels::Kernels;
use crate::places::Places;
use crate::training::checkpoint_store::{CheckpointStore, Loaded, Slot, read_checkpoint};
use crate::training::lock::Lock;
use crate::training::seeds::Seeds;
use crate::training::tensor_file::Tensor;
use crate::weights::{self, Checkpoint, Grid, MappedFile, NameMap, Numbers, Wanted};

/// What a plan reads, on a device.
pub struct Parameters<B: Kernels> {
    /// The tensors of the plan, in its order.
    pub tensors: Vec<FloatTensor<B>>,
    /// For each weights name that filled something: a hash over what was read.
    pub hashes: BTreeMap<String, String>,
    /// The files that some of the tensors lie in.
    pub mapped: Vec<Arc<MappedFile>>,
}

/// What training gave, to fill a model with.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// A run's folder (its best checkpoint), a checkpoint's folder, or a file.
    pub path: &'a Path,
    /// Whether the averaged weights are meant, which a run's checkpoint has beside the trained ones where the recipe has `ema`.
    pub average: bool,
}

impl<'a> From<&'a Path> for Trained<'a> {
    fn from(path: &'a Path) -> Self {
        Self { path, average: false }
    }
}

/// Starts every parameter of a plan, fills those that weights fill, and makes the plan's tensors of them. With `checkpoint`, what it holds comes first.
///
/// # Errors
/// Weights that are not found, do not fit, or are damaged.
pub fn load<B: Kernels>(
    plan: &Plan,
    seeds: &Seeds,
    places: &Places,
    checkpoint: Option<Trained<'_>>,
    device: &B::Device,
    observer: &mut dyn Observer,
) -> Result<Parameters<B>> {
    let mut found = match checkpoint {
        Some(trained) => from_checkpoint(plan, trained, observer)?,
        None => BTreeMap::new(),
    };
    // A file of weights that was given as a checkpoint; all that is from it shares it.
    let file = found.values().find_map(|origin| match origin {
        Origin::File(file, _) => Some(file.clone()),
        _ => None,
    });
    let mut sources = Sources { places, open: BTreeMap::new(), hashers: BTreeMap::new(), notes: Vec::new() };
    let named = sources.named(plan, &found)?;
    found.extend(named);
    let blocks = sources.blocks(plan, &found)?;
    found.extend(blocks);
    let frozen_halves = if B::takes_halves(device) { may_be_halves(plan) } else { HashSet::new() };
    let tensors = make::<B, Numbers>(plan, device, |parameter| {
        if parameter.shape.numbers().is_none() {
            // The start of such a parameter says what is missing.
            return Err(init::initial(parameter, seeds).err().unwrap_or_else(|| Failure::new("an unknown size")));
        }
        let halves = frozen_halves.contains(parameter.path.as_str());
        Ok(match (found.remove(&parameter.path), &parameter.filled_by) {
            (Some(Origin::Here(values)), _) => values.into(),
            (Some(Origin::File(checkpoint, name)), _) => checkpoint.read_numbers(&name, halves)?.0,
            (Some(Origin::Weights(weights, name, grid)), _) => {
                let numbers = sources.tensor(&weights, &name, halves)?;
                match grid {
                    Some(grid) => grid.resize(&numbers.into_f32()).into(),
                    None => numbers,
                }
            }
            (Some(Origin::Block(theirs)), Some(Filling::Block { weights, layer, local, llm })) => {
                // Both of q and k, or neither.
                let base = parameter.path.strip_suffix(local.as_str()).unwrap_or_default();
                let frozen =
                    weights::TURNED.iter().all(|turned| frozen_halves.contains(format!("{base}{turned}").as_str()));
                let turned = sizes(llm).theta.is_some();
                let read = weights::Read { halves, as_stored: frozen && !turned };
                sources.block(weights, *layer, local, llm, &theirs, read)?
            }
            (None | Some(Origin::Block(_)), _) => init::initial(parameter, seeds)?.0.into(),
        })
    })?;
    sources.notes.drain(..).for_each(|note| observer.event(Event::Note(note)));
    let hashes: BTreeMap<String, String> = std::mem::take(&mut sources.hashers)
        .into_iter()
        .map(|(name, hasher)| (name, hasher.finalize().to_hex().to_string()))
        .collect();
    if let Some(run) = checkpoint.and_then(|trained| Lock::read(trained.path).ok()) {
        for name in otherwise(plan, &run, &hashes) {
            observer.event(Event::Warning(format!("the weights `{name}` are not those that the run was trained with")));
        }
    }
    let mapped = sources.open.values().chain(file.as_deref()).flat_map(Checkpoint::mapped).collect();
    Ok(Parameters { tensors, hashes, mapped })
}

/// The weights that a run was trained with and that are others now. Only those of which nothing was trained can be held
/// against its lock: of the others the run's checkpoint brings a part.
fn otherwise<'h>(plan: &Plan, run: &Lock, hashes: &'h BTreeMap<String, String>) -> Vec<&'h str> {
    let all_frozen = |name: &str| {
        let mut of_it = plan
            .parameters
            .iter()
            .filter(|parameter| parameter.filled_by.as_ref().is_some_and(|by| by.weights() == name));
        of_it.all(|parameter| parameter.frozen)
    };
    let differs = |(name, hash): &(&String, &String)| run.weights.get(*name).is_some_and(|then| then != *hash);
    hashes.iter().filter(differs).map(|(name, _)| name.as_str()).filter(|name| all_frozen(name)).collect()
}

/// Where a parameter's values are until they are wanted: a model's are never all in memory beside its tensors.
enum Origin {
    /// In memory.
    Here(Vec<f32>),
    /// A tensor of a checkpoint.
    File(Rc<Checkpoint>, String),
    /// A tensor of the weights of that name, to be interpolated where it is of another grid.
    Weights(String, String, Option<Grid>),
    /// A tensor of a block, by the name that it has in the checkpoint.
    Block(String),
}

/// Checkpoints by the names of the spec, each opened once.
struct Sources<'a> {
    places: &'a Places,
    open: BTreeMap<String, Checkpoint>,
    hashers: BTreeMap<String, blake3::Hasher>,
    /// What is to be told of the checkpoints.
    notes: Vec<String>,
}

impl Sources<'_> {
    fn open(&mut self, name: &str) -> Result<&Checkpoint> {
        if !self.open.contains_key(name) {
            let checkpoint = self.places.open_weights(name)?;
            let path = checkpoint.path().display();
            self.notes.extend(checkpoint.notes().map(|note| format!("{path}: {note}")));
            self.open.insert(name.to_owned(), checkpoint);
        }
        Ok(&self.open[name])
    }

    /// Takes the hash of a tensor that was read into that of its weights.
    fn hash(&mut self, name: &str, tensor: &str, hash: blake3::Hash) {
        let hasher = self.hashers.entry(name.to_owned()).or_default();
        hasher.update(tensor.as_bytes()).update(&[0]).update(hash.as_bytes());
    }

    /// One tensor, by the name that it has in its checkpoint.
    fn tensor(&mut self, name: &str, theirs: &str, halves: bool) -> Result<Numbers> {
        let (values, hash) = self.open(name)?.read_numbers(theirs, halves)?;
        self.hash(name, theirs, hash);
        Ok(values)
    }

    /// One tensor of a block of a language model.
    fn block(
        &mut self,
        name: &str,
        layer: usize,
        local: &str,
        llm: &LlmSizes,
        theirs: &str,
        read: weights::Read,
    ) -> Result<Numbers> {
        let checkpoint = self.open(name)?;
        let (values, hash) = weights::read_found(checkpoint, &sizes(llm), local, theirs, read)?;
        self.hash(name, &format!("layer.{layer}.{local}"), hash);
        Ok(values)
    }

    /// Everything that blocks of language models fill.
    fn blocks(&mut self, plan: &Plan, found: &BTreeMap<String, Origin>) -> Result<BTreeMap<String, Origin>> {
        let open = plan.parameters.iter().filter(|parameter| !found.contains_key(&parameter.path));
        let mut filled = BTreeMap::new();
        for group in used::groups(open) {
            let own = own_maps(&plan.names);
            let checkpoint = self.open(group.weights)?;
            weights::check_config(checkpoint, group.weights, &sizes(group.llm))?;
            let names = used::block_tensors(checkpoint, &group, &own)?;
            let parameters = group.parameters.iter().map(|(parameter, _)| parameter.path.clone());
            filled.extend(parameters.zip(names.into_iter().map(Origin::Block)));
        }
        Ok(filled)
    }

    /// Everything that a `pretrained("name", …)` fills.
    fn named(&mut self, plan: &Plan, found: &BTreeMap<String, Origin>) -> Result<BTreeMap<String, Origin>> {
        let mut groups: BTreeMap<&str, Vec<(&Parameter, &str)>> = BTreeMap::new();
        for parameter in &plan.parameters {
            if let (Some(Filling::Named { weights, local }), false) =
                (&parameter.filled_by, found.contains_key(&parameter.path))
            {
                groups.entry(weights).or_default().push((parameter, local));
            }
        }
        let mut filled = BTreeMap::new();
        for (name, group) in groups {
            let wanted: Vec<Wanted> = group
                .iter()
                .filter_map(|(parameter, local)| {
                    Some(Wanted { name: (*local).to_owned(), shape: parameter.shape.numbers()? })
                })
                .collect();
            let checkpoint = self.open(name)?;
            let report = used::named_tensors(checkpoint, &wanted, &plan.names)?;
            let nodes = plan.nodes.iter().map(|node| (&*node.layer, &*node.path, &node.arguments));
            let said = settings::Settings::of(nodes, &plan.parameters, name);
            said.check(checkpoint, name)?;
            let path = checkpoint.path().display().to_string();
            let taken: BTreeSet<&str> = report.names.iter().map(|(_, theirs)| theirs.as_str()).collect();
            let left = weights::blocks_left(checkpoint, &taken);
            let by = format!("{} tensors for `{name}`, by {}", report.names.len(), report.map);
            let notes = std::iter::once(by).chain(report.notes).chain(left);
            self.notes.extend(notes.map(|note| format!("{path}: {note}")));
            for ((parameter, local), (_, theirs)) in group.iter().zip(report.names) {
                let grid = report.grids.get(*local).copied();
                if let Some(Grid { from, to, .. }) = grid {
                    let what = format!("the positions `{theirs}` are of {from} x {from} patches");
                    self.notes.push(format!("{path}: {what}, and were interpolated to {to} x {to}"));
                }
                filled.insert(parameter.path.clone(), Origin::Weights(name.to_owned(), theirs, grid));
            }
        }
        Ok(filled)
    }
}

/// The language model's sizes as the reader of its checkpoint wants them.
fn sizes(llm: &LlmSizes) -> weights::LlmSizes {
    let size = |name: &str| llm.sizes.get(name).and_then(Config::int).and_then(|n| usize::try_from(n).ok());
    let heads = size("heads").unwrap_or(0);
    weights::LlmSizes {
        family: llm.family.clone(),
        dim: size("dim").unwrap_or(0),
        heads,
        kv_heads: size("kv_heads").unwrap_or(heads),
        ffn: size("ffn").unwrap_or(0),
        layers: size("layers").unwrap_or(0),
        // OPT's layer norms have PyTorch's default eps, which its configs do not name (paper.md §2.3).
        eps: llm.sizes.get("eps").and_then(Config::float).unwrap_or(1e-5),
        norm_first: llm.sizes.get("norm_first") != Some(&Config::Bool(false)),
        theta: (llm.sizes.get("rope") == Some(&Config::Bool(true)))
            .then(|| llm.sizes.get("theta").and_then(Config::float))
            .flatten(),
        scaling: llm.sizes.get("scaling").map(numbers).unwrap_or_default(),
        left_open: llm.defaults.clone(),
    }
}

/// What the configurations beside a model's weights say, and the spec leaves to them: settings and their values, as they are
/// set from outside, `("vicuna.eps", "1e-5")`. Weights that are not found say nothing here: who loads them tells of it.
pub fn settings_left_open(graph: &Graph, places: &Places) -> Vec<(String, String)> {
    let mut said = BTreeMap::new();
    for group in used::groups(graph.parameters.iter()) {
        let sizes = sizes(group.llm);
        let open = |setting: &str| sizes.left_open.contains(setting);
        if !(open("eps") || sizes.theta.is_some() && (open("theta") || open("scaling"))) {
            continue;
        }
        if let Ok(checkpoint) = places.open_weights(group.weights) {
            let of_it = weights::settings_left_open(&checkpoint, &sizes);
            said.extend(of_it.into_iter().map(|(setting, value)| (format!("{}.{setting}", group.weights), value)));
        }
    }
    said.into_iter().collect()
}

/// The numbers in a list.
fn numbers(value: &Config) -> Vec<f64> {
    match value {
        Config::List(items) => items.iter().filter_map(Config::float).collect(),
        _ => Vec::new(),
    }
}

/// The spec's own tables of checkpoint names.
fn own_maps(names: &[NameTable]) -> Vec<NameMap> {
    names.iter().cloned().map(|(name, pairs)| NameMap { name, pairs }).collect()
}

/// The library's tables of checkpoint names, without those of blocks of language models.
fn library_maps() -> Vec<NameMap> {
    let tables = library::name_tables().into_iter().filter(|(name, _)| !weights::is_of_blocks(name));
    tables.map(|(name, pairs)| NameMap { name, pairs }).collect()
}

/// What a checkpoint holds of the model's parameters, by their paths.
fn from_checkpoint(plan: &Plan, trained: Trained<'_>, observer: &mut dyn Observer) -> Result<BTreeMap<String, Origin>> {
    let Trained { path, average } = trained;
    if path.join("checkpoints").is_dir() {
        let store = CheckpointStore::new(path.join("checkpoints"));
        let slot = if store.exists(Slot::Best) { Slot::Best } else { Slot::Last };
        let loaded = store.load(slot)?;
        if slot == Slot::Best {
            let epoch = loaded.state.epoch;
            observer.event(Event::Note(format!("{}: the best checkpoint, after epoch {epoch}", path.display())));
        }
        return fit(plan, &store.path(slot), of_run(loaded, average)?);
    }
    if path.join("state.json").is_file() {
        return fit(plan, path, of_run(read_checkpoint(path)?, average)?);
    }
    if average {
        return Err(Failure::at(path, "is a file of weights, and an average is kept in the checkpoints of a run")
            .help("give the folder of a run, or the file that holds the average, without `--ema`"));
    }
    let checkpoint = Checkpoint::open(path)?;
    let wanted = |parameters: &mut dyn Iterator<Item = &Parameter>| -> Vec<Wanted> {
        parameters
            .filter_map(|parameter| Some(Wanted { name: parameter.path.clone(), shape: parameter.shape.numbers()? }))
            .collect()
    };
    // A checkpoint with the frozen block in it fills that too; one without leaves it to the block's own weights.
    let (mine, librarys) = (own_maps(&plan.names), library_maps());
    let of_parts: Vec<NameMap> = mine.iter().filter(|map| !weights::is_of_blocks(&map.name)).cloned().collect();
    let fill = |wanted: &[Wanted]| weights::fill_report_with(wanted, &checkpoint, &of_parts, &librarys);
    let all = fill(&wanted(&mut plan.parameters.iter()));
    let report = match all {
        Ok(report) => report,
        Err(failure) => {
            let own = |parameter: &&Parameter| !matches!(parameter.filled_by, Some(Filling::Block { .. }));
            // What a file holds of a block must fit; a block that it does not hold at all is none of its business.
            let maps = [vec![NameMap::identity()], of_parts.clone(), librarys.clone()].concat();
            let holds = |parameter: &Parameter| {
                maps.iter().filter_map(|map| map.theirs(&parameter.path)).any(|name| checkpoint.contains(&name))
            };
            if plan.parameters.iter().filter(|parameter| !own(parameter)).any(holds) {
                return Err(failure);
            }
            fill(&wanted(&mut plan.parameters.iter().filter(own)))?
        }
    };
    let taken: BTreeSet<&str> = report.names.iter().map(|(_, theirs)| theirs.as_str()).collect();
    weights::check_taken(&checkpoint, &taken)?;
    let left = weights::blocks_left(&checkpoint, &taken);
    let notes = report.notes.iter().cloned().chain(left);
    notes.for_each(|note| observer.event(Event::Note(format!("{}: {note}", path.display()))));
    observer.event(Event::Note(format!("{} tensors from {}, by {}", report.names.len(), path.display(), report.map)));
    checkpoint.notes().for_each(|note| observer.event(Event::Note(format!("{}: {note}", path.display()))));
    let checkpoint = Rc::new(checkpoint);
    Ok(report.names.into_iter().map(|(ours, theirs)| (ours, Origin::File(checkpoint.clone(), theirs))).collect())
}

/// The tensors of a run's own checkpoint: the trained ones, or the average of those with the buffers, of which none is taken.
fn of_run(checkpoint: Loaded, average: bool) -> Result<Vec<Tensor<'static>>> {
    if !average {
        return Ok(checkpoint.model);
    }
    let Some(mut averaged) = checkpoint.ema else {
        return Err(Failure::at(&checkpoint.folder, "keeps no average of the weights")
            .help("train with `ema` in the recipe, for example `--set train.ema=0.999`"));
    };
    let names: BTreeSet<_> = averaged.iter().map(|tensor| tensor.name.clone()).collect();
    averaged.extend(checkpoint.model.into_iter().filter(|tensor| !names.contains(&tensor.name)));
    Ok(averaged)
}

/// The tensors of a run's own checkpoint, held against the model.
fn fit(plan: &Plan, place: &Path, model: Vec<Tensor<'static>>) -> Result<BTreeMap<String, Origin>> {
    let mut values: BTreeMap<String, Origin> = BTreeMap::new();
    for tensor in model {
        let Some(parameter) = plan.parameters.iter().find(|parameter| parameter.path == tensor.name) else {
            return Err(Failure::at(place, format!("holds `{}`, which this spec does not have", tensor.name))
                .help("give the spec that the run was made with: it is in the run's folder"));
        };
        if parameter.shape.numbers().as_deref() != Some(&tensor.shape[..]) {
            return Err(Failure::at(
                place,
                format!("`{}` is {:?} there, and {} in this spec", tensor.name, tensor.shape, parameter.shape),
            ));
        }
        values.insert(tensor.name.into_owned(), Origin::Here(tensor.values.into_owned()));
    }
    for parameter in plan.parameters.iter().filter(|parameter| !parameter.frozen) {
        if !values.contains_key(&parameter.path) {
            return Err(Failure::at(place, format!("does not hold `{}`, which this spec trains", parameter.path))
                .help("give the spec that the run was made with: it is in the run's folder"));
        }
    }
    Ok(values)
}
