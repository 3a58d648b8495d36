//! Where the bytes of a tensor lie, and reading them.
//!
//! A tensor is read in pieces, by several threads, each straight into its place: what is held besides the tensor itself
//! is one piece for each thread, whatever its size, its type in the file, and over how many files it is spread.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::dtype::Dtype;
use super::file::{WeightFile, zeroed};
use super::mapped::MappedBytes;
use crate::error::Result;

/// The bytes of a piece: few enough to stay in a core's cache until they are converted, and a whole number of numbers of
/// any type. Tensors are hashed by pieces as well, so another length would change all hashes.
const PIECE: usize = 1 << 18;
/// Runs shorter than this are not worth a read each: the range that they lie in is read at once.
const SHORTEST_RUN: usize = 512;

/// Something that bytes lie in.
#[derive(Clone, Debug)]
pub(super) enum Store {
    File(Arc<WeightFile>),
    /// What had to be unpacked or put in order first.
    Memory(Arc<Vec<u8>>),
}

impl Store {
    fn holds(&self, offset: u64, len: u64) -> Result<()> {
        match self {
            Self::File(file) => file.holds(offset, len),
            // Whoever made it knows its length.
            Self::Memory(_) => Ok(()),
        }
    }

    fn fill(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        match self {
            Self::File(file) => file.fill(offset, to)?,
            Self::Memory(bytes) => to.copy_from_slice(&bytes[offset as usize..][..to.len()]),
        }
        Ok(())
    }
}

/// The place of a tensor: rows, each of them the runs of all parts one after another.
#[derive(Debug)]
pub(super) struct Lying {
    parts: Vec<Part>,
    /// The bytes of a row.
    row: usize,
    /// The bytes of all rows.
    bytes: usize,
}

/// What one store holds of each row.
#[derive(Debug)]
struct Part {
    store: Store,
    start: u64,
    /// The axes that number the rows: how many there are, and how many bytes lie between neighbours.
    axes: Vec<(usize, u64)>,
    /// The bytes of a row that lie in one piece.
    run: usize,
}

impl Part {
    /// Where row `row` begins.
    fn at(&self, mut row: usize) -> u64 {
        let mut at = self.start;
        for (count, step) in self.axes.iter().rev() {
            at += (row % count) as u64 * step;
            row /= count;
        }
        at
    }
}

impl Lying {
    /// `bytes` bytes from `start` on.
    pub(super) fn whole(store: Store, start: u64, bytes: usize) -> Result<Self> {
        store.holds(start, bytes as u64)?;
        Ok(Self { parts: vec![Part { store, start, axes: Vec::new(), run: bytes }], row: bytes, bytes })
    }

    /// A view of what lies in `store`: axes by their size and the bytes between neighbours, none of them empty, over
    /// numbers of `width` bytes. `reach` bytes are between its first and its end.
    pub(super) fn view(store: Store, start: u64, axes: &[(usize, u64)], width: usize, reach: u64) -> Result<Self> {
        store.holds(start, reach)?;
        let mut run = width;
        let mut outer = axes.to_vec();
        while let Some(&(count, step)) = outer.last()
            && (count == 1 || step == run as u64)
        {
            run *= count;
            outer.pop();
        }
        let rows: usize = outer.iter().map(|(count, _)| count).product();
        let view =
            |store, start, axes| Self { parts: vec![Part { store, start, axes, run }], row: run, bytes: rows * run };
        if outer.is_empty() || run >= SHORTEST_RUN || matches!(store, Store::Memory(_)) {
            return Ok(view(store, start, outer));
        }
        let Store::File(file) = store else { unreachable!("memory was taken above") };
        let bytes = file.bytes(start, reach as usize)?;
        Ok(view(Store::Memory(Arc::new(bytes)), 0, outer))
    }

    /// `rows` rows, each of them a row of every part: tensors split along an axis, with the axes in front of it as rows.
    pub(super) fn joined(parts: Vec<Self>, rows: usize, path: &Path) -> Result<Self> {
        let parts: Vec<Part> = parts
            .into_iter()
            .map(|part| {
                let run = part.bytes / rows.max(1);
                let axes = vec![(rows, run as u64)];
                match <[Part; 1]>::try_from(part.parts) {
                    Ok([Part { store, start, axes: old, .. }]) if old.is_empty() => {
                        Ok(Part { store, start, axes, run })
                    }
                    Ok(old) => {
                        let old = Self { parts: old.into(), row: part.row, bytes: part.bytes };
                        let store = Store::Memory(Arc::new(old.bytes(path)?));
                        Ok(Part { store, start: 0, axes, run })
                    }
                    Err(_) => unreachable!("a shard's tensor lies in that shard alone"),
                }
            })
            .collect::<Result<_>>()?;
        let row = parts.iter().map(|part| part.run).sum();
        Ok(Self { parts, row, bytes: row * rows })
    }

