//! The layout of types and expressions.

use super::items::{Node, Writer, is_last};
use super::layout::Piece;
use crate::parse::Rule;

impl<'s> Writer<'s> {
    // Types.

    pub(super) fn signature(&mut self, signature: Node<'s>) {
        self.push(Piece::Open(false));
        self.push(Piece::Indent(2));
        for part in signature.into_inner() {
            match part.as_rule() {
                Rule::arrow => {
                    self.push(Piece::Line);
                    self.token(&part);
                    self.text(" ");
                }
                _ => self.ty(part),
            }
        }
        self.push(Piece::Dedent);
        self.push(Piece::Close);
    }

    pub(super) fn ty(&mut self, ty: Node<'s>) {
        for part in ty.into_inner() {
            match part.as_rule() {
                Rule::shape => self.bracket(part.into_inner().collect(), Self::dim),
                Rule::type_tuple => self.each_on_a_line(part.into_inner().collect(), Self::ty),
                Rule::type_record => self.record(part),
                Rule::type_named => self.type_named(part),
                // `of`
                _ => {
                    self.text(" ");
                    self.token(&part);
                    self.text(" ");
                }
            }
        }
    }

    fn type_named(&mut self, named: Node<'s>) {
        for part in named.into_inner() {
            match part.as_rule() {
                Rule::type_args => self.bracket(part.into_inner().collect(), Self::aligned),
                _ => self.token(&part),
            }
        }
    }

    fn dim(&mut self, dim: Node<'s>) {
        for part in dim.into_inner() {
            match part.as_rule() {
                Rule::varying => part.into_inner().for_each(|part| self.token(&part)),
                Rule::dim_expr => self.chain(part),
                _ => self.token(&part),
            }
        }
    }

    // Expressions.

    /// An expression; where it is a pipe that is broken, its steps after the first are moved in by `indent` against the
    /// line that it begins on.
    pub(super) fn hanging(&mut self, expr: Node<'s>, indent: usize) {
        self.pipe(expr, Some(indent));
    }

    /// An expression; where it is a pipe that is broken, its `>>` stand under its beginning.
    pub(super) fn aligned(&mut self, expr: Node<'s>) {
        self.pipe(expr, None);
    }

    fn pipe(&mut self, expr: Node<'s>, indent: Option<usize>) {
        let parts: Vec<_> = expr.into_inner().collect();
        if let [step] = parts.as_slice() {
            return self.step(step.clone());
        }
        let broken = parts.iter().filter(|part| part.as_rule() == Rule::pipe).any(|sign| {
            let span = sign.as_span();
            self.line_begins_at(span.start()) || self.line_ends_at(span.end())
        });
        self.push(Piece::Open(broken));
        if indent.is_none() {
            self.push(Piece::Align);
        }
        let mut parts = parts.into_iter();
        if let Some(first) = parts.next() {
            self.step(first);
        }
        if let Some(indent) = indent {
            self.push(Piece::Indent(indent));
        }
        while let (Some(sign), Some(step)) = (parts.next(), parts.next()) {
            // A comment behind a `>>` goes behind the step before it.
            let start = step.as_span().start();
            self.comment_before(start);
            self.push(Piece::Line);
            self.comments_above(start, true);
            self.token(&sign);
            self.text(" ");
            self.step(step);
        }
        self.push(Piece::Dedent);
        self.push(Piece::Close);
    }

    fn step(&mut self, step: Node<'s>) {
        for part in step.into_inner() {
            match part.as_rule() {
                Rule::chain => self.chain(part),
                Rule::with_clause | Rule::as_clause => {
                    self.text(" ");
                    self.spaced(part);
                }
                _ => self.token(&part),
            }
        }
    }

    /// Operands with operators between them, as an expression or as a dim.
    pub(super) fn chain(&mut self, chain: Node<'s>) {
        let mut parts = chain.into_inner();
        let first = parts.next();
        let single = parts.peek().is_none();
        if !single {
            self.push(Piece::Open(false));
            self.push(Piece::Align);
        }
        if let Some(first) = first {
            self.term(first);
        }
        while let (Some(op), Some(term)) = (parts.next(), parts.next()) {
            let start = term.as_span().start();
            if op.as_str() == ".." && !self.has_comment(start) {
                self.token(&op);
            } else {
                self.comment_before(start);
                self.push(Piece::Fill);
                self.comments_above(start, true);
                self.token(&op);
                self.text(" ");
            }
            self.term(term);
        }
        if !single {
            self.push(Piece::Dedent);
            self.push(Piece::Close);
        }
    }

