//! The fuzzer's way in: each input is a file of safetensors.

#![no_main]

#[allow(dead_code)]
#[path = "../runtime/src/error.rs"]
mod error;
mod files;
#[allow(dead_code, unused_imports)]
#[path = "../runtime/src/weights/mod.rs"]
mod weights;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| files::hold("w.safetensors", bytes));
