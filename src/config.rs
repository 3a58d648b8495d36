//! `lmv.toml`: where a machine keeps the data and the weights that specs call by name.
//!
//! ```toml
//! [paths]
//! imagenet = "/data/imagenet"
//!
//! [weights]
//! llama7b = "weights/llama7b"   # from the folder of lmv.toml
//! ```

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lmv_runtime::training::atomic_file::write_atomic;
use toml::de::{DeTable, DeValue};

use crate::context::{Context, Exit, Message};
use crate::spec::nearest;

pub const NAME: &str = "lmv.toml";
const TABLES: [&str; 2] = ["paths", "weights"];

/// A `lmv.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file. Relative places begin at its folder.
    pub file: PathBuf,
    /// `[paths]`: names of data.
    pub paths: BTreeMap<String, String>,
    /// `[weights]`: names of weights.
    pub weights: BTreeMap<String, String>,
}

impl Config {
    /// The `lmv.toml` in the spec's folder or the nearest one above it; `None` where there is none. What is wrong with
    /// it is told.
    pub fn beside(spec: &Path, context: &Context) -> Result<Option<Self>, Exit> {
        let spec = std::path::absolute(spec).unwrap_or_else(|_| spec.to_path_buf());
        for folder in spec.ancestors().skip(1) {
            let file = folder.join(NAME);
            return match std::fs::read(&file) {
                Ok(bytes) => Self::parse(file, &bytes).map(Some).map_err(|message| {
                    context.tell(&message);
                    Exit::WrongSpec
                }),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                Err(error) => {
                    let what = format!("{NAME} cannot be read: {error}");
                    context.tell(&Message::error(what).about(file.display().to_string()));
                    Err(Exit::Failed)
                }
            };
        }
        Ok(None)
    }

    /// One that is not there yet, and says nothing.
    pub fn new(file: PathBuf) -> Self {
        Self { file, paths: BTreeMap::new(), weights: BTreeMap::new() }
    }

    /// Writes into the file where the weights `name` are; everything else in it stays as it is. What keeps it from that is
    /// told.
    pub fn write_weights(&self, name: &str, place: &str, context: &Context) -> Result<(), Exit> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                let what = format!("{NAME} cannot be read: {error}");
                context.tell(&Message::error(what).about(self.file.display().to_string()));
                return Err(Exit::Failed);
            }
        };
        let mut wanted = self.clone();
        wanted.weights.insert(name.to_owned(), place.to_owned());
        let edited = with_weights(&text, name, place);
        // What was edited must say what it said before, and this.
        let edited =
            edited.filter(|edited| Self::parse(self.file.clone(), edited.as_bytes()).is_ok_and(|is| is == wanted));
        let Some(edited) = edited else {
            let what = format!("the place of `{name}` cannot be put into this file as it is written");
            let message = Message::error(what).about(self.file.display().to_string());
            context.tell(&message.help(format!("write under [weights]: {}", entry(name, place))));
            return Err(Exit::Failed);
        };
        write_atomic(&self.file, |out| out.write_all(edited.as_bytes())).map_err(|failure| context.failed(&failure))
    }

    fn parse(file: PathBuf, bytes: &[u8]) -> Result<Self, Box<Message>> {
        let shown = file.display().to_string();
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Message::error(format!("{NAME} is not UTF-8 text")).about(shown).into());
        };
        let wrong = |what: String, byte: usize| {
            let before = text.get(..byte).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |i| i + 1);
            let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
            Message::error(what).about(shown.clone()).at(line, column)
        };
        let root = DeTable::parse(text).map_err(|error| {
            // The parser's message may have lines of its own; the first says what is wrong.
            let what = error.message().lines().next().unwrap_or("it does not parse").to_owned();
            wrong(format!("{NAME} is not TOML: {what}"), error.span().map_or(0, |span| span.start))
        })?;
        let mut tables = BTreeMap::from(TABLES.map(|name| (name, BTreeMap::new())));
        for (name, table) in root.into_inner() {
            let at = name.span().start;
            let name: &str = name.get_ref();
            let Some(known) = tables.get_mut(name) else {
                let message = wrong(format!("{NAME} has no table `{name}`"), at);
                let message = match nearest(name, TABLES).first() {
                    Some(near) => message.help(format!("did you mean `[{near}]`?")),
                    None => message.note("it has `[paths]` and `[weights]`"),
                };
                return Err(message.into());
            };
            let DeValue::Table(entries) = table.into_inner() else {
                return Err(wrong(format!("`{name}` of {NAME} is a table"), at)
                    .help(format!("write `[{name}]`"))
                    .into());
            };
            for (key, value) in entries {
                let at = value.span().start;
                let DeValue::String(place) = value.get_ref() else {
                    let what = format!("`{}` under [{name}] is a place, written as a text", key.get_ref());
                    return Err(wrong(what, at).help(format!("{} = \"/where/it/is\"", key.get_ref())).into());
                };
                known.insert(key.get_ref().to_string(), place.to_string());
            }
        }
        let mut take = |name| tables.remove(name).unwrap_or_default();
        Ok(Self { file, paths: take("paths"), weights: take("weights") })
    }
}

