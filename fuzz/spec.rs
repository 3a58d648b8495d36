//! The fuzzer's way in: each input is a spec.

#![no_main]

mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        checks::hold(text);
    }
});
