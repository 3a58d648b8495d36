//! Trees of the whole language at random, for tests that hold for any program.

use lmv_grammar::ast::{
    Arg, BinaryOp, Block, Comparison, DimExpr, Expr, ExprKind, Fact, File, Input, Item, ItemKind, Kept, LetLine,
    Literal, Name, Param, Signature, Span, Type, TypeKind, UseName, UsePath,
};
use proptest::prelude::*;

/// A tree as text, without the places of its nodes.
pub fn shape_of(file: &File) -> String {
    let debug = format!("{file:?}");
    let mut parts = debug.split("Span { start: ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find('}').expect("the end of a span");
        text.push_str(&part[end + 1..]);
    }
    text
}

const NOWHERE: Span = Span { start: 0, end: 0 };

fn expr_of(kind: ExprKind) -> Expr {
    Expr { kind, span: NOWHERE }
}

fn type_of(kind: TypeKind) -> Type {
    Type { kind, span: NOWHERE }
}

fn word() -> BoxedStrategy<String> {
    prop_oneof![
        4 => prop::sample::select(vec!["x", "d", "T", "heads", "_own", "a1"]),
        2 => prop::sample::select(vec![
            "layer", "use", "variant", "for", "in", "of", "model", "recipe", "flops", "require", "expect", "not_yet_run", "if",
            "keeps", "gain",
            "buffer", "repeat", "extern", "names", "llm", "dataset", "order", "asp", "e5", "import",
        ]),
        1 => Just("a_name_that_takes_up_a_good_part_of_a_line"),
    ]
    .prop_map(str::to_owned)
    .boxed()
}

fn name() -> BoxedStrategy<Name> {
    word().prop_map(|text| Name { text, span: NOWHERE }).boxed()
}

fn some_name() -> impl Strategy<Value = Option<Name>> {
    prop::option::of(name())
}

fn names(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Name>> {
    prop::collection::vec(name(), count)
}

fn characters() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "[\"\\\\n\n/é ]{0,6}"]
}

fn literal() -> impl Strategy<Value = Literal> {
    characters().prop_map(|text| Literal { text, span: NOWHERE })
}

/// Documentation: lines without blanks at their ends.
fn doc() -> impl Strategy<Value = Option<String>> {
    let line = "[ -~é]{0,16}".prop_map(|line| line.trim_end().to_owned());
    prop::option::of(prop::collection::vec(line, 1..3).prop_map(|lines| lines.join("\n")))
}

fn atom() -> impl Strategy<Value = Expr> {
    prop_oneof![
        4 => word().prop_map(ExprKind::Name),
        1 => (0..=i64::MAX).prop_map(ExprKind::Int),
        2 => (0i64..2000).prop_map(ExprKind::Int),
        1 => prop::num::f64::POSITIVE.prop_map(|value| ExprKind::Float(if value.is_finite() { value } else { 0.5 })),
        1 => Just(ExprKind::Float(0.1)),
        1 => characters().prop_map(ExprKind::Str),
        1 => any::<bool>().prop_map(ExprKind::Bool),
    ]
    .prop_map(expr_of)
}

