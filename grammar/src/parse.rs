//! From source text to a file of items. A file that is right is read in one go; in one that is not, each item is read
//! by itself, so that an error leaves out no more than the item it is in.

use crate::ast::{Expr, File, Item, ItemKind, Span};
use crate::scan::{Brackets, Chunk, Token, chunks, scan};
use crate::{diagnose, tree};
use pest::Parser;
use pest::error::ErrorVariant;
use pest::iterators::Pair;

/// The parser that pest makes of `lmv.pest`; in a module of its own because the rules it generates carry no
/// documentation.
mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "lmv.pest"]
    pub(crate) struct Grammar;
}

pub(crate) use grammar::{Grammar, Rule};

/// How many errors are reported for one file. Past these, text is no program with mistakes but no program.
pub const MAX_ERRORS: usize = 20;

/// How many of the chunks after an unclosed bracket are looked through for what closes it.
const MAX_JOINED: usize = 32;

/// What a source text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// All items that could be read.
    pub file: File,
    /// What was wrong with the others, in the order of the text; at most [`MAX_ERRORS`].
    pub errors: Vec<SyntaxError>,
}

/// Text that is not in the language.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntaxError {
    /// Where. Empty where something is missing.
    pub span: Span,
    /// What is wrong, as in "found `->`, expected `>>`".
    pub message: String,
    /// What to write instead, where that is evident.
    pub help: Option<String>,
    /// What the text at `span` must become, where it can only be that.
    pub becomes: Option<String>,
}

impl SyntaxError {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None, becomes: None }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(crate) fn becomes(self, text: impl Into<String>) -> Self {
        Self { becomes: Some(text.into()), ..self }
    }
}

/// Reads a file. Whatever the text, this gives the items that are right and an error for each that is not.
///
/// ```
/// let parsed = lmv_grammar::parse("model = vit_small -> head\ndata = imagenet(root = path(\"imagenet\"))\n");
/// assert_eq!(parsed.file.items.len(), 1);
/// assert_eq!(parsed.errors[0].message, "found `->`, expected `>>`");
/// ```
pub fn parse(source: &str) -> Parsed {
    let tokens = scan(source);
    let chunks = chunks(source, &tokens);
    let reader = Reader { source, tokens: &tokens };
    let whole = Chunk { span: Span::new(0, source.len()), surely: None };

    if let Ok(read) = reader.read(whole)
        && read.errors.is_empty()
        && begins_items(&read.file.items, &chunks)
    {
        return read;
    }

    let mut parsed = Parsed::default();
    let mut next = 0;
    while let Some(chunk) = chunks.get(next) {
        next += 1;
        let read = reader.read(*chunk).or_else(|error| {
            // Lines in the first column may be inside a bracket that was opened above them.
            let (joined, past) = reader.join(&chunks, next - 1).ok_or_else(|| error.clone())?;
            let read = reader.read(joined).ok().filter(|read| read.errors.is_empty()).ok_or(error)?;
            next = past;
            Ok(read)
        });
        match read {
            Ok(read) => {
                parsed.file.doc = parsed.file.doc.or(read.file.doc);
                parsed.file.items.extend(read.file.items);
                parsed.errors.extend(read.errors);
            }
            Err(error) => parsed.errors.push(error),
        }
        parsed.errors.truncate(MAX_ERRORS);
    }
    parsed
}

/// Reads one expression, as `--set train.lr=EXPR` gives it. Spans are bytes of `text`.
///
/// ```
/// assert!(lmv_grammar::parse_expr("cosine(300, warmup = 5)").is_ok());
/// ```
///
/// # Errors
/// Where the text is anything but one expression.
pub fn parse_expr(text: &str) -> Result<Expr, SyntaxError> {
    let tokens = scan(text);
    let whole = Span::new(0, text.len());
    let reader = Reader { source: text, tokens: &tokens };
    let pair = reader.run(Rule::expr_only, whole)?;
    tree::Builder { base: 0 }.only_expr(pair)
}

