//! What must hold for the bytes of any file of weights. The readers alone are needed for it, so the fuzzers take their
//! sources and not the runtime, which would bring Burn along.

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::weights::{Checkpoint, LlmSizes, check_config, settings_left_open};

/// A place that files are written to, in memory where the machine has such a folder; one for each process.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = folder.join(format!("lmv-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder to write to");
    folder
});

/// Panics if something does not hold for a file of that name with these bytes.
pub fn hold(name: &str, bytes: &[u8]) {
    /// Tensors that are read of one file: all of them go the same way.
    const READ: usize = 16;
    let path = FOLDER.join(name);
    std::fs::write(&path, bytes).expect("a file");
    let checkpoint = match Checkpoint::open(&path) {
        Ok(checkpoint) => checkpoint,
        Err(failure) => {
            assert_eq!(failure.path.as_ref(), Some(&path), "{failure}");
            return;
        }
    };
    checkpoint.notes().for_each(|note| assert!(!note.is_empty()));
    let sizes = LlmSizes {
        family: "llama".into(),
        dim: 64,
        heads: 4,
        kv_heads: 2,
        ffn: 192,
        layers: 1,
        eps: 1e-5,
        norm_first: true,
        theta: Some(1e4),
        left_open: ["eps", "theta", "scaling"].map(str::to_owned).into(),
        ..LlmSizes::default()
    };
    let _ = settings_left_open(&checkpoint, &sizes);
    let _ = check_config(&checkpoint, "toy", &sizes);
    for name in checkpoint.names().take(READ) {
        let read = checkpoint.read(name);
        let hash = checkpoint.hash_tensor(name);
        assert_eq!(read.is_ok(), hash.is_ok());
        match read {
            Ok(read) => {
                let info = checkpoint.info(name).expect("what was read has a type and a shape");
                assert_eq!((info.dtype, &info.shape), (read.dtype, &read.shape));
                assert_eq!(info.bytes(), Some(read.bytes.len()));
                assert_eq!(checkpoint.read_f32(name).is_ok(), info.dtype.is_number());
                if info.dtype.is_number() {
                    let (numbers, again) = checkpoint.read_hashed(name).expect("it was read before");
                    assert_eq!(info.elements(), Some(numbers.len()));
                    assert_eq!(Ok(&again), hash.as_ref());
                    // The same without a copy, where there is such a way.
                    let (halves, third) = checkpoint.read_numbers(name, true).expect("it was read before");
                    let bits = |numbers: Vec<f32>| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                    assert_eq!((bits(halves.into_f32()), third), (bits(numbers), again));
                }
            }
            Err(failure) => {
                assert_eq!(failure.path.as_ref(), Some(&path), "{failure}");
                assert!(checkpoint.read_f32(name).is_err());
            }
        }
    }
}
