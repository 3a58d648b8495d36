//! The table of contents of a torch checkpoint: a pickle, read without ever running what it says.
//!
//! A pickle is a program for a small stack machine, and Python's own machine calls whatever the file names. This one
//! has the instructions that `torch.save` writes, and knows by name the few things that tensors are made with
//! (`GLOBALS`). Nothing is ever called or imported: a "call" of one of those becomes a description, and one of anything
//! else an object that does nothing and keeps what it is given, since trainers put their settings, optimizers and own
//! classes beside the tensors. Any other instruction ends the reading.
//!
//! Everything is bounded: values lie in flat tables by index, so that neither nesting nor a memo that refers to itself
//! is ever unfolded, and the number of instructions (`MOST_STEPS`), of open brackets (`DEEPEST`) and of axes
//! (`MOST_AXES`) has an end.

mod arrays;
mod described;
mod found;
mod globals;
mod legacy;
mod reading;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

pub use arrays::{Array, lists_of_arrays};
pub use found::Found;
use globals::Global;
pub use legacy::{is_legacy, legacy};

use super::dtype::Dtype;
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

    /// Whether each number of the storage stands in it once at most.
    pub fn is_plain(&self) -> bool {
        let mut axes: Vec<(usize, usize)> = self.stride.iter().copied().zip(self.shape.iter().copied()).collect();
        axes.retain(|(_, count)| *count != 1);
        axes.sort_unstable();
        let mut reach = 1usize;
        axes.iter().all(|(step, count)| {
            let beyond = *step >= reach;
            reach = reach.saturating_add(step.saturating_mul(count.saturating_sub(1)));
            beyond
        }) || self.shape.contains(&0)
    }
}

/// The tensors by name of the pickle `bytes`, which is the table of contents of the checkpoint at `path`.
///
/// # Errors
/// When the pickle would run code in Python's hands, is cut short or malformed, goes beyond the bounds, or has no
/// tensors by name.
pub fn tensors(bytes: &[u8], path: &Path) -> Result<Found> {
    let mut machine = Machine::new(Kind::Checkpoint, bytes, path);
    let root = machine.run()?;
    machine.collect(root)
}

/// A value of the machine: small, and larger ones by their index in its tables.
#[derive(Clone, Copy, Debug)]
enum Value {
    Int(i64),
    Bool(bool),
    Text(usize),
    Global(Global),
    Tuple(usize),
    List(usize),
    Dict(usize),
    /// Of a class that is not known here: a dict of what is set in it, and perhaps a state.
    Object(usize),
    Storage(usize),
    Tensor(usize),
    /// A tensor of a kind that is not read: its name among the texts.
    Foreign(usize),
    /// A string of bytes, by its index.
    Bytes(usize),
    /// numpy's type of numbers, by its index.
    Numbers(usize),
    /// numpy's array, by its index.
    Array(usize),
    Opaque,
}

/// What a pickle is read for, which says what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A checkpoint: tensors by name, and whatever a trainer put beside them.
    Checkpoint,
    /// Lists of numpy's arrays, and nothing else.
    Arrays,
}

impl Kind {
    /// What is expected, as it stands in a sentence.
    fn in_words(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint of PyTorch",
            Self::Arrays => "pickle of numpy's arrays",
        }
    }

    fn writer(self) -> &'static str {
        match self {
            Self::Checkpoint => "`torch.save`",
            Self::Arrays => "`pickle.dump` of arrays",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Checkpoint => RESAVE,
            Self::Arrays => arrays::REMAKE,
        }
    }
}

#[derive(Clone, Copy)]
struct Storage<'a> {
    dtype: Dtype,
    key: &'a str,
    /// How many numbers the file holds under that name.
    all: usize,
    /// Where among them it begins, and how many it has.
    offset: usize,
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
    kind: Kind,
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
    /// What `BUILD` gave to an object, by its index among the dicts.
    states: HashMap<usize, Value>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor<'a>>,
    blobs: Vec<Cow<'a, [u8]>>,
    /// Bytes that were made of texts: one instruction can make many of a text that stands in the file once.
    made: usize,
    numbers: Vec<arrays::Numbers>,
    arrays: Vec<arrays::Found>,
    /// Whether it wanted bytes beyond the last one.
    cut: bool,
    /// Pairs copied into dicts by calls: one instruction can copy a long list, and many can copy the same one.
    copied: usize,
}

