//! The pickles at the beginning of a file that PyTorch wrote before it had a zip: a magic number, a version, what the
//! machine was, the object, and the names of the storages whose numbers follow.

use std::collections::HashMap;
use std::path::Path;

use super::{Found, Kind, Machine, Value};
use crate::error::{Failure, Result};
use crate::weights::file::shown;

/// The magic number as any pickle has it: ten bytes of a whole number.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";
/// The one version there is.
const VERSION: i64 = 1001;

/// Whether a file with this beginning is of that format.
pub fn is_legacy(beginning: &[u8]) -> bool {
    beginning.first() == Some(&0x80) && beginning.windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// What the pickles say.
#[derive(Debug)]
pub struct Legacy {
    /// The tensors by name.
    pub found: Found,
    /// The storages in the order of the file: name, how many numbers, how many bytes each.
    pub storages: Vec<(String, usize, usize)>,
    /// Where the first of them begins.
    pub end: usize,
}

/// Reads the pickles out of the beginning of a file; `None` where it ends inside of them.
///
/// # Errors
/// As [`tensors`](super::tensors).
pub fn legacy(bytes: &[u8], path: &Path) -> Result<Option<Legacy>> {
    let mut machine = Machine::new(Kind::Checkpoint, bytes, path);
    let read = machine.legacy();
    if machine.cut && read.is_err() { Ok(None) } else { read.map(Some) }
}

impl Machine<'_> {
    fn legacy(&mut self) -> Result<Legacy> {
        self.run()?;
        if !is_legacy(&self.bytes[..self.at]) {
            return Err(self.malformed("no magic number of `torch.save` is at its beginning"));
        }
        match self.run()? {
            Value::Int(VERSION) => {}
            Value::Int(version) => {
                return Err(self.malformed(&format!("version {version}, and {VERSION} is the only one there was")));
            }
            _ => return Err(self.malformed("a version that is no number")),
        }
        let system = self.run()?;
        let little = match system {
            Value::Dict(system) => {
                self.dicts[system].iter().find(|(key, _)| self.is_text(key, "little_endian")).map(|(_, value)| *value)
            }
            _ => None,
        };
        if !matches!(little, Some(Value::Bool(true))) {
            return Err(Failure::at(self.path, "was saved with another byte order than `little`, which is not read")
                .help("save it again on a machine that most people have"));
        }
        let root = self.run()?;
        let Value::List(keys) = self.run()? else {
            return Err(self.malformed("names of storages that are no list"));
        };
        let mut claims: HashMap<&str, (usize, usize)> = HashMap::new();
        for storage in &self.storages {
            let claim = (storage.all, storage.dtype.bits() / 8);
            if *claims.entry(storage.key).or_insert(claim) != claim {
                return Err(self.malformed(&format!("storage `{}` with two lengths", shown(storage.key))));
            }
        }
        let mut storages = Vec::new();
        for key in &self.lists[keys] {
            let Value::Text(key) = *key else { return Err(self.malformed("a name of a storage that is no text")) };
            let key = self.texts[key];
            // Each once.
            let (numbers, width) = claims.remove(key).ok_or_else(|| {
                self.malformed(&format!("storage `{}`, which nothing refers to or which comes twice", shown(key)))
            })?;
            storages.push((key.to_string(), numbers, width));
        }
        Ok(Legacy { found: self.collect(root)?, storages, end: self.at })
    }

    fn is_text(&self, value: &Value, text: &str) -> bool {
        matches!(value, Value::Text(index) if self.texts[*index] == text)
    }
}