    /// The tensor's bytes without a copy of them, where they lie in one piece of a file that can be mapped.
    pub(super) fn mapped(&self) -> Option<MappedBytes> {
        match self.parts.as_slice() {
            [Part { store: Store::File(file), start, axes, run }] if axes.is_empty() && *run == self.bytes => {
                file.mapped(*start, self.bytes)
            }
            _ => None,
        }
    }

    /// Fills `to` with the tensor's bytes from `from` on.
    fn fill(&self, mut from: usize, mut to: &mut [u8]) -> Result<()> {
        while !to.is_empty() {
            let (row, mut within) = (from / self.row, from % self.row);
            for part in &self.parts {
                if within >= part.run {
                    within -= part.run;
                    continue;
                }
                let len = (part.run - within).min(to.len());
                let (run, rest) = std::mem::take(&mut to).split_at_mut(len);
                part.store.fill(part.at(row) + within as u64, run)?;
                (to, within) = (rest, 0);
                from += len;
            }
        }
        Ok(())
    }

    /// The tensor's bytes in order. `path` is the file that a message names where there is no memory for them.
    pub(super) fn bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let mut out = zeroed::<u8>(path, self.bytes)?;
        in_pieces(out.chunks_mut(PIECE).enumerate(), |(i, piece), _| self.fill(i * PIECE, piece))?;
        Ok(out)
    }

    /// The tensor's numbers, which have the type `dtype`, as `f32`, and a hash of each of its pieces.
    pub(super) fn numbers(&self, dtype: Dtype, path: &Path) -> Result<(Vec<f32>, Vec<blake3::Hash>)> {
        let width = dtype.bits() / 8;
        let mut out = zeroed::<f32>(path, self.bytes / width)?;
        let mut hashes = self.no_hashes();
        in_pieces(out.chunks_mut(PIECE / width).zip(&mut hashes).enumerate(), |(i, (to, hash)), bytes| {
            bytes.resize(to.len() * width, 0);
            self.fill(i * PIECE, bytes)?;
            dtype.convert(bytes, to);
            *hash = blake3::hash(bytes);
            Ok(())
        })?;
        Ok((out, hashes))
    }

    /// The tensor's numbers of two bytes each, as bits, and a hash of each of its pieces.
    pub(super) fn halves(&self, path: &Path) -> Result<(Vec<u16>, Vec<blake3::Hash>)> {
        let mut out = zeroed::<u16>(path, self.bytes / 2)?;
        let mut hashes = self.no_hashes();
        in_pieces(out.chunks_mut(PIECE / 2).zip(&mut hashes).enumerate(), |(i, (to, hash)), _| {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(to);
            self.fill(i * PIECE, bytes)?;
            *hash = blake3::hash(bytes);
            to.iter_mut().for_each(|bits| *bits = u16::from_le(*bits));
            Ok(())
        })?;
        Ok((out, hashes))
    }

    /// A hash of each of its pieces; none of them is kept.
    pub(super) fn hashes(&self) -> Result<Vec<blake3::Hash>> {
        let mut hashes = self.no_hashes();
        in_pieces(hashes.iter_mut().enumerate(), |(i, hash), bytes| {
            bytes.resize(PIECE.min(self.bytes - i * PIECE), 0);
            self.fill(i * PIECE, bytes)?;
            *hash = blake3::hash(bytes);
            Ok(())
        })?;
        Ok(hashes)
    }

    /// Room for a hash of each piece.
    fn no_hashes(&self) -> Vec<blake3::Hash> {
        vec![blake3::Hash::from_bytes([0; blake3::OUT_LEN]); self.bytes.div_ceil(PIECE)]
    }
}

