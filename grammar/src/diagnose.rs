//! What went wrong, in words: from the place where the grammar failed and the tokens around it to an error that says
//! what was found, what was expected, and what to write.

mod habits;

use crate::ast::Span;
use crate::parse::{Rule, SyntaxError};
use crate::scan::{
    Brackets, MAX_BRACKETS, Token, TokenKind, closing, in_first_column, is_item_keyword, open_at_end, same_line,
};
use crate::tree::MAX_DEPTH;
use pest::error::{Error, ErrorVariant, InputLocation};

/// Longest stretch of the source that a message quotes, in characters.
const MAX_QUOTED: usize = 40;

/// The error for brackets or operators inside one another beyond what is read.
pub(crate) fn too_deep(span: Span) -> SyntaxError {
    SyntaxError::new(span, format!("nested too deeply: at most {MAX_BRACKETS} brackets inside one another are read"))
        .help("give a part of it a name with `let`")
}

/// The error for a chain of more operators, calls or fields than are read.
pub(crate) fn too_long(span: Span, found: usize) -> SyntaxError {
    SyntaxError::new(
        span,
        format!("too many operators, calls or fields in a row: {found}, at most {MAX_DEPTH} are read"),
    )
    .help("give a part of it a name with `let`")
}

/// A place where the grammar failed, with what lies around it.
pub(crate) struct Failure<'s> {
    source: &'s str,
    /// The tokens of the part that was read.
    tokens: &'s [Token],
    /// How many of them stand before the failure.
    before: usize,
    /// What the grammar tried there.
    tried: Vec<Rule>,
    /// The end of the part that was read.
    end: usize,
}

