//! The library, checked by itself.

/// Every layer gives what its signature says, whatever its arguments are.
#[test]
fn every_layer_of_the_library_is_right_by_itself() {
    let checked = lmv_compiler::check_library();
    let wrong: Vec<String> = checked.diagnostics.iter().map(|d| d.render(&checked.sources, false)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
