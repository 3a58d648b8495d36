//! What the language looks like: each form gives the tree that its description promises.

use lmv_grammar::ast::{
    BinaryOp, Comparison, DimExpr, Expr, ExprKind, Fact, File, ItemKind, Kept, TypeKind, UseName, UsePath,
};
use lmv_grammar::{parse, parse_expr};

fn file(source: &str) -> File {
    let parsed = parse(source);
    assert!(parsed.errors.is_empty(), "{:#?}\n{source}", parsed.errors);
    parsed.file
}

/// An expression with parentheses around everything that has parts.
fn grouped(text: &str) -> String {
    fn show(expr: &Expr) -> String {
        let all = |exprs: &[Expr]| exprs.iter().map(show).collect::<Vec<_>>();
        let fields = |fields: &[(lmv_grammar::ast::Name, Expr)]| {
            fields.iter().map(|(name, value)| format!("{}: {}", name.text, show(value))).collect::<Vec<_>>().join(", ")
        };
        match &expr.kind {
            ExprKind::Int(value) => value.to_string(),
            ExprKind::Float(value) => format!("{value:?}"),
            ExprKind::Str(text) => format!("{text:?}"),
            ExprKind::Bool(value) => value.to_string(),
            ExprKind::Name(name) => name.clone(),
            ExprKind::Field(of, name) => format!("{}.{}", show(of), name.text),
            ExprKind::Index(of, at) => format!("{}[{}]", show(of), show(at)),
            ExprKind::Range(from, to) => format!("({} .. {})", show(from), show(to)),
            ExprKind::Call(callee, args) => {
                let args = args.iter().map(|arg| match &arg.name {
                    Some(name) => format!("{} = {}", name.text, show(&arg.value)),
                    None => show(&arg.value),
                });
                format!("{}({})", show(callee), args.collect::<Vec<_>>().join(", "))
            }
            ExprKind::Repeat { count, var, body, .. } => {
                let var = var.as_ref().map_or(String::new(), |var| format!(", {}", var.text));
                format!("repeat({}{var}) {{ {} lets, {} }}", show(count), body.lets.len(), show(&body.result))
            }
            ExprKind::Negate(of) => format!("(- {})", show(of)),
            ExprKind::Binary(op, left, right) => {
                let sign = match op {
                    BinaryOp::Add => "+",
                    BinaryOp::Sub => "-",
                    BinaryOp::Mul => "*",
                    BinaryOp::Div => "/",
                    BinaryOp::Pow => "**",
                    BinaryOp::Or => "or",
                };
                format!("({} {sign} {})", show(left), show(right))
            }
            ExprKind::Pipe(steps) => format!("({})", all(steps).join(" >> ")),
            ExprKind::Tuple(elements) => format!("tuple({})", all(elements).join(", ")),
            ExprKind::List(elements) => format!("[{}]", all(elements).join(", ")),
            ExprKind::Record(record) => format!("{{{}}}", fields(record)),
            ExprKind::With(of, changes) => format!("({} with {{{}}})", show(of), fields(changes)),
            ExprKind::As(of, name) => format!("({} as {})", show(of), name.text),
        }
    }
    show(&parse_expr(text).unwrap_or_else(|error| panic!("{text}: {error:?}")))
}

