//! Where a spec's names of weights and data are on this machine: `lmv.toml`, then the environment, then the command
//! line, the last one winning. Specs stay portable that way. Where none of these says anything of weights, the Hugging
//! Face cache on this disk may have them. A place that begins with `hf:` is a repository in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::built_in;
use super::hub::{HubCache, Repository};
use crate::error::{Failure, Result};

/// What is being located.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocationKind {
    /// Pretrained weights: `llama7b`, `pretrained("name", …)`.
    Weights,
    /// Data: `path("imagenet")`.
    Path,
}

impl LocationKind {
    /// Its section in `lmv.toml`.
    pub fn section(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Path => "paths",
        }
    }

    /// Its flag on the command line.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Weights => "--weights",
            Self::Path => "--path",
        }
    }

    /// The variable of the environment for `name`: letters in capitals, and `_` for what is neither letter nor digit.
    pub fn variable(self, name: &str) -> String {
        let prefix = match self {
            Self::Weights => "LMV_WEIGHTS_",
            Self::Path => "LMV_PATH_",
        };
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        prefix.to_string() + &name
    }
}

/// Who said where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This `lmv.toml`.
    Toml(PathBuf),
    /// This variable of the environment.
    Variable(String),
    /// The command line.
    Flag,
    /// Nobody; the Hugging Face cache has this repository, and the library says that it is the one.
    Cache(Repository),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(file) => write!(f, "{}", file.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Flag => f.write_str("the command line"),
            Self::Cache(repository) => write!(f, "the Hugging Face cache, as {repository}"),
        }
    }
}

/// Looks a variable of the environment up.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The places of weights, or of data, by name.
pub struct Locations {
    kind: LocationKind,
    toml: Option<(PathBuf, BTreeMap<String, PathBuf>)>,
    environment: Environment,
    flags: BTreeMap<String, PathBuf>,
    hub: Option<Hub>,
}

/// The Hugging Face cache, and what the library says is in it.
#[derive(Debug)]
struct Hub {
    cache: HubCache,
    /// Names of weights with the repositories that hold them.
    known: Vec<(String, Repository)>,
}

impl fmt::Debug for Locations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locations")
            .field("kind", &self.kind)
            .field("toml", &self.toml)
            .field("flags", &self.flags)
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

impl Locations {
    /// None yet; `environment` looks a variable up (`|name| std::env::var(name).ok()`).
    pub fn new(kind: LocationKind, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { kind, toml: None, environment: Box::new(environment), flags: BTreeMap::new(), hub: None }
    }

    /// With the Hugging Face cache, and the repositories that names of weights mean in it. Of several for one name the
    /// first that is there is taken.
    pub fn with_hub(mut self, cache: HubCache, known: Vec<(String, Repository)>) -> Self {
        self.hub = Some(Hub { cache, known });
        self
    }

    /// With the section of an `lmv.toml`, whose relative paths begin at its own folder.
    pub fn with_toml(mut self, file: impl Into<PathBuf>, section: BTreeMap<String, PathBuf>) -> Self {
        self.toml = Some((file.into(), section));
        self
    }

    /// With `--weights name=path` or `--path name=path`; the last one for a name wins.
    pub fn with_flag(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.flags.insert(name.into(), path.into());
        self
    }

    /// What is being located.
    pub fn kind(&self) -> LocationKind {
        self.kind
    }

    /// The names that `lmv.toml` and the command line give, in order. Variables of the environment cannot be listed: a
    /// name cannot be told from its variable.
    pub fn names(&self) -> BTreeSet<&str> {
        let toml = self.toml.iter().flat_map(|(_, section)| section.keys());
        toml.chain(self.flags.keys()).map(String::as_str).collect()
    }

    /// The Hugging Face cache, where there is one.
    pub fn cache(&self) -> Option<&HubCache> {
        self.hub.as_ref().map(|hub| &hub.cache)
    }

