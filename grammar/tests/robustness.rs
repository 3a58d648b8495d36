//! Text that nobody would write: it is read without a panic, without a stack that runs out, and in a time that grows no
//! faster than the text. Where it did, the tests here would not come to an end.

use lmv_grammar::ast::{ExprKind, ItemKind};
use lmv_grammar::{FormatError, MAX_BRACKETS, MAX_DEPTH, MAX_ERRORS, format, parse, parse_expr};
use proptest::prelude::*;

#[test]
fn deep_brackets_are_an_error() {
    for (open, close) in [("(", ")"), ("[", "]"), ("f(", ")"), ("{ a: ", "}"), ("repeat(2) {", "}"), ("x[", "]")] {
        let nested = |depth: usize| format!("model = {}a{}\ndata = b\n", open.repeat(depth), close.repeat(depth));
        assert!(parse(&nested(MAX_BRACKETS - 1)).errors.is_empty(), "{open}");
        let parsed = parse(&nested(10_000));
        assert_eq!(parsed.file.items.len(), 1, "{open}");
        assert!(parsed.errors[0].message.starts_with("nested too deeply"), "{:?}", parsed.errors);
        let parsed = parse(&format!("model = {}", open.repeat(10_000)));
        assert!(parsed.errors[0].message.starts_with("nested too deeply"), "{:?}", parsed.errors);
    }
    let types = format!("extern layer f : {}a{}", "(".repeat(MAX_BRACKETS), ")".repeat(MAX_BRACKETS));
    assert!(parse(&types).errors.is_empty());
    let brackets = format!("{}a{}", "(".repeat(MAX_BRACKETS), ")".repeat(MAX_BRACKETS));
    assert!(parse_expr(&brackets).is_ok());
}

#[test]
fn a_hundred_thousand_parentheses_are_one_error() {
    for text in [
        format!("model = {}a{}\n", "(".repeat(100_000), ")".repeat(100_000)),
        format!("extern layer f : {}[a]{}\n", "(".repeat(100_000), ")".repeat(100_000)),
        format!("variant v for i in {}", "[".repeat(100_000)),
    ] {
        let parsed = parse(&text);
        assert_eq!(parsed.errors.len(), 1);
        assert!(parsed.errors[0].message.starts_with("nested too deeply"), "{:?}", parsed.errors);
        assert_eq!(format(&text), Err(FormatError::Syntax(parsed.errors)));
    }
}

#[test]
fn long_paths_are_an_error() {
    let path = |dots: usize| format!("{}a", "a.".repeat(dots));
    for text in [format!("use {}", path(100_000)), format!("{} = 1", path(100_000))] {
        let parsed = parse(&text);
        assert_eq!(parsed.errors.len(), 1);
        assert!(parsed.errors[0].message.starts_with("too many operators, calls or fields"), "{:?}", parsed.errors);
    }
    assert!(parse(&format!("use {}\n{} = 1\n", path(200), path(200))).errors.is_empty());
}

#[test]
fn long_chains_are_an_error() {
    for link in ["+ a", "** a", "or a", ".b", "(b)", "[0]", "with { b: c }"] {
        let chain = |links: usize| format!("a {}", format!("{link} ").repeat(links));
        assert!(parse_expr(&chain(MAX_DEPTH / 2)).is_ok(), "{link}");
        let error = parse_expr(&chain(100_000)).expect_err(link);
        assert!(error.message.starts_with("too many operators"), "{error:?}");
    }
    let error = parse_expr(&format!("{}a", "- ".repeat(100_000))).expect_err("signs");
    assert!(error.message.starts_with("too many operators"), "{error:?}");
    // Neither the brackets nor a chain are too long here, but together they are.
    let sums = (0..90).fold("a".to_owned(), |inner, _| format!("({inner}{})", " + a".repeat(200)));
    let error = parse_expr(&sums).expect_err("sums in sums");
    assert!(error.message.starts_with("nested too deeply"), "{error:?}");
}

/// Each of these would take minutes if time grew with the square of the length; that is measured, and not held here.
#[test]
fn long_sources_of_any_kind_are_read_to_their_end() {
    let pipe = |steps: usize| format!("model = a{}", "\n  >> linear(384, 384, bias = false)".repeat(steps));
    let parsed = parse(&pipe(50_000));
    assert!(parsed.errors.is_empty());
    let ItemKind::Setting { value, .. } = &parsed.file.items[0].kind else { panic!("a setting") };
    assert!(matches!(&value.kind, ExprKind::Pipe(steps) if steps.len() == 50_001));

    for source in [
        pipe(20_000),
        "model = a >>\n".repeat(20_000),
        "model = f(\n".repeat(20_000),
        "a b c d\n".repeat(20_000),
        "$ ".repeat(20_000),
        "1 ".repeat(20_000),
        "1\n".repeat(20_000),
        "#\n".repeat(20_000),
        ")\n".repeat(20_000),
        "(]\n".repeat(20_000),
        "/// a\n".repeat(20_000),
        "//! a\n".repeat(20_000),
        "let ".repeat(20_000),
        "use a {\n".repeat(20_000),
        "variant a for i in (\n".repeat(20_000),
        "variant a { model = a\n".repeat(20_000),
        "a of b\n".repeat(20_000),
        "// a\n".repeat(20_000),
        "seed = 1 // a\n".repeat(20_000),
        format!("model = a{}", " // why\n  >> b".repeat(20_000)),
        format!("eval = [{}b]", "a, // why\n".repeat(20_000)),
        format!("variant v {{\n{}}}", "seed = 1\n".repeat(20_000)),
        "\"".repeat(50_000),
        "'".repeat(50_000),
        "\u{FEFF}".repeat(20_000),
        format!("model = {}", "repeat(".repeat(90)),
        format!("model = {}", "((a, ".repeat(45)),
        format!("model = [{}", "a, ".repeat(20_000)),
        format!("model = {{{}", "a: f(b), ".repeat(20_000)),
    ] {
        let formatted = format(&source);
        let parsed = parse(&source);
        assert_eq!(formatted.is_ok(), parsed.errors.is_empty(), "{}", &source[..source.len().min(30)]);
    }
}