#[test]
fn operators_bind_as_described() {
    for (text, tree) in [
        ("a >> b >> c", "(a >> b >> c)"),
        ("(a >> b) >> c", "((a >> b) >> c)"),
        ("a >> b as m >> c", "(a >> (b as m) >> c)"),
        ("a or b with { c: d } as e", "(((a or b) with {c: d}) as e)"),
        ("mixup(0.8) or cutmix(1.0)", "(mixup(0.8) or cutmix(1.0))"),
        ("a or b or c", "((a or b) or c)"),
        ("1 .. n + 1 or b", "((1 .. (n + 1)) or b)"),
        ("x[30..32]", "x[(30 .. 32)]"),
        ("a - b - c", "((a - b) - c)"),
        ("a + b * c", "(a + (b * c))"),
        ("a / b * c", "((a / b) * c)"),
        ("a * b ** c ** d", "(a * (b ** (c ** d)))"),
        ("-2 ** 2", "((- 2) ** 2)"),
        ("2 ** -1", "(2 ** (- 1))"),
        ("a - -b", "(a - (- b))"),
        ("(a + b) * c", "((a + b) * c)"),
        ("llama7b.layer[31]", "llama7b.layer[31]"),
        ("f(a)(b).c[0]", "f(a)(b).c[0]"),
        ("f(384, bias = false,)", "f(384, bias = false)"),
        ("(a, b,) >> (f, g)", "(tuple(a, b) >> tuple(f, g))"),
        ("[top1, top5,]", "[top1, top5]"),
        ("{ answer: x >> y, pose: z, }", "{answer: (x >> y), pose: z}"),
        ("repeat(12, i) { let a = i a }", "repeat(12, i) { 1 lets, a }"),
        ("repeat(2) { f } >> g", "(repeat(2) { 0 lets, f } >> g)"),
        ("repeat >> repeat.x", "(repeat >> repeat.x)"),
        ("[1_000, 5e-4, 0.8, 1e-6, true]", "[1000, 0.0005, 0.8, 1e-6, true]"),
        (r#""a\"b\\c\nd""#, r#""a\"b\\c\nd""#),
        ("model >> train.layer >> data.classes", "(model >> train.layer >> data.classes)"),
        ("a // why\n  .b // and\n >> c", "(a.b >> c)"),
        ("orbit >> asp >> letter >> truest", "(orbit >> asp >> letter >> truest)"),
    ] {
        assert_eq!(grouped(text), tree, "{text}");
    }
}

#[test]
fn spans_leave_out_parentheses_and_blanks() {
    let text = " ( a + b )  * f(c) >> d // e\n";
    let expr = parse_expr(text).expect("an expression");
    let source = |expr: &Expr| &text[expr.span.start..expr.span.end];
    assert_eq!(source(&expr), "( a + b )  * f(c) >> d");
    let ExprKind::Pipe(steps) = &expr.kind else { panic!("{expr:?}") };
    let ExprKind::Binary(BinaryOp::Mul, left, right) = &steps[0].kind else { panic!("{expr:?}") };
    assert_eq!((source(left), source(right)), ("a + b", "f(c)"));
    let parsed = file("layer f = x   // note\n\n");
    assert_eq!(parsed.items[0].span.end, "layer f = x".len());
    let parsed = file("extern layer gelu   \n\n// note\n");
    assert_eq!(parsed.items[0].span.end, "extern layer gelu".len());
}

const DESIGN: &[&str] = &[
    "model = vit_small >> linear(384,4096) >> frozen(llama7b.layer[31]) >> linear(4096,384) >> head",
    r#"//! ViT-S/16 with block 31 of LLaMA-7B on ImageNet-1k: Table 1, row "ViT-S + LLaMA".

model = vit_small
     >> linear(384, 4096, bias = false)
     >> frozen(llama7b.layer[31])
     >> rms_norm(4096, affine = false, eps = 1e-6)
     >> linear(4096, 384, bias = false)
     >> head

data  = imagenet(root = path("imagenet"))
train = deit(epochs = 300, warmup = 20, batch = 1024)
eval  = [top1, top5, imagenet_c(root = path("imagenet-c"))]
"#,
    r#"/// A pre-norm transformer block. [tokens, d] -> [tokens, d]
layer block(d, heads, mlp = 4, drop_path = 0.0) : [T, d] -> [T, d] {
  residual(layer_norm(d, eps = 1e-6) >> attention(d, heads) >> stochastic_depth(drop_path))
    >> residual(layer_norm(d, eps = 1e-6) >> linear(d, mlp * d) >> gelu >> linear(mlp * d, d) >> stochastic_depth(drop_path))
}

layer vit(image = 224, patch = 16, d, depth = 12, heads, drop_path = 0.1)
    : [3, image, image] -> [(image / patch) * (image / patch) + 1, d] {
  patchify(patch, 3, d) >> class_token(d) >> position(d)
    >> repeat(depth, i) { block(d, heads, drop_path = drop_path * i / (depth - 1)) }
}

layer vit_small = vit(d = 384, heads = 6)
"#,
    r#"/// y = xW + b.
extern layer linear(in, out, bias = true) : [.., in] -> [.., out]
extern layer concat(axis = -1) : ([.., a], [.., b]) -> [.., a + b]
"#,
    r#"/// DeiT's recipe as the paper uses it (paper.md §3.3).
recipe deit(epochs = 300, warmup = 5, batch = 1024, lr = 5e-4 * batch / 512) {
  loss      = cross_entropy(smoothing = 0.1)
  optimizer = adamw(lr, weight_decay = 0.05) with { no_decay: [rank(1), position, class_token] }
  schedule  = cosine(epochs, warmup, from = 1e-6, to = 1e-5)
  augment   = [random_resized_crop(224), horizontal_flip, rand_augment(ops = 2, magnitude = 9, std = 0.5), random_erasing(0.25)]
  mix       = mixup(0.8) or cutmix(1.0)
  sampler   = repeated(3)
  ema       = 0.99996
}
"#,
    "let around(middle) = vit_small >> linear(384, 4096, bias = false) >> middle >> linear(4096, 384, bias = false) >> head",
    r#"model(image, text) {
  let v = image >> clip_vit_b32 >> linear(768, 768)
  let t = text  >> roberta_base >> linear(768, 768)
  let (v, t) = (v, t) >> repeat(6) { co_attention(768, heads = 12) }
  let v = v >> linear(768, 4096, bias = false) >> frozen(llama7b.layer[31]) >> linear(4096, 768, bias = false)
  (v >> pooler(768), t >> pooler(768)) >> concat >> vqa_head
}
"#,
    "model(x) { let v = x { answer: v >> answer_head, pose: v >> pose_head } }",
    "let f = shared(linear(8, 8))",
    "extern layer head(classes = data.classes) : [T, d] -> [classes]",
    "model = frozen(x) >> trainable(x) >> pretrained(\"name\", x) >> random(x)",
    "model = llama7b.layer[30..32] >> opt_6_7b.layer[31]",
    "llm stories = llama(dim = 64, heads = 8, kv_heads = 4, ffn = 172, layers = 5, eps = 1e-5)",
    "model(x : [T?, 64]) { x >> frozen(stories.layer[4]) }",
];