    /// The repositories that the library says hold the weights `name`.
    pub fn repositories<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Repository> {
        let known = self.hub.iter().flat_map(|hub| &hub.known);
        known.filter(move |(known, _)| known == name).map(|(_, repository)| repository)
    }

    /// Whether these are weights that come with the program, and nothing says where others of that name are.
    pub fn is_built_in(&self, name: &str) -> bool {
        self.kind == LocationKind::Weights && self.source(name).is_none() && built_in::file(name).is_some()
    }

    /// Where `name` is said to be and by whom, whether or not something is there; else where the Hugging Face cache has
    /// it.
    pub fn source(&self, name: &str) -> Option<(PathBuf, Source)> {
        self.said(name).or_else(|| {
            let cache = self.cache()?;
            let mut found = self.repositories(name).filter_map(|known| Some((cache.weights(known)?, known)));
            found.next().map(|(place, known)| (place, Source::Cache(known.clone())))
        })
    }

    /// Where somebody says that `name` is.
    fn said(&self, name: &str) -> Option<(PathBuf, Source)> {
        if let Some(path) = self.flags.get(name) {
            return Some((self.at_home(path), Source::Flag));
        }
        let variable = self.kind.variable(name);
        // An empty variable is how a shell takes one back for a command.
        if let Some(path) = (self.environment)(&variable).filter(|path| !path.is_empty()) {
            return Some((self.at_home(Path::new(&path)), Source::Variable(variable)));
        }
        let (file, section) = self.toml.as_ref()?;
        let path = self.at_home(section.get(name)?);
        if Repository::of_place(&path).is_some() {
            return Some((path, Source::Toml(file.clone())));
        }
        // An absolute path replaces the folder.
        Some((file.parent().unwrap_or(Path::new("")).join(path), Source::Toml(file.clone())))
    }

    /// Where `name` is.
    ///
    /// # Errors
    /// When nobody says where it is, with the three ways to say it; or when nothing is there, with who said so.
    pub fn resolve(&self, name: &str) -> Result<PathBuf> {
        let Some((path, source)) = self.source(name) else { return Err(self.unknown(name)) };
        if let (LocationKind::Weights, Some(repository)) = (self.kind, Repository::of_place(&path)) {
            return self.snapshot(name, repository, &source);
        }
        let (flag, section) = (self.kind.flag(), self.kind.section());
        match path.try_exists() {
            Ok(true) => Ok(path),
            Ok(false) => Err(Failure::at(&path, format!("does not exist, and {source} gives it for `{name}`")).help(
                match source {
                    Source::Toml(_) => format!("correct `{name}` under [{section}] there, or say `{flag} {name}=PATH`"),
                    Source::Variable(variable) => {
                        format!("correct it: `export {variable}=PATH`, or say `{flag} {name}=PATH`")
                    }
                    // The cache has been looked into.
                    Source::Flag | Source::Cache(_) => format!("correct it: `{flag} {name}=PATH`"),
                },
            )),
            Err(e) => Err(Failure::at(&path, format!("cannot be looked at: {e}; {source} gives it for `{name}`"))),
        }
    }

    /// The files of a repository that `source` says holds `name`.
    fn snapshot(&self, name: &str, repository: Result<Repository, String>, source: &Source) -> Result<PathBuf> {
        let by = format!("{source} gives it for `{name}`");
        let repository = repository.map_err(|wrong| Failure::new(wrong).note(by.clone()))?;
        let cache = self.cache().ok_or_else(|| {
            Failure::new(format!("`{repository}` cannot be looked for: nothing says where the Hugging Face cache is"))
                .help("say it: `export HF_HUB_CACHE=/path/to/hub`")
        })?;
        cache.snapshot(&repository).map_err(|failure| {
            let failure = failure.note(by);
            let help = failure.help.as_ref().map(|help| help.replace(" NAME ", &format!(" {name} ")));
            Failure { help, ..failure }
        })
    }

