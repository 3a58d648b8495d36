//! Tokens of a source text, right or wrong: where items begin, how brackets nest, and what stands where the grammar
//! failed are questions about tokens, and they must have an answer for text that is no program.

use crate::ast::Span;

/// How deep brackets may nest. The grammar descends once for each, so this bounds its stack.
pub const MAX_BRACKETS: usize = 100;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name or a keyword.
    Word,
    /// Begins with a digit.
    Number,
    /// `"…"`.
    Text,
    /// `"…` without an end on its line.
    OpenText,
    /// `'…'`, or what is left of the line where the second quote is missing.
    Quoted,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// An operator or a sign.
    Symbol,
    /// `/// …`.
    Doc,
    /// `//! …`.
    FileDoc,
    /// `# …`, to the end of the line.
    Hash,
    /// Characters that no program holds outside strings and comments.
    Unknown,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

impl Token {
    /// The token as it is written.
    pub fn text<'s>(&self, source: &'s str) -> &'s str {
        &source[self.span.start..self.span.end]
    }
}

/// Signs of more than one character, each before any that it begins with. Some are no part of the language: they are
/// here because people write them.
const SIGNS: &[&str] = &[">>", "|>", "->", "=>", "**", "..", "==", "!=", "<=", ">=", ":=", "&&", "||", "<<"];

/// The tokens of `source`, blanks and ordinary comments left out.
pub(crate) fn scan(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let (kind, len) = match first {
            c if c.is_whitespace() || c == '\u{FEFF}' => (None, c.len_utf8()),
            '/' if rest.starts_with("//") => (comment_kind(rest), line_len(rest)),
            '#' => (Some(TokenKind::Hash), line_len(rest)),
            '"' => {
                let (closed, len) = text_len(rest);
                (Some(if closed { TokenKind::Text } else { TokenKind::OpenText }), len)
            }
            '\'' => (Some(TokenKind::Quoted), quoted_len(rest)),
            '(' | '[' | '{' => (Some(TokenKind::Open), 1),
            ')' | ']' | '}' => (Some(TokenKind::Close), 1),
            c if c.is_ascii_digit() => (Some(TokenKind::Number), number_len(rest)),
            c if c.is_ascii_alphabetic() || c == '_' => (Some(TokenKind::Word), len_while(rest, is_word)),
            c if c.is_ascii_punctuation() => {
                let len = SIGNS.iter().find(|sign| rest.starts_with(**sign)).map_or(1, |sign| sign.len());
                (Some(TokenKind::Symbol), len)
            }
            _ => (Some(TokenKind::Unknown), unknown_len(rest)),
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, span: Span::new(at, at + len) });
        }
        at += len;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn len_while(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.find(|c| !holds(c)).unwrap_or(text.len())
}

fn line_len(text: &str) -> usize {
    len_while(text, |c| c != '\n' && c != '\r')
}

fn unknown_len(text: &str) -> usize {
    let strange = |c: char| !c.is_ascii() && !c.is_whitespace() && c != '\u{FEFF}';
    // A control character is strange on its own.
    len_while(text, strange).max(text.chars().next().map_or(0, char::len_utf8))
}

fn comment_kind(text: &str) -> Option<TokenKind> {
    if text.starts_with("//!") {
        Some(TokenKind::FileDoc)
    } else if text.starts_with("///") && !text.starts_with("////") {
        Some(TokenKind::Doc)
    } else {
        None
    }
}

/// Whether the string at the start of `text` is closed on its line, and its length.
fn text_len(text: &str) -> (bool, usize) {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' | '\r' => return (false, at),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (true, at + 1),
            _ => {}
        }
    }
    (false, text.len())
}

fn quoted_len(text: &str) -> usize {
    match text[1..].find(['\'', '\n', '\r']) {
        Some(at) if text[1 + at..].starts_with('\'') => at + 2,
        Some(at) => at + 1,
        None => text.len(),
    }
}

/// `384`, `5e-4`, `0.8`, and what runs on from them without a blank, as in `3d`.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit_at = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut len = len_while(text, |c| c.is_ascii_digit() || c == '_');
    if bytes.get(len) == Some(&b'.') && digit_at(len + 1) {
        len += 1;
        len += len_while(&text[len..], |c| c.is_ascii_digit() || c == '_');
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        if digit_at(len + 1 + sign) {
            len += 1 + sign;
        }
    }
    len + len_while(&text[len..], is_word)
}

/// How the brackets of some tokens pair up.
#[derive(Debug, Default)]
pub(crate) struct Brackets {
    /// Opening brackets that nothing closes, in the order of the text.
    pub unclosed: Vec<Token>,
    /// Closing brackets that close nothing, in the order of the text.
    pub stray: Vec<Token>,
    /// The first bracket that is nested deeper than [`MAX_BRACKETS`].
    pub too_deep: Option<Token>,
}

impl Brackets {
    /// Pairs the brackets of `tokens`. A closing bracket closes the nearest opening one of its kind; those between them
    /// are unclosed.
    pub fn of(source: &str, tokens: &[Token]) -> Self {
        let mut brackets = Brackets::default();
        let mut open: Vec<Token> = Vec::new();
        // How many of each kind are open, so that a stray one does not cost a search.
        let mut counts = [0usize; 3];
        for token in tokens {
            match token.kind {
                TokenKind::Open => {
                    counts[kind(token.text(source))] += 1;
                    open.push(*token);
                    if open.len() > MAX_BRACKETS && brackets.too_deep.is_none() {
                        brackets.too_deep = Some(*token);
                    }
                }
                TokenKind::Close if counts[kind(token.text(source))] == 0 => brackets.stray.push(*token),
                TokenKind::Close => {
                    let closes = kind(token.text(source));
                    while let Some(top) = open.pop() {
                        counts[kind(top.text(source))] -= 1;
                        if kind(top.text(source)) == closes {
                            break;
                        }
                        brackets.unclosed.push(top);
                    }
                }
                _ => {}
            }
        }
        brackets.unclosed.extend(open);
        brackets.unclosed.sort_by_key(|token| token.span.start);
        brackets
    }
}

