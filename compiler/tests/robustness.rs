//! Specs that nobody would write: each is checked in time, without a panic, on a stack of 2 MiB.

use std::time::{Duration, Instant};

use std::collections::BTreeMap;

use lmv_compiler::{Compiled, Spec, Which, check};
use proptest::prelude::*;

/// Compiles and shows everything; the number of errors.
fn survives(text: &str) -> usize {
    survives_with(text, &BTreeMap::from([("a.lmv".to_owned(), SPEC.to_owned())]))
}

/// The same of a spec that may import these files.
fn survives_with(text: &str, files: &BTreeMap<String, String>) -> usize {
    let start = Instant::now();
    let compiled: Compiled = check(&Spec { name: "spec.lmv", text, files, overrides: &[], which: Which::All });
    for diagnostic in &compiled.diagnostics {
        let shown = diagnostic.render(&compiled.sources, false);
        assert!(!shown.is_empty());
        diagnostic.to_json(&compiled.sources);
    }
    let right = compiled.experiment.is_some() || !compiled.variants.is_empty();
    assert!(compiled.experiment.is_none() || compiled.diagnostics.is_empty(), "{text}");
    assert!(right || !compiled.diagnostics.is_empty(), "{text}");
    compiled.folder();
    let took = start.elapsed();
    // Two bounds beyond what any case takes alone, for a machine that does other things as well.
    assert!(took < Duration::from_secs(20), "took {took:?}: {}", text.chars().take(200).collect::<String>());
    compiled.diagnostics.len()
}

const MODEL: &str = "model = vit_small >> head\n";

/// `n` lines, each made from its number and the one before it.
fn chain(n: usize, line: impl Fn(usize, usize) -> String) -> String {
    (1..=n).map(|i| line(i, i - 1)).collect()
}

#[test]
fn values_that_double() {
    for (first, line) in [
        ("(gelu, gelu)", "(aP, aP)"),
        ("[1, 1]", "[aP, aP]"),
        ("gelu", "aP >> aP"),
        ("repeat(0) { gelu }", "aP >> aP"),
        ("repeat(1) { input }", "aP >> aP"),
        ("mixup(1.0)", "aP or aP"),
        ("data.classes", "aP + aP"),
        ("1", "aP + aP"),
        ("2", "aP ** aP"),
    ] {
        let lines = chain(80, |i, before| format!("let a{i} = {}\n", line.replace('P', &before.to_string())));
        let text = format!("let a0 = {first}\n{lines}model = vit_small >> a80 >> head\n");
        assert!(survives(&text) > 0, "{first}");
    }
}

#[test]
fn long_chains_of_definitions() {
    for line in ["aP >> gelu", "(aP, gelu)", "frozen(aP)", "residual(aP)", "repeat(2) { aP }"] {
        let line = |i: usize, before: usize| format!("let a{i} = {}\n", line.replace('P', &before.to_string()));
        survives(&format!("let a0 = gelu\n{}{MODEL}", chain(5_000, line)));
        let inside = chain(5_000, |i, before| format!("  {}", line(i, before)));
        survives(&format!("model(x : [4, 8]) {{\n  let a0 = gelu\n{inside}  x >> a5000\n}}\n"));
    }
    let streams = chain(5_000, |i, before| format!("  let x{i} = x{before} >> gelu\n"));
    assert_eq!(survives(&format!("model(x0 : [4, 8]) {{\n{streams}  x5000\n}}\n")), 0);
    let arguments = chain(5_000, |i, before| format!("  let x{i} = x{before} >> plus(x{before})\n"));
    let plus = "layer plus(other) : [..] -> [..] { (input, other) >> add }\n";
    survives(&format!("{plus}model(x0 : [4, 8]) {{\n{arguments}  x5000\n}}\n"));
}

#[test]
fn many_errors() {
    survives(&chain(5_000, |i, before| format!("let a{i} = b{before}\n")));
    survives(&chain(5_000, |i, _| format!("setting{i} = {i}\n")));
    survives(&format!("model = {}vit_small", "linear(1, 2) >> ".repeat(5_000)));
}

#[test]
fn definitions_inside_one_another_in_deep_brackets() {
    let (open, close) = ("[".repeat(90), "]".repeat(90));
    survives(&format!("let f(x) = {open}f(x){close}\nlet a = f(1)\n{MODEL}"));
    survives("layer f(g) : [..] -> [..] { residual(g >> f(f(g))) }\nmodel = vit_small >> f(gelu) >> head\n");
    survives(
        "layer f(g) : [..] -> [..] { repeat(2) { g >> f(repeat(2) { g }) } }\nmodel = vit_small >> f(gelu) >> head\n",
    );
    survives("let f(g) = g(g)\nlet h(g) = f(f(g))\nmodel = vit_small >> h(h) >> head\n");
    survives(&format!("model = vit_small >> {}gelu{} >> head\n", "residual(".repeat(90), ")".repeat(90)));
}

