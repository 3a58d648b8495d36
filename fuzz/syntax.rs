//! The fuzzer's way in: each input is read and laid out, and not compiled, which is a hundred times as fast.

#![no_main]

mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        checks::syntax(text);
    }
});
