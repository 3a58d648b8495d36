//! Lists of numpy's arrays in a pickle: the caches that data loaders write. Stricter than with checkpoints: any name that is
//! not one of numpy's three, or what bytes are written by in old protocols, ends the reading.

use std::borrow::Cow;
use std::path::Path;

use super::globals::Global;
use super::{Kind, Machine, Value};
use crate::error::{Failure, Result};
use crate::weights::file::shown;

/// What to do about a cache that is not read here.
pub(super) const REMAKE: &str = "take the cache away, and the files that it was made of are read; or make it anew, by \
    `pickle.dump` of lists of numpy's arrays";

/// A type of numbers: `<f4` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// `f` for floats, `i` and `u` for whole numbers.
    kind: u8,
    /// Bytes of one.
    size: usize,
    /// Whether the largest byte comes first.
    big: bool,
}

/// An array while the pickle is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    shape: Vec<usize>,
    numbers: Option<Numbers>,
    /// Whether the first axis is the fastest.
    columns: bool,
    /// Its bytes, by their index; none while they are still to come.
    bytes: Option<usize>,
}

/// One array of a pickle.
#[derive(Debug)]
pub struct Array<'a> {
    /// Its shape, outermost axis first.
    pub shape: Vec<usize>,
    numbers: Numbers,
    columns: bool,
    bytes: Cow<'a, [u8]>,
}

impl Array<'_> {
    /// What is in it, row-major; none where it has more than two axes and the first one is the fastest.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        let Numbers { kind, size, big } = self.numbers;
        let one = |bytes: &[u8]| {
            let mut wide = [0u8; 8];
            wide[..size].copy_from_slice(bytes);
            if big {
                wide[..size].reverse();
            }
            let raw = u64::from_le_bytes(wide);
            let unused = 64 - 8 * size as u32;
            match (kind, size) {
                (b'f', 4) => f64::from(f32::from_bits(raw as u32)),
                (b'f', _) => f64::from_bits(raw),
                (b'i', _) => ((raw << unused) as i64 >> unused) as f64,
                _ => raw as f64,
            }
        };
        let all: Vec<f64> = self.bytes.chunks_exact(size).map(one).collect();
        match (self.columns, &self.shape[..]) {
            (false, _) | (true, [] | [_]) => Some(all),
            (true, &[rows, columns]) => {
                Some((0..rows * columns).map(|at| all[at % columns * rows + at / columns]).collect())
            }
            (true, _) => None,
        }
    }
}

/// The lists of arrays that a pickle is a list of.
///
/// # Errors
/// When the pickle holds any name that is not numpy's, is cut short or malformed, goes beyond the bounds, or is something
/// else than lists of arrays.
pub fn lists_of_arrays<'a>(bytes: &'a [u8], path: &'a Path) -> Result<Vec<Vec<Array<'a>>>> {
    let mut machine = Machine::new(Kind::Arrays, bytes, path);
    let root = machine.run()?;
    machine.lists(root)
}

impl<'a> Machine<'a> {
    fn items(&self, value: Value) -> Result<&[Value]> {
        match value {
            Value::List(list) => Ok(&self.lists[list]),
            Value::Tuple(tuple) => Ok(&self.tuples[tuple]),
            _ => Err(self.malformed("something else than lists of arrays")),
        }
    }

