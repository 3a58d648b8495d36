//! Which of a pickle's values are the model: the tensors by name, out of everything that trainers keep beside them.

use std::collections::{BTreeMap, HashSet};

use super::{Machine, RESAVE, Tensor, Value, View};
use crate::error::{Failure, Result};
use crate::weights::dtype::Dtype;
use crate::weights::file::shown;

/// How many dicts inside one another are searched for the tensors.
const DEEPEST_WRAPPER: usize = 4;
/// How many modules are inside one another at most.
const DEEPEST_MODULE: usize = 100;
/// The bytes of all names of a tree of modules together; a module that is held in many places counts in each.
const MOST_NAMES: usize = 64 << 20;
/// The keys under which trainers put the tensors; where several have some, the first here is taken. DeiT and VideoMAE
/// have `model`, Lightning `state_dict`, DeepSpeed `module`, Point-BERT `base_model` (paper.md §A). Averages come last:
/// the paper measures the model itself.
pub(super) const WRAPPERS: [&str; 18] = [
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "module",
    "base_model",
    "net",
    "network",
    "params",
    "weights",
    "student",
    "teacher",
    "model_ema",
    "ema",
    "ema_model",
    "state_dict_ema",
    "ema_state_dict",
    "params_ema",
];
/// What no model is under: its tensors are those of optimizers and random generators.
const NO_MODEL: [&str; 8] = ["optim", "lr_", "sched", "scaler", "rng", "loops", "callbacks", "hyper_parameters"];

/// What a pickle holds by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The tensors of the model.
    pub views: BTreeMap<String, View>,
    /// What a user may want to know of how they were chosen.
    pub notes: Vec<String>,
}

/// The tensors at one place of a pickle.
struct Place {
    /// The keys that lead there.
    keys: Vec<String>,
    names: Vec<(String, Value)>,
    /// Other places that would have done.
    others: Vec<Vec<String>>,
    /// Whether a rule chose it, and not one of the known keys.
    guessed: bool,
}

impl Place {
    fn under(mut self, key: &str) -> Self {
        self.keys.insert(0, key.to_string());
        self.others.iter_mut().for_each(|keys| keys.insert(0, key.to_string()));
        self
    }
}

impl<'a> Machine<'a> {
    /// The tensors by name under `root`: those under the first of [`WRAPPERS`] that has some, its own, those of a tree of
    /// modules, or those of the one dict that has some.
    pub(super) fn collect(&self, root: Value) -> Result<Found> {
        let Some(place) = self.place(root, DEEPEST_WRAPPER, &mut HashSet::new())? else {
            return Err(self.nothing(root));
        };
        let mut views = BTreeMap::new();
        for (name, value) in place.names {
            let view = match value {
                Value::Tensor(tensor) => self.view(&name, &self.tensors[tensor])?,
                Value::Foreign(kind) => {
                    return Err(Failure::at(
                        self.path,
                        format!(
                            "holds tensor `{}` as a kind (`{}`) that lmvc cannot read",
                            shown(&name),
                            shown(self.texts[kind])
                        ),
                    )
                    .help(RESAVE));
                }
                _ => continue,
            };
            if views.insert(name.clone(), view).is_some() {
                return Err(Failure::at(self.path, format!("is damaged: it names tensor `{}` twice", shown(&name)))
                    .help("download or copy the file again"));
            }
        }
        let path = |keys: &[String]| format!("`{}`", shown(&keys.join(".")));
        let mut notes = Vec::new();
        if !place.others.is_empty() {
            let others: Vec<String> = place.others.iter().map(|keys| path(keys)).collect();
            notes.push(format!(
                "the tensors under {} are taken; there are some under {} as well",
                path(&place.keys),
                others.join(", ")
            ));
        } else if place.guessed {
            notes.push(format!("the tensors under {} are taken, which are the only ones", path(&place.keys)));
        }
        Ok(Found { views, notes })
    }

    fn nothing(&self, root: Value) -> Failure {
        let mut keys: Vec<String> = match root {
            Value::Dict(dict) | Value::Object(dict) => self.dicts[dict]
                .iter()
                .filter_map(|(key, _)| Some(format!("`{}`", shown(self.text_of(key)?))))
                .take(12)
                .collect(),
            _ => Vec::new(),
        };
        keys.dedup();
        let there = if keys.is_empty() { "nothing by name".into() } else { keys.join(", ") };
        Failure::at(self.path, format!("holds no tensors by name: {there} is at its top level"))
            .note(format!("tensors are looked for there, and under {}", WRAPPERS.map(|w| format!("`{w}`")).join(", ")))
            .help(RESAVE)
    }