/// Whether each place where an item surely begins is the beginning of an item. It is not where the line above it is
/// unfinished: `seed =` and then `llm a = b` would read as `seed = llm` and `a = b`.
fn begins_items(items: &[Item], chunks: &[Chunk]) -> bool {
    let begins = |at: usize| items.binary_search_by_key(&at, |item| item.span.start).is_ok();
    chunks.iter().filter_map(|chunk| chunk.surely).all(begins)
}

/// A source text and its tokens.
struct Reader<'s> {
    source: &'s str,
    tokens: &'s [Token],
}

impl<'s> Reader<'s> {
    fn tokens_in(&self, span: Span) -> &'s [Token] {
        let first = self.tokens.partition_point(|token| token.span.start < span.start);
        let end = self.tokens.partition_point(|token| token.span.start < span.end);
        &self.tokens[first..end.max(first)]
    }

    /// Runs the grammar over a part of the source.
    fn run(&self, rule: Rule, span: Span) -> Result<Pair<'s, Rule>, SyntaxError> {
        let source: &'s str = self.source;
        let tokens = self.tokens_in(span);
        if let Some(bracket) = Brackets::of(source, tokens).too_deep {
            return Err(diagnose::too_deep(bracket.span));
        }
        Grammar::parse(rule, &source[span.start..span.end])
            .map_err(|error| match error.variant {
                // Pest's own guard: what is left of the stack is too little, so the caller's stack is small.
                ErrorVariant::CustomError { .. } => diagnose::too_deep(span),
                ErrorVariant::ParsingError { .. } => diagnose::Failure::new(source, tokens, span, &error).explain(),
            })?
            .next()
            .ok_or_else(|| tree::disagree(span))
    }

    /// Reads the items of a part of the source: an error where the grammar fails, else the items and an error for each
    /// that fits the grammar but is still wrong, such as a number that is too large.
    fn read(&self, chunk: Chunk) -> Result<Parsed, SyntaxError> {
        let rule = if chunk.span.start == 0 { Rule::file } else { Rule::items };
        let pair = self.run(rule, chunk.span)?;
        let mut parsed = tree::Builder { base: chunk.span.start }.file(pair);
        self.one_to_a_line(&mut parsed);
        Ok(parsed)
    }

    /// Takes out items, and settings of a variant, that begin on the line on which the one before them ends: `model = vit head = 3` is more likely
    /// a missing `>>` than two settings.
    fn one_to_a_line(&self, parsed: &mut Parsed) {
        self.each_on_its_line(&mut parsed.file.items, &mut parsed.errors);
        parsed.errors.sort_by_key(|error| error.span.start);
    }

    fn each_on_its_line(&self, items: &mut Vec<Item>, errors: &mut Vec<SyntaxError>) {
        let mut last_end = None;
        items.retain_mut(|item| {
            if let ItemKind::Variant { settings, .. } = &mut item.kind {
                self.each_on_its_line(settings, errors);
            }
            let before = last_end.replace(item.span.end);
            let begins_line = before.is_none_or(|end| self.source[end..item.span.start].contains(['\n', '\r']));
            if !begins_line {
                errors.push(
                    SyntaxError::new(
                        Span::new(item.span.start, item.span.start),
                        "found a second item on one line, expected `>>` or a new line",
                    )
                    .help("begin each item on a line of its own"),
                );
            }
            begins_line
        });
    }

    /// The chunk `at` and those after it up to where its brackets are closed, with the number of the chunk after them;
    /// `None` if they are closed in it already, or nowhere near.
    fn join(&self, chunks: &[Chunk], at: usize) -> Option<(Chunk, usize)> {
        let start = chunks[at].span.start;
        let is_open = |span| !Brackets::of(self.source, self.tokens_in(span)).unclosed.is_empty();
        if !is_open(chunks[at].span) {
            return None;
        }
        (at + 1..chunks.len().min(at + MAX_JOINED))
            .map(|last| (Span::new(start, chunks[last].span.end), last + 1))
            .find(|(span, _)| !is_open(*span))
            .map(|(span, past)| (Chunk { span, surely: None }, past))
    }
}