    fn lists(&self, root: Value) -> Result<Vec<Vec<Array<'a>>>> {
        let list = |list: &Value| self.items(*list)?.iter().map(|array| self.read(*array)).collect();
        self.items(root)?.iter().map(list).collect()
    }

    fn read(&self, value: Value) -> Result<Array<'a>> {
        let Value::Array(index) = value else { return Err(self.malformed("something else than an array in a list")) };
        let Found { shape, numbers, columns, bytes } = self.arrays[index].clone();
        let (Some(numbers), Some(bytes)) = (numbers, bytes) else {
            return Err(self.malformed("an array of which nothing is told"));
        };
        let bytes = self.blobs[bytes].clone();
        let needed = shape.iter().try_fold(numbers.size, |product, &dim| product.checked_mul(dim));
        if needed != Some(bytes.len()) {
            return Err(self.malformed(&format!("an array of shape {shape:?} with {} bytes", bytes.len())));
        }
        Ok(Array { shape, numbers, columns, bytes })
    }

    /// `_reconstruct(ndarray, (0,), b"b")`.
    pub(super) fn begun(&mut self, arguments: usize) -> Result<Value> {
        match self.tuples[arguments].first() {
            Some(Value::Global(Global::ArrayClass)) => Ok(self.push_array(Found::default())),
            _ => Err(self.malformed("an array of a class that is not numpy's")),
        }
    }

    /// `_frombuffer(bytes, dtype, shape, order)`.
    pub(super) fn of_bytes(&mut self, arguments: usize) -> Result<Value> {
        let [Value::Bytes(bytes), Value::Numbers(numbers), shape, Value::Text(order)] = *self.tuples[arguments] else {
            return Err(self.malformed("an array without bytes, type, shape and order"));
        };
        let (shape, columns) = (self.sizes(shape)?, self.texts[order] == "F");
        Ok(self.push_array(Found { shape, numbers: Some(self.numbers[numbers]), columns, bytes: Some(bytes) }))
    }

    /// `_codecs.encode(text, "latin1")`: how Python 3 writes bytes in a protocol that has only text, and nothing else that
    /// codecs could do.
    pub(super) fn bytes_of_text(&mut self, arguments: usize) -> Result<Value> {
        let (text, encoding) = match *self.tuples[arguments] {
            [Value::Text(text), Value::Text(encoding)] => (self.texts[text], self.texts[encoding]),
            _ => return Err(self.malformed("bytes that are made of something else than text")),
        };
        if encoding != "latin1" {
            return Err(self.malformed(&format!("bytes written as {}, expected latin1", shown(encoding))));
        }
        // A pickle of Python's has a text for each; a hostile one may ask for the same long one without end.
        self.made = self.made.saturating_add(text.len());
        if self.made > self.bytes.len() {
            return Err(self.beyond("as many bytes made of texts as it has itself"));
        }
        let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
        let bytes = bytes.ok_or_else(|| self.malformed("bytes of characters that are none"))?;
        self.blobs.push(bytes.into());
        Ok(Value::Bytes(self.blobs.len() - 1))
    }

    /// `dtype("f4", False, True)`.
    pub(super) fn numbers_of(&mut self, arguments: usize) -> Result<Value> {
        let Some(Value::Text(text)) = self.tuples[arguments].first() else {
            return Err(self.malformed("a type of numbers without a name"));
        };
        let text = self.texts[*text];
        let known = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"];
        if !known.contains(&text) {
            let shown: String = text.chars().flat_map(char::escape_debug).take(20).collect();
            return Err(Failure::at(self.path, format!("holds an array of `{shown}`, expected numbers")).help(REMAKE));
        }
        let (kind, size) = (text.as_bytes()[0], usize::from(text.as_bytes()[1] - b'0'));
        self.numbers.push(Numbers { kind, size, big: false });
        Ok(Value::Numbers(self.numbers.len() - 1))
    }

    /// What `BUILD` tells of a type: `(3, "<", …)`.
    pub(super) fn complete(&mut self, numbers: usize, state: Value) -> Result<()> {
        let order = match state {
            Value::Tuple(state) => match self.tuples[state].get(1) {
                Some(Value::Text(order)) => self.texts[*order],
                _ => return Err(self.malformed("a type of numbers without the order of its bytes")),
            },
            _ => return Err(self.malformed("a type of numbers without the order of its bytes")),
        };
        self.numbers[numbers].big = order == ">";
        Ok(())
    }

    /// What `BUILD` tells of an array: `(1, shape, dtype, columns, bytes)`.
    pub(super) fn fill(&mut self, array: usize, state: Value) -> Result<()> {
        let Value::Tuple(state) = state else { return Err(self.malformed("an array filled with what is no tuple")) };
        let [_, shape, Value::Numbers(numbers), Value::Bool(columns), Value::Bytes(bytes)] = *self.tuples[state] else {
            return Err(self.malformed("an array without shape, type, order and bytes"));
        };
        let found =
            Found { shape: self.sizes(shape)?, numbers: Some(self.numbers[numbers]), columns, bytes: Some(bytes) };
        self.arrays[array] = found;
        Ok(())
    }

    fn push_array(&mut self, array: Found) -> Value {
        self.arrays.push(array);
        Value::Array(self.arrays.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps([[np.array([[1, 2, 3], [4, 5, 6.5]], "<f4")], [np.array([3], ">i2")]], protocol=3)` of numpy 2.4.
    fn pickled(rest: &[u8]) -> Vec<u8> {
        let array = |out: &mut Vec<u8>, shape: &[u8], kind: &[u8], order: &[u8], bytes: &[u8]| {
            out.extend(b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01");
            shape.iter().for_each(|dim| out.extend([b'K', *dim]));
            out.push(0x84 + shape.len() as u8);
            out.extend(b"cnumpy\ndtype\nX\x02\x00\x00\x00");
            out.extend(kind);
            out.extend(b"\x89\x88\x87R(K\x03X\x01\x00\x00\x00");
            out.extend(order);
            out.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C");
            out.push(bytes.len() as u8);
            out.extend(bytes);
            out.extend(b"tb");
        };
        let mut out = b"\x80\x03](](".to_vec();
        let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.5].iter().flat_map(|x| x.to_le_bytes()).collect();
        array(&mut out, &[2, 3], b"f4", b"<", &floats);
        out.extend(b"e](");
        array(&mut out, &[1], b"i2", b">", &[0xff, 0xfd]);
        out.extend(b"ee");
        out.extend(rest);
        out
    }

    #[test]
    fn arrays_of_both_orders_of_bytes_are_read() {
        let bytes = pickled(b".");
        let lists = lists_of_arrays(&bytes, Path::new("a.dat")).expect("numpy's own names");
        assert_eq!(lists.len(), 2);
        assert_eq!(lists[0][0].shape, [2, 3]);
        assert_eq!(lists[0][0].numbers(), Some(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.5]));
        assert_eq!(lists[1][0].numbers(), Some(vec![-3.0]));
        let columns =
            Array { columns: true, ..lists_of_arrays(&bytes, Path::new("a.dat")).expect("the same")[0].remove(0) };
        assert_eq!(columns.numbers(), Some(vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.5]));
    }

    /// `pickle.dumps([[np.array([200, -3], "<i2")]], protocol=2)` of numpy 2.4 in Python 3, memos left out: bytes are texts.
    fn of_protocol_2(text: &str, encoding: &str) -> Vec<u8> {
        let encoded = |out: &mut Vec<u8>, text: &str, encoding: &str| {
            out.extend(b"c_codecs\nencode\n");
            for text in [text, encoding] {
                out.push(b'X');
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.as_bytes());
            }
            out.extend(b"\x86R");
        };
        let mut out = b"\x80\x02]]cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85".to_vec();
        encoded(&mut out, "b", "latin1");
        out.extend(b"\x87R(K\x01K\x02\x85cnumpy\ndtype\nX\x02\x00\x00\x00i2\x89\x88\x87R");
        out.extend(b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89");
        encoded(&mut out, text, encoding);
        out.extend(b"tbaa.");
        out
    }

    #[test]
    fn bytes_that_are_written_as_text_are_read_and_nothing_else_of_codecs() {
        let bytes = of_protocol_2("\u{c8}\u{0}\u{fd}\u{ff}", "latin1");
        let lists = lists_of_arrays(&bytes, Path::new("a.dat")).expect("Python's own way");
        assert_eq!(lists[0][0].numbers(), Some(vec![200.0, -3.0]));
        for (text, encoding) in [("\u{c8}\u{0}\u{fd}\u{100}", "latin1"), ("abcd", "zip"), ("abcd", "utf-8")] {
            let bytes = of_protocol_2(text, encoding);
            let failure = lists_of_arrays(&bytes, Path::new("a.dat")).expect_err("no bytes of an array");
            assert!(failure.what.contains("in its pickle, bytes "), "{failure}");
        }
        // One text, encoded again and again.
        let mut bytes = b"\x80\x02X\x40\x00\x00\x00".to_vec();
        bytes.extend([b'a'; 64]);
        bytes.extend(b"q\x00c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02");
        (0..20).for_each(|_| bytes.extend(b"h\x01h\x00h\x02\x86R"));
        let failure = lists_of_arrays(&bytes, Path::new("a.dat")).expect_err("it grows");
        assert!(failure.what.contains("beyond what a pickle of numpy's arrays can need"), "{failure}");
    }

    #[test]
    fn any_other_name_is_code() {
        for name in [&b"cos\nsystem\n"[..], b"c_codecs\ndecode\n", b"ctorch\nSize\n", b"cbuiltins\nlist\n"] {
            let bytes = pickled(&[name, b"0."].concat());
            let failure = lists_of_arrays(&bytes, Path::new("a.dat")).expect_err("it is not numpy's");
            assert!(failure.what.starts_with("holds code ("), "{failure}");
        }
    }

    #[test]
    fn no_end_of_it_is_believed() {
        let bytes = pickled(b".");
        for end in 0..bytes.len() {
            lists_of_arrays(&bytes[..end], Path::new("a.dat")).expect_err("it is cut short");
        }
        for at in 0..bytes.len() {
            for byte in [0, b'.', b'K', b'b', b'R', 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                // Whatever it says of them: it comes to an end, and without a panic.
                if let Ok(lists) = lists_of_arrays(&changed, Path::new("a.dat")) {
                    lists.iter().flatten().for_each(|array| drop(array.numbers()));
                }
            }
        }
    }
}