    fn text_of(&self, value: &Value) -> Option<&'a str> {
        match value {
            Value::Text(text) => Some(self.texts[*text]),
            _ => None,
        }
    }

    fn place(&self, root: Value, depth: usize, seen: &mut HashSet<usize>) -> Result<Option<Place>> {
        let (Value::Dict(dict) | Value::Object(dict)) = root else { return Ok(None) };
        // Each dict once, however often others hold it.
        if !seen.insert(dict) {
            return Ok(None);
        }
        let entries = &self.dicts[dict];
        if depth > 0 {
            let mut places: Vec<Place> = Vec::new();
            for wrapper in WRAPPERS {
                // The last of a key counts, as in Python.
                let inner = entries.iter().rev().find(|(key, _)| self.text_of(key) == Some(wrapper));
                let Some((_, inner)) = inner else { continue };
                match self.place(*inner, depth - 1, seen) {
                    Ok(place) => places.extend(place.map(|place| place.under(wrapper))),
                    // What is wrong in a place that is not taken is no matter.
                    Err(failure) if places.is_empty() => return Err(failure),
                    Err(_) => {}
                }
            }
            if !places.is_empty() {
                let mut first = places.remove(0);
                first.others.extend(places.into_iter().map(|place| place.keys));
                return Ok(Some(first));
            }
        }
        let own = |names| Place { keys: Vec::new(), names, others: Vec::new(), guessed: false };
        let names: Vec<(String, Value)> = entries
            .iter()
            .filter(|(_, value)| matches!(value, Value::Tensor(_) | Value::Foreign(_)))
            .filter_map(|(key, value)| Some((self.text_of(key)?.to_string(), *value)))
            .collect();
        if !names.is_empty() {
            return Ok(Some(own(names)));
        }
        let names = self.modules(root)?;
        if !names.is_empty() {
            return Ok(Some(own(names)));
        }
        if depth == 0 {
            return Ok(None);
        }
        let mut places: Vec<Place> = Vec::new();
        for (key, inner) in entries {
            let Some(key) = self.text_of(key) else { continue };
            if NO_MODEL.iter().any(|beginning| key.starts_with(beginning)) {
                continue;
            }
            places.extend(self.place(*inner, depth - 1, seen)?.map(|place| place.under(key)));
        }
        if places.len() > 1 {
            let keys: Vec<String> =
                places.iter().take(12).map(|place| format!("`{}`", shown(&place.keys.join(".")))).collect();
            return Err(Failure::at(
                self.path,
                format!("holds tensors in {} places, and none of them is known to be the model", places.len()),
            )
            .note(format!("they are under {}", keys.join(", ")))
            .help(
                "save the one that is meant by itself, in Python and only if you trust where the file is from: \
                 `import torch; torch.save(torch.load(FILE, map_location=\"cpu\")[KEY], \"model.pth\")`",
            ));
        }
        Ok(places.pop().map(|place| Place { guessed: true, ..place }))
    }

    /// The tensors of a tree of modules by their dotted names, as its `state_dict` would have them: one of TorchScript,
    /// whose tensors and modules are attributes, or one of PyTorch saved whole, which has tables of them.
    fn modules(&self, root: Value) -> Result<Vec<(String, Value)>> {
        let mut names = Vec::new();
        let mut left = MOST_NAMES;
        self.module(root, "", DEEPEST_MODULE, &mut left, &mut names)?;
        Ok(names)
    }

    fn module(
        &self,
        value: Value,
        prefix: &str,
        depth: usize,
        left: &mut usize,
        names: &mut Vec<(String, Value)>,
    ) -> Result<()> {
        let Value::Object(object) = value else { return Ok(()) };
        let Some(Value::Dict(state)) = self.states.get(&object) else { return Ok(()) };
        let too_large = || self.beyond(&format!("{MOST_NAMES} bytes of names, or {DEEPEST_MODULE} nested modules"));
        if depth == 0 {
            return Err(too_large());
        }
        let state = &self.dicts[*state];
        let table = |name: &str| {
            let table = state.iter().rev().find(|(key, _)| self.text_of(key) == Some(name));
            match table {
                Some((_, Value::Dict(table) | Value::Object(table))) => Some(&self.dicts[*table][..]),
                _ => None,
            }
        };
        let tables = ["_parameters", "_buffers", "_modules"].map(table);
        let tables: Vec<&[(Value, Value)]> = match tables {
            [None, None, None] => vec![state],
            tables => tables.into_iter().flatten().collect(),
        };
        for (key, value) in tables.into_iter().flatten() {
            let (Some(key), Value::Tensor(_) | Value::Foreign(_) | Value::Object(_)) = (self.text_of(key), value)
            else {
                continue;
            };
            *left = left.checked_sub(prefix.len() + key.len() + 1).ok_or_else(too_large)?;
            match value {
                Value::Object(_) => self.module(*value, &format!("{prefix}{key}."), depth - 1, left, names)?,
                _ => names.push((format!("{prefix}{key}"), *value)),
            }
        }
        Ok(())
    }

    fn view(&self, name: &str, tensor: &Tensor<'a>) -> Result<View> {
        let Tensor { storage, dtype, offset, shape, stride } = tensor.clone();
        let mut view = View { dtype, key: storage.key.to_string(), offset, shape, stride };
        let bits = |numbers: usize, dtype: Dtype| numbers.checked_mul(dtype.bits());
        let end = view.reach().and_then(|reach| bits(reach.checked_add(offset)?, dtype));
        let there = bits(storage.numbers, storage.dtype);
        // An empty tensor may begin anywhere.
        let empty = view.reach() == Some(0);
        if !empty && !matches!((end, there), (Some(end), Some(there)) if end <= there) {
            return Err(Failure::at(
                self.path,
                format!(
                    "is damaged: its tensor `{}` {:?} reaches beyond its storage of {} numbers",
                    shown(name),
                    view.shape,
                    storage.numbers
                ),
            )
            .help("download or copy the file again"));
        }
        if storage.offset > 0 && dtype != storage.dtype {
            return Err(self.malformed("a part of a storage as numbers of another type"));
        }
        view.offset = view.offset.saturating_add(storage.offset);
        Ok(view)
    }
}
