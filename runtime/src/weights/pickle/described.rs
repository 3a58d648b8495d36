//! What a pickle describes: the tensors that its calls of torch's own names stand for.

use super::globals::{GLOBALS, Global, NUMPY, attacks};
use super::{Kind, LONGEST_KEY, MOST_AXES, MOST_STEPS, Machine, RESAVE, Storage, Tensor, Value};
use crate::error::{Failure, Result};
use crate::weights::dtype::elements;
use crate::weights::file::shown;

impl<'a> Machine<'a> {
    pub(super) fn global(&mut self, module: &'a str, name: &'a str) -> Result<Global> {
        // numpy's numbers beside tensors are a trainer's business, and torch's names are none of an array's.
        let known = match self.kind {
            Kind::Checkpoint => GLOBALS,
            Kind::Arrays => NUMPY,
        };
        if let Some((.., global)) = known.iter().find(|(m, n, _)| *m == module && *n == name) {
            return Ok(*global);
        }
        if self.kind == Kind::Arrays {
            return Err(self.code(module, name));
        }
        if attacks(module, name) {
            return Err(self.code(module, name));
        }
        if module.starts_with("torch") && name.ends_with("Storage") {
            return Err(Failure::at(
                self.path,
                format!("holds numbers of a kind (`{}.{}`) that lmvc cannot read", shown(module), shown(name)),
            )
            .help(RESAVE));
        }
        if module.starts_with("torch") && name.starts_with("_rebuild") {
            self.texts.push(name);
            return Ok(Global::Foreign(self.texts.len() - 1));
        }
        Ok(Global::Unknown)
    }

    /// A description of the value that Python would have made by calling `callee`.
    pub(super) fn describe(&mut self, callee: Value, arguments: Value) -> Result<Value> {
        let global = match callee {
            Value::Global(global) => global,
            Value::Object(_) | Value::Opaque => Global::Unknown,
            _ => return Err(self.malformed("a call of what cannot be called")),
        };
        let Value::Tuple(arguments) = arguments else {
            return Err(self.malformed("a call without a tuple of arguments"));
        };
        match global {
            Global::Unknown => Ok(self.push_object()),
            Global::Foreign(name) => Ok(Value::Foreign(name)),
            Global::Subclass => match *self.tuples[arguments] {
                [callee @ Value::Global(inner), _, arguments @ Value::Tuple(_), ..] if inner != Global::Subclass => {
                    self.describe(callee, arguments)
                }
                _ => Err(self.malformed("a tensor's own kind without its making")),
            },
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
                Some(tensor @ (Value::Tensor(_) | Value::Foreign(_))) => Ok(*tensor),
                // A class of tensors that nobody here knows.
                Some(Value::Object(_) | Value::Opaque) => Ok(Value::Opaque),
                _ => Err(self.malformed("a parameter that is no tensor")),
            },
            Global::Tensor { typed } => {
                let tensor = self.tensor(arguments, typed)?;
                self.tensors.push(tensor);
                Ok(Value::Tensor(self.tensors.len() - 1))
            }
            Global::Array => self.begun(arguments),
            Global::ArrayOfBytes => self.of_bytes(arguments),
            Global::Numbers => self.numbers_of(arguments),
            Global::BytesOfText => self.bytes_of_text(arguments),
            Global::ArrayClass | Global::Storage(_) | Global::Dtype(_) => {
                Err(self.malformed("a call of what cannot be called"))
            }
        }
    }

    /// What a persistent id stands for: a storage, `("storage", class, key, device, length)`. Before the zip, a sixth item
    /// may say that it is a part of the storage, `(name, offset, length)`; and there was `("module", class, …)`.
    pub(super) fn persistent(&mut self, id: Value) -> Result<Value> {
        if let Value::Tuple(id) = id
            && let [Value::Text(word), class @ Value::Global(_), _, _] = *self.tuples[id]
            && self.texts[word] == "module"
        {
            return Ok(class);
        }
        let storage = self.storage(id)?;
        self.storages.push(storage);
        Ok(Value::Storage(self.storages.len() - 1))
    }

    fn storage(&self, id: Value) -> Result<Storage<'a>> {
        let not_one = || self.malformed("what should name a storage does not");
        let Value::Tuple(id) = id else { return Err(not_one()) };
        let [
            Value::Text(word),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            _,
            Value::Int(numbers),
            part @ ..,
        ] = &*self.tuples[id]
        else {
            return Err(not_one());
        };
        let key = self.texts[*key];
        if self.texts[*word] != "storage" || key.len() > LONGEST_KEY {
            return Err(not_one());
        }
        let size = |n: i64| usize::try_from(n).map_err(|_| not_one());
        let all = size(*numbers)?;
        let (offset, numbers) = match part {
            [] | [Value::Opaque] => (0, all),
            [Value::Tuple(part)] => {
                let [_, Value::Int(offset), Value::Int(len)] = *self.tuples[*part] else { return Err(not_one()) };
                (size(offset)?, size(len)?)
            }
            _ => return Err(not_one()),
        };
        if offset.checked_add(numbers).is_none_or(|end| end > all) {
            return Err(self.malformed("a part of a storage that reaches beyond it"));
        }
        Ok(Storage { dtype: *dtype, key, all, offset, numbers })
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
}