#[test]
fn the_programs_of_the_design_are_read() {
    for source in DESIGN {
        assert!(!file(source).items.is_empty());
        // An editor on Windows, and one that leaves no newline at the end.
        let windows = format!("\u{FEFF}{}", source.trim_end().replace('\n', "\r\n").replace("  ", "\t"));
        assert_eq!(file(&windows).items.len(), file(source).items.len());
        assert_eq!(file(&windows).doc, file(source).doc);
    }
}

#[test]
fn a_small_file_as_a_tree() {
    insta::assert_debug_snapshot!(file(
        "//! One.\n//! Two.\n\n/// A layer.\nlayer f(d, k = 2) : [T?, d] -> [d] {\n  let a = g(d)\n  a >> h as out\n}\n"
    ));
}

#[test]
fn every_kind_of_item() {
    let source = r#"
seed = 3
layer = 4
let f = a
let g(x, y = 2,) = x >> y
layer plain = a
layer empty() : [] { a }
layer bare { a }
layer typed : [T] -> [T] = a
dataset small(n) = imagenet(n)
augment crop(size = 224) = [a, b]
extern layer gelu
extern loss bce(pos = 1.0)
extern dataset imagenet(root, n = 1000) : { image : [3, h, w], label : class(n), }
extern metric top1 : ([classes], class(classes)) -> scalar
recipe none { }
recipe some { loss = a }
llm tiny = llama(dim = 64)
names hf { "a.{i}" = "b.{i}" "c" = "d" }
model(x : [T ?, 64], y,) { x }
use = 3
use vision.vit { vit, block as vit_block, }
use "./mine.lmv" { a }
use vision . vit
use "./base.lmv"
variant = 4
train.epochs = 100
train.optimizer.lr = 1e-3
variant tiny { }
/// Fewer epochs.
variant short {
  train.epochs = 10
  /// Another model.
  model(x : [4]) { x }
}
variant layer for i in 0..32 { model = around(frozen(llama7b.layer[i])) }
variant for for in in [1, 2] { seed = in }
of = 3
extern layer plain : [d] -> [d]
of = 4
"#;
    let file = file(source);
    let kinds: Vec<_> = file
        .items
        .iter()
        .map(|item| match &item.kind {
            ItemKind::Setting { name, rest, .. } => {
                let path = std::iter::once(name).chain(rest).map(|name| name.text.as_str());
                format!("setting {}", path.collect::<Vec<_>>().join("."))
            }
            ItemKind::Use { from, names, .. } => {
                let from = match from {
                    UsePath::Module(path) => path.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join("."),
                    UsePath::File(file) => format!("{:?}", file.text),
                };
                let named = |name: &UseName| match &name.alias {
                    Some(alias) => format!("{} as {}", name.name.text, alias.text),
                    None => name.name.text.clone(),
                };
                let names = names.as_ref().map(|names| names.iter().map(named).collect::<Vec<_>>().join(", "));
                format!("use {from} {names:?}")
            }
            ItemKind::Variant { name, each, settings } => {
                let each = each.as_ref().map(|(name, _)| name.text.as_str());
                format!("variant {} {each:?} {}", name.text, settings.len())
            }
            ItemKind::Model { inputs, .. } => format!("model of {}", inputs.len()),
            ItemKind::Let { name, params, .. } => format!("let {} {:?}", name.text, params.as_ref().map(Vec::len)),
            ItemKind::Define { kind, name, params, signature, .. } => {
                format!("{} {} {} {}", kind.text, name.text, params.len(), signature.is_some())
            }
            ItemKind::Extern { kind, name, params, signature, facts: _ } => {
                let arrow = signature.as_ref().map(|signature| signature.input.is_some());
                format!("extern {} {} {} {arrow:?}", kind.text, name.text, params.len())
            }
            ItemKind::Recipe { name, fields, .. } => format!("recipe {} {}", name.text, fields.len()),
            ItemKind::Llm { name, .. } => format!("llm {}", name.text),
            ItemKind::Names { name, pairs } => format!("names {} {}", name.text, pairs.len()),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "setting seed",
            "setting layer",
            "let f None",
            "let g Some(2)",
            "layer plain 0 false",
            "layer empty 0 true",
            "layer bare 0 false",
            "layer typed 0 true",
            "dataset small 1 false",
            "augment crop 1 false",
            "extern layer gelu 0 None",
            "extern loss bce 1 None",
            "extern dataset imagenet 2 Some(false)",
            "extern metric top1 0 Some(true)",
            "recipe none 0",
            "recipe some 1",
            "llm tiny",
            "names hf 2",
            "model of 2",
            "setting use",
            "use vision.vit Some(\"vit, block as vit_block\")",
            "use \"./mine.lmv\" Some(\"a\")",
            "use vision.vit None",
            "use \"./base.lmv\" None",
            "setting variant",
            "setting train.epochs",
            "setting train.optimizer.lr",
            "variant tiny None 0",
            "variant short None 2",
            "variant layer Some(\"i\") 1",
            "variant for Some(\"in\") 1",
            "setting of",
            "extern layer plain 0 Some(true)",
            "setting of",
        ]
    );
}