#[test]
fn variants_without_number() {
    let around = "let around(n) = vit_small >> repeat(n) { linear(384, 384) } >> head\n";
    for family in [
        "variant a for i in 0..10**18 { model = around(i) }",
        "variant a for i in 0 - 10**18..10**18 { model = around(i) }",
        "variant a for i in 0..1000 { model = around(10**4) }",
        "variant a for i in 0..1000 { model = around(10**18) }",
        "variant a for i in 0..a { model = around(i) }",
        "variant a for i in [i] { model = around(i) }",
    ] {
        assert!(survives(&format!("{around}{family}\n")) > 0, "{family}");
    }
    assert_eq!(survives(&format!("{around}variant a for i in 0..1000 {{ model = around(1) }}\n")), 0);
    let many = chain(3_000, |i, before| format!("variant a{i} {{ model = around({}) }}\n", before % 3));
    survives(&format!("{around}{many}"));
}

#[test]
fn files_without_number() {
    let files = |line: &dyn Fn(usize) -> String| -> BTreeMap<String, String> {
        (0..500).map(|i| (format!("f{i}.lmv"), line(i))).collect()
    };
    // In a row, in a circle, and each the two before it.
    let row = files(&|i| format!("use \"./f{}.lmv\"\nlet a{i} = 1\n", i + 1));
    assert!(survives_with("use \"./f0.lmv\"\nmodel = vit_small >> head\n", &row) > 0);
    let round = files(&|i| format!("use \"./f{}.lmv\"\n", (i + 1) % 20));
    assert!(survives_with("use \"./f0.lmv\"\nmodel = vit_small >> head\n", &round) > 0);
    let two = files(&|i| match i {
        0 | 1 => format!("model = vit_small >> head\nlet a{i} = 1\nvariant v{i} {{ seed = 1 }}\n"),
        _ => format!("use \"./f{}.lmv\"\nuse \"./f{}.lmv\"\nlet a{i} = 1\nmodel = vit_small >> head\n", i - 1, i - 2),
    });
    assert_eq!(survives_with("use \"./f30.lmv\"\nlet b = a0 + a30\n", &two), 0);
    let all = chain(499, |i, _| format!("use \"./f{i}.lmv\" {{ a{i} }}\n"));
    let apart = files(&|i| format!("let a{i} = 1\n"));
    assert_eq!(survives_with(&format!("{all}{all}model = vit_small >> head\n"), &apart), 100);
}

#[test]
fn blocks_without_number() {
    let llm = "llm huge = llama(dim = 8, heads = 1, ffn = 8, layers = 10**18)\n";
    assert!(survives(&format!("{llm}model(x : [4, 8]) {{ x >> frozen(huge.layer[0..10**18]) }}\n")) > 0);
    assert!(survives(&format!("{llm}model(x : [4, 9]) {{ x >> frozen(huge.layer[0..10**18]) }}\n")) > 0);
}

