//! From what the grammar matched to the syntax tree: operators get their precedence, numbers their values, and
//! punctuation is dropped.

use crate::ast::{
    Arg, BinaryOp, Block, Comparison, DimExpr, Expr, ExprKind, Fact, Input, Item, ItemKind, Kept, LetLine, Literal,
    Name, Param, Signature, Span, Type, TypeKind, UseName, UsePath,
};
use crate::diagnose;
use crate::parse::{Parsed, Rule, SyntaxError};
use pest::iterators::{Pair, Pairs};

/// How deep an expression may be, counting brackets and the operators, calls and fields of a chain. Later stages descend
/// the tree, so this bounds their stacks. The steps of a pipe do not count: they lie side by side.
pub const MAX_DEPTH: usize = 256;

type Built<T> = Result<T, SyntaxError>;

/// The error for a match that this file does not expect. The grammar rules it out.
pub(crate) fn disagree(span: Span) -> SyntaxError {
    SyntaxError::new(span, "this could not be read; please report it as a fault of lmv")
}

/// Builds the tree of a text that starts at byte `base` of the source.
pub(crate) struct Builder {
    pub base: usize,
}

/// The parts of a match, punctuation left out.
struct Parts<'i> {
    pairs: Pairs<'i, Rule>,
    whole: Span,
}

impl<'i> Parts<'i> {
    fn peek(&self) -> Option<Rule> {
        self.pairs.clone().find(|pair| !is_punctuation(pair.as_rule())).map(|pair| pair.as_rule())
    }

    fn next(&mut self) -> Option<Pair<'i, Rule>> {
        self.pairs.find(|pair| !is_punctuation(pair.as_rule()))
    }

    fn next_if(&mut self, rule: Rule) -> Option<Pair<'i, Rule>> {
        if self.peek() == Some(rule) { self.next() } else { None }
    }

    fn take(&mut self) -> Built<Pair<'i, Rule>> {
        self.next().ok_or_else(|| disagree(self.whole))
    }

    /// All parts that are left, each turned into a node.
    fn all<T>(mut self, mut build: impl FnMut(Pair<'i, Rule>) -> Built<T>) -> Built<Vec<T>> {
        let mut nodes = Vec::new();
        while let Some(pair) = self.next() {
            nodes.push(build(pair)?);
        }
        Ok(nodes)
    }
}

fn is_punctuation(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::pipe
            | Rule::eq
            | Rule::colon
            | Rule::comma
            | Rule::arrow
            | Rule::question
            | Rule::dot
            | Rule::open_paren
            | Rule::close_paren
            | Rule::open_bracket
            | Rule::close_bracket
            | Rule::open_brace
            | Rule::close_brace
            | Rule::kw_let
            | Rule::kw_extern
            | Rule::kw_buffer
            | Rule::kw_if
            | Rule::kw_gain
            | Rule::kw_keeps
            | Rule::kw_means
            | Rule::kw_require
            | Rule::kw_expect
            | Rule::kw_shift
            | Rule::kw_recipe
            | Rule::kw_llm
            | Rule::kw_names
            | Rule::kw_variant
            | Rule::kw_for
            | Rule::kw_in
            | Rule::kw_of
            | Rule::kw_with
            | Rule::kw_as
            | Rule::EOI
    )
}

/// An operator of a chain, the loosest first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Range,
    Binary(BinaryOp),
}

impl Operator {
    fn of(text: &str) -> Operator {
        Operator::Binary(match text {
            "or" => BinaryOp::Or,
            "**" => BinaryOp::Pow,
            "*" => BinaryOp::Mul,
            "/" => BinaryOp::Div,
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Sub,
            _ => return Operator::Range,
        })
    }

    fn binding(self) -> u8 {
        match self {
            Operator::Binary(BinaryOp::Or) => 1,
            Operator::Range => 2,
            Operator::Binary(BinaryOp::Add | BinaryOp::Sub) => 3,
            Operator::Binary(BinaryOp::Mul | BinaryOp::Div) => 4,
            Operator::Binary(BinaryOp::Pow) => 5,
        }
    }
}

/// An operand with the bytes it takes up, parentheses included.
type Operand = (Expr, Span);

/// The operands and operators of a chain, in the order of the text, while precedence groups them.
struct Chain {
    operands: std::vec::IntoIter<Operand>,
    operators: std::iter::Peekable<std::vec::IntoIter<(Operator, Span)>>,
    whole: Span,
}

