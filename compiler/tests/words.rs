//! Every word of the language is explained, and the programs that explain them are right.

use lmv_compiler::vocabulary::{find, recipe_field, words};

mod programs;

#[test]
fn every_word_has_a_right_program() {
    for word in words() {
        let (_, program) = word.text.split_once("```lmv\n").unwrap_or_else(|| panic!("{} has no program", word.word));
        let (program, _) = program.split_once("```").unwrap_or_else(|| panic!("{} has an open block", word.word));
        let compiled = programs::check("spec.lmv", program);
        let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
        assert!(compiled.diagnostics.is_empty(), "{}:\n{shown}", word.word);
    }
}

#[test]
fn the_words_that_begin_items_and_the_words_of_freezing_are_among_them() {
    for word in
        ["frozen", "trainable", "pretrained", "random", "residual", "repeat", "shared", "when", "variant", "use"]
    {
        assert!(find(word).is_some(), "{word}");
    }
    for word in ["model", "data", "train", "eval", "seed", "let", "layer", "recipe", "llm", "extern", "names"] {
        assert!(find(word).is_some(), "{word}");
    }
    for word in [">>", "..", "T?", "S?", "mask", "class", "class(n)", "of", "tuple", "tap", "signature", "for"] {
        assert!(find(word).is_some(), "{word}");
    }
    assert!(find("vit_small").is_none());
}

#[test]
fn every_field_of_a_recipe_has_its_paragraph() {
    // What the message for a wrong field lists is what recipes may have.
    let wrong = "model = vit_small >> head\ndata = imagenet\ntrain = deit\ntrain.zzzzzzzz = 1\n";
    let compiled = programs::check("spec.lmv", wrong);
    let said: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    let listed = said.split("it has `").nth(1).and_then(|rest| rest.split("epochs`").next()).expect("a list of fields");
    let fields: Vec<&str> =
        listed.split("`, `").map(|name| name.trim_matches(['`', ',', ' '])).filter(|name| !name.is_empty()).collect();
    assert!(fields.len() >= 13 && fields.contains(&"ema"), "{fields:?}");
    for field in fields {
        assert!(recipe_field(field).is_some(), "{field}");
    }
    assert!(recipe_field("vit_small").is_none());
}
