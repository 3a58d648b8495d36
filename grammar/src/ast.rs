//! The syntax tree: what a file says, before anything is resolved. Every node carries the bytes of the source it came
//! from, so that a later stage can point at them.

use serde::Serialize;

/// A range of bytes in the source text: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span from `start` to `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that holds both.
    pub fn to(self, other: Span) -> Span {
        Span::new(self.start.min(other.start), self.end.max(other.end))
    }
}

/// An identifier where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Name {
    /// The identifier itself.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// One `.lmv` file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct File {
    /// The text of the `//!` lines at the top, joined by newlines.
    pub doc: Option<String>,
    /// The items in the order of the file; an item that does not parse is left out.
    pub items: Vec<Item>,
}

/// A top-level item with its `///` documentation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// The text of the `///` lines above it, joined by newlines.
    pub doc: Option<String>,
    /// The whole item, documentation excluded.
    pub span: Span,
    /// What it is.
    pub kind: ItemKind,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ItemKind {
    /// `use vision.vit { vit, block as vit_block }`, `use "./base.lmv"`: what another file defines.
    Use {
        keyword: Span,
        from: UsePath,
        /// What is in the braces; `None` without braces, which brings everything.
        names: Option<Vec<UseName>>,
    },
    /// `model = EXPR`, `data = EXPR`, `train = EXPR`, `eval = EXPR`, `seed = EXPR`: a field of the experiment.
    Setting {
        name: Name,
        /// What stands behind the dots: `epochs` of `train.epochs = 100`, which changes one part of a setting.
        rest: Vec<Name>,
        value: Expr,
    },
    /// `model(image : [3, 32, 32], text) { … }`: a model that names its inputs.
    Model { keyword: Span, inputs: Vec<Input>, body: Block },
    /// `variant NAME { SETTINGS }`, `variant NAME for i in EXPR { SETTINGS }`: the experiment with some settings changed.
    Variant {
        name: Name,
        /// `for NAME in EXPR`: one variant for each number.
        each: Option<(Name, Expr)>,
        /// Each a [`ItemKind::Setting`] or a [`ItemKind::Model`].
        settings: Vec<Item>,
    },
    /// `let NAME = EXPR` or `let NAME(PARAMS) = EXPR`.
    Let { name: Name, params: Option<Vec<Param>>, value: Expr },
    /// `layer NAME(PARAMS) : SIGNATURE { … }` or `layer NAME(PARAMS) = EXPR`; the same with `dataset`, `augment`,
    /// `metric`, `loss`, `optimizer`, `schedule`, `mix` or `sampler` in place of `layer` (those take the `=` form only,
    /// without a signature).
    Define {
        /// `layer`, `dataset`, …
        kind: Name,
        name: Name,
        params: Vec<Param>,
        signature: Option<Signature>,
        body: Block,
    },
    /// `extern KIND NAME(PARAMS) : TYPE`: declared in the language, run by Rust.
    Extern {
        /// `layer`, `dataset`, `loss`, `metric`, `optimizer`, `schedule`, `augment`, `mix`, `llm`.
        kind: Name,
        name: Name,
        params: Vec<Param>,
        signature: Option<Signature>,
        /// What it owns and costs: the lines between the braces after the signature, if there are any.
        facts: Vec<Fact>,
    },
    /// `recipe NAME(PARAMS) { FIELD = EXPR … }`.
    Recipe { name: Name, params: Vec<Param>, fields: Vec<(Name, Expr)> },
    /// `llm NAME = EXPR`: a language model by its sizes.
    Llm { name: Name, value: Expr },
    /// `names NAME { "ours" = "theirs" … }`: how a kind of checkpoint calls our parameters.
    Names { name: Name, pairs: Vec<(Literal, Literal)> },
}

/// Where a `use` takes its names from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum UsePath {
    /// `vision.vit`: a module of the library, never empty.
    Module(Vec<Name>),
    /// `"./mine.lmv"`: a file.
    File(Literal),
}

/// A name in the braces of a `use`: `vit`, `block as vit_block`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UseName {
    /// What it is called where it is defined.
    pub name: Name,
    /// What it is called here, where that differs.
    pub alias: Option<Name>,
}

/// A string literal where it stands, without its quotes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Literal {
    /// The characters between the quotes.
    pub text: String,
    /// The literal, quotes included.
    pub span: Span,
}

/// A line in the braces of an `extern`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Fact {
    /// `weight : [out, in] = trunc_normal(0.02)`, with `if COND` behind it where it is not always there.
    Weight { name: Name, shape: Type, init: Box<Expr>, when: Option<Box<Expr>> },
    /// `buffer running_mean : [d] = zeros`: kept with the parameters and never trained.
    Buffer { name: Name, shape: Type, init: Box<Expr> },
    /// `require 0 <= p <= 1`: what its arguments must satisfy, each number against the one before it.
    /// With `expect` in place of `require`, what they would satisfy if they were meant (`must` is false).
    Require { must: bool, first: Expr, rest: Vec<(Comparison, Expr)>, span: Span },
    /// `flops = 2 * rest * in * out`: floating-point operations of one sample's forward pass; `rest` is the product of
    /// the dims that `..` stands for.
    Flops(Expr),
    /// `keeps = nothing`: what a step of training keeps of it for its backward pass; without such a line, its inputs.
    Keeps(Kept),
    /// `gain = weight`: the last thing that it does with each channel is to multiply it by this parameter …
    Gain(Name),
    /// `shift = bias`: … and to add this one.
    Shift(Name),
    /// `means { … }`: the same said in the language. Rust runs it in one step; a test holds the two against each other.
    Means(Block),
    /// `not_yet_run`: its part in Rust is not written yet.
    NotYetRun(Span),
}