impl Chain {
    /// The operand that comes next and all operators after it that bind at least as tightly as `least`. Recursion is
    /// bounded: a chain has at most [`MAX_DEPTH`] operators.
    fn group(&mut self, least: u8) -> Built<Operand> {
        let (mut left, mut left_span) = self.operands.next().ok_or_else(|| disagree(self.whole))?;
        let mut is_range = false;
        while let Some((operator, operator_span)) = self.operators.next_if(|(next, _)| next.binding() >= least) {
            let right_associative = operator == Operator::Binary(BinaryOp::Pow);
            let (right, right_span) = self.group(operator.binding() + u8::from(!right_associative))?;
            let span = left_span.to(right_span);
            let kind = match operator {
                Operator::Range if is_range => {
                    return Err(SyntaxError::new(
                        operator_span,
                        "found `..`, but a range has two ends, as in `30..32`",
                    ));
                }
                Operator::Range => ExprKind::Range(Box::new(left), Box::new(right)),
                Operator::Binary(op) => ExprKind::Binary(op, Box::new(left), Box::new(right)),
            };
            is_range = operator == Operator::Range;
            (left, left_span) = (Expr { kind, span }, span);
        }
        Ok((left, left_span))
    }
}

impl Builder {
    /// A file or a part of one. An item that is wrong in a way that the grammar cannot see is left out.
    pub fn file(&self, pair: Pair<Rule>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut docs = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::file_doc => docs.push(doc_text(part.as_str(), "//!")),
                Rule::item => match self.item(part) {
                    Ok(item) => parsed.file.items.push(item),
                    Err(error) => parsed.errors.push(error),
                },
                _ => {}
            }
        }
        parsed.file.doc = joined(&docs);
        parsed
    }

    /// The expression of [`crate::parse_expr`].
    pub fn only_expr(&self, pair: Pair<Rule>) -> Built<Expr> {
        let expr = self.parts(pair).take()?;
        self.expr(expr, 0)
    }

    /// The bytes of a match, up to the end of its last token: what follows that is blank.
    fn span(&self, pair: &Pair<Rule>) -> Span {
        let mut last = pair.clone();
        while let Some(inner) = last.clone().into_inner().next_back() {
            last = inner;
        }
        Span::new(self.base + pair.as_span().start(), self.base + last.as_span().end())
    }

    fn parts<'i>(&self, pair: Pair<'i, Rule>) -> Parts<'i> {
        let span = pair.as_span();
        Parts { whole: Span::new(self.base + span.start(), self.base + span.end()), pairs: pair.into_inner() }
    }

    fn name(&self, pair: Pair<Rule>) -> Name {
        Name { text: pair.as_str().to_owned(), span: self.span(&pair) }
    }

    // Items.

    fn item(&self, pair: Pair<Rule>) -> Built<Item> {
        let mut parts = self.parts(pair);
        let mut docs = Vec::new();
        while let Some(doc) = parts.next_if(Rule::item_doc) {
            docs.push(doc_text(doc.as_str(), "///"));
        }
        let body = parts.take()?;
        let span = self.span(&body);
        Ok(Item { doc: joined(&docs), span, kind: self.item_kind(body)? })
    }

    fn item_kind(&self, pair: Pair<Rule>) -> Built<ItemKind> {
        let rule = pair.as_rule();
        let mut parts = self.parts(pair);
        Ok(match rule {
            Rule::setting => {
                let name = self.name(parts.take()?);
                let mut rest = Vec::new();
                while let Some(part) = parts.next_if(Rule::name) {
                    rest.push(self.name(part));
                }
                deeper(0, rest.len(), parts.whole)?;
                ItemKind::Setting { name, rest, value: self.expr(parts.take()?, 0)? }
            }
            Rule::use_item => ItemKind::Use {
                keyword: self.span(&parts.take()?),
                from: match parts.take()? {
                    file if file.as_rule() == Rule::string => UsePath::File(self.literal(&file)),
                    module => {
                        let span = self.span(&module);
                        let path = self.parts(module).all(|name| Ok(self.name(name)))?;
                        deeper(0, path.len(), span)?;
                        UsePath::Module(path)
                    }
                },
                names: parts.next().map(|names| self.parts(names).all(|name| self.use_name(name))).transpose()?,
            },
            Rule::variant => ItemKind::Variant {
                name: self.name(parts.take()?),
                each: parts.next_if(Rule::each).map(|each| self.field(each, 0)).transpose()?,
                settings: parts.all(|setting| self.item(setting))?,
            },
            Rule::model_item => {
                let keyword = self.span(&parts.take()?);
                let mut inputs = Vec::new();
                while let Some(input) = parts.next_if(Rule::input) {
                    inputs.push(self.input(input)?);
                }
                ItemKind::Model { keyword, inputs, body: self.block(parts.take()?, 0)? }
            }
            Rule::let_item => ItemKind::Let {
                name: self.name(parts.take()?),
                params: parts.next_if(Rule::params).map(|params| self.params(params)).transpose()?,
                value: self.expr(parts.take()?, 0)?,
            },
            Rule::define | Rule::define_plain => ItemKind::Define {
                kind: self.name(parts.take()?),
                name: self.name(parts.take()?),
                params: self.optional_params(&mut parts)?,
                signature: self.optional_signature(&mut parts)?,
                body: match parts.take()? {
                    block if block.as_rule() == Rule::block => self.block(block, 0)?,
                    value => {
                        let span = self.span(&value);
                        Block { lets: Vec::new(), result: Box::new(self.expr(value, 0)?), span }
                    }
                },
            },
            Rule::extern_item => ItemKind::Extern {
                kind: self.name(parts.take()?),
                name: self.name(parts.take()?),
                params: self.optional_params(&mut parts)?,
                signature: self.optional_signature(&mut parts)?,
                facts: parts.next_if(Rule::facts).map_or(Ok(Vec::new()), |facts| self.facts(facts))?,
            },
            Rule::recipe => ItemKind::Recipe {
                name: self.name(parts.take()?),
                params: self.optional_params(&mut parts)?,
                fields: parts.all(|field| self.field(field, 0))?,
            },
            Rule::llm_item => ItemKind::Llm { name: self.name(parts.take()?), value: self.expr(parts.take()?, 0)? },
            Rule::names => ItemKind::Names {
                name: self.name(parts.take()?),
                pairs: parts.all(|pair| {
                    let mut parts = self.parts(pair);
                    Ok((self.literal(&parts.take()?), self.literal(&parts.take()?)))
                })?,
            },
            _ => return Err(disagree(parts.whole)),
        })
    }

    fn use_name(&self, pair: Pair<Rule>) -> Built<UseName> {
        let mut parts = self.parts(pair);
        Ok(UseName { name: self.name(parts.take()?), alias: parts.next().map(|alias| self.name(alias)) })
    }

    fn input(&self, pair: Pair<Rule>) -> Built<Input> {
        let mut parts = self.parts(pair);
        Ok(Input { name: self.name(parts.take()?), shape: parts.next().map(|ty| self.ty(ty, 0)).transpose()? })
    }

    fn optional_params(&self, parts: &mut Parts) -> Built<Vec<Param>> {
        parts.next_if(Rule::params).map_or(Ok(Vec::new()), |params| self.params(params))
    }

    fn params(&self, pair: Pair<Rule>) -> Built<Vec<Param>> {
        self.parts(pair).all(|param| {
            let mut parts = self.parts(param);
            Ok(Param {
                name: self.name(parts.take()?),
                default: parts.next().map(|value| self.expr(value, 0)).transpose()?,
            })
        })
    }

    fn optional_signature(&self, parts: &mut Parts) -> Built<Option<Signature>> {
        let Some(pair) = parts.next_if(Rule::signature) else { return Ok(None) };
        let span = self.span(&pair);
        let mut parts = self.parts(pair);
        let first = self.ty(parts.take()?, 0)?;
        Ok(Some(match parts.next() {
            Some(output) => Signature { input: Some(first), output: self.ty(output, 0)?, span },
            None => Signature { input: None, output: first, span },
        }))
    }

    fn facts(&self, pair: Pair<Rule>) -> Built<Vec<Fact>> {
        let mut parts = self.parts(pair);
        let mut facts = Vec::new();
        while let Some(part) = parts.next() {
            facts.push(match part.as_rule() {
                rule @ (Rule::require | Rule::expect) => {
                    let span = self.span(&part);
                    let mut parts = self.parts(part);
                    let first = self.chain(parts.take()?, 0)?;
                    let mut rest = Vec::new();
                    while let Some(sign) = parts.next() {
                        let comparison = if sign.as_str() == "<" { Comparison::Less } else { Comparison::AtMost };
                        rest.push((comparison, self.chain(parts.take()?, 0)?));
                    }
                    Fact::Require { must: rule == Rule::require, first, rest, span }
                }
                Rule::not_yet_run => Fact::NotYetRun(self.span(&part)),
                Rule::keeps => {
                    let word = self.parts(part).take()?;
                    // The grammar has no other words.
                    Fact::Keeps(Kept::ALL.into_iter().find(|kept| kept.word() == word.as_str()).unwrap_or(Kept::Inputs))
                }
                Rule::gain => Fact::Gain(self.name(self.parts(part).take()?)),
                Rule::shift => Fact::Shift(self.name(self.parts(part).take()?)),
                Rule::means => Fact::Means(self.block(self.parts(part).take()?, 0)?),
                Rule::flops => Fact::Flops(self.expr(parts.take()?, 0)?),
                Rule::buffer => {
                    let mut parts = self.parts(part);
                    Fact::Buffer {
                        name: self.name(parts.take()?),
                        shape: self.ty(parts.take()?, 0)?,
                        init: Box::new(self.expr(parts.take()?, 0)?),
                    }
                }
                _ => {
                    let mut parts = self.parts(part);
                    Fact::Weight {
                        name: self.name(parts.take()?),
                        shape: self.ty(parts.take()?, 0)?,
                        init: Box::new(self.expr(parts.take()?, 0)?),
                        when: parts.next().map(|when| self.expr(when, 0).map(Box::new)).transpose()?,
                    }
                }
            });
        }
        Ok(facts)
    }

    fn literal(&self, pair: &Pair<Rule>) -> Literal {
        Literal { text: unescaped(pair.as_str()), span: self.span(pair) }
    }

    /// A name and its value: a field of a recipe or of a record, the `for` of a variant.
    fn field(&self, pair: Pair<Rule>, depth: usize) -> Built<(Name, Expr)> {
        let mut parts = self.parts(pair);
        Ok((self.name(parts.take()?), self.expr(parts.take()?, depth)?))
    }

    // Types.

    fn ty(&self, pair: Pair<Rule>, depth: usize) -> Built<Type> {
        let span = self.span(&pair);
        let depth = deeper(depth, 1, span)?;
        let mut whole = self.parts(pair);
        let form = whole.take()?;
        let rule = form.as_rule();
        let parts = self.parts(form);
        let kind = match rule {
            Rule::shape => {
                let dims = parts.all(|dim| self.dim(dim, depth))?;
                let misplaced = dims.iter().skip(1).find_map(|dim| match dim {
                    DimExpr::Rest(span) => Some(*span),
                    _ => None,
                });
                if let Some(span) = misplaced {
                    return Err(SyntaxError::new(span, "`..` is not the first dim of this shape")
                        .help("`..` stands first, as in `[.., d]`"));
                }
                match whole.next() {
                    Some(element) => {
                        let element =
                            Type { span: self.span(&element), kind: self.named_type(self.parts(element), depth)? };
                        TypeKind::Of { dims, element: Box::new(element) }
                    }
                    None => TypeKind::Shape(dims),
                }
            }
            Rule::type_tuple => {
                let mut types = parts.all(|ty| self.ty(ty, depth))?;
                // Parentheses around one type only group.
                match (types.pop(), types.is_empty()) {
                    (Some(only), true) => return Ok(only),
                    (Some(last), false) => types.push(last),
                    (None, _) => return Err(disagree(span)),
                }
                TypeKind::Tuple(types)
            }
            Rule::type_record => TypeKind::Record(parts.all(|field| {
                let mut parts = self.parts(field);
                Ok((self.name(parts.take()?), self.ty(parts.take()?, depth)?))
            })?),
            Rule::type_named => self.named_type(parts, depth)?,
            _ => return Err(disagree(span)),
        };
        Ok(Type { kind, span })
    }

    fn named_type(&self, mut parts: Parts, depth: usize) -> Built<TypeKind> {
        let name = self.name(parts.take()?);
        let args = match parts.next() {
            Some(args) => self.parts(args).all(|arg| self.expr(arg, depth))?,
            None => Vec::new(),
        };
        Ok(TypeKind::Named(name, args))
    }

    fn dim(&self, pair: Pair<Rule>, depth: usize) -> Built<DimExpr> {
        let form = self.parts(pair).take()?;
        Ok(match form.as_rule() {
            Rule::rest => DimExpr::Rest(self.span(&form)),
            Rule::varying => DimExpr::Varying(self.name(self.parts(form).take()?)),
            _ => DimExpr::Expr(self.chain(form, depth)?),
        })
    }

    // Expressions. `depth` is how many nodes of the tree lie above; each function adds its own.

    fn block(&self, pair: Pair<Rule>, depth: usize) -> Built<Block> {
        let span = self.span(&pair);
        let depth = deeper(depth, 1, span)?;
        let mut parts = self.parts(pair);
        let mut lets = Vec::new();
        while let Some(line) = parts.next_if(Rule::let_line) {
            let mut line = self.parts(line);
            lets.push(LetLine {
                names: self.parts(line.take()?).all(|name| Ok(self.name(name)))?,
                value: self.expr(line.take()?, depth)?,
            });
        }
        Ok(Block { lets, result: Box::new(self.expr(parts.take()?, depth)?), span })
    }

    fn expr(&self, pair: Pair<Rule>, depth: usize) -> Built<Expr> {
        let span = self.span(&pair);
        let depth = deeper(depth, 1, span)?;
        let mut steps = self.parts(pair).all(|step| self.step(step, depth))?;
        match (steps.pop(), steps.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                steps.push(last);
                Ok(Expr { kind: ExprKind::Pipe(steps), span })
            }
            (None, _) => Err(disagree(span)),
        }
    }

    /// One step of a pipe: a chain, `with { … }`, `as NAME`.
    fn step(&self, pair: Pair<Rule>, depth: usize) -> Built<Expr> {
        let whole = self.span(&pair);
        let mut parts = self.parts(pair);
        let chain = parts.take()?;
        let clauses: Vec<_> = std::iter::from_fn(|| parts.next()).collect();
        let depth = deeper(depth, clauses.len(), whole)?;
        let mut step = self.chain(chain, depth)?;
        for clause in clauses {
            let span = Span::new(whole.start, self.span(&clause).end);
            let rule = clause.as_rule();
            let inner = self.parts(clause).take()?;
            let kind = match rule {
                Rule::with_clause => ExprKind::With(Box::new(step), self.record(inner, depth)?),
                _ => ExprKind::As(Box::new(step), self.name(inner)),
            };
            step = Expr { kind, span };
        }
        Ok(step)
    }

    /// Operands with operators between them.
    fn chain(&self, pair: Pair<Rule>, depth: usize) -> Built<Expr> {
        let whole = self.span(&pair);
        let (terms, operators): (Vec<_>, Vec<_>) = pair.into_inner().partition(|part| part.as_rule() == Rule::term);
        let depth = deeper(depth, operators.len(), whole)?;
        let mut operands = Vec::with_capacity(terms.len());
        for term in terms {
            let span = self.span(&term);
            operands.push((self.term(term, depth)?, span));
        }
        let operators: Vec<_> = operators.iter().map(|op| (Operator::of(op.as_str()), self.span(op))).collect();
        let mut chain = Chain { operands: operands.into_iter(), operators: operators.into_iter().peekable(), whole };
        Ok(chain.group(0)?.0)
    }

    /// An operand with the minus signs before it.
    fn term(&self, pair: Pair<Rule>, depth: usize) -> Built<Expr> {
        let whole = self.span(&pair);
        let mut parts = self.parts(pair);
        let mut signs = Vec::new();
        while let Some(sign) = parts.next_if(Rule::minus) {
            signs.push(self.span(&sign));
        }
        let depth = deeper(depth, signs.len(), whole)?;
        let mut term = self.atom(parts.take()?, depth)?;
        for sign in signs.into_iter().rev() {
            let span = Span::new(sign.start, whole.end);
            term = Expr { kind: ExprKind::Negate(Box::new(term)), span };
        }
        Ok(term)
    }

    fn atom(&self, pair: Pair<Rule>, depth: usize) -> Built<Expr> {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::number => number(pair.as_str(), span)?,
            Rule::string => ExprKind::Str(unescaped(pair.as_str())),
            Rule::boolean => ExprKind::Bool(pair.as_str() == "true"),
            Rule::name => self.variable(&pair)?,
            Rule::list => ExprKind::List(self.parts(pair).all(|element| self.expr(element, depth))?),
            Rule::record => ExprKind::Record(self.record(pair, depth)?),
            Rule::repeat => {
                let mut parts = self.parts(pair);
                ExprKind::Repeat {
                    keyword: self.span(&parts.take()?),
                    count: Box::new(self.expr(parts.take()?, depth)?),
                    var: parts.next_if(Rule::name).map(|name| self.name(name)),
                    body: self.block(parts.take()?, depth)?,
                }
            }
            Rule::postfix => return self.postfix(pair, depth),
            Rule::paren => return self.paren(pair, depth),
            _ => return Err(disagree(span)),
        };
        Ok(Expr { kind, span })
    }

    fn variable(&self, pair: &Pair<Rule>) -> Built<ExprKind> {
        let python = pair.as_str();
        let ours = match python {
            "True" => "true",
            "False" => "false",
            name => return Ok(ExprKind::Name(name.to_owned())),
        };
        Err(SyntaxError::new(self.span(pair), format!("found `{python}`, expected `{ours}`"))
            .help(format!("write `{ours}`"))
            .becomes(ours))
    }

    fn record(&self, pair: Pair<Rule>, depth: usize) -> Built<Vec<(Name, Expr)>> {
        self.parts(pair).all(|field| self.field(field, depth))
    }

    /// A tuple, or parentheses that only group.
    fn paren(&self, pair: Pair<Rule>, depth: usize) -> Built<Expr> {
        let span = self.span(&pair);
        let comma = pair.clone().into_inner().find(|part| part.as_rule() == Rule::comma);
        let mut elements = self.parts(pair).all(|element| self.expr(element, depth))?;
        match (elements.pop(), elements.is_empty(), comma) {
            (Some(only), true, None) => Ok(only),
            (Some(_), true, Some(comma)) => {
                Err(SyntaxError::new(self.span(&comma), "a tuple has two elements or more, and this one has one")
                    .help("remove the `,`"))
            }
            (Some(last), false, _) => {
                elements.push(last);
                Ok(Expr { kind: ExprKind::Tuple(elements), span })
            }
            (None, ..) => Err(disagree(span)),
        }
    }

    /// A name or parentheses with the calls, indices and fields after it.
    fn postfix(&self, pair: Pair<Rule>, depth: usize) -> Built<Expr> {
        let whole = self.span(&pair);
        let mut parts = self.parts(pair);
        let first = parts.take()?;
        let trailers: Vec<_> = std::iter::from_fn(|| parts.next()).collect();
        let depth = deeper(depth, trailers.len(), whole)?;
        let mut value = self.atom(first, depth)?;
        for trailer in trailers {
            let span = Span::new(whole.start, self.span(&trailer).end);
            let rule = trailer.as_rule();
            let mut inner = self.parts(trailer);
            let kind = match rule {
                Rule::call => ExprKind::Call(Box::new(value), inner.all(|arg| self.arg(arg, depth))?),
                Rule::index => ExprKind::Index(Box::new(value), Box::new(self.expr(inner.take()?, depth)?)),
                Rule::field => ExprKind::Field(Box::new(value), self.name(inner.take()?)),
                _ => return Err(disagree(span)),
            };
            value = Expr { kind, span };
        }
        Ok(value)
    }

    fn arg(&self, pair: Pair<Rule>, depth: usize) -> Built<Arg> {
        let mut parts = self.parts(pair);
        let name = parts.next_if(Rule::name).map(|name| self.name(name));
        Ok(Arg { name, value: self.expr(parts.take()?, depth)? })
    }
}

