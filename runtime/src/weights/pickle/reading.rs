//! The bytes of a pickle: numbers, texts and lines, none of which reaches beyond the end.

use super::{Kind, Machine, Value};
use crate::error::{Failure, Result};

impl<'a> Machine<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            self.cut = true;
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

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A length of four bytes. It is held against what is there where it is used.
    pub(super) fn length4(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub(super) fn length8(&mut self) -> Result<usize> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    pub(super) fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(bytes).map_err(|_| self.malformed("text that is not UTF-8"))
    }

    pub(super) fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = self.take(len)?;
        self.take(1)?;
        self.utf8(line)
    }

    pub(super) fn text(&mut self, len: usize) -> Result<()> {
        let text = self.take(len)?;
        let text = self.utf8(text)?;
        self.texts.push(text);
        self.stack.push(Value::Text(self.texts.len() - 1));
        Ok(())
    }

    pub(super) fn blob(&mut self, len: usize) -> Result<()> {
        let blob = self.take(len)?;
        let value = match self.kind {
            // Beside tensors they are what a trainer kept.
            Kind::Checkpoint => Value::Opaque,
            Kind::Arrays => {
                self.blobs.push(blob.into());
                Value::Bytes(self.blobs.len() - 1)
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// A whole number of any length, little-endian, in two's complement. Those beyond 64 bits are no sizes: random
    /// states have them.
    pub(super) fn long(&mut self, len: usize) -> Result<()> {
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

    /// Where the last `n` values begin, if there are so many inside the innermost bracket.
    pub(super) fn room_for(&self, n: usize) -> Result<usize> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        self.stack
            .len()
            .checked_sub(n)
            .filter(|from| *from >= bottom)
            .ok_or_else(|| self.malformed("a value is missing on its stack"))
    }
}