/// What a layer's backward pass needs of the streams around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Kept {
    /// `nothing`: the gradient is the same wherever they are.
    Nothing,
    /// `inputs`
    Inputs,
    /// `inputs_for_parameters`: only the gradients of the layer's own parameters need them.
    InputsForParameters,
    /// `outputs`
    Outputs,
}

impl Kept {
    /// All of them.
    pub const ALL: [Kept; 4] = [Kept::Nothing, Kept::Inputs, Kept::InputsForParameters, Kept::Outputs];

    /// How it is written.
    pub fn word(self) -> &'static str {
        match self {
            Kept::Nothing => "nothing",
            Kept::Inputs => "inputs",
            Kept::InputsForParameters => "inputs_for_parameters",
            Kept::Outputs => "outputs",
        }
    }
}

/// How a number stands to the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
}

/// A parameter: `d` or `mlp = 4`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// Its default, if it has one.
    pub default: Option<Expr>,
}

/// An input of a model: `x` or `x : [T?, 64]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// Its name.
    pub name: Name,
    /// Its shape where no dataset gives one.
    pub shape: Option<Type>,
}

/// `[T, d] -> [T, d]`, or a type alone (`{ image : [3, h, w], label : class(n) }`) for a dataset, metric or loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signature {
    /// What is taken; `None` when there is no arrow.
    pub input: Option<Type>,
    /// What is given.
    pub output: Type,
    /// The whole signature.
    pub span: Span,
}

/// A type as it is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Type {
    /// What is written.
    pub kind: TypeKind,
    /// Where.
    pub span: Span,
}

/// The forms of a type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum TypeKind {
    /// `[.., in]`, `[T?, 64]`: dims per sample.
    Shape(Vec<DimExpr>),
    /// `[T?] of class(50265)`: a shape whose elements are of a [`TypeKind::Named`] type.
    Of { dims: Vec<DimExpr>, element: Box<Type> },
    /// `([.., a], [.., b])`.
    Tuple(Vec<Type>),
    /// `{ image : [3, h, w], label : class(n) }`.
    Record(Vec<(Name, Type)>),
    /// `class(n)` or any other named type.
    Named(Name, Vec<Expr>),
}

impl Type {
    /// The dims of a shape, whatever its elements are; `None` for other types.
    pub fn dims(&self) -> Option<&[DimExpr]> {
        match &self.kind {
            TypeKind::Shape(dims) | TypeKind::Of { dims, .. } => Some(dims),
            TypeKind::Tuple(_) | TypeKind::Record(_) | TypeKind::Named(..) => None,
        }
    }
}

/// One dim of a shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum DimExpr {
    /// `..`: any number of dims.
    Rest(Span),
    /// `T?`: a length that differs from sample to sample.
    Varying(Name),
    /// A name or arithmetic.
    Expr(Expr),
}

/// `{ let … ; RESULT }`: the body of a layer, a model or a `repeat`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Block {
    /// The `let` lines in order.
    pub lets: Vec<LetLine>,
    /// The value of the block.
    pub result: Box<Expr>,
    /// The whole block, braces included (for the `=` form: the expression).
    pub span: Span,
}

/// `let v = EXPR` or `let (v, t) = EXPR`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LetLine {
    /// One name, or several when the value is a tuple.
    pub names: Vec<Name>,
    /// The value.
    pub value: Expr,
}

/// An expression where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where; parentheses around it excluded.
    pub span: Span,
}

/// The forms of an expression, from the loosest binding to the tightest:
/// `>>`, `as`, `with`, `or`, `..`, `+ -`, `* /`, `**`, unary `-`, then calls, fields and indices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ExprKind {
    /// `384`, `1_000`; larger than an `i64` is a syntax error.
    Int(i64),
    /// `0.5`, `1e-6`.
    Float(f64),
    /// `"imagenet"`.
    Str(String),
    /// `true`, `false`.
    Bool(bool),
    /// A name.
    Name(String),
    /// `llama7b.layer`.
    Field(Box<Expr>, Name),
    /// `x[31]`, `x[30..32]`.
    Index(Box<Expr>, Box<Expr>),
    /// `30..32`: the end excluded.
    Range(Box<Expr>, Box<Expr>),
    /// `f(384, bias = false)`.
    Call(Box<Expr>, Vec<Arg>),
    /// `repeat(12, i) { … }`.
    Repeat { keyword: Span, count: Box<Expr>, var: Option<Name>, body: Block },
    /// `-x`.
    Negate(Box<Expr>),
    /// `a + b` and its like.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `x >> f >> g`: the steps in order, at least two. Flat, so that a long pipe does not make a deep tree.
    Pipe(Vec<Expr>),
    /// `(a, b)`; never of one element.
    Tuple(Vec<Expr>),
    /// `[top1, top5]`.
    List(Vec<Expr>),
    /// `{ answer: x, pose: y }`.
    Record(Vec<(Name, Expr)>),
    /// `adamw(lr) with { no_decay: [rank(1)] }`.
    With(Box<Expr>, Vec<(Name, Expr)>),
    /// `linear(8, 8) as mapper`: the step's name in parameter paths.
    As(Box<Expr>, Name),
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`: exact between integers
    Div,
    /// `**`
    Pow,
    /// `or`: one of two at random, as in `mixup(0.8) or cutmix(1.0)`
    Or,
}

impl BinaryOp {
    /// How it is written.
    pub fn sign(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Pow => "**",
            BinaryOp::Or => "or",
        }
    }
}

/// An argument of a call: positional, or named.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arg {
    /// The name of a named argument.
    pub name: Option<Name>,
    /// Its value.
    pub value: Expr,
}