/// `depth` and `more` nodes below it, or an error where that is too deep.
fn deeper(depth: usize, more: usize, span: Span) -> Built<usize> {
    if more > MAX_DEPTH {
        Err(diagnose::too_long(span, more))
    } else if depth + more > MAX_DEPTH {
        Err(diagnose::too_deep(span))
    } else {
        Ok(depth + more)
    }
}

fn number(text: &str, span: Span) -> Built<ExprKind> {
    let plain = text.replace('_', "");
    if plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return plain.parse().map(ExprKind::Int).map_err(|_| {
            SyntaxError::new(span, format!("this integer is too large: the largest is {}", i64::MAX))
                .help("write it as a number with an exponent, as in `1e20`")
        });
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(ExprKind::Float(value)),
        Ok(_) => Err(SyntaxError::new(span, format!("this number is too large: the largest is {:e}", f64::MAX))),
        Err(_) => Err(disagree(span)),
    }
}

/// The characters of a string literal, quotes removed.
fn unescaped(literal: &str) -> String {
    let inner = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(literal);
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some(escaped) => text.push(escaped),
                None => {}
            },
            c => text.push(c),
        }
    }
    text
}

/// The text of a documentation line without its marker and the blank after it.
pub(crate) fn doc_text<'s>(line: &'s str, marker: &str) -> &'s str {
    let text = line.strip_prefix(marker).unwrap_or(line);
    text.strip_prefix(' ').unwrap_or(text).trim_end()
}

fn joined(docs: &[&str]) -> Option<String> {
    if docs.is_empty() { None } else { Some(docs.join("\n")) }
}
