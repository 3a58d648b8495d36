//! The table of contents of a torch checkpoint: a pickle, read without ever running what it says.
//!
//! A pickle is a program for a small stack machine, and Python's own machine calls whatever the file names. This one
//! has the instructions that `torch.save` writes, and knows by name the few things that tensors are made with
//! (`GLOBALS`). Nothing is called: a "call" of one of those becomes a description, and any other name ends the
//! reading.
//!
//! Everything is bounded: values lie in flat tables by index, so that neither nesting nor a memo that refers to itself
//! is ever unfolded, and the number of instructions (`MOST_STEPS`), of open brackets (`DEEPEST`) and of axes
//! (`MOST_AXES`) has an end.

mod globals;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use globals::{GLOBALS, Global};

use super::dtype::{Dtype, elements};
use super::file::shown;
use crate::error::{Failure, Result};

/// More instructions than any checkpoint has: one with ten thousand tensors has half a million.
const MOST_STEPS: usize = 4_000_000;
/// The deepest nesting of open tuples, lists and dicts; `torch.save` writes about five.
const DEEPEST: usize = 1_000;
/// The most axes of a tensor; PyTorch's own kernels stop at 25.
const MOST_AXES: usize = 32;
/// The longest name of a storage; `torch.save` writes a number.
const LONGEST_KEY: usize = 256;
/// How many dicts inside one another are searched for the tensors.
const DEEPEST_WRAPPER: usize = 4;
/// The keys under which trainers put the tensors, looked for in this order: DeiT and VideoMAE `model`, Lightning
/// `state_dict`, DeepSpeed `module`, Point-BERT `base_model` (paper.md §A).
const WRAPPERS: [&str; 5] = ["model", "state_dict", "module", "base_model", "model_state_dict"];

/// What to do about a checkpoint that is not read here.
pub(super) const RESAVE: &str = "save its tensors as safetensors, in Python and only if you trust where the file is \
    from: \
    `from safetensors.torch import save_file; save_file({k: v.contiguous() for k, v in model.state_dict().items()}, \
    \"weights.safetensors\")`";

/// One tensor of a pickle: a view of a storage, which is a file of its own in the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// The storage's name, under `data/`.
    pub key: String,
    /// How many numbers its first one is away from the storage's beginning.
    pub offset: usize,
    /// Its shape, outermost axis first.
    pub shape: Vec<usize>,
    /// For each axis, how many numbers lie between neighbours.
    pub stride: Vec<usize>,
}

impl View {
    /// How many numbers of the storage it reaches over, from its first to its last; `None` where that cannot be
    /// counted.
    pub fn reach(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let steps = self
            .shape
            .iter()
            .zip(&self.stride)
            .try_fold(0usize, |sum, (&d, &s)| sum.checked_add((d - 1).checked_mul(s)?))?;
        steps.checked_add(1)
    }

    /// Whether its numbers lie in one piece and in order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        self.shape.iter().zip(&self.stride).rev().all(|(&d, &s)| {
            let fits = d == 1 || s == expected;
            expected = expected.saturating_mul(d);
            fits
        }) || self.shape.contains(&0)
    }
}

/// The tensors by name of the pickle `bytes`, which is the table of contents of the checkpoint at `path`.
///
/// # Errors
/// When the pickle names code, is cut short or malformed, goes beyond the bounds, or has no tensors by name.
pub fn tensors(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, View>> {
    let mut machine = Machine::new(bytes, path);
    let root = machine.run()?;
    machine.collect(root)
}

/// A value of the machine: small, and larger ones by their index in its tables.
#[derive(Clone, Copy, Debug)]
enum Value {
    Int(i64),
    Text(usize),
    Global(Global),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    Opaque,
}

#[derive(Clone, Copy)]
struct Storage<'a> {
    dtype: Dtype,
    key: &'a str,
    numbers: usize,
}