#[test]
fn errors_are_capped_and_items_are_not() {
    let parsed = parse(&"model = a >>\ndata = b\n".repeat(100));
    assert_eq!(parsed.errors.len(), MAX_ERRORS);
    assert_eq!(parsed.file.items.len(), 100);
}

/// Items that parse, of a line or of several.
const ITEMS: &[&str] = &[
    "model = vit\n     >> linear(384, 4096, bias = false)\n     >> head\n",
    "data = imagenet(root = path(\"imagenet\"))\n",
    "/// A block.\nlayer block(d, heads = 4) : [T?, d] -> [T, d] {\n  let a = attention(d)\n\n  a\n    >> mlp(d)\n}\n",
    "extern layer linear(in, out) : [.., in] -> [.., out]\n",
    "recipe deit(lr = 1e-3) {\n  loss = cross_entropy(0.1)\n  mix = mixup(0.8) or cutmix(1.0)\n}\n",
    "llm tiny = llama(dim = 64)\n",
    "names hf {\n  \"a\" = \"b\"\n}\n",
    "eval = [top1, top5]\n",
    "use vision.vit { vit, block as vit_block }\n",
    "variant layer for i in 0..32 {\n  model = around(frozen(llama7b.layer[i]))\n  train.epochs = 1\n}\n",
];

/// Pieces that lead further into the grammar than random characters do.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "model", "layer", "let", "extern", "use", "variant", "for", "in", "of", "recipe", "names", "llm", "repeat",
        "with", "as", "or", "x", "é", "3", "1.5", "1e9", "\"s\"", "\"", "'", "#", ";", "///", "//!", "//", "\n",
        "\r\n", " ", "\t", "(", ")", "[", "]", "{", "}", ">>", "->", "=", ":", ",", ".", "..", "?", "+", "-", "*",
        "**", "/", "\u{FEFF}", "\\", "True",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(" ").replace(" \n ", "\n"))
}

fn spans_are_sound(source: &str) {
    let parsed = parse(source);
    let sound = |start: usize, end: usize| start <= end && source.get(start..end).is_some();
    for error in &parsed.errors {
        assert!(sound(error.span.start, error.span.end), "{error:?} in {source:?}");
        assert!(!error.message.contains('_') || source.contains('_'), "names a rule: {error:?}");
    }
    for item in &parsed.file.items {
        assert!(sound(item.span.start, item.span.end), "{item:?} in {source:?}");
    }
    // The spans inside of items, by way of what `Debug` writes.
    let tree = format!("{:?}", parsed.file);
    for span in tree.split("Span { start: ").skip(1) {
        let numbers: Vec<usize> =
            span.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).take(2).collect();
        assert!(sound(numbers[0], numbers[1]), "{numbers:?} in {source:?}");
    }
    assert!(parsed.errors.len() <= MAX_ERRORS);
    assert!(parsed.errors.is_sorted_by_key(|error| error.span.start), "{:?}", parsed.errors);
    let _ = parse_expr(source);
}

proptest! {
    #[test]
    fn any_text_is_read(source in any::<String>()) {
        spans_are_sound(&source);
    }

    #[test]
    fn any_tokens_are_read(source in pieces()) {
        spans_are_sound(&source);
        spans_are_sound(&format!("model = {source}"));
        spans_are_sound(&format!("{}{source}\n{}", ITEMS[0], ITEMS[2]));
    }

    #[test]
    fn an_edit_leaves_the_other_items_alone(
        edited in 0..ITEMS.len(),
        at in any::<prop::sample::Index>(),
        removed in 0usize..4,
        inserted in prop::sample::select(vec!["", "(", ")", "{", "}", "\"", "'", "#", ";", "é", ">>", "=", ":", "3", " x ", "//"]),
    ) {
        let item = ITEMS[edited];
        // The newline at the end parts the items, and the first character puts the item where items begin.
        let at = 1 + at.index(item.len() - 1);
        let end = (at + removed).min(item.len() - 1).max(at);
        let broken = format!("{}{inserted}{}", &item[..at], &item[end..]);
        // Documentation that is one slash short divides what stands above it.
        prop_assume!(!broken.starts_with('/') || broken.starts_with("//"));
        let mut items = ITEMS.to_vec();
        items[edited] = &broken;
        let source = items.concat();
        spans_are_sound(&source);
        let parsed = parse(&source);
        let mut start = 0;
        for (i, text) in items.iter().enumerate() {
            let own = start..start + text.len();
            start = own.end;
            if i != edited {
                let alone = parse(text).file.items[0].clone();
                let found = parsed.file.items.iter().find(|item| own.contains(&item.span.start));
                let found = found.unwrap_or_else(|| panic!("no {text:?} in {source:?}"));
                prop_assert_eq!(found.span.end - found.span.start, alone.span.end - alone.span.start, "{}", source);
                prop_assert_eq!(&found.doc, &alone.doc);
            }
        }
    }
}
