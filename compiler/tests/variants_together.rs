//! A spec that is checked with all its variants, which share what they have in common, is told the same of each as when
//! the variant is checked alone. The first variant of each case here is right, so that its layers are known when the
//! second one comes, which is wrong.

use std::collections::BTreeSet;

use lmv_compiler::files::NoFiles;
use lmv_compiler::{Compiled, Spec, Which, check};

/// A layer that another can be in, with parameters.
const BLOCK: &str = "layer block(d) : [.., d] -> [.., d] { linear(d, d) >> gelu }\n";

fn checked(text: &str, which: Which<'_>) -> Compiled {
    check(&Spec { name: "a.lmv", text, files: &NoFiles, overrides: &[], which })
}

/// What is wrong: code, message, and the bytes of its place.
fn wrong(compiled: &Compiled) -> BTreeSet<(String, String, usize, usize)> {
    let told = compiled.diagnostics.iter().map(|diagnostic| {
        let at = diagnostic.labels[0].origin.span;
        (diagnostic.code.as_str().to_owned(), diagnostic.message.clone(), at.start, at.end)
    });
    told.collect()
}

/// The codes of what is wrong with the variant `second`, which is the same together with the right `first` and alone.
fn second_is_wrong(text: &str) -> Vec<String> {
    let alone = |name| checked(text, Which::Variant(name));
    assert_eq!(wrong(&alone("first")), BTreeSet::new(), "{text}");
    let (second, together) = (wrong(&alone("second")), checked(text, Which::All));
    assert_eq!(wrong(&together), second, "{text}");
    for diagnostic in &together.diagnostics {
        let shown = diagnostic.render(&together.sources, false);
        assert!(shown.contains("second"), "which variant it is in is not said:\n{shown}");
    }
    second.into_iter().map(|(code, ..)| code).collect()
}

/// The variants `first` and `second`, each a model of one input, behind some definitions.
fn two(definitions: &str, first: &str, second: &str) -> String {
    let variant = |name: &str, body: &str| format!("variant {name} {{ model(x : [4, 8]) {{ {body} }} }}\n");
    format!("{definitions}{}{}", variant("first", first), variant("second", second))
}

#[test]
fn streams_of_other_shapes() {
    let text = two(BLOCK, "x >> block(8)", "x >> linear(8, 16) >> block(8)");
    assert_eq!(second_is_wrong(&text), ["E0301"]);
    let of_four = "layer of_four : [4, d] -> [4, d] { gelu }\nlayer any : [T, d] -> [T, d] { of_four }\n";
    let text = two(of_four, "x >> any", "x >> class_token(8) >> any");
    assert_eq!(second_is_wrong(&text), ["E0301", "E0305"]);
}

#[test]
fn other_arguments() {
    let wide = "layer wide(d, inner) : [.., d] -> [.., d] { linear(d, inner) >> linear(16, d) }\n";
    let text = two(wide, "x >> wide(8, 16)", "x >> wide(8, 12)");
    assert_eq!(second_is_wrong(&text), ["E0301"]);
    let around = "layer around(f) : [.., d] -> [.., d] { f >> linear(8, 8) }\n";
    let text = two(around, "x >> around(gelu)", "x >> around(linear(8, 12))");
    assert_eq!(second_is_wrong(&text), ["E0301"]);
    let narrow = "layer narrow : [.., d] -> [.., 6] { linear(8, 6) }\n";
    let text = two(&format!("{around}{narrow}"), "x >> around(gelu)", "x >> around(narrow)");
    assert_eq!(second_is_wrong(&text), ["E0301"]);
}

#[test]
fn other_words() {
    let text = two(BLOCK, "x >> block(8)", "x >> frozen(block(8))");
    assert_eq!(second_is_wrong(&text), ["E0502"]);
    let text = two(BLOCK, "x >> frozen(random(block(8)))", "x >> frozen(block(8))");
    assert_eq!(second_is_wrong(&text), ["E0502"]);
}