#[derive(Clone)]
struct Tensor<'a> {
    storage: Storage<'a>,
    dtype: Dtype,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
    stack: Vec<Value>,
    /// Where on the stack the open brackets begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    texts: Vec<&'a str>,
    tuples: Vec<Box<[Value]>>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor<'a>>,
    /// Pairs copied into dicts by calls: one instruction can copy a long list, and many can copy the same one.
    copied: usize,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8], path: &'a Path) -> Self {
        Self {
            bytes,
            at: 0,
            path,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            texts: Vec::new(),
            tuples: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            copied: 0,
        }
    }

    fn run(&mut self) -> Result<Value> {
        for _ in 0..MOST_STEPS {
            let opcode_at = self.at;
            match self.byte()? {
                // PROTO: version 5 is the newest.
                0x80 => {
                    let version = self.byte()?;
                    if version > 5 {
                        return Err(self.malformed(&format!("version {version}, and 5 is the newest that is known")));
                    }
                }
                // FRAME: a hint for readers of streams.
                0x95 => {
                    self.take(8)?;
                }
                // STOP
                b'.' => return self.pop(),

                // Values without parts; of nothing, true and false no meaning is needed.
                b'N' | 0x88 | 0x89 => self.stack.push(Value::Opaque),
                b'J' => {
                    let n = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(n.into()));
                }
                b'K' => {
                    let n = self.byte()?;
                    self.stack.push(Value::Int(n.into()));
                }
                b'M' => {
                    let n = u16::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(n.into()));
                }
                // LONG1, LONG4
                0x8a => {
                    let len = self.byte()?.into();
                    self.long(len)?;
                }
                0x8b => {
                    let len = self.length4()?;
                    self.long(len)?;
                }
                // BINFLOAT
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Opaque);
                }
                // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                b'X' => {
                    let len = self.length4()?;
                    self.text(len)?;
                }
                0x8c => {
                    let len = self.byte()?.into();
                    self.text(len)?;
                }
                0x8d => {
                    let len = self.length8()?;
                    self.text(len)?;
                }
                // Strings of bytes: BINSTRING, SHORT_BINSTRING, BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
                b'T' | b'B' => {
                    let len = self.length4()?;
                    self.blob(len)?;
                }
                b'U' | b'C' => {
                    let len = self.byte()?.into();
                    self.blob(len)?;
                }
                0x8e | 0x96 => {
                    let len = self.length8()?;
                    self.blob(len)?;
                }

                // The stack itself.
                b'(' => {
                    if self.marks.len() == DEEPEST {
                        return Err(self.beyond(&format!("{DEEPEST} open brackets")));
                    }
                    self.marks.push(self.stack.len());
                }
                b'0' => {
                    self.pop()?;
                }
                b'1' => {
                    self.pop_mark()?;
                }
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }

                // Tuples, lists, dicts, sets.
                b')' => self.push_tuple(Box::default()),
                0x85..=0x87 => {
                    let n = usize::from(self.bytes[opcode_at] - 0x84);
                    let from = self.room_for(n)?;
                    let items = self.stack.split_off(from).into();
                    self.push_tuple(items);
                }
                b't' => {
                    let items = self.pop_mark()?.into();
                    self.push_tuple(items);
                }
                b']' => self.push_list(Vec::new()),
                b'l' => {
                    let items = self.pop_mark()?;
                    self.push_list(items);
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_mark()?;
                    self.append(items)?;
                }
                b'}' => self.push_dict(Vec::new()),
                b'd' => {
                    let items = self.pop_mark()?;
                    let items = self.pairs(&items)?;
                    self.push_dict(items);
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set(&items)?;
                }
                // EMPTY_SET, ADDITEMS, FROZENSET
                0x8f => self.stack.push(Value::Opaque),
                0x90 => {
                    self.pop_mark()?;
                    if !matches!(self.top()?, Value::Opaque) {
                        return Err(self.malformed("items are added to what is no set"));
                    }
                }
                0x91 => {
                    self.pop_mark()?;
                    self.stack.push(Value::Opaque);
                }

                // The memo.
                b'q' => {
                    let key = self.byte()?.into();
                    self.remember(key)?;
                }
                b'r' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.remember(key)?;
                }
                0x94 => {
                    // No more entries than steps, and those fit.
                    let key = self.memo.len() as u32;
                    self.remember(key)?;
                }
                b'h' => {
                    let key = self.byte()?.into();
                    self.recall(key)?;
                }
                b'j' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.recall(key)?;
                }

                // Names, and what Python would call.
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    let global = self.global(module, name)?;
                    self.stack.push(Value::Global(global));
                }
                0x93 => {
                    let name = self.pop()?;
                    let module = self.pop()?;
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        return Err(self.malformed("a name that is no text"));
                    };
                    let global = self.global(self.texts[module], self.texts[name])?;
                    self.stack.push(Value::Global(global));
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.storages.push(storage);
                    self.stack.push(Value::Storage(self.storages.len() - 1));
                }
                // REDUCE, NEWOBJ
                b'R' | 0x81 => {
                    let arguments = self.pop()?;
                    let callee = self.pop()?;
                    let value = self.describe(callee, arguments)?;
                    self.stack.push(value);
                }
                // BUILD: the attributes of an object, such as the version numbers that a state dict carries.
                b'b' => {
                    self.pop()?;
                    if !matches!(self.top()?, Value::Opaque | Value::Dict(_) | Value::Tensor(_)) {
                        return Err(self.malformed("attributes are given to what has none"));
                    }
                }
                // INST names its class and calls it.
                b'i' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    return Err(self.code(module, name));
                }
                // OBJ, NEWOBJ_EX, EXT1, EXT2, EXT4
                opcode @ (b'o' | 0x92 | 0x82 | 0x83 | 0x84) => {
                    return Err(Failure::at(
                        self.path,
                        format!("holds code (instruction 0x{opcode:02x}) in its pickle, which lmvc never runs"),
                    )
                    .help(RESAVE));
                }
                opcode => {
                    return Err(self.malformed(&format!(
                        "instruction 0x{opcode:02x} at byte {opcode_at}, which `torch.save` never writes"
                    )));
                }
            }
        }
        Err(self.beyond(&format!("{MOST_STEPS} instructions")))
    }

    // What the bytes give.

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(Failure::at(
                self.path,
                format!(
                    "is damaged or cut short: byte {} of its pickle needs {len} more bytes, and {} are there",
                    self.at,
                    self.bytes.len() - self.at
                ),
            )
            .help("download or copy the file again"));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A length of four bytes. It is held against what is there where it is used.
    fn length4(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length8(&mut self) -> Result<usize> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(bytes).map_err(|_| self.malformed("text that is not UTF-8"))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = self.take(len)?;
        self.take(1)?;
        self.utf8(line)
    }

    fn text(&mut self, len: usize) -> Result<()> {
        let text = self.take(len)?;
        let text = self.utf8(text)?;
        self.texts.push(text);
        self.stack.push(Value::Text(self.texts.len() - 1));
        Ok(())
    }

    fn blob(&mut self, len: usize) -> Result<()> {
        self.take(len)?;
        self.stack.push(Value::Opaque);
        Ok(())
    }

    /// A whole number of any length, little-endian, in two's complement. Those beyond 64 bits are no sizes: random
    /// states have them.
    fn long(&mut self, len: usize) -> Result<()> {
        let bytes = self.take(len)?;
        let sign = if bytes.last().is_some_and(|b| *b >= 0x80) { 0xff } else { 0 };
        let mut wide = [sign; 8];
        let value = if bytes.len() <= wide.len() {
            wide[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        } else {
            Value::Opaque
        };
        self.stack.push(value);
        Ok(())
    }

    // The stack and the memo.

    /// Where the last `n` values begin, if there are so many inside the innermost bracket.
    fn room_for(&self, n: usize) -> Result<usize> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        self.stack
            .len()
            .checked_sub(n)
            .filter(|from| *from >= bottom)
            .ok_or_else(|| self.malformed("a value is missing on its stack"))
    }

    fn pop(&mut self) -> Result<Value> {
        let at = self.room_for(1)?;
        let value = self.stack[at];
        self.stack.truncate(at);
        Ok(value)
    }

    fn top(&self) -> Result<Value> {
        Ok(self.stack[self.room_for(1)?])
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let from = self.marks.pop().ok_or_else(|| self.malformed("a bracket closes that never opened"))?;
        Ok(self.stack.split_off(from))
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        let value = *self.memo.get(&key).ok_or_else(|| self.malformed("it refers to a value that it never had"))?;
        self.stack.push(value);
        Ok(())
    }

    // Tables.

    fn push_tuple(&mut self, items: Box<[Value]>) {
        self.tuples.push(items);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    fn push_list(&mut self, items: Vec<Value>) {
        self.lists.push(items);
        self.stack.push(Value::List(self.lists.len() - 1));
    }

    fn push_dict(&mut self, items: Vec<(Value, Value)>) {
        self.dicts.push(items);
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn append(&mut self, items: Vec<Value>) -> Result<()> {
        match self.top()? {
            Value::List(list) => self.lists[list].extend(items),
            Value::Opaque => {}
            _ => return Err(self.malformed("items are added to what is no list")),
        }
        Ok(())
    }

    fn pairs(&self, items: &[Value]) -> Result<Vec<(Value, Value)>> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed("a key without a value"));
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn set(&mut self, items: &[Value]) -> Result<()> {
        let pairs = self.pairs(items)?;
        match self.top()? {
            Value::Dict(dict) => self.dicts[dict].extend(pairs),
            Value::Opaque => {}
            _ => return Err(self.malformed("items are set in what is no dict")),
        }
        Ok(())
    }

    // What Python would call.

    fn global(&self, module: &str, name: &str) -> Result<Global> {
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
    fn describe(&mut self, callee: Value, arguments: Value) -> Result<Value> {
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
    fn storage(&self, id: Value) -> Result<Storage<'a>> {
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

    fn sizes(&self, value: Value) -> Result<Vec<usize>> {
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

    fn tensor(&self, arguments: usize, typed: bool) -> Result<Tensor<'a>> {
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

    // What comes of it.

    /// The tensors by name under `root`: those under the first of [`WRAPPERS`] that has some, or its own.
    fn collect(&self, root: Value) -> Result<BTreeMap<String, View>> {
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

    fn named(&self, root: Value, depth: usize, seen: &mut HashSet<usize>) -> Option<BTreeMap<&'a str, &Tensor<'a>>> {
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

    fn view(&self, name: &str, tensor: &Tensor<'a>) -> Result<View> {
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

    // Failures.

    fn malformed(&self, found: &str) -> Failure {
        Failure::at(self.path, format!("is damaged, or no checkpoint of PyTorch: in its pickle, {found}")).help(RESAVE)
    }

    fn beyond(&self, bound: &str) -> Failure {
        Failure::at(self.path, format!("has a pickle beyond what a checkpoint can need: more than {bound}"))
            .help(RESAVE)
    }

    fn code(&self, module: &str, name: &str) -> Failure {
        Failure::at(
            self.path,
            format!("holds code (`{}.{}`) in its pickle, which lmvc never runs", shown(module), shown(name)),
        )
        .help(RESAVE)
    }
}

#[cfg(test)]
mod tests;
