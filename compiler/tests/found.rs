//! The texts with which a fuzzer once broke something; `fuzz/run` looks for more of them.

#[path = "../../fuzz/checks.rs"]
mod checks;

use std::path::Path;

#[test]
fn what_was_found_once_does_not_break_anything_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/found");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("fuzz/found is there") {
        let path = entry.expect("a file of fuzz/found").path();
        let bytes = std::fs::read(&path).expect("a file of fuzz/found is there");
        println!("{}", path.display());
        checks::hold(&String::from_utf8_lossy(&bytes));
        count += 1;
    }
    assert!(count > 0, "fuzz/found is empty");
}