#[test]
fn types_keep_their_dims() {
    let file = file("extern layer f : ([.., a], [T?, 2 * d - 1]) -> ([x])");
    let ItemKind::Extern { signature: Some(signature), .. } = &file.items[0].kind else { panic!("{file:?}") };
    let TypeKind::Tuple(inputs) = &signature.input.as_ref().expect("an input").kind else { panic!("{file:?}") };
    let TypeKind::Shape(dims) = &inputs[1].kind else { panic!("{file:?}") };
    assert!(matches!(&dims[0], DimExpr::Varying(name) if name.text == "T"));
    assert!(matches!(&dims[1], DimExpr::Expr(Expr { kind: ExprKind::Binary(BinaryOp::Sub, ..), .. })));
    assert!(matches!(&signature.output.kind, TypeKind::Shape(_)), "parentheses around one type group");
}

#[test]
fn a_shape_says_what_its_elements_are() {
    let file =
        file("extern layer f : [..] of class(n) -> [..]\nmodel(of : [T?] of class(50265), x : [2] of float) { x }");
    let ItemKind::Extern { signature: Some(signature), .. } = &file.items[0].kind else { panic!("{file:?}") };
    let input = signature.input.as_ref().expect("an input");
    let TypeKind::Of { dims, element } = &input.kind else { panic!("{file:?}") };
    assert!(matches!(dims.as_slice(), [DimExpr::Rest(_)]));
    assert!(matches!(&element.kind, TypeKind::Named(name, args) if name.text == "class" && args.len() == 1));
    assert_eq!((input.span.end - input.span.start, element.span.end), ("[..] of class(n)".len(), input.span.end));
    assert_eq!(input.dims(), Some(dims.as_slice()));
    let ItemKind::Model { inputs, .. } = &file.items[1].kind else { panic!("{file:?}") };
    let TypeKind::Of { dims, .. } = &inputs[0].shape.as_ref().expect("a shape").kind else { panic!("{file:?}") };
    assert!(matches!(&dims[0], DimExpr::Varying(name) if name.text == "T"));
}

