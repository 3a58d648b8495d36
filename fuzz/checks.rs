//! What must hold for any text. The fuzzer tries it on texts of its own, `compiler/tests/found.rs` on those with which
//! it once did not hold.

use lmv_compiler::compile;
use lmv_grammar::{MAX_ERRORS, format, parse, parse_expr, print};

/// Panics if something does not hold for `text`.
#[allow(dead_code)]
pub fn hold(text: &str) {
    syntax(text);
    compiled(text);
}

/// What holds of the reading and the layout.
pub fn syntax(text: &str) {
    let parsed = parse(text);
    assert!(parsed.errors.len() <= MAX_ERRORS);
    for error in &parsed.errors {
        assert!(text.get(error.span.start..error.span.end).is_some(), "{error:?}");
    }
    for item in &parsed.file.items {
        assert!(text.get(item.span.start..item.span.end).is_some(), "{item:?}");
    }
    let _ = parse_expr(text);

    // A tree that is printed is read as itself.
    let printed = print(&parsed.file);
    let again = parse(&printed);
    assert!(again.errors.is_empty(), "{:?}\n{printed}", again.errors);
    assert_eq!(print(&again.file), printed);

    // A text without errors can be laid out, and stays as it is then.
    if parsed.errors.is_empty() {
        let once = format(text).expect("a layout that keeps everything");
        let twice = format(&once);
        assert_eq!(twice.as_ref(), Ok(&once));
    }
}

/// What holds of the check: what the compiler says lies inside of what it read, and can be shown.
#[allow(dead_code)]
fn compiled(text: &str) {
    let compiled = compile("spec.lmv", text, &[]);
    let something_to_run = compiled.experiment.is_some() || !compiled.variants.is_empty();
    assert!(compiled.experiment.is_none() || compiled.diagnostics.is_empty());
    assert!(something_to_run || !compiled.diagnostics.is_empty());
    for diagnostic in &compiled.diagnostics {
        for label in &diagnostic.labels {
            let source = &compiled.sources.get(label.origin.file).text;
            assert!(source.get(label.origin.span.start..label.origin.span.end).is_some(), "{diagnostic:?}");
        }
        diagnostic.render(&compiled.sources, false);
        diagnostic.to_json(&compiled.sources);
    }
}
