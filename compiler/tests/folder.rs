//! A spec with its imports as they stand in a folder of their own.

use std::collections::BTreeMap;

use lmv_compiler::{Compiled, Spec, Which, check};

fn files(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn checked(name: &str, text: &str, files: &BTreeMap<String, String>) -> Compiled {
    let compiled = check(&Spec { name, text, files, overrides: &[], which: Which::All });
    let wrong: Vec<String> = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    compiled
}

/// Checks what came of a folder, as if it lay at `runs/a-1`.
fn again(folder: &[(String, String)]) -> Compiled {
    let files = folder.iter().map(|(path, text)| (format!("runs/a-1/{path}"), text.clone())).collect();
    assert_eq!(folder[0].0, "spec.lmv");
    checked("runs/a-1/spec.lmv", &folder[0].1, &files)
}

#[test]
fn a_spec_alone_is_kept_as_it_is() {
    let text = "// A comment.\nuse vision.vit { block }\nmodel(x : [4, 8]) { x >> block(8, 2) }\n";
    let folder = checked("specs/a.lmv", text, &files(&[])).folder();
    assert_eq!(folder, [("spec.lmv".to_owned(), text.to_owned())]);
}

#[test]
fn imports_from_everywhere_come_into_one_folder_and_mean_the_same() {
    let text = "use \"../sizes.lmv\" { width }\nuse \"./parts/sizes.lmv\" { depth } // here\nuse \"./spec.lmv\"\n\
                model = vit(d = width, depth = depth, heads = 2) >> tail\n";
    let files = files(&[
        ("sizes.lmv", "let width = 32\n"),
        ("specs/parts/sizes.lmv", "use \"../../sizes.lmv\" { width as base }\nlet depth = base / 16\n"),
        ("specs/spec.lmv", "let tail = head\nseed = 4\n"),
    ]);
    let before = checked("specs/a.lmv", text, &files);
    let folder = before.folder();
    let paths: Vec<&str> = folder.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["spec.lmv", "imports/sizes.lmv", "imports/sizes-2.lmv", "imports/spec.lmv"]);
    assert_eq!(
        folder[0].1,
        "use \"./imports/sizes.lmv\" { width }\nuse \"./imports/sizes-2.lmv\" { depth } // here\nuse \
         \"./imports/spec.lmv\"\nmodel = vit(d = width, depth = depth, heads = 2) >> tail\n"
    );
    assert_eq!(folder[2].1, "use \"./sizes.lmv\" { width as base }\nlet depth = base / 16\n");
    let after = again(&folder);
    let (before, experiment) = (before.experiment.expect("a model"), after.experiment.as_ref().expect("a model"));
    assert_eq!(before.graph.parameter_counts(), experiment.graph.parameter_counts());
    assert_eq!(experiment.seed, Some(4));
    assert_eq!(after.folder(), folder, "a folder of a folder is the same");
}
