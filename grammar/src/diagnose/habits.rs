//! Habits of other languages that the grammar fails on: the word or sign that gives them away, and what lmv has in its
//! place.

use super::{Failure, ends_value, quoted};
use crate::ast::Span;
use crate::parse::{Rule, SyntaxError};
use crate::scan::{Token, TokenKind, in_first_column, open_at_end, same_line};

/// A word of other languages, what is written here, and what can stand in its place where that is evident.
const WORDS: &[(&[&str], &str, Option<&str>)] = &[
    (
        &["def", "fn", "func", "function"],
        "a layer is defined by `layer NAME(SIZES) : [IN] -> [OUT] { … }`, and a function that gives a value by \
         `let NAME(…) = …`",
        None,
    ),
    (
        &["class", "struct"],
        "a module is one definition, `layer NAME(SIZES) : [IN] -> [OUT] { … }`: its sizes are its parameters, and its \
         parts stand in the body, where they are used",
        None,
    ),
    (&["return"], "a body ends in what it gives, without a word in front", Some("")),
    (
        &["for", "while"],
        "`repeat(12, i) { … }` is its body twelve times in a row, each with parameters of its own; `i` counts from 0",
        None,
    ),
    (&["if", "else", "elif"], "`when(condition, a, b)` is one of two values, picked while the spec is checked", None),
    (
        &["lambda"],
        "steps in a row are a layer, `linear(8, 8) >> gelu`; a layer with a name is `layer NAME(SIZES) { … }`",
        None,
    ),
    (&["and", "not"], "conditions are nested: `when(a, when(b, x, y), y)`, and `when(a, y, x)` turns one round", None),
    (&["var", "const", "val"], "a name is given to a value by `let`", Some("let")),
];

const COMPARISONS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

/// Types that parameters have elsewhere.
const TYPES: [&str; 7] = ["int", "float", "bool", "str", "Tensor", "usize", "Optional"];

