//! Weights that are part of the program.

/// A file of safetensors for each name of weights: `runtime/weights/NAME/`, where a README says how they were made.
const FILES: &[(&str, &[u8])] = &[("tiny_lm", include_bytes!("../../weights/tiny_lm/model.safetensors"))];

/// The file of weights of this name, if it is part of the program.
pub fn file(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}