/// Does the work of all pieces, each thread taking the next piece when it is done with one, so that files are read from
/// front to back. There are more threads than cores, since some of them wait for the disk; and they are not the pool's,
/// whose threads are for computing. Each has a buffer of its own.
fn in_pieces<T: Send>(
    pieces: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T, &mut Vec<u8>) -> Result<()> + Sync,
) -> Result<()> {
    const THREADS_A_CORE: usize = 2;
    let threads = (THREADS_A_CORE * rayon::current_num_threads()).min(pieces.len());
    let pieces = Mutex::new(pieces);
    let run = || {
        let mut buffer = Vec::new();
        loop {
            // No work is done under the lock, so nobody can have poisoned it.
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Some(piece) => work(piece, &mut buffer)?,
                None => return Ok(()),
            }
        }
    };
    if threads <= 1 {
        return run();
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let own = run();
        let others = others.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        others.fold(own, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: impl IntoIterator<Item = u8>) -> Store {
        Store::Memory(Arc::new(bytes.into_iter().collect()))
    }

    fn read(lying: &Lying) -> Vec<u8> {
        lying.bytes(Path::new("w")).unwrap()
    }

    #[test]
    fn views_take_their_runs() {
        // [4, 6] bytes: all of it, its middle columns, its first two axes the other way around.
        let all = || memory(0..24);
        assert_eq!(read(&Lying::view(all(), 0, &[(4, 6), (6, 1)], 1, 24).unwrap()), (0..24).collect::<Vec<u8>>());
        assert_eq!(read(&Lying::view(all(), 2, &[(4, 6), (2, 1)], 1, 20).unwrap()), [2, 3, 8, 9, 14, 15, 20, 21]);
        let turned = Lying::view(all(), 0, &[(3, 2), (4, 6)], 2, 24).unwrap();
        assert_eq!(read(&turned)[..8], [0, 1, 6, 7, 12, 13, 18, 19]);
        assert_eq!(read(&turned)[16..], [4, 5, 10, 11, 16, 17, 22, 23]);
    }

    #[test]
    fn parts_take_turns_in_each_row() {
        let parts = || vec![Lying::whole(memory(0..6), 0, 6).unwrap(), Lying::whole(memory(10..14), 0, 4).unwrap()];
        let two = Lying::joined(parts(), 2, Path::new("w")).unwrap();
        assert_eq!(read(&two), [0, 1, 2, 10, 11, 3, 4, 5, 12, 13]);
        assert_eq!(read(&Lying::joined(parts(), 1, Path::new("w")).unwrap()), [0, 1, 2, 3, 4, 5, 10, 11, 12, 13]);
        // One that is a view itself is put in order first.
        let turned = vec![Lying::view(memory(0..4), 0, &[(2, 1), (2, 2)], 1, 4).unwrap()];
        assert_eq!(read(&Lying::joined(turned, 2, Path::new("w")).unwrap()), [0, 2, 1, 3]);
    }

    #[test]
    fn pieces_meet_without_a_seam() {
        let len = 3 * PIECE + 10;
        let bytes: Vec<u8> = (0..len).map(|i| (i / 5) as u8).collect();
        let lying = Lying::whole(memory(bytes.clone()), 0, len).unwrap();
        assert_eq!(read(&lying), bytes);
        let (numbers, hashes) = lying.numbers(Dtype::U8, Path::new("w")).unwrap();
        assert!(numbers.iter().zip(&bytes).all(|(x, byte)| *x == f32::from(*byte)));
        assert_eq!(hashes, lying.hashes().unwrap());
        assert_eq!(hashes.len(), 4);
        assert_eq!(hashes[3], blake3::hash(&bytes[3 * PIECE..]));
        let (bits, of_halves) = lying.halves(Path::new("w")).unwrap();
        assert!(bits.iter().zip(bytes.as_chunks().0).all(|(bits, bytes)| *bits == u16::from_le_bytes(*bytes)));
        assert_eq!((bits.len(), of_halves), (len / 2, hashes.clone()));
        // Rows of no round number that go across pieces.
        let rows = Lying::view(memory(bytes.clone()), 0, &[(2621, 300), (299, 1)], 1, len as u64 - 300).unwrap();
        let expected: Vec<u8> = bytes.chunks(300).take(2621).flat_map(|row| &row[..299]).copied().collect();
        assert_eq!(read(&rows), expected);
    }

    #[test]
    fn room_that_there_is_not() {
        assert_eq!(zeroed::<u8>(Path::new("w"), 3).unwrap(), [0; 3]);
        let failure = zeroed::<f32>(Path::new("w"), usize::MAX / 8).unwrap_err();
        assert!(failure.what.ends_with("bytes, and there is no memory for it"), "{failure}");
    }

    #[test]
    fn nothing_lies_anywhere() {
        let none = Lying::whole(memory([]), 0, 0).unwrap();
        assert!(read(&none).is_empty() && none.hashes().unwrap().is_empty());
        assert!(none.numbers(Dtype::F16, Path::new("w")).unwrap().0.is_empty());
    }
}