#[test]
fn numbers_of_any_size_in_any_argument() {
    let numbers = [
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "-9223372036854775807 - 1",
        "(-9223372036854775807 - 1) / (-1)",
        "10**18",
        "1e308",
        "-1e308",
        "1e308 * 10",
        "0.5",
        "10**18 * 100",
        "2 ** -1",
        "0 ** 0",
        "1 / 3",
    ];
    let places = [
        "model = vit_small >> linear(384, N) >> head",
        "model = vit_small >> linear(N, 384) >> head",
        "model = vit_small >> repeat(N) { gelu } >> head",
        "model = vit_small >> layer_norm(384, eps = N) >> head",
        "model = vit_small >> head(N)\ndata = imagenet\ntrain = deit",
        "model = vit_small >> stochastic_depth(N) >> head",
        "model = vit(image = N, patch = 1, d = 8, heads = 1) >> head",
        "model = vit(patch = N, d = 8, heads = 1) >> head",
        "model = vit(d = N, heads = 1) >> head",
        "model = vit(d = 8, heads = N) >> head",
        "model = vit(d = 8, heads = 1, depth = N) >> head",
        "model = vit(d = 8, heads = 1, depth = max(N, 3) - 1) >> head",
        "model = vit_small >> linear(384, 4096) >> frozen(llama7b.layer[N]) >> linear(4096, 384) >> head",
        "model = vit_small >> linear(384, 4096) >> frozen(llama7b.layer[N..N + 1]) >> linear(4096, 384) >> head",
        "llm a = llama(dim = N, heads = 8, ffn = 8, layers = 2)\nmodel(x : [4, 8]) { x >> a.layer[0] }",
        "llm a = llama(dim = 8, heads = N, ffn = 8, layers = 2)\nmodel(x : [4, 8]) { x >> a.layer[0] }",
        "llm a = llama(dim = 8, heads = 8, kv_heads = N, ffn = 8, layers = 2)\nmodel(x : [4, 8]) { x >> a.layer[0] }",
        "llm a = llama(dim = 8, heads = 8, ffn = N, layers = 2)\nmodel(x : [4, 8]) { x >> a.layer[0] }",
        "llm a = llama(dim = 8, heads = 8, ffn = 8, layers = N)\nmodel(x : [4, 8]) { x >> a.layer[0] }\neval = a",
        "model(x : [4, N]) { x >> linear(8, 8) }",
        "model = vit_small >> head\ndata = imagenet(image = N)",
        "model = vit_small >> head\ndata = image_folder(root = path(\"a\"), classes = N)",
        "model = vit_small >> head\ndata = imagenet\ntrain = deit(epochs = N)",
        "model = vit_small >> head\ndata = imagenet\ntrain = deit(batch = N)",
        "model = vit_small >> head\ndata = imagenet\ntrain = deit(lr = N)",
        "model = vit_small >> head\nseed = N",
        "model = vit_small >> head\nlet a = cross_entropy(smoothing = N)",
        "model = vit_small >> head\nlet a = mixup(N) or cutmix(N)",
        "model = vit_small >> head\nlet a = [horizontal_flip(N), random_resized_crop(N, N), resize(N)]",
        "model = vit_small >> token(N) >> linear(384, 10)",
    ];
    for place in places {
        for number in numbers {
            survives(&format!("{}\n", place.replace('N', number)));
        }
    }
}

const SPEC: &str = r#"model = vit_small
  >> linear(384, 4096, bias = false)
  >> frozen(llama7b.layer[31])
  >> rms_norm(4096, affine = false, eps = 1e-6)
  >> repeat(2, i) { linear(4096, 4096 * (i + 1) / (i + 1)) as inner }
  >> linear(4096, 384, bias = false) >> head
let around(middle) = linear(384, 64) >> middle >> linear(64, 384)
layer block(d, f = gelu) : [.., d] -> [.., d] { let y = input >> linear(d, d)
  (input, y) >> add }
llm tiny = opt(dim = 64, heads = 4, ffn = 128, layers = 2)
data = imagenet(root = path("imagenet"))
train = deit(epochs = 300, batch = 1024)
eval = [top1, top5]
use vision.vit { block as vit_block }
train.epochs = 100
variant short { train.epochs = 10 }
variant at for i in 30..32 { model = vit_small >> around(random(gelu)) >> head
  data.image = 224 }
"#;

/// The words of a text, brackets and commas by themselves.
fn words(text: &str) -> Vec<String> {
    let mut spaced = text.replace('\n', " \n ");
    for sign in ["(", ")", "[", "]", "{", "}", ",", ":"] {
        spaced = spaced.replace(sign, &format!(" {sign} "));
    }
    spaced.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn word() -> impl Strategy<Value = String> {
    let mut known = words(SPEC);
    known.extend(words(
        "co x input repeat ( 3 ) { 0 - 1 10**18 1e308 \"a\" trainable ( random ( pretrained path when max min residual \
         attention ( with as or .. -> ? * / ** - + recipe extern layer names let seed shapes adamw \
         use ./a.lmv \"./a.lmv\" { variant v for i in 0..3 train.lr data.image _private cosine mixup true data.classes",
    ));
    prop::sample::select(known)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text);
        survives(&format!("model = {text}"));
    }

    #[test]
    fn any_words(words in prop::collection::vec(word(), 0..60)) {
        let text = words.join(" ");
        survives(&text);
        survives(&format!("model = vit_small >> {text}"));
        survives(&format!("model(x : [4, 8]) {{ x >> {text} }}"));
    }

    #[test]
    fn one_word_changed(at in any::<prop::sample::Index>(), what in 0..3, other in word()) {
        let mut words = words(SPEC);
        let at = at.index(words.len());
        match what {
            0 => drop(words.remove(at)),
            1 => words.insert(at, words[at].clone()),
            _ => words[at] = other,
        }
        survives(&words.join(" "));
    }
}

#[test]
fn the_spec_that_is_changed_is_right() {
    assert_eq!(survives(SPEC), 0);
    assert_eq!(survives(&words(SPEC).join(" ")), 0);
}
