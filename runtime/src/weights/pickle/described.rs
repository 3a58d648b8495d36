//! What a pickle describes: the tensors that its calls of torch's own names stand for, and which of them have names.

use std::collections::{BTreeMap, HashSet};

use super::globals::{GLOBALS, Global};
use super::{
    DEEPEST_WRAPPER, LONGEST_KEY, MOST_AXES, MOST_STEPS, Machine, RESAVE, Storage, Tensor, Value, View, WRAPPERS,
};
use crate::error::{Failure, Result};
use crate::weights::dtype::{Dtype, elements};
use crate::weights::file::shown;

impl<'a> Machine<'a> {
    pub(super) fn global(&self, module: &str, name: &str) -> Result<Global> {
        match GLOBALS.iter().find(|(m, n, _)| *m == module && *n == name) {
            Some((.., global)) => Ok(*global),
            None if module.starts_with("torch") && (name.starts_with("_rebuild") || name.ends_with("Storage")) => {
                Err(Failure::at(
                    self.path,
                    format!("holds a kind of tensor (`{}.{}`) that lmvc cannot read", shown(module), shown(name)),
                )
                .help(RESAVE))
            }
            None => Err(self.code(module, name)),
        }
    }

    /// A description of the value that Python would have made by calling `callee`.
    pub(super) fn describe(&mut self, callee: Value, arguments: Value) -> Result<Value> {
        let Value::Global(global) = callee else {
            return Err(self.malformed("a call of what cannot be called"));
        };
        let Value::Tuple(arguments) = arguments else {
            return Err(self.malformed("a call without a tuple of arguments"));
        };
        match global {
            Global::Opaque => Ok(Value::Opaque),
            Global::OrderedDict => {
                let items = match *self.tuples[arguments] {
                    [] => Vec::new(),
                    // As Python 2 wrote it: a list of pairs.
                    [Value::List(list)] => {
                        self.copied += self.lists[list].len();
                        if self.copied > MOST_STEPS {
                            return Err(self.beyond(&format!("{MOST_STEPS} items of dicts")));
                        }
                        let pair = |item: &Value| match item {
                            Value::List(pair) => <[Value; 2]>::try_from(self.lists[*pair].as_slice()).ok(),
                            Value::Tuple(pair) => <[Value; 2]>::try_from(&*self.tuples[*pair]).ok(),
                            _ => None,
                        };
                        let pairs: Option<Vec<_>> =
                            self.lists[list].iter().map(|i| pair(i).map(|[k, v]| (k, v))).collect();
                        pairs.ok_or_else(|| self.malformed("a dict of what are no pairs"))?
                    }
                    _ => return Err(self.malformed("a dict of what are no pairs")),
                };
                self.dicts.push(items);
                Ok(Value::Dict(self.dicts.len() - 1))
            }
            Global::Size => match *self.tuples[arguments] {
                [size @ Value::Tuple(_)] => Ok(size),
                _ => Err(self.malformed("a size that is no tuple")),
            },
            Global::Parameter => match self.tuples[arguments].first() {
                Some(tensor @ Value::Tensor(_)) => Ok(*tensor),
                _ => Err(self.malformed("a parameter that is no tensor")),
            },
            Global::Tensor { typed } => {
                let tensor = self.tensor(arguments, typed)?;
                self.tensors.push(tensor);
                Ok(Value::Tensor(self.tensors.len() - 1))
            }
            Global::Storage(_) | Global::Dtype(_) => Err(self.malformed("a call of what cannot be called")),
        }
    }