impl<'s> Failure<'s> {
    /// The failure of the grammar on the part `span` of `source`, whose tokens are `tokens`.
    pub fn new(source: &'s str, tokens: &'s [Token], span: Span, error: &Error<Rule>) -> Self {
        let offset = match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
        };
        let tried = match &error.variant {
            ErrorVariant::ParsingError { positives, .. } => positives.clone(),
            ErrorVariant::CustomError { .. } => Vec::new(),
        };
        let before = tokens.partition_point(|token| token.span.end <= span.start + offset);
        Self { source, tokens, before, tried, end: span.end }
    }

    /// The error in words: first the mistakes that have a name, then what was found and what was expected.
    pub fn explain(&self) -> SyntaxError {
        self.foreign_token()
            .or_else(|| self.lone_documentation())
            .or_else(|| self.habit())
            .or_else(|| self.unpaired_bracket())
            .or_else(|| self.missing_pipe())
            .unwrap_or_else(|| self.found_and_expected())
    }

    fn here(&self) -> Option<&'s Token> {
        self.tokens.get(self.before)
    }

    fn previous(&self) -> Option<&'s Token> {
        self.tokens[..self.before].last()
    }

    fn text(&self, token: Option<&Token>) -> &'s str {
        token.map_or("", |token| token.text(self.source))
    }

    fn expects(&self, rule: Rule) -> bool {
        self.tried.contains(&rule)
    }

    /// Something that no program of lmv holds, whatever stands around it.
    fn foreign_token(&self) -> Option<SyntaxError> {
        let here = self.here()?;
        let text = here.text(self.source);
        let error = |message: &str| SyntaxError::new(here.span, message);
        Some(match here.kind {
            TokenKind::OpenText => error("this string is not closed on its line").help("add a `\"` at its end"),
            TokenKind::Text => {
                let escape = bad_escape(text)?;
                let start = here.span.start + escape.0;
                let span = Span::new(start, start + escape.1);
                SyntaxError::new(span, format!("`{}` is no escape", &self.source[span.start..span.end]))
                    .help("the escapes of a string are `\\\"`, `\\\\` and `\\n`")
            }
            TokenKind::Quoted => {
                let inner = text.trim_matches('\'');
                let error = error("found `'`, expected `\"`");
                let error = error.help(format!("strings have double quotes: `\"{}\"`", short(inner)));
                if inner.contains(['"', '\\']) { error } else { error.becomes(format!("\"{inner}\"")) }
            }
            TokenKind::Hash => error("found `#`, expected `//`")
                .help("a comment begins with `//`")
                .becomes(format!("//{}", text.trim_start_matches('#'))),
            TokenKind::Unknown if text.starts_with(char::is_alphabetic) => {
                error(&format!("found {}, expected {}", quoted(text), self.expected()))
                    .help("names are written with `a` to `z`, `A` to `Z`, digits and `_`")
            }
            TokenKind::Symbol if text == ";" => {
                error("found `;`, but nothing has to end a line").help("remove the `;`").becomes("")
            }
            TokenKind::Doc => error("found documentation in the middle of an item")
                .help("`///` stands above an item; begin a comment with `//`"),
            TokenKind::FileDoc => error("found `//!` after the first item")
                .help("the documentation of a file stands at its top; begin a comment with `//`"),
            // A number that merely stands in the wrong place is one.
            TokenKind::Number if text.replace('_', "").parse::<f64>().is_err() => {
                error(&format!("{} is not a number", quoted(text)))
                    .help("a name does not begin with a digit, and a number does not run on into letters")
            }
            _ => return None,
        })
    }

    fn lone_documentation(&self) -> Option<SyntaxError> {
        let doc = self.previous().filter(|token| token.kind == TokenKind::Doc)?;
        if self.here().is_some_and(|here| here.kind == TokenKind::Word) {
            return None;
        }
        Some(
            SyntaxError::new(doc.span, "this documentation has no item under it")
                .help("begin a comment with `//`, and the documentation of the file with `//!` at its top"),
        )
    }

    /// A bracket without its partner, where that is why the grammar failed.
    fn unpaired_bracket(&self) -> Option<SyntaxError> {
        let brackets = Brackets::of(self.source, self.tokens);
        let here = self.here();
        if let Some(stray) = brackets.stray.iter().find(|stray| here.is_some_and(|here| here.span == stray.span)) {
            let text = quoted(stray.text(self.source));
            return Some(SyntaxError::new(stray.span, format!("this {text} closes nothing")).help("remove it"));
        }
        let open = open_at_end(self.source, &self.tokens[..self.before]);
        let innermost = open.last()?;
        let is_unclosed = |open: &Token| brackets.unclosed.iter().any(|unclosed| unclosed.span == open.span);
        if !is_unclosed(innermost) {
            return None;
        }
        let bracket = innermost.text(self.source);
        let message = format!("this `{bracket}` is never closed");
        let help = match here {
            _ if self.division_that_is_a_comment(innermost) => {
                "`//` begins a comment; a division of whole numbers is `/`, and comes out even".to_owned()
            }
            Some(here) => format!("add `{}` before {}", closing(bracket), quoted(here.text(self.source))),
            None => format!("add `{}` at the end of what it holds", closing(bracket)),
        };
        Some(SyntaxError::new(innermost.span, message).help(help))
    }

    /// `linear(384 // 2)`: what closes the bracket stands behind the `//`.
    fn division_that_is_a_comment(&self, open: &Token) -> bool {
        let line = self.source[open.span.end..].lines().next().unwrap_or_default();
        line.split_once("//").is_some_and(|(before, behind)| {
            before.trim_end().ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ')')
                && behind.contains(closing(open.text(self.source)))
        })
    }

    /// `vit_small linear(384, 4096)`: the second name reads as the beginning of an item or of a recipe's field, so the
    /// grammar fails only behind it.
    fn missing_pipe(&self) -> Option<SyntaxError> {
        let name = self.previous().filter(|token| token.kind == TokenKind::Word)?;
        let value = &self.tokens[self.before.checked_sub(2)?];
        let in_brackets = !open_at_end(self.source, &self.tokens[..self.before]).is_empty();
        let goes_on = if in_brackets {
            same_line(self.source, value, name)
        } else {
            !in_first_column(self.source, value.span.start) && !in_first_column(self.source, name.span.start)
        };
        if !self.expects(Rule::eq) || self.expects(Rule::pipe) || !ends_value(value) || !goes_on {
            return None;
        }
        let text = name.text(self.source);
        Some(
            SyntaxError::new(name.span, format!("found {}, expected `>>`", quoted(text)))
                .help(format!("join two steps with `>>`: `>> {}`", short(text))),
        )
    }

    fn found_and_expected(&self) -> SyntaxError {
        let (found, span) = match self.here() {
            Some(here) => (quoted(here.text(self.source)), here.span),
            None => {
                let at = self.previous().map_or(self.end, |last| last.span.end);
                let rest_of_file = self.end == self.source.len();
                (if rest_of_file { "the end of the text" } else { "the next item" }.to_owned(), Span::new(at, at))
            }
        };
        let instead_of_pipe = self.expects(Rule::pipe) && matches!(self.here_text(), "->" | "|" | ">" | "=>" | "|>");
        let expected = if instead_of_pipe { "`>>`".to_owned() } else { self.expected() };
        let error = SyntaxError::new(span, format!("found {found}, expected {expected}"));
        let Some(help) = self.help() else { return error };
        let error = error.help(help);
        match self.here_text() {
            "->" | "|" | "=>" | "|>" if instead_of_pipe => error.becomes(">>"),
            ":" | ":=" | "==" if self.expects(Rule::eq) => error.becomes("="),
            _ => error,
        }
    }

    fn here_text(&self) -> &'s str {
        self.text(self.here())
    }

    /// What to write instead, for the mistakes that people coming from other languages make.
    fn help(&self) -> Option<String> {
        let Some(here) = self.here() else {
            let last = self.text(self.previous());
            return (last == ">>").then(|| "remove the last `>>`, or add the step that follows it".to_owned());
        };
        let text = here.text(self.source);
        let previous = self.previous();
        let before_previous = self.before.checked_sub(2).and_then(|at| self.tokens.get(at));
        let name = quoted(self.text(previous));
        let in_line = previous.is_some_and(|previous| same_line(self.source, previous, here));
        let in_parentheses = open_at_end(self.source, &self.tokens[..self.before])
            .last()
            .is_some_and(|open| open.text(self.source) == "(");
        if let Some(help) = self.help_of_use(text) {
            return Some(help);
        }
        if let Some(help) = self.help_of_repeat() {
            return Some(help);
        }
        let expects_expr = self.tried.iter().any(|rule| word_of(*rule) == Some("an expression"));
        let after_value = previous.is_some_and(ends_value) && self.expects(Rule::pipe);
        let begins_value = matches!(here.kind, TokenKind::Word | TokenKind::Number | TokenKind::Text | TokenKind::Open);

        Some(match text {
            "->" | "|" | ">" | "=>" | "|>" if self.expects(Rule::pipe) => {
                "`>>` sends a stream into the layer after it".to_owned()
            }
            ":" | ":=" | "==" if in_parentheses && previous.is_some_and(|token| token.kind == TokenKind::Word) => {
                format!("an argument or a default is given with `=`, as in {} = …`", name.trim_end_matches('`'))
            }
            ":" | ":=" | "==" if self.expects(Rule::eq) => "a value is given with `=`".to_owned(),
            "=" if self.expects(Rule::colon) && in_parentheses => "the shape of an input stands after `:`".to_owned(),
            "=" if self.expects(Rule::colon) => {
                format!("a field of a record is given with `:`, as in {}: …`", name.trim_end_matches('`'))
            }
            "." if expects_expr && self.next_is_number() => "write a zero before the `.`".to_owned(),
            "}" if expects_expr && self.after_let() => "a block ends with the value that it gives".to_owned(),
            _ if self.expects(Rule::variant_item) && text != "}" => {
                "a variant changes settings, as in `train.epochs = 100`; everything else stands outside of it"
                    .to_owned()
            }
            "(" if !in_line && after_value => "the `(` of a call stands on the line of what is called".to_owned(),
            "[" if !in_line && after_value => {
                "the `[` of an index stands on the line of what it is taken of".to_owned()
            }
            "/" if self.source[here.span.start..].starts_with("/*") => "a comment begins with `//`".to_owned(),
            "(" if previous.is_some_and(|token| matches!(token.kind, TokenKind::Number | TokenKind::Text)) => {
                "only a layer or a function is called; `*` multiplies".to_owned()
            }
            _ if after_value && begins_value && self.expects(Rule::comma) => {
                "put `,` between two elements, or `>>` between two steps of a pipe".to_owned()
            }
            _ if after_value && begins_value => format!("join two steps with `>>`: `>> {}`", short(text)),
            ">>" if self.expects(Rule::eq) => {
                format!("say what it is: `model = {} >> …`, or `let NAME = …`", name.trim_matches('`'))
            }
            // `laier block(d)`: a first word that no item begins with.
            _ if (here.kind == TokenKind::Word || text == "(")
                && self.expects(Rule::eq)
                && before_previous.is_none_or(|token| !same_line(self.source, token, here))
                && !is_item_keyword(self.text(previous)) =>
            {
                "an item begins with `let`, `layer`, `dataset`, `augment`, `extern`, `recipe`, `llm`, `names`, `use`, \
                 `variant`, `model(…)` or a name and `=`"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// What to write where names are brought in from elsewhere.
    fn help_of_use(&self, found: &str) -> Option<String> {
        let before = &self.tokens[..self.before];
        let first = before.iter().rev().find(|token| in_first_column(self.source, token.span.start))?;
        let help = match first.text(self.source) {
            "use" if found == "*" => "without braces, `use` brings in everything that is public",
            "use" if found == "(" => "the names stand in braces, as in `use vision.vit { vit, head }`",
            "use" if matches!(found, "." | "/" | ":" | "-" | "..") => {
                "a module of the library has dots, as in `use vision.vit`, and a file quotes, as in `use \"./mine.lmv\"`"
            }
            "import" | "from" | "include" if self.expects(Rule::eq) => {
                "names come from elsewhere by `use`, as in `use vision.vit { vit }` or `use \"./mine.lmv\"`"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// `repeat(2, block(8, 2))` and `repeat 2 { … }`: what is repeated stands in braces, behind the count.
    fn help_of_repeat(&self) -> Option<String> {
        let before = &self.tokens[..self.before];
        let open = open_at_end(self.source, before).last().copied();
        let called = match open {
            Some(open) if open.text(self.source) == "(" => {
                before.iter().rev().find(|token| token.span.end <= open.span.start)
            }
            _ => None,
        };
        let repeated = called.or(before.last()).is_some_and(|token| token.text(self.source) == "repeat");
        repeated.then(|| "what is repeated stands in braces: `repeat(2) { … }`, or `repeat(2, i) { … }`".to_owned())
    }

    fn next_is_number(&self) -> bool {
        self.tokens.get(self.before + 1).is_some_and(|token| token.kind == TokenKind::Number)
    }

    /// Whether a `let` stands between the innermost open bracket and the failure.
    fn after_let(&self) -> bool {
        let from = open_at_end(self.source, &self.tokens[..self.before]).last().map_or(0, |open| open.span.start);
        self.tokens[..self.before]
            .iter()
            .rev()
            .take_while(|token| token.span.start > from)
            .any(|token| token.text(self.source) == "let")
    }

    /// What could have stood here, as a list in words.
    fn expected(&self) -> String {
        let mut words: Vec<&str> = Vec::new();
        for rule in &self.tried {
            // Behind a value `as` is one operator among others; in the braces of a `use` it is all there is.
            let word = if *rule == Rule::kw_as && !self.expects(Rule::pipe) { Some("as") } else { word_of(*rule) };
            if let Some(word) = word
                && !words.contains(&word)
            {
                words.push(word);
            }
        }
        // After a value, every operator could follow; `>>` stands for them. A name is an expression, too.
        if words.contains(&">>") {
            words.retain(|word| !matches!(*word, "=" | "(" | "[" | "." | "an operator" | "a name"));
        }
        if words.contains(&"an expression") {
            words.retain(|word| !matches!(*word, "a name" | "a string"));
        }
        // The dots of a setting are not what is missing.
        if words.contains(&"=") {
            words.retain(|word| *word != ".");
        }
        if words.contains(&"an item") && words.len() > 1 {
            words.retain(|word| *word != "an item");
        }
        words.sort_unstable_by_key(|word| (*word == ">>", word.len() == 1, *word));
        let words: Vec<String> = words
            .iter()
            .map(|word| if word.contains(' ') { (*word).to_owned() } else { format!("`{word}`") })
            .collect();
        match words.split_last() {
            None => "something else".to_owned(),
            Some((only, [])) => only.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        }
    }
}

/// Whether a value can end with `token`.
fn ends_value(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::Number | TokenKind::Text | TokenKind::Close)
}

/// A rule of the grammar in the language of its users; `None` for what would only lengthen the list.
fn word_of(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::pipe => ">>",
        Rule::eq => "=",
        Rule::colon => ":",
        Rule::comma => ",",
        Rule::arrow => "->",
        Rule::dot => ".",
        Rule::open_paren | Rule::params | Rule::call | Rule::type_args => "(",
        Rule::close_paren => ")",
        Rule::open_bracket | Rule::index => "[",
        Rule::close_bracket => "]",
        Rule::variant_item => "a setting",
        Rule::kw_for | Rule::each => "for",
        Rule::kw_in => "in",
        Rule::open_brace | Rule::block | Rule::record | Rule::use_names => "{",
        Rule::close_brace => "}",
        Rule::expr
        | Rule::step
        | Rule::chain
        | Rule::term
        | Rule::number
        | Rule::boolean
        | Rule::list
        | Rule::repeat
        | Rule::postfix
        | Rule::paren
        | Rule::arg => "an expression",
        Rule::kept => "`nothing`, `inputs`, `inputs_for_parameters` or `outputs`",
        Rule::string | Rule::names_pair => "a string",
        Rule::op | Rule::kw_with | Rule::kw_as | Rule::dim_op => "an operator",
        Rule::name
        | Rule::param
        | Rule::input
        | Rule::pattern
        | Rule::recipe_field
        | Rule::record_field
        | Rule::use_name
        | Rule::module
        | Rule::type_field => "a name",
        Rule::ty | Rule::signature | Rule::shape | Rule::type_tuple | Rule::type_record | Rule::type_named => "a type",
        Rule::dim | Rule::rest | Rule::varying | Rule::dim_expr => "a dim",
        Rule::file
        | Rule::items
        | Rule::item
        | Rule::let_item
        | Rule::define
        | Rule::define_plain
        | Rule::extern_item
        | Rule::recipe
        | Rule::llm_item
        | Rule::names
        | Rule::use_item
        | Rule::variant
        | Rule::model_item
        | Rule::setting
        | Rule::kw_let
        | Rule::kw_layer
        | Rule::kw_plain
        | Rule::kw_extern
        | Rule::kw_recipe
        | Rule::kw_llm
        | Rule::kw_names
        | Rule::kw_model
        | Rule::kw_use
        | Rule::kw_variant
        | Rule::EOI => "an item",
        _ => return None,
    })
}

/// The place and length of the first escape in a string literal that is none.
fn bad_escape(literal: &str) -> Option<(usize, usize)> {
    let mut chars = literal.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            let (_, escaped) = chars.next()?;
            if !matches!(escaped, '"' | '\\' | 'n') {
                return Some((at, 1 + escaped.len_utf8()));
            }
        }
    }
    None
}

/// `text` in backquotes, shortened, with control characters made visible.
fn quoted(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    format!("`{}`", short(text).chars().map(visible).collect::<String>())
}

fn short(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(MAX_QUOTED).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