/// An expression of any form.
pub fn expr() -> BoxedStrategy<Expr> {
    atom()
        .prop_recursive(5, 40, 4, |inner| {
            let boxed = inner.clone().prop_map(Box::new);
            let some = |count: std::ops::Range<usize>| prop::collection::vec(inner.clone(), count);
            let fields = prop::collection::vec((name(), inner.clone()), 0..4);
            let args =
                prop::collection::vec((some_name(), inner.clone()).prop_map(|(name, value)| Arg { name, value }), 0..5);
            let op = prop::sample::select(vec![
                BinaryOp::Add,
                BinaryOp::Sub,
                BinaryOp::Mul,
                BinaryOp::Div,
                BinaryOp::Pow,
                BinaryOp::Or,
            ]);
            prop_oneof![
                3 => (boxed.clone(), args).prop_map(|(callee, args)| ExprKind::Call(callee, args)),
                3 => some(2..6).prop_map(ExprKind::Pipe),
                1 => (boxed.clone(), name()).prop_map(|(of, name)| ExprKind::Field(of, name)),
                1 => (boxed.clone(), boxed.clone()).prop_map(|(of, at)| ExprKind::Index(of, at)),
                1 => (boxed.clone(), boxed.clone()).prop_map(|(from, to)| ExprKind::Range(from, to)),
                3 => (op, boxed.clone(), boxed.clone()).prop_map(|(op, a, b)| ExprKind::Binary(op, a, b)),
                1 => boxed.clone().prop_map(ExprKind::Negate),
                1 => some(2..4).prop_map(ExprKind::Tuple),
                1 => some(0..6).prop_map(ExprKind::List),
                1 => fields.clone().prop_map(ExprKind::Record),
                1 => (boxed.clone(), fields).prop_map(|(of, changes)| ExprKind::With(of, changes)),
                1 => (boxed.clone(), name()).prop_map(|(of, name)| ExprKind::As(of, name)),
                1 => (boxed, some_name(), block(inner)).prop_map(|(count, var, body)| {
                    ExprKind::Repeat { keyword: NOWHERE, count, var, body }
                }),
            ]
            .prop_map(expr_of)
        })
        .boxed()
}

fn block(value: impl Strategy<Value = Expr> + Clone + 'static) -> impl Strategy<Value = Block> {
    let line = (names(1..4), value.clone()).prop_map(|(names, value)| LetLine { names, value });
    (prop::collection::vec(line, 0..3), value).prop_map(|(lets, result)| Block {
        lets,
        result: Box::new(result),
        span: NOWHERE,
    })
}

fn dims() -> impl Strategy<Value = Vec<DimExpr>> {
    let dim = prop_oneof![name().prop_map(DimExpr::Varying), expr().prop_map(DimExpr::Expr)];
    (any::<bool>(), prop::collection::vec(dim, 0..4)).prop_map(|(rest, mut dims)| {
        if rest {
            dims.insert(0, DimExpr::Rest(NOWHERE));
        }
        dims
    })
}

fn named_type() -> impl Strategy<Value = Type> {
    (name(), prop::collection::vec(expr(), 0..2)).prop_map(|(name, args)| type_of(TypeKind::Named(name, args)))
}

/// A type of any form.
fn ty() -> BoxedStrategy<Type> {
    let leaf = prop_oneof![
        3 => dims().prop_map(|dims| type_of(TypeKind::Shape(dims))),
        1 => (dims(), named_type())
            .prop_map(|(dims, element)| type_of(TypeKind::Of { dims, element: Box::new(element) })),
        1 => named_type(),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(TypeKind::Tuple),
            prop::collection::vec((name(), inner), 0..4).prop_map(TypeKind::Record),
        ]
        .prop_map(type_of)
    })
    .boxed()
}

fn signature() -> impl Strategy<Value = Option<Signature>> {
    prop::option::of((prop::option::of(ty()), ty()).prop_map(|(input, output)| Signature {
        input,
        output,
        span: NOWHERE,
    }))
}

fn params() -> impl Strategy<Value = Vec<Param>> {
    let param = (name(), prop::option::of(expr())).prop_map(|(name, default)| Param { name, default });
    prop::collection::vec(param, 0..4)
}

fn fact() -> impl Strategy<Value = Fact> {
    let comparison = prop::sample::select(vec![Comparison::Less, Comparison::AtMost]);
    prop_oneof![
        Just(Fact::NotYetRun(NOWHERE)),
        expr().prop_map(Fact::Flops),
        block(expr()).prop_map(Fact::Means),
        prop::sample::select(Kept::ALL.to_vec()).prop_map(Fact::Keeps),
        name().prop_map(Fact::Gain),
        name().prop_map(Fact::Shift),
        (any::<bool>(), expr(), prop::collection::vec((comparison, expr()), 1..3))
            .prop_map(|(must, first, rest)| { Fact::Require { must, first, rest, span: NOWHERE } }),
        (name(), ty(), expr()).prop_map(|(name, shape, init)| Fact::Buffer { name, shape, init: Box::new(init) }),
        (name(), ty(), expr()).prop_map(|(name, shape, init)| Fact::Buffer { name, shape, init: Box::new(init) }),
        (name(), ty(), expr(), prop::option::of(expr())).prop_map(|(name, shape, init, when)| Fact::Weight {
            name,
            shape,
            init: Box::new(init),
            when: when.map(Box::new)
        }),
    ]
}