impl Failure<'_> {
    /// The mistake as one that people bring from another language, if it looks like one.
    pub(super) fn habit(&self) -> Option<SyntaxError> {
        self.word_of_another_language()
            .or_else(|| self.assignment())
            .or_else(|| self.names_of_a_tuple())
            .or_else(|| self.change_in_place())
            .or_else(|| self.comparison())
            .or_else(|| self.type_of_a_parameter())
            .or_else(|| self.text_for_documentation())
            .or_else(|| self.name_in_quotes())
            .or_else(|| self.product_sign())
    }

    fn word_of_another_language(&self) -> Option<SyntaxError> {
        let before = &self.tokens[..self.before];
        let begins = before.iter().rev().find(|token| in_first_column(self.source, token.span.start));
        let within = |keyword: &str| begins.is_some_and(|first| first.text(self.source) == keyword);
        // There these words are lmv's own.
        let own = |word: &str| word == "for" && within("variant") || word == "if" && within("extern");
        let here = self.here().filter(|_| self.previous().is_some_and(ends_value));
        let opened = open_at_end(self.source, before).last().and_then(|open| self.just_before(open.span.start));
        let called = self.previous().filter(|token| token.kind == TokenKind::Close).and_then(|close| {
            let inside = self.tokens.partition_point(|token| token.span.start < close.span.start);
            let open = open_at_end(self.source, &self.tokens[..inside]).last().copied()?;
            self.just_before(open.span.start)
        });
        // `let f = lambda x: …` reads as `let f = lambda` and a setting `x`.
        let earlier = self
            .previous()
            .filter(|token| token.kind == TokenKind::Word)
            .and_then(|name| self.just_before(name.span.start).filter(|token| same_line(self.source, token, name)));
        let candidates = [self.previous(), here, opened, called, earlier];
        candidates.into_iter().flatten().filter(|token| token.kind == TokenKind::Word).find_map(|token| {
            let word = token.text(self.source);
            let (_, help, instead) = WORDS.iter().find(|(words, ..)| words.contains(&word) && !own(word))?;
            let error = |span| SyntaxError::new(span, format!("`{word}` has no place here")).help(*help);
            Some(match instead {
                Some("") => {
                    let end = self.here().map_or(token.span.end, |here| here.span.start);
                    let blank = self.source.get(token.span.end..end).is_some_and(|between| between.trim().is_empty());
                    let span = if blank { Span::new(token.span.start, end) } else { token.span };
                    error(span).becomes("")
                }
                Some(instead) => error(token.span).becomes(*instead),
                None => error(token.span),
            })
        })
    }

    /// The last token before a byte.
    fn just_before(&self, byte: usize) -> Option<&Token> {
        self.tokens[..self.tokens.partition_point(|token| token.span.end <= byte)].last()
    }

    /// Whether the failure lies in the braces of a body.
    fn in_braces(&self) -> bool {
        let open = open_at_end(self.source, &self.tokens[..self.before]);
        open.last().is_some_and(|open| open.text(self.source) == "{")
    }

    /// `h = x >> f` on a line of a body.
    fn assignment(&self) -> Option<SyntaxError> {
        let name = self.previous().filter(|token| token.kind == TokenKind::Word)?;
        let begins = self
            .just_before(name.span.start)
            .is_some_and(|token| token.text(self.source) == "{" || !same_line(self.source, token, name));
        if self.here_text() != "=" || !begins || !self.in_braces() || !self.expects(Rule::pipe) {
            return None;
        }
        let text = name.text(self.source);
        Some(
            SyntaxError::new(name.span, format!("{} is given a value without `let`", quoted(text)))
                .help("in a body, a name is given by `let`; the body ends in what it gives")
                .becomes(format!("let {text}")),
        )
    }

    /// `a, b = x >> (f, g)` on a line of a body.
    fn names_of_a_tuple(&self) -> Option<SyntaxError> {
        let first = self.previous().filter(|token| token.kind == TokenKind::Word)?;
        if self.here_text() != "," || !self.in_braces() {
            return None;
        }
        let mut rest = self.tokens[self.before..].chunks(2);
        let mut last = *first;
        let ended = rest.find_map(|pair| match pair {
            [sign, name] if sign.text(self.source) == "," && name.kind == TokenKind::Word => {
                last = *name;
                None
            }
            [sign, ..] => Some(sign.text(self.source) == "="),
            [] => Some(false),
        });
        if ended != Some(true) {
            return None;
        }
        let span = first.span.to(last.span);
        let names = &self.source[span.start..span.end];
        let is_let = |token: &Token| token.text(self.source) == "let";
        let behind_let = self.before.checked_sub(2).and_then(|at| self.tokens.get(at)).is_some_and(is_let);
        let help = "the names of a tuple stand in brackets, behind `let`";
        Some(match behind_let {
            true => SyntaxError::new(span, "several names are given a value without brackets")
                .help(help)
                .becomes(format!("({names})")),
            false => SyntaxError::new(span, "several names are given a value without `let`")
                .help(help)
                .becomes(format!("let ({names})")),
        })
    }

    /// `h += x`.
    fn change_in_place(&self) -> Option<SyntaxError> {
        let sign = self.previous().filter(|token| ["+", "-", "*", "/"].contains(&token.text(self.source)))?;
        let here = self.here().filter(|here| here.text(self.source) == "=" && here.span.start == sign.span.end)?;
        let span = sign.span.to(here.span);
        let layer = match sign.text(self.source) {
            "+" => "add",
            "-" => "subtract",
            _ => "multiply",
        };
        Some(
            SyntaxError::new(
                span,
                format!("found {}, but a name keeps its value", quoted(&self.source[span.start..span.end])),
            )
            .help(format!("give what comes of it a name of its own: `let sum = (h, x) >> {layer}`")),
        )
    }

    fn comparison(&self) -> Option<SyntaxError> {
        let here = self.here().filter(|here| COMPARISONS.contains(&here.text(self.source)))?;
        let next = self.tokens.get(self.before + 1);
        let a_number = |token: Option<&Token>| token.is_some_and(|token| token.kind == TokenKind::Number);
        let open = open_at_end(self.source, &self.tokens[..self.before]);
        let of_when = open.last().and_then(|open| self.just_before(open.span.start));
        let of_when = of_when.is_some_and(|token| token.text(self.source) == "when");
        let numbers = self.expects(Rule::pipe) && (a_number(self.previous()) || a_number(next));
        // `epochs == 3` in an item is an `=` too many, and `vit > head` a pipe.
        let compared = numbers && !open.is_empty() && here.text(self.source) != "==";
        if !of_when && !compared {
            return None;
        }
        Some(
            SyntaxError::new(
                here.span,
                format!("found {}, but nothing is compared in a spec", quoted(here.text(self.source))),
            )
            .help("a condition is `true`, `false` or a parameter that is one of them: `when(wide, a, b)`"),
        )
    }

    /// `layer f(d: int)`.
    fn type_of_a_parameter(&self) -> Option<SyntaxError> {
        let here = self.here().filter(|here| here.text(self.source) == ":")?;
        let ty = self.tokens.get(self.before + 1).filter(|ty| TYPES.contains(&ty.text(self.source)))?;
        let name = self.previous().filter(|token| token.kind == TokenKind::Word)?.text(self.source);
        let span = here.span.to(ty.span);
        Some(
            SyntaxError::new(span, format!("found a type behind the parameter {}", quoted(name)))
                .help(format!("a parameter has a name, and a default where it may be left out: `{name}`, `{name} = 4`"))
                .becomes(""),
        )
    }

    /// `"""A model."""`.
    fn text_for_documentation(&self) -> Option<SyntaxError> {
        let here = self.here().filter(|here| self.source[here.span.start..].starts_with("\"\"\""))?;
        Some(
            SyntaxError::new(Span::new(here.span.start, here.span.start + 3), "found `\"\"\"`, expected an item")
                .help("documentation stands behind `///` above an item, and behind `//!` at the top of a file"),
        )
    }

    /// `{ "answer": x }`.
    fn name_in_quotes(&self) -> Option<SyntaxError> {
        let here = self.here().filter(|here| here.kind == TokenKind::Text && self.in_braces())?;
        let text = here.text(self.source);
        let name = text.trim_matches('"');
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || !self.expects(Rule::record_field) && !self.expects(Rule::name) || self.expects(Rule::expr) {
            return None;
        }
        Some(
            SyntaxError::new(here.span, format!("found {}, expected a name", quoted(text)))
                .help("names stand without quotes")
                .becomes(name),
        )
    }

    /// `a @ b`, `2 ^ 3`, `7 % 2`: operators of other languages, where a pipe might go on.
    fn product_sign(&self) -> Option<SyntaxError> {
        let here = self.here().filter(|_| self.expects(Rule::pipe))?;
        let sign = here.text(self.source);
        let found = |help: &str| SyntaxError::new(here.span, format!("found `{sign}`, expected `>>`")).help(help);
        Some(match sign {
            "@" => found("the product of two streams is a layer of both: `(a, b) >> matmul`"),
            "^" => found("a power is written `**`").becomes("**"),
            "%" => found("there are no remainders: a size that must divide is told by `/`, which has to come out even"),
            _ => return None,
        })
    }
}
