//! The library, checked by itself.

use lmv_compiler::library::modules;
use lmv_grammar::ast::{Fact, ItemKind};

/// Every layer gives what its signature says, whatever its arguments are.
#[test]
fn every_layer_of_the_library_is_right_by_itself() {
    let checked = lmv_compiler::check_library();
    let wrong: Vec<String> = checked.diagnostics.iter().map(|d| d.render(&checked.sources, false)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `gain` and `shift` are parameters of the layer, and are there by one argument.
#[test]
fn what_a_layer_ends_in_is_its_own() {
    let mut ends = Vec::new();
    for item in modules().iter().flat_map(|module| &module.tree().items) {
        let ItemKind::Extern { name: layer, facts, .. } = &item.kind else { continue };
        let there_by = |wanted: &str| {
            facts.iter().find_map(|fact| match fact {
                Fact::Weight { name, when: Some(when), .. } if name.text == wanted => Some(&when.kind),
                _ => None,
            })
        };
        for fact in facts {
            let (Fact::Gain(name) | Fact::Shift(name)) = fact else { continue };
            ends.push(format!("{} {}", layer.text, name.text));
            let switch = there_by(&name.text);
            assert!(switch.is_some_and(|switch| there_by("weight") == Some(switch)), "{}: {}", layer.text, name.text);
        }
    }
    ends.sort();
    assert_eq!(ends, ["layer_norm bias", "layer_norm weight", "rms_norm weight"]);
}