#[test]
fn nothing_to_train() {
    let variant = |name: &str, head: &str| {
        let vit = "vit(image = 32, patch = 8, d = 16, depth = 1, heads = 2)";
        format!("variant {name} {{ model = frozen(random({vit})) >> {head} }}\n")
    };
    let settings = "data = shapes\ntrain = one_cycle\n";
    let (trained, frozen) = (variant("first", "head"), variant("second", "frozen(random(head))"));
    assert_eq!(second_is_wrong(&format!("{settings}{trained}{frozen}")), ["E0503"]);
}

#[test]
fn what_no_output_depends_on() {
    let split = "layer split(d) : [.., d] -> ([.., d], [.., d]) { (linear(d, d), linear(d, d)) }\n";
    let text = two(split, "x >> split(8) >> add", "let (a, b) = x >> split(8)\na");
    assert_eq!(second_is_wrong(&text), ["E0504"]);
    let left = "layer left(d) : ([.., d], [.., d]) -> [.., d] { let (a, b) = input\na >> linear(d, d) }\n";
    let text = two(left, "(x, x >> gelu) >> left(8)", "(x, x >> linear(8, 8)) >> left(8)");
    assert_eq!(second_is_wrong(&text), ["E0504"]);
    let lost = "layer lost(d) : [.., d] -> [.., d] { let a = input >> linear(d, d)\ninput }\n";
    let text = two(left, "(x, x) >> left(8)", "(x, x >> linear(8, 8)) >> left(8)");
    assert_eq!(second_is_wrong(&text), ["E0504"]);
    let text = two(lost, "x >> frozen(random(lost(8)))", "x >> lost(8)");
    assert_eq!(second_is_wrong(&text), ["E0504"]);
}

#[test]
fn what_is_shared_with_other_uses() {
    let shared = "let f = shared(linear(8, 8))\nlayer with_f(d) : [.., d] -> [.., d] { f >> gelu }\n";
    let text = two(shared, "x >> with_f(8)", "x >> with_f(8) >> frozen(random(f))");
    assert_eq!(second_is_wrong(&text), ["E0501"]);
}

#[test]
fn other_data() {
    let text = "layer last(d) : [.., d] -> [10] { mean_tokens >> linear(d, data.classes) }
model = vit(image = 32, patch = 8, d = 16, depth = 1, heads = 2) >> last(16)
data = image_folder(root = path(\"a\"), image = 32, classes = 10)
variant first { seed = 1 }
variant second { data.classes = 12 }
";
    assert_eq!(second_is_wrong(text), ["E0305"]);
}

#[test]
fn what_is_wrong_in_both() {
    let lost = "layer lost(d) : [.., d] -> [.., d] { let a = input >> linear(d, d)\ninput }\n";
    let together = checked(&two(lost, "x >> lost(8)", "x >> lost(8)"), Which::All);
    assert_eq!(wrong(&together).len(), 2, "one for each, at its place");
    // The second `any` is wrong, and the third one in the same way, of which nothing more is said.
    let fives = "layer fives : [4, d] -> [5, d] { frozen(random(class_token(d))) }\n";
    let any = format!("{fives}layer any : [T, d] -> [5, d] {{ fives }}\n");
    let together = checked(&two(&any, "x >> any >> any >> any", "x >> any >> any >> any"), Which::All);
    let [only] = together.diagnostics.as_slice() else { panic!("{:?}", wrong(&together)) };
    let shown = only.render(&together.sources, false);
    assert!(shown.contains("in the variants `first` and `second`"), "{shown}");
}

#[test]
fn more_layers_than_there_may_be() {
    let many = "layer many(d) : [.., d] -> [.., d] { repeat(500) { gelu } }\n";
    let text = two(many, "x >> many(8)", "x >> repeat(201) { many(8) }");
    assert_eq!(second_is_wrong(&text), ["E0702"]);
}

#[test]
fn deeper_than_it_may_be() {
    let around = |inner: &str| format!("{}{inner}{}", "residual(".repeat(60), ")".repeat(60));
    let deep = format!("layer deep(d) : [.., d] -> [.., d] {{ {} }}\n", around("gelu"));
    let text = two(&deep, "x >> deep(8)", &format!("x >> {}", around("deep(8)")));
    assert_eq!(second_is_wrong(&text), ["E0702"]);
}