    /// `("storage", class, key, device, length)`, as `torch.save` names a storage.
    pub(super) fn storage(&self, id: Value) -> Result<Storage<'a>> {
        let not_one = || self.malformed("what should name a storage does not");
        let Value::Tuple(id) = id else { return Err(not_one()) };
        let [Value::Text(word), Value::Global(Global::Storage(dtype)), Value::Text(key), _, Value::Int(numbers)] =
            *self.tuples[id]
        else {
            return Err(not_one());
        };
        let key = self.texts[key];
        let numbers = usize::try_from(numbers).map_err(|_| not_one())?;
        if self.texts[word] != "storage" || key.len() > LONGEST_KEY {
            return Err(not_one());
        }
        Ok(Storage { dtype, key, numbers })
    }

    pub(super) fn sizes(&self, value: Value) -> Result<Vec<usize>> {
        let Value::Tuple(sizes) = value else { return Err(self.malformed("a shape that is no tuple")) };
        let sizes = &self.tuples[sizes];
        if sizes.len() > MOST_AXES {
            return Err(self.beyond(&format!("{MOST_AXES} axes of a tensor")));
        }
        let size = |value: &Value| match value {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        let sizes: Option<Vec<usize>> = sizes.iter().map(size).collect();
        sizes.ok_or_else(|| self.malformed("a shape of what are no sizes"))
    }

    pub(super) fn tensor(&self, arguments: usize, typed: bool) -> Result<Tensor<'a>> {
        let arguments = &self.tuples[arguments];
        let [Value::Storage(storage), Value::Int(offset), shape, stride, ..] = **arguments else {
            return Err(self.malformed("a tensor without storage, offset, shape and stride"));
        };
        let storage = self.storages[storage];
        let (shape, stride) = (self.sizes(shape)?, self.sizes(stride)?);
        let dtype = match (typed, arguments.get(6)) {
            (false, _) => storage.dtype,
            (true, Some(Value::Global(Global::Dtype(dtype)))) => *dtype,
            (true, _) => return Err(self.malformed("a tensor whose type is not known")),
        };
        let offset = usize::try_from(offset).map_err(|_| self.malformed("a tensor that begins before its storage"))?;
        if shape.len() != stride.len() || elements(&shape).is_none() {
            return Err(self.malformed("a shape that no tensor can have"));
        }
        Ok(Tensor { storage, dtype, offset, shape, stride })
    }

    /// The tensors by name under `root`: those under the first of [`WRAPPERS`] that has some, or its own.
    pub(super) fn collect(&self, root: Value) -> Result<BTreeMap<String, View>> {
        if let Some(found) = self.named(root, DEEPEST_WRAPPER, &mut HashSet::new()) {
            return found.into_iter().map(|(name, tensor)| Ok((name.to_string(), self.view(name, tensor)?))).collect();
        }
        let mut keys: Vec<String> = match root {
            Value::Dict(dict) => self.dicts[dict]
                .iter()
                .filter_map(|(key, _)| match key {
                    Value::Text(key) => Some(format!("`{}`", shown(self.texts[*key]))),
                    _ => None,
                })
                .take(12)
                .collect(),
            _ => Vec::new(),
        };
        keys.dedup();
        let there = if keys.is_empty() { "nothing by name".into() } else { keys.join(", ") };
        Err(Failure::at(self.path, format!("holds no tensors by name: {there} is at its top level"))
            .note(format!("tensors are looked for there, and under {}", WRAPPERS.map(|w| format!("`{w}`")).join(", ")))
            .help(RESAVE))
    }

    pub(super) fn named(
        &self,
        root: Value,
        depth: usize,
        seen: &mut HashSet<usize>,
    ) -> Option<BTreeMap<&'a str, &Tensor<'a>>> {
        let Value::Dict(dict) = root else { return None };
        // Each dict once, however often others hold it.
        if !seen.insert(dict) {
            return None;
        }
        let entries = &self.dicts[dict];
        let text = |value: &Value| match value {
            Value::Text(text) => Some(self.texts[*text]),
            _ => None,
        };
        if depth > 0 {
            for wrapper in WRAPPERS {
                // The last of a key counts, as in Python.
                let inner = entries.iter().rev().find(|(key, _)| text(key) == Some(wrapper)).map(|(_, value)| *value);
                if let Some(found) = inner.and_then(|inner| self.named(inner, depth - 1, seen)) {
                    return Some(found);
                }
            }
        }
        let mut found = BTreeMap::new();
        for (key, value) in entries {
            if let (Some(key), Value::Tensor(tensor)) = (text(key), value) {
                found.insert(key, &self.tensors[*tensor]);
            }
        }
        (!found.is_empty()).then_some(found)
    }

    pub(super) fn view(&self, name: &str, tensor: &Tensor<'a>) -> Result<View> {
        let Tensor { storage, dtype, offset, shape, stride } = tensor.clone();
        let view = View { dtype, key: storage.key.to_string(), offset, shape, stride };
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
        Ok(view)
    }
}