#[test]
fn the_settings_of_a_variant_keep_their_documentation() {
    let file = file("/// A.\nvariant a for i in [1] {\n  /// B.\n  model.x = i\n  seed = 1\n}");
    assert_eq!(file.items[0].doc.as_deref(), Some("A."));
    let ItemKind::Variant { settings, .. } = &file.items[0].kind else { panic!("{file:?}") };
    assert_eq!(settings[0].doc.as_deref(), Some("B."));
    assert_eq!(settings[1].doc, None);
}

#[test]
fn documentation_belongs_to_the_item_under_it() {
    let file = file(
        "//! The file.\n//!\n//! More.\n// no documentation\n/// The item.\n//// neither\n///  indented\nf = a\ng = b\n",
    );
    assert_eq!(file.doc.as_deref(), Some("The file.\n\nMore."));
    assert_eq!(file.items[0].doc.as_deref(), Some("The item.\n indented"));
    assert_eq!(file.items[1].doc, None);
}

#[test]
fn an_empty_file_is_a_file() {
    for source in ["", "\n", "\u{FEFF}", "// nothing", " \t\r\n", "//! Only this."] {
        assert!(file(source).items.is_empty());
    }
}

#[test]
fn an_extern_says_that_it_cannot_run_yet() {
    let file = file(
        "extern metric miss_rate : [2] -> [1] { not_yet_run }\nextern layer f { not_yet_run : [2] = ones not_yet_run }",
    );
    let ItemKind::Extern { facts, .. } = &file.items[0].kind else { panic!("{file:?}") };
    assert!(matches!(facts.as_slice(), [Fact::NotYetRun(span)] if span.end - span.start == 11), "{facts:?}");
    let ItemKind::Extern { facts, .. } = &file.items[1].kind else { panic!("{file:?}") };
    assert!(matches!(facts.as_slice(), [Fact::Weight { .. }, Fact::NotYetRun(_)]), "{facts:?}");
}

#[test]
fn an_extern_says_what_it_keeps_and_what_it_ends_in() {
    let file =
        file("extern layer f { keeps = outputs gain = weight keeps : [2] = ones shift = keeps gain : [2] = zeros }");
    let ItemKind::Extern { facts, .. } = &file.items[0].kind else { panic!("{file:?}") };
    let [Fact::Keeps(Kept::Outputs), Fact::Gain(gain), Fact::Weight { .. }, Fact::Shift(shift), Fact::Weight { .. }] =
        facts.as_slice()
    else {
        panic!("{facts:?}")
    };
    assert_eq!((gain.text.as_str(), shift.text.as_str()), ("weight", "keeps"));
}

#[test]
fn an_extern_says_what_it_requires_and_what_it_expects() {
    let file = file(
        "extern layer f(p) : [..] -> [..] {\n  require 0 <= p < 1 - 0.5\n  expect p < 9\n  require : [p] = zeros\n  \
         expect : [p] = zeros\n  flops = 3\n}",
    );
    let ItemKind::Extern { facts, .. } = &file.items[0].kind else { panic!("{file:?}") };
    let [required, Fact::Require { must: false, .. }, Fact::Weight { name: first, .. }, rest @ ..] = facts.as_slice()
    else {
        panic!("{facts:?}")
    };
    let Fact::Require { must: true, rest: bounds, .. } = required else { panic!("{required:?}") };
    let [Fact::Weight { name: second, .. }, Fact::Flops(_)] = rest else { panic!("{rest:?}") };
    assert_eq!((first.text.as_str(), second.text.as_str()), ("require", "expect"));
    assert_eq!(bounds.iter().map(|(sign, _)| *sign).collect::<Vec<_>>(), [Comparison::AtMost, Comparison::Less]);
}
