//! The words that the language itself gives a meaning, each with its paragraph in `docs/words.md`: for `lmvc explain WORD`.

const TEXT: &str = include_str!("../../docs/words.md");

/// A word of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// What it means, with a program, as Markdown.
    pub text: &'static str,
}

/// Every word, in the order of the page.
pub fn words() -> impl Iterator<Item = Word> {
    let sections = TEXT.split("\n## ").skip(1);
    sections.filter_map(|section| {
        let (word, text) = section.split_once('\n')?;
        Some(Word { word: word.trim(), text: text.trim() })
    })
}

/// The field of recipes of this name, if there is one.
pub fn recipe_field(name: &str) -> Option<Word> {
    words().find(|known| known.word.strip_prefix("train.") == Some(name))
}

/// The word, if it is one. A length that varies, `S?`, is explained as `T?` is, and `class(n)` as `class`.
pub fn find(word: &str) -> Option<Word> {
    let bare = word.split('(').next().unwrap_or(word);
    let varies = bare.len() > 1 && bare.ends_with('?');
    words().find(|known| known.word == if varies { "T?" } else { bare })
}