/// The opening brackets among `tokens` that are open where they end, the innermost last.
pub(crate) fn open_at_end(source: &str, tokens: &[Token]) -> Vec<Token> {
    let mut open: Vec<Token> = Vec::new();
    for token in tokens {
        match token.kind {
            TokenKind::Open => open.push(*token),
            TokenKind::Close if open.last().is_some_and(|top| kind(top.text(source)) == kind(token.text(source))) => {
                open.pop();
            }
            _ => {}
        }
    }
    open
}

fn kind(bracket: &str) -> usize {
    match bracket {
        "(" | ")" => 0,
        "[" | "]" => 1,
        _ => 2,
    }
}

/// The bracket that closes `open`.
pub(crate) fn closing(open: &str) -> &'static str {
    [")", "]", "}"][kind(open)]
}

/// A stretch of the source that holds one item, if it was written as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub span: Span,
    /// The byte where an item surely begins: a keyword with a name after it at the start of a line.
    pub surely: Option<usize>,
}

/// Cuts the source where items seem to begin: at a name, a keyword or documentation in the first column. Other lines
/// belong to what is above them. The chunks cover the source without a gap.
pub(crate) fn chunks(source: &str, tokens: &[Token]) -> Vec<Chunk> {
    let in_first_column = |at| in_first_column(source, at);
    let mut starts: Vec<usize> = Vec::new();
    let mut sure: Vec<Option<usize>> = Vec::new();
    // Documentation belongs to the item under it, so that item does not begin a chunk of its own.
    let mut after_doc = false;
    for (i, token) in tokens.iter().enumerate() {
        let text = token.text(source);
        if !in_first_column(token.span.start) {
            after_doc &= token.kind == TokenKind::Doc;
            continue;
        }
        let begins = match token.kind {
            TokenKind::Word => !matches!(text, "or" | "as" | "with"),
            TokenKind::Doc => true,
            // The file's own documentation stands above the first item.
            TokenKind::FileDoc if starts.is_empty() => false,
            TokenKind::Number
            | TokenKind::Quoted
            | TokenKind::Hash
            | TokenKind::Unknown
            | TokenKind::FileDoc
            | TokenKind::Symbol
                if !continues(source, token) =>
            {
                // A stray line is an error of its own, unless the lines under it go on with the item above it.
                next_line_token(source, tokens, i)
                    .is_none_or(|next| in_first_column(next.span.start) && !continues(source, next))
            }
            _ => false,
        };
        let surely = (token.kind == TokenKind::Word && is_item_keyword(text))
            .then(|| tokens.get(i + 1))
            .flatten()
            .filter(|next| next.kind == TokenKind::Word && same_line(source, token, next))
            .map(|_| token.span.start);
        if begins && after_doc {
            if let (Some(last), Some(_)) = (sure.last_mut(), surely) {
                *last = surely;
            }
        } else if begins {
            starts.push(token.span.start);
            sure.push(surely);
        }
        after_doc = token.kind == TokenKind::Doc && (begins || after_doc);
    }

    let mut chunks = Vec::with_capacity(starts.len() + 1);
    let first = starts.first().copied().unwrap_or(source.len());
    if first > 0 {
        chunks.push(Chunk { span: Span::new(0, first), surely: None });
    }
    for (i, (start, surely)) in starts.iter().zip(sure).enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(source.len());
        chunks.push(Chunk { span: Span::new(*start, end), surely });
    }
    chunks
}

/// Words that begin an item when a name follows them.
pub(crate) fn is_item_keyword(word: &str) -> bool {
    let plain = ["dataset", "augment", "metric", "loss", "optimizer", "schedule", "mix", "sampler"];
    plain.contains(&word) || matches!(word, "let" | "layer" | "extern" | "recipe" | "llm" | "names" | "use" | "variant")
}

fn continues(source: &str, token: &Token) -> bool {
    match token.kind {
        TokenKind::Word => matches!(token.text(source), "or" | "as" | "with"),
        // A `/` in the first column is a comment gone wrong, and a `;` stands alone.
        TokenKind::Symbol => !matches!(token.text(source), "/" | ";"),
        TokenKind::Open | TokenKind::Close | TokenKind::Text | TokenKind::OpenText => true,
        _ => false,
    }
}

/// The first token under the line of token `i`.
fn next_line_token<'t>(source: &str, tokens: &'t [Token], i: usize) -> Option<&'t Token> {
    let end = tokens[i].span.end + line_len(&source[tokens[i].span.end..]);
    tokens.get(tokens.partition_point(|token| token.span.start < end))
}

/// Whether byte `at` is the first of its line.
pub(crate) fn in_first_column(source: &str, at: usize) -> bool {
    let before = &source[..at];
    before.is_empty() || before == "\u{FEFF}" || before.ends_with(['\n', '\r'])
}

/// Whether no line ends between two tokens.
pub(crate) fn same_line(source: &str, first: &Token, second: &Token) -> bool {
    !source[first.span.end..second.span.start].contains(['\n', '\r'])
}
