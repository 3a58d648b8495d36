//! The fuzzer's way in: each input is a checkpoint of PyTorch, old or new, or of TorchScript. A pickle by itself is put
//! into a zip first, whose sums are then right, so that the fuzzer gets past them.

#![no_main]

#[allow(dead_code)]
#[path = "../runtime/src/error.rs"]
mod error;
mod files;
#[allow(dead_code, unused_imports)]
#[path = "../runtime/src/weights/mod.rs"]
mod weights;

use std::io::{Cursor, Write};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9";
    if bytes.starts_with(b"PK") || bytes.starts_with(MAGIC) {
        return files::hold("w.pth", bytes);
    }
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("w/data.pkl", bytes), ("w/data/0", &[7; 128]), ("w/data/1", &[9; 16])] {
        zip.start_file(name, stored).expect("an entry");
        zip.write_all(content).expect("its bytes");
    }
    files::hold("w.pth", &zip.finish().expect("a zip").into_inner());
});