impl<'a> Machine<'a> {
    fn new(kind: Kind, bytes: &'a [u8], path: &'a Path) -> Self {
        Self {
            kind,
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
            states: HashMap::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            blobs: Vec::new(),
            made: 0,
            numbers: Vec::new(),
            arrays: Vec::new(),
            cut: false,
            copied: 0,
        }
    }

    /// Runs the pickle that begins where the last one ended.
    fn run(&mut self) -> Result<Value> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
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

                // None, True, False.
                b'N' => self.stack.push(Value::Opaque),
                opcode @ (0x88 | 0x89) => self.stack.push(Value::Bool(opcode == 0x88)),
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
                    if !matches!(self.top()?, Value::Opaque | Value::Object(_)) {
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
                    let value = self.persistent(id)?;
                    self.stack.push(value);
                }
                // REDUCE, NEWOBJ
                b'R' | 0x81 => {
                    let arguments = self.pop()?;
                    let callee = self.pop()?;
                    let value = self.describe(callee, arguments)?;
                    self.stack.push(value);
                }
                // NEWOBJ_EX, with arguments by name.
                0x92 => {
                    self.pop()?;
                    let arguments = self.pop()?;
                    let callee = self.pop()?;
                    let value = self.describe(callee, arguments)?;
                    self.stack.push(value);
                }
                // BUILD: the attributes of an object, such as the version numbers that a state dict carries.
                b'b' => {
                    let state = self.pop()?;
                    match self.top()? {
                        Value::Object(object) => {
                            self.states.insert(object, state);
                        }
                        Value::Array(array) => self.fill(array, state)?,
                        Value::Numbers(numbers) => self.complete(numbers, state)?,
                        Value::Opaque | Value::Dict(_) | Value::Tensor(_) | Value::Foreign(_) => {}
                        _ => return Err(self.malformed("attributes are given to what has none")),
                    }
                }
                // INST names its class and calls it.
                b'i' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    return Err(self.code(module, name));
                }
                // OBJ, EXT1, EXT2, EXT4
                opcode @ (b'o' | 0x82 | 0x83 | 0x84) => {
                    return Err(Failure::at(
                        self.path,
                        format!("holds code (instruction 0x{opcode:02x}) in its pickle, which lmvc never runs"),
                    )
                    .help(self.kind.help()));
                }
                opcode => {
                    return Err(self.malformed(&format!(
                        "instruction 0x{opcode:02x} at byte {opcode_at}, which {} never writes",
                        self.kind.writer()
                    )));
                }
            }
        }
        Err(self.beyond(&format!("{MOST_STEPS} instructions")))
    }

    // The stack and the memo.

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

    fn push_object(&mut self) -> Value {
        self.dicts.push(Vec::new());
        Value::Object(self.dicts.len() - 1)
    }

    fn append(&mut self, items: Vec<Value>) -> Result<()> {
        match self.top()? {
            Value::List(list) => self.lists[list].extend(items),
            Value::Opaque | Value::Object(_) => {}
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
            Value::Dict(dict) | Value::Object(dict) => self.dicts[dict].extend(pairs),
            Value::Opaque => {}
            _ => return Err(self.malformed("items are set in what is no dict")),
        }
        Ok(())
    }

    // Failures.

    fn malformed(&self, found: &str) -> Failure {
        Failure::at(self.path, format!("is damaged, or no {}: in its pickle, {found}", self.kind.in_words()))
            .help(self.kind.help())
    }

    fn beyond(&self, bound: &str) -> Failure {
        let of = self.kind.in_words();
        Failure::at(self.path, format!("has a pickle beyond what a {of} can need: more than {bound}"))
            .help(self.kind.help())
    }

    fn code(&self, module: &str, name: &str) -> Failure {
        Failure::at(
            self.path,
            format!("holds code (`{}.{}`) in its pickle, which lmvc never runs", shown(module), shown(name)),
        )
        .help(self.kind.help())
    }
}

#[cfg(test)]
mod tests;