    fn unknown(&self, name: &str) -> Failure {
        let (flag, section) = (self.kind.flag(), self.kind.section());
        let (what, value) = match self.kind {
            LocationKind::Weights => (format!("nothing says where the weights of `{name}` are"), "/path/to/weights"),
            LocationKind::Path => (format!("nothing says where `{name}` is"), "/path/to/data"),
        };
        // A bare key of TOML has letters, digits, `_` and `-`.
        let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let key = if bare { name.to_string() } else { format!("{name:?}") };
        let mut failure = Failure::new(what)
            .note(format!("on the command line: {flag} {name}={value}"))
            .note(format!("in the environment: export {}={value}", self.kind.variable(name)))
            .note(format!("in lmv.toml, under [{section}]: {key} = \"{value}\""))
            .help("say it in one of these three ways; the first wins over the others");
        if let (Some(cache), Some(repository)) = (self.cache(), self.repositories(name).next()) {
            failure.notes.push(format!(
                "the Hugging Face cache, {}, has no {repository}: `lmvc weights add {name} --download` fetches it",
                cache.folder().display()
            ));
        }
        if let Some(near) = super::names::nearest(name, self.names().into_iter()) {
            failure.notes.push(format!("`{near}` is given, which is nearly the same"));
        }
        failure
    }

