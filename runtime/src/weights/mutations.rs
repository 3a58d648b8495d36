//! Whatever the bytes of a file, opening and reading it ends in tensors or in a failure, and never in a panic.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::made::{self, Pickle};
use super::{Checkpoint, TensorBytes, pickle};
use crate::error::Result;

/// Opens what is at `path` and reads all of it.
fn read_all(path: &Path) {
    let Ok(checkpoint) = Checkpoint::open(path) else { return };
    for name in checkpoint.names() {
        if let Ok(tensor) = checkpoint.read(name) {
            let info = checkpoint.info(name).unwrap();
            assert_eq!(info.bytes(), Some(tensor.bytes.len()));
            let _ = checkpoint.read_f32(name);
        } else {
            let _ = checkpoint.require(name);
        }
    }
}

fn valid_safetensors(dir: &Path) -> Vec<u8> {
    let path = dir.join("valid.safetensors");
    made::safetensors(
        &path,
        &[("a", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("b", &[3], &[5.0, 6.0, 7.0]), ("c", &[], &[8.0])],
    );
    std::fs::read(path).unwrap()
}

fn valid_pickle() -> Vec<u8> {
    Pickle::new()
        .open_dict()
        .text("args")
        .global("argparse", "Namespace")
        .raw(b")\x81}q\0b")
        .text("model")
        .global("collections", "OrderedDict")
        .raw(b")Rq\x01(")
        .text("a")
        .tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1])
        .text("b")
        .tensor("FloatStorage", "0", 6, 1, &[2, 2], &[1, 2])
        .close_dict()
        .close_dict()
        .stop()
}

fn valid_torch(dir: &Path, deflated: bool) -> Vec<u8> {
    let path = dir.join("valid.pth");
    made::torch_zip(&path, &valid_pickle(), &[("0", &made::floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))], deflated);
    std::fs::read(path).unwrap()
}

/// The same in PyTorch's format from before its zip.
fn valid_legacy() -> Vec<u8> {
    made::torch_legacy(&valid_pickle(), &[("0", 4, &made::floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))])
}

/// A module of TorchScript's with a module in it.
fn valid_modules() -> Vec<u8> {
    Pickle::new()
        .raw(b"c__torch__\nNet\n)\x81}(")
        .text("training")
        .raw(b"\x89")
        .text("visual")
        .raw(b"c__torch__\nVisual\n)\x81}(")
        .text("w")
        .tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1])
        .raw(b"ubub")
        .stop()
}

/// A file, which is written anew for each change of it.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join(name), _folder: folder }
    }

    /// What reading each of `names` gives, when the file has these bytes.
    fn read(&self, bytes: &[u8], names: &[&str]) -> Vec<Result<TensorBytes>> {
        std::fs::write(&self.path, bytes).unwrap();
        let checkpoint = Checkpoint::open(&self.path);
        let read = |name: &&str| checkpoint.as_ref().map_err(Clone::clone)?.read(name);
        names.iter().map(read).collect()
    }

    /// Changes one byte after another of `places`, each of its bits in turn and then all of them. A tensor must come as
    /// it was, or with a message that names the file.
    fn flip(&self, bytes: &[u8], places: impl Iterator<Item = usize>, names: &[&str]) {
        let whole: Vec<TensorBytes> = self.read(bytes, names).into_iter().map(Result::unwrap).collect();
        for place in places {
            for mask in (0..8).map(|bit| 1 << bit).chain([0xff]) {
                let mut changed = bytes.to_vec();
                changed[place] ^= mask;
                for ((name, read), whole) in names.iter().zip(self.read(&changed, names)).zip(&whole) {
                    match read {
                        // Another type or another shape is held against the model's, and told there.
                        Ok(read) if (read.dtype, &read.shape) != (whole.dtype, &whole.shape) => {}
                        Ok(read) => assert_eq!(read, *whole, "{name}, byte {place} ^ {mask:#04x}"),
                        Err(failure) => {
                            assert_eq!(failure.path.as_ref(), Some(&self.path), "byte {place} ^ {mask:#04x}");
                        }
                    }
                }
            }
        }
    }

    /// Every beginning of the file is refused as it is opened.
    fn cut(&self, bytes: &[u8]) {
        for len in 0..bytes.len() {
            std::fs::write(&self.path, &bytes[..len]).unwrap();
            let failure = Checkpoint::open(&self.path).unwrap_err();
            assert_eq!(failure.path.as_ref(), Some(&self.path), "{len} bytes");
            assert!(failure.help.is_some(), "{len} bytes: {failure}");
        }
    }
}