    fn term(&mut self, term: Node<'s>) {
        for part in term.into_inner() {
            match part.as_rule() {
                Rule::list if part.as_str().contains(['(', '{']) || part.as_str().contains(">>") => {
                    self.each_on_a_line(part.into_inner().collect(), Self::aligned);
                }
                Rule::list => self.bracket(part.into_inner().collect(), Self::aligned),
                Rule::record => self.record(part),
                Rule::repeat => self.repeat(part),
                Rule::postfix => self.postfix(part),
                _ => self.token(&part),
            }
        }
    }

    fn postfix(&mut self, postfix: Node<'s>) {
        for part in postfix.into_inner() {
            match part.as_rule() {
                Rule::paren => self.each_on_a_line(part.into_inner().collect(), Self::aligned),
                Rule::index => self.bracket(part.into_inner().collect(), Self::aligned),
                Rule::call => self.bracket(part.into_inner().collect(), Self::spaced),
                Rule::field => part.into_inner().for_each(|part| self.token(&part)),
                _ => self.token(&part),
            }
        }
    }

    fn repeat(&mut self, repeat: Node<'s>) {
        let mut parts: Vec<_> = repeat.into_inner().collect();
        let (Some(block), Some(keyword)) = (parts.pop(), parts.first().cloned()) else { return };
        self.token(&keyword);
        self.bracket(parts.split_off(1), |this, part| match part.as_rule() {
            Rule::expr => this.aligned(part),
            _ => this.token(&part),
        });
        self.text(" ");
        self.block(block);
    }

    /// A record, of values or of types: on one line, or with each field on a line of its own.
    pub(super) fn record(&mut self, record: Node<'s>) {
        let typed = record.as_rule() == Rule::type_record;
        let parts: Vec<_> = record.into_inner().collect();
        let fields = parts.iter().filter(|part| !matches!(part.as_rule(), Rule::comma)).count().saturating_sub(2);
        let broken = parts.first().is_some_and(|open| self.line_ends_at(open.as_span().end())) && fields > 0;
        self.push(Piece::Open(broken));
        for part in &parts {
            match part.as_rule() {
                Rule::open_brace => {
                    self.token(part);
                    self.push(Piece::Indent(2));
                }
                Rule::comma => self.comma(part, !is_last(part, &parts)),
                Rule::close_brace => self.close_brace(part),
                _ => {
                    self.push(Piece::Line);
                    self.comments_above(part.as_span().start(), true);
                    for part in part.clone().into_inner() {
                        match part.as_rule() {
                            Rule::colon => {
                                if typed {
                                    self.text(" ");
                                }
                                self.token(&part);
                                self.text(" ");
                            }
                            Rule::ty => self.ty(part),
                            Rule::expr => self.aligned(part),
                            _ => self.token(&part),
                        }
                    }
                }
            }
        }
        self.push(Piece::Close);
    }

    /// What stands in parentheses or square brackets, as much on a line as fits, under the first of it.
    pub(super) fn bracket(&mut self, parts: Vec<Node<'s>>, write: impl Fn(&mut Self, Node<'s>)) {
        self.bracket_parted(&Piece::Fill, parts, write);
    }

    /// The same where each element has a line of its own if they do not all fit on one.
    fn each_on_a_line(&mut self, parts: Vec<Node<'s>>, write: impl Fn(&mut Self, Node<'s>)) {
        self.bracket_parted(&Piece::Line, parts, write);
    }

    fn bracket_parted(&mut self, parted: &Piece<'s>, parts: Vec<Node<'s>>, write: impl Fn(&mut Self, Node<'s>)) {
        let count = parts.len();
        self.push(Piece::Open(false));
        for (at, part) in parts.into_iter().enumerate() {
            let start = part.as_span().start();
            if at == 0 {
                self.push_open(&part);
            } else if at + 1 == count {
                if self.has_comment(start) || self.line_is_over() {
                    self.hard();
                    self.comments_above(start, true);
                }
                self.push(Piece::Dedent);
                self.token(&part);
            } else if part.as_rule() == Rule::comma {
                self.comma(&part, at + 2 < count);
            } else {
                if at > 1 {
                    self.push(parted.clone());
                } else if self.has_comment(start) || self.line_is_over() {
                    self.hard();
                }
                self.comments_above(start, true);
                write(self, part);
            }
        }
        self.push(Piece::Close);
    }

    /// An opening bracket; what follows stands under what follows it.
    fn push_open(&mut self, open: &Node<'s>) {
        self.token(open);
        self.push(Piece::Align);
    }
}