fn setting() -> impl Strategy<Value = ItemKind> {
    (name(), names(0..3), expr()).prop_map(|(name, rest, value)| ItemKind::Setting { name, rest, value })
}

fn model() -> impl Strategy<Value = ItemKind> {
    let input = (name(), prop::option::of(ty())).prop_map(|(name, shape)| Input { name, shape });
    (prop::collection::vec(input, 0..3), block(expr())).prop_map(|(inputs, body)| ItemKind::Model {
        keyword: NOWHERE,
        inputs,
        body,
    })
}

fn documented(kind: impl Strategy<Value = ItemKind>) -> impl Strategy<Value = Item> {
    (doc(), kind).prop_map(|(doc, kind)| Item { doc, span: NOWHERE, kind })
}

fn variant() -> impl Strategy<Value = ItemKind> {
    let settings = prop::collection::vec(documented(prop_oneof![3 => setting(), 1 => model()]), 0..4);
    (name(), prop::option::of((name(), expr())), settings).prop_map(|(name, each, settings)| ItemKind::Variant {
        name,
        each,
        settings,
    })
}

fn use_item() -> impl Strategy<Value = ItemKind> {
    let from = prop_oneof![names(1..4).prop_map(UsePath::Module), literal().prop_map(UsePath::File)];
    let name = (name(), some_name()).prop_map(|(name, alias)| UseName { name, alias });
    (from, prop::option::of(prop::collection::vec(name, 1..8))).prop_map(|(from, names)| ItemKind::Use {
        keyword: NOWHERE,
        from,
        names,
    })
}

fn define() -> impl Strategy<Value = ItemKind> {
    let kind = |text: &str| Name { text: text.to_owned(), span: NOWHERE };
    let layer = (name(), params(), signature(), block(expr())).prop_map(move |(name, params, signature, body)| {
        ItemKind::Define { kind: kind("layer"), name, params, signature, body }
    });
    let plain = prop::sample::select(vec!["dataset", "augment"]);
    let plain = (plain, name(), params(), expr()).prop_map(move |(text, name, params, value)| ItemKind::Define {
        kind: kind(text),
        name,
        params,
        signature: None,
        body: Block { lets: Vec::new(), result: Box::new(value), span: NOWHERE },
    });
    prop_oneof![2 => layer, 1 => plain]
}

fn item() -> impl Strategy<Value = Item> {
    let pairs = prop::collection::vec((literal(), literal()), 0..3);
    documented(prop_oneof![
        3 => setting(),
        1 => model(),
        1 => variant(),
        1 => use_item(),
        2 => define(),
        1 => (name(), prop::option::of(params()), expr())
            .prop_map(|(name, params, value)| ItemKind::Let { name, params, value }),
        1 => (name(), name(), params(), signature(), prop::collection::vec(fact(), 0..3)).prop_map(
            |(kind, name, params, signature, facts)| ItemKind::Extern { kind, name, params, signature, facts }
        ),
        1 => (name(), params(), prop::collection::vec((name(), expr()), 0..4))
            .prop_map(|(name, params, fields)| ItemKind::Recipe { name, params, fields }),
        1 => (name(), expr()).prop_map(|(name, value)| ItemKind::Llm { name, value }),
        1 => (name(), pairs).prop_map(|(name, pairs)| ItemKind::Names { name, pairs }),
    ])
}

/// A file of any items.
pub fn file() -> impl Strategy<Value = File> {
    (doc(), prop::collection::vec(item(), 0..6)).prop_map(|(doc, items)| File { doc, items })
}