#[test]
fn every_bit_of_a_header_of_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = valid_safetensors(folder.path());
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    File::new("w.safetensors").flip(&bytes, 0..header, &["a", "b", "c"]);
}

#[test]
fn every_beginning_of_every_format() {
    let folder = tempfile::tempdir().unwrap();
    File::new("w.safetensors").cut(&valid_safetensors(folder.path()));
    File::new("w.pth").cut(&valid_torch(folder.path(), false));
    File::new("w.pth").cut(&valid_legacy());
    let path = folder.path().join("clip.pt");
    made::torch_zip(&path, &valid_modules(), &[("0", &made::floats(&[1.0; 6]))], true);
    File::new("clip.pt").cut(&std::fs::read(path).unwrap());
}

#[test]
fn every_bit_of_a_zip_but_of_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = valid_torch(folder.path(), false);
    // Nothing tells when a number itself is another: no format keeps a sum of them that PyTorch holds to.
    let numbers = made::floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let start = bytes.windows(numbers.len()).position(|window| window == numbers).unwrap();
    let places = (0..start).chain(start + numbers.len()..bytes.len());
    File::new("w.pth").flip(&bytes, places, &["a", "b"]);
}

#[test]
fn every_bit_of_an_old_file_but_of_its_numbers() {
    let bytes = made::torch_legacy(
        &Pickle::new()
            .open_dict()
            .text("a")
            .tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1])
            .text("b")
            .tensor("FloatStorage", "1", 2, 0, &[2], &[1])
            .close_dict()
            .stop(),
        &[("0", 4, &made::floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])), ("1", 4, &made::floats(&[7.0, 8.0]))],
    );
    File::new("w.pth").flip(&bytes, (0..bytes.len() - 40).chain(bytes.len() - 16..bytes.len() - 8), &["a", "b"]);
}

/// Places and bytes to put there, and perhaps a length to cut to.
fn changes() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)> {
    (
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        prop::option::weighted(0.2, any::<prop::sample::Index>()),
    )
}

fn changed(mut bytes: Vec<u8>, (edits, cut): (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)) -> Vec<u8> {
    for (at, byte) in edits {
        let at = at.index(bytes.len());
        bytes[at] = byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

fn check(name: &str, bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read_all(&path);
}

/// Those that a pickle may have, and a few that it may not.
const INSTRUCTIONS: &[u8] =
    b"(0125NKMJXGqhrjtlde}])asuRQbcio.\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8f\x90\x91\x92\x93\x94\x95";

/// Names and patterns: mostly letters, numbers and wildcards.
const ANY_NAME: &str = "[a-c{}*.0-9é]{0,12}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check("w.safetensors", &bytes);
        check("w.pth", &bytes);
        let mut zip = b"PK\x03\x04".to_vec();
        zip.extend(&bytes);
        zip.extend(b"PK\x05\x06");
        zip.extend(&bytes);
        check("w.pth", &zip);
        let _ = pickle::tensors(&bytes, Path::new("w.pth"));
        let _ = pickle::legacy(&bytes, Path::new("w.pth"));
    }

    #[test]
    fn changed_legacy(changes in changes()) {
        check("w.pth", &changed(valid_legacy(), changes));
    }

    #[test]
    fn changed_modules(changes in changes()) {
        let _ = pickle::tensors(&changed(valid_modules(), changes), Path::new("clip.pt"));
    }

    #[test]
    fn changed_safetensors(changes in changes()) {
        let dir = tempfile::tempdir().unwrap();
        check("w.safetensors", &changed(valid_safetensors(dir.path()), changes));
    }

    #[test]
    fn changed_torch(changes in changes(), deflated: bool) {
        let dir = tempfile::tempdir().unwrap();
        check("w.pth", &changed(valid_torch(dir.path(), deflated), changes));
    }

    #[test]
    fn changed_pickle(changes in changes()) {
        let dir = tempfile::tempdir().unwrap();
        let bytes = changed(valid_pickle(), changes);
        let path = dir.path().join("w.pth");
        // Its checksum is right again, so that what changed gets past the zip.
        made::torch_zip(&path, &bytes, &[("0", &made::floats(&[1.0; 6]))], false);
        read_all(&path);
    }

    #[test]
    fn random_instructions(ops in prop::collection::vec(prop::sample::select(INSTRUCTIONS), 0..200)) {
        let _ = pickle::tensors(&ops, Path::new("w.pth"));
    }

    #[test]
    fn names_of_any_kind(pattern in ANY_NAME, target in ANY_NAME, name in ANY_NAME) {
        let _ = super::NameMap { name: String::new(), pairs: vec![(pattern, target)] }.theirs(&name);
    }
}
