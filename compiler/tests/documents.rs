//! The programs in the documents are right: every block that is marked as `lmv` compiles.

use std::path::Path;

mod programs;

#[test]
fn programs_in_the_documents_compile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut programs = 0;
    for name in ["README.md", "docs/language.md"] {
        let text = std::fs::read_to_string(root.join(name)).expect("the document is there");
        let mut rest = text.as_str();
        while let Some(start) = rest.find("```lmv\n") {
            let line = text.len() - rest.len() + start;
            let line = text[..line].matches('\n').count() + 2;
            rest = &rest[start + "```lmv\n".len()..];
            let end = rest.find("\n```").expect("a block ends");
            // A declaration of the library stands for itself.
            let program = &rest[..end];
            rest = &rest[end..];
            if program.contains("extern ") {
                continue;
            }
            programs += 1;
            let compiled = programs::check(&format!("line {line} of {}", name.replace('/', " ")), program);
            let wrong: Vec<String> = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
            assert!(wrong.is_empty(), "{name}, line {line}:\n{}", wrong.join("\n"));
        }
    }
    assert!(programs >= 10, "only {programs} programs were found");
}
