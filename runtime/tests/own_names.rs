//! A checkpoint with names of its own, and a spec that says what they are.

mod golden_support;

use golden_support::{Golden, infer, write};
use lmv_compiler::passes::Passes;

#[test]
fn a_table_in_the_spec_is_used() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let tensor = |shape: &[usize], values: &[f32]| Golden { shape: shape.to_vec(), values: values.to_vec() };
    write(&path("in.safetensors"), &[("x", &tensor(&[1, 2], &[1.0, 10.0]))]);
    let (first, second) = (tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), tensor(&[1, 2], &[5.0, -1.0]));
    write(&path("theirs.safetensors"), &[("trunk.0.kernel", &first), ("trunk.1.kernel", &second)]);
    let spec = "names of_a_colleague {
  \"steps.first.weight\" = \"trunk.0.kernel\"
  \"steps.second.weight\" = \"trunk.1.kernel\"
}
let steps = linear(2, 2, bias = false) as first >> linear(2, 1, bias = false) as second
model(x : [2]) { x >> frozen(pretrained(\"theirs\", steps as steps)) }";
    let theirs = path("theirs.safetensors");
    let found = infer(spec, Passes::NONE, &[("theirs", &theirs)], None, &path("in.safetensors"), &[]);
    // [1 + 20, 3 + 40], then 5 · 21 - 43.
    assert_eq!(found["output"].values, [62.0]);
}
