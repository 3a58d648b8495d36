//! Whatever the bytes of a file, opening and reading it ends in tensors or in a failure, and never in a panic.

use std::path::Path;

use proptest::prelude::*;

use super::made::{self, Pickle};
use super::{Checkpoint, pickle};

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