/// `name = "place"`.
fn entry(name: &str, place: &str) -> String {
    // A bare key of TOML has letters, digits, `_` and `-`.
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    format!("{} = {}", if bare { name.to_owned() } else { quoted(name) }, quoted(place))
}

/// `text` with that entry in its table of weights, in place of one of that name or behind the others.
fn with_weights(text: &str, name: &str, place: &str) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let mut edited = text.to_owned();
    let Some((head, table)) = root.get_ref().iter().find(|(key, _)| key.get_ref() == "weights") else {
        if !edited.is_empty() {
            edited += if edited.ends_with('\n') { "\n" } else { "\n\n" };
        }
        return Some(edited + "[weights]\n" + &entry(name, place) + "\n");
    };
    let DeValue::Table(entries) = table.get_ref() else { return None };
    if let Some((_, value)) = entries.iter().find(|(key, _)| key.get_ref() == name) {
        edited.replace_range(value.span(), &toml::Value::String(place.to_owned()).to_string());
        return Some(edited);
    }
    let last = entries.iter().map(|(_, value)| value.span().end).max().unwrap_or(head.span().end);
    let line_end = text.get(last..)?.find('\n').map_or(text.len(), |at| last + at);
    edited.insert_str(line_end, &format!("\n{}", entry(name, place)));
    Some(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match Config::parse(NAME.into(), text.as_bytes()) {
            Ok(config) => format!("{:?} {:?}", config.paths, config.weights),
            Err(message) => message.render(false),
        }
    }

    #[test]
    fn both_tables_are_read_and_either_may_be_missing() {
        assert_eq!(
            said("[paths]\nimagenet = \"/data\"\n[weights]\nllama7b = 'w'\n"),
            r#"{"imagenet": "/data"} {"llama7b": "w"}"#
        );
        assert_eq!(said(""), "{} {}");
    }

    #[test]
    fn an_entry_is_put_in_and_the_rest_stays() {
        let put = |text: &str| with_weights(text, "b", "/new").expect("a table that can be edited");
        assert_eq!(put(""), "[weights]\nb = \"/new\"\n");
        assert_eq!(put("[paths]\na = \"/b\""), "[paths]\na = \"/b\"\n\n[weights]\nb = \"/new\"\n");
        assert_eq!(put("[weights] # mine\n\n[paths]\n"), "[weights] # mine\nb = \"/new\"\n\n[paths]\n");
        assert_eq!(
            put("# above\n[weights]\na = '/x' # why\n# below\n\n[paths]\nb = 'y'\n"),
            "# above\n[weights]\na = '/x' # why\nb = \"/new\"\n# below\n\n[paths]\nb = 'y'\n"
        );
        assert_eq!(put("[weights]\nb = '/old' # kept\na = 'x'"), "[weights]\nb = \"/new\" # kept\na = 'x'");
        assert_eq!(entry("my set", "C:\\x"), "\"my set\" = 'C:\\x'");
        // Edited it would be no longer what it was: whoever calls looks at that.
        let inline = "weights = { a = 'x' }\n[paths]\n";
        assert!(
            with_weights(inline, "b", "/new").is_none_or(
                |text| Config::parse(NAME.into(), text.as_bytes()).is_err() || !said(&text).contains("/new")
            )
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        insta::assert_snapshot!(said("[paths]\na = \"/b\"\n\n[weight]\n"), @"
        error: lmv.toml has no table `weight`
          ┌─ lmv.toml:4:2
        help: did you mean `[weights]`?
        ");
        insta::assert_snapshot!(said("[paths]\nimagenet = 3\n"), @r#"
        error: `imagenet` under [paths] is a place, written as a text
          ┌─ lmv.toml:2:12
        help: imagenet = "/where/it/is"
        "#);
        insta::assert_snapshot!(said("paths = \"/data\"\n"), @"
        error: `paths` of lmv.toml is a table
          ┌─ lmv.toml:1:1
        help: write `[paths]`
        ");
        assert!(said("[paths\n").starts_with("error: lmv.toml is not TOML: "), "{}", said("[paths\n"));
        assert!(said("[paths\n").contains("lmv.toml:1:"), "{}", said("[paths\n"));
    }
}