    /// `~/…` where no shell has replaced it: in TOML, and after the `=` of a flag.
    fn at_home(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), (self.environment)("HOME").filter(|home| !home.is_empty())) {
            (Ok(rest), Some(home)) => Path::new(&home).join(rest),
            _ => path.to_path_buf(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_last_source_wins() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["toml", "variable", "flag"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let section = BTreeMap::from([("llama7b".to_string(), PathBuf::from("toml"))]);
        let toml = Locations::new(LocationKind::Weights, nothing).with_toml(at("lmv.toml"), section.clone());
        assert_eq!(toml.resolve("llama7b"), Ok(at("toml")));
        assert_eq!(toml.source("llama7b").unwrap().1, Source::Toml(at("lmv.toml")));
        let variable = at("variable").display().to_string();
        let both = Locations::new(LocationKind::Weights, move |name| {
            (name == "LMV_WEIGHTS_LLAMA7B").then(|| variable.clone())
        })
        .with_toml(at("lmv.toml"), section);
        assert_eq!(both.resolve("llama7b"), Ok(at("variable")));
        let all = both.with_flag("llama7b", at("wrong")).with_flag("llama7b", at("flag"));
        assert_eq!(all.resolve("llama7b"), Ok(at("flag")));
        assert_eq!(all.source("llama7b").unwrap().1, Source::Flag);
        assert_eq!(all.names().into_iter().collect::<Vec<_>>(), ["llama7b"]);
    }

    #[test]
    fn the_cache_comes_behind_whatever_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("models--a--b");
        let snapshot = place.join("snapshots/c0ffee");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(place.join("refs")).unwrap();
        std::fs::write(place.join("refs/main"), "c0ffee").unwrap();
        std::fs::write(snapshot.join("model.safetensors"), "x").unwrap();
        let repository = |text: &str| Repository::parse(text).unwrap();
        let known = || vec![("x".to_string(), repository("a/gone")), ("x".to_string(), repository("a/b"))];
        let new = || Locations::new(LocationKind::Weights, nothing).with_hub(HubCache::at(dir.path()), known());
        assert_eq!(new().resolve("x"), Ok(snapshot.clone()));
        assert_eq!(new().source("x").unwrap().1, Source::Cache(repository("a/b")));
        let said = new().with_flag("x", dir.path());
        assert_eq!(said.resolve("x"), Ok(dir.path().to_path_buf()));
        // A repository that is named is looked for whatever the library says of the name.
        assert_eq!(new().with_flag("y", "hf:a/b").resolve("y"), Ok(snapshot.clone()));
        let section = BTreeMap::from([("y".to_string(), PathBuf::from("hf:a/b@c0ffee"))]);
        assert_eq!(new().with_toml("/etc/lmv.toml", section).resolve("y"), Ok(snapshot));
        let gone = new().with_flag("y", "hf:a/gone").resolve("y").unwrap_err();
        assert_eq!(gone.notes, ["the command line gives it for `y`"]);
        assert_eq!(gone.help.as_deref(), Some("`lmvc weights add y hf:a/gone --download` fetches it"));
        assert!(new().with_flag("y", "hf:../b").resolve("y").unwrap_err().what.contains("is no repository"));
        std::fs::remove_file(place.join("snapshots/c0ffee/model.safetensors")).unwrap();
        let gone = new().resolve("x").unwrap_err();
        assert!(gone.notes[3].contains("has no a/gone: `lmvc weights add x --download` fetches it"), "{gone}");
    }

    #[test]
    fn variables_have_plain_names() {
        assert_eq!(LocationKind::Weights.variable("opt_6_7b"), "LMV_WEIGHTS_OPT_6_7B");
        assert_eq!(LocationKind::Path.variable("imagenet-c"), "LMV_PATH_IMAGENET_C");
        assert_eq!(LocationKind::Path.variable("a.b é"), "LMV_PATH_A_B__");
    }

    #[test]
    fn an_empty_variable_is_none() {
        assert!(Locations::new(LocationKind::Path, |_| Some(String::new())).source("x").is_none());
    }

    #[test]
    fn home_is_found() {
        let home = |name: &str| (name == "HOME").then(|| "/home/me".to_string());
        let locations = Locations::new(LocationKind::Path, home)
            .with_toml(
                "/etc/lmv.toml",
                BTreeMap::from([("a".to_string(), "~/x".into()), ("b".to_string(), "~x".into())]),
            )
            .with_flag("c", "~");
        assert_eq!(locations.source("a").unwrap().0, Path::new("/home/me/x"));
        assert_eq!(locations.source("b").unwrap().0, Path::new("/etc/~x"));
        assert_eq!(locations.source("c").unwrap().0, Path::new("/home/me"));
    }

    #[test]
    fn the_three_ways_are_said() {
        let failure =
            Locations::new(LocationKind::Weights, nothing).with_flag("llama_7b", "x").resolve("llama7b").unwrap_err();
        assert_eq!(failure.what, "nothing says where the weights of `llama7b` are");
        assert_eq!(
            failure.notes,
            [
                "on the command line: --weights llama7b=/path/to/weights",
                "in the environment: export LMV_WEIGHTS_LLAMA7B=/path/to/weights",
                "in lmv.toml, under [weights]: llama7b = \"/path/to/weights\"",
                "`llama_7b` is given, which is nearly the same",
            ]
        );
        let failure = Locations::new(LocationKind::Path, nothing).resolve("my set").unwrap_err();
        assert_eq!(failure.notes[2], "in lmv.toml, under [paths]: \"my set\" = \"/path/to/data\"");
    }

    #[test]
    fn a_path_with_nothing_there_says_who_gave_it() {
        let gone = Locations::new(LocationKind::Path, nothing).with_flag("x", "/no/such").resolve("x").unwrap_err();
        assert_eq!(
            gone.to_string(),
            "/no/such: does not exist, and the command line gives it for `x`\nhelp: correct it: `--path x=PATH`"
        );
        let gone = Locations::new(LocationKind::Path, |_| Some("/no/such".into())).resolve("x").unwrap_err();
        assert!(gone.what.contains("the environment variable LMV_PATH_X gives it"));
        let section = BTreeMap::from([("x".to_string(), PathBuf::from("data"))]);
        let gone =
            Locations::new(LocationKind::Path, nothing).with_toml("/no/lmv.toml", section).resolve("x").unwrap_err();
        assert_eq!(gone.path.as_deref(), Some(Path::new("/no/data")));
        assert!(gone.what.contains("/no/lmv.toml gives it"));
    }
}
