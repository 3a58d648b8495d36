//! From our parameter names to those of a checkpoint.
//!
//! Each library layer says in a table what its parts are called in the checkpoints that exist (paper.md §A). Here the
//! table that fits a checkpoint is found, or the reason why none does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use lmv_compiler::library::GRID_POSITIONS;

use super::checkpoint::Checkpoint;
use super::file::shown;
use super::grid::{Grid, leading};
use super::layout::file_name;
use crate::error::{Failure, Result};

/// How many names a message lists of each kind.
pub(super) const LISTED: usize = 12;

/// A table from our names to the names of a family of checkpoints.
///
/// In a pattern `{i}`, `{j}` and so on stand for a whole number, a longer word such as `{vit}` for any one segment of a
/// path, each the same wherever it stands again; a `*` at
/// the end stands for the rest, empty or not. `vit.blocks.{i}.*` → `blocks.{i}.*`. Several pairs may begin alike: those
/// further up are tried first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameMap {
    /// What messages call it.
    pub name: String,
    /// Ours, theirs.
    pub pairs: Vec<(String, String)>,
}

impl NameMap {
    /// The map that changes nothing.
    pub fn identity() -> Self {
        Self { name: "the same names".into(), pairs: vec![("*".into(), "*".into())] }
    }

    /// The same names under `prefix`.
    fn under(&self, prefix: &str) -> Self {
        Self {
            name: format!("{} under `{prefix}`", self.name),
            pairs: self.pairs.iter().map(|(ours, theirs)| (ours.clone(), format!("{prefix}{theirs}"))).collect(),
        }
    }

    /// What the first fitting pair calls `ours`; `None` where none fits.
    pub fn theirs(&self, ours: &str) -> Option<String> {
        self.candidates(ours).next()
    }

    /// Whether it says anything of `ours`.
    fn covers(&self, ours: &str) -> bool {
        self.pairs.iter().any(|(pattern, _)| matched(pattern, ours).is_some())
    }

    pub(super) fn candidates<'a>(&'a self, ours: &'a str) -> impl Iterator<Item = String> + 'a {
        self.pairs.iter().filter_map(move |(pattern, target)| Some(fill(target, &matched(pattern, ours)?)))
    }

    /// The first pair that leads to a name that the checkpoint has, by its place in the table, and that name.
    fn found(&self, ours: &str, checkpoint: &Checkpoint) -> Option<(usize, String)> {
        let each = self.pairs.iter().enumerate();
        let mut names = each.filter_map(|(at, (pattern, target))| Some((at, fill(target, &matched(pattern, ours)?))));
        names.find(|(_, theirs)| checkpoint.contains(theirs))
    }
}

/// What the wildcards of a pattern stood for: `{i}` by `i`, and the rest by `*`.
type Wildcards<'a> = BTreeMap<&'a str, &'a str>;

fn matched<'a>(pattern: &'a str, name: &'a str) -> Option<Wildcards<'a>> {
    let mut wildcards = Wildcards::new();
    let (mut pattern, mut name) = (pattern, name);
    loop {
        if pattern == "*" {
            wildcards.insert("*", name);
            return Some(wildcards);
        }
        let literal = pattern.find(['{', '*']).unwrap_or(pattern.len());
        name = name.strip_prefix(&pattern[..literal])?;
        pattern = &pattern[literal..];
        if pattern.is_empty() {
            return name.is_empty().then_some(wildcards);
        }
        if pattern == "*" {
            continue;
        }
        let Some((letter, rest)) = pattern.strip_prefix('{').and_then(|p| p.split_once('}')) else {
            // A star that is not at the end, or an open brace: stands for itself.
            let (itself, rest) = pattern.split_at(1);
            name = name.strip_prefix(itself)?;
            pattern = rest;
            continue;
        };
        // One letter is a number; a word is any one segment of the path.
        let length = match letter.len() {
            1 => name.bytes().take_while(u8::is_ascii_digit).count(),
            _ => name.find('.').unwrap_or(name.len()),
        };
        let (number, after) = name.split_at(length);
        if number.is_empty() || *wildcards.entry(letter).or_insert(number) != number {
            return None;
        }
        (pattern, name) = (rest, after);
    }
}

fn fill(target: &str, wildcards: &Wildcards<'_>) -> String {
    let (target, rest) = match (target.strip_suffix('*'), wildcards.get("*")) {
        (Some(target), Some(rest)) => (target, *rest),
        _ => (target, ""),
    };
    let mut out = String::with_capacity(target.len() + rest.len());
    let mut left = target;
    while let Some((before, (letter, after))) = left.split_once('{').and_then(|(b, a)| Some((b, a.split_once('}')?))) {
        out.push_str(before);
        match wildcards.get(letter) {
            Some(number) => out.push_str(number),
            // A letter that the other side does not have stands for itself, so the name is not found and is shown.
            None => {
                let _ = write!(out, "{{{letter}}}");
            }
        }
        left = after;
    }
    out + left + rest
}

/// A tensor that a model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Our name for it.
    pub name: String,
    /// The shape it must have.
    pub shape: Vec<usize>,
}

/// Where each wanted tensor is in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filling {
    /// The name of the map that fitted.
    pub map: String,
    /// Ours, theirs, in the order of what was wanted.
    pub names: Vec<(String, String)>,
    /// Learned positions that were made for another grid, by our names.
    pub grids: BTreeMap<String, Grid>,
    /// What nobody wanted, such as another model's head.
    pub left_over: Vec<String>,
    /// Tables of the spec's own that were not used, and why.
    pub notes: Vec<String>,
}

/// What a trainer or a compiler of models puts in front of all names: PyTorch's for several devices, its compiler's,
/// Lightning's usual one.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// Finds every tensor of `wanted` in `checkpoint` by the map of `maps` that finds most of them; the names as they are
/// are tried as well, and all of them under what a trainer put in front of the checkpoint's names. Of maps that find
/// equally many, the one with more fitting shapes and then the earlier one is taken. A map named [`GRID_POSITIONS`] is not
/// of names: it says which of ours are learned positions, which may be of another square grid in the checkpoint.
///
/// # Errors
/// When one of them is not there or has another shape, or the shard it is in cannot be opened. The failure lists what
/// is missing, with its nearest name, what has another shape, and what was left over.
pub fn fill_report(wanted: &[Wanted], checkpoint: &Checkpoint, maps: &[NameMap]) -> Result<Filling> {
    fill_report_with(wanted, checkpoint, &[], maps)
}

/// [`fill_report`] with the spec's `own` tables: one that finds any tensor is taken, whatever the others find, and what it
/// says of a name is all that is tried for that name. Names that it says nothing of are found by the other maps.
///
/// # Errors
/// As [`fill_report`].
pub fn fill_report_with(
    wanted: &[Wanted],
    checkpoint: &Checkpoint,
    own: &[NameMap],
    maps: &[NameMap],
) -> Result<Filling> {
    let is_grid = |map: &&NameMap| map.name == GRID_POSITIONS;
    let grids: Vec<&NameMap> = own.iter().chain(maps).filter(is_grid).collect();
    let plain = |maps: &[NameMap]| maps.iter().filter(|map| !is_grid(map)).cloned().collect::<Vec<_>>();
    let own: Vec<NameMap> = plain(own).into_iter().filter(|map| wanted.iter().any(|w| map.covers(&w.name))).collect();
    let others: Vec<NameMap> = std::iter::once(NameMap::identity()).chain(plain(maps)).collect();
    let in_front = |prefix: &&&str| checkpoint.names().all(|name| name.starts_with(**prefix));
    let prefixes: Vec<&str> = std::iter::once("").chain(PREFIXES.iter().filter(in_front).copied()).collect();
    let under = |maps: &[NameMap], prefix: &str| -> Vec<NameMap> {
        maps.iter().map(|map| if prefix.is_empty() { map.clone() } else { map.under(prefix) }).collect()
    };
    let sets: Vec<(Vec<NameMap>, Vec<NameMap>)> =
        prefixes.iter().map(|prefix| (under(&own, prefix), under(&others, prefix))).collect();
    let mut tries: Vec<Try<'_>> = Vec::new();
    for (own, others) in &sets {
        for map in own {
            // Where it is of no use, nothing needs to be tried with it.
            if Try::of(map, None, wanted, checkpoint, &grids).found > 0 {
                tries.extend(others.iter().map(|rest| Try::of(map, Some(rest), wanted, checkpoint, &grids)));
            }
        }
    }
    let by_own = !tries.is_empty();
    if !by_own {
        let others = sets.iter().flat_map(|(_, others)| others);
        tries.extend(others.map(|map| Try::of(map, None, wanted, checkpoint, &grids)));
    }
    // `max_by_key` gives the last of equals, and the first is wanted.
    let best = tries
        .into_iter()
        .rev()
        .max_by_key(|t| (t.found, t.fitting))
        .unwrap_or_else(|| Try::of(&others[0], None, wanted, checkpoint, &grids));
    // A table of stars alone is of any model.
    let meant = |map: &&NameMap| map.pairs.iter().any(|(ours, _)| ours != "*");
    let notes: Vec<String> = own
        .iter()
        .filter(|_| !by_own)
        .filter(meant)
        .map(|map| format!("the spec's own names table `{}` finds no tensor in it", map.name))
        .collect();

    let used: BTreeSet<&str> = best.names.iter().flatten().map(String::as_str).collect();
    let left_over: Vec<&str> = checkpoint.names().filter(|name| !used.contains(name)).collect();
    if let Some((ours, theirs)) = best.shared(wanted) {
        return Err(Failure::at(
            checkpoint.path(),
            format!("has one tensor for two of the model's: `{}`", shown(theirs)),
        )
        .note(format!("it would fill `{}` and `{}`", ours[0], ours[1]))
        .note(format!("by {}, which knows one block of a language model in a checkpoint", best.map.name))
        .help("fill the blocks by the weights of their language model, and the rest by a checkpoint without them"));
    }
    if best.found == wanted.len() && best.fitting == wanted.len() {
        let names =
            wanted.iter().zip(&best.names).filter_map(|(w, theirs)| Some((w.name.clone(), theirs.clone()?))).collect();
        return Ok(Filling {
            map: best.map.name.clone(),
            names,
            grids: best.grids,
            left_over: left_over.into_iter().map(String::from).collect(),
            notes,
        });
    }
    for name in best.names.iter().flatten() {
        // A shard that cannot be opened is the reason itself.
        checkpoint.require(name)?;
    }
    let mut failure = best.failure(wanted, checkpoint, &left_over, &grids, "the model");
    if best.found > 0 {
        failure.notes.push(match by_own {
            true => format!("names were taken by the spec's own table `{}`", best.map.name),
            false => format!("names were taken by the map that finds most of them: {}", best.map.name),
        });
    }
    failure.notes.extend(notes);
    Err(failure.help(match by_own {
        true => "correct the table, or give a checkpoint of this model, with the sizes that the spec declares",
        false if best.found * 2 < wanted.len() => {
            "give a checkpoint of this model; or, where it has other names for the same tensors, say them in a table of \
             the spec's own: `names mine { \"OURS\" = \"THEIRS\" }`"
        }
        false => "give a checkpoint of this model, with the sizes that the spec declares",
    }))
}

/// What one map finds.
pub(super) struct Try<'a> {
    map: &'a NameMap,
    /// Which map finds what `map` says nothing of.
    rest: Option<&'a NameMap>,
    pub(super) names: Vec<Option<String>>,
    /// By which pair of the map each was found.
    pairs: Vec<Option<usize>>,
    grids: BTreeMap<String, Grid>,
    pub(super) found: usize,
    pub(super) fitting: usize,
}

impl<'a> Try<'a> {
    pub(super) fn of(
        map: &'a NameMap,
        rest: Option<&'a NameMap>,
        wanted: &[Wanted],
        checkpoint: &Checkpoint,
        grids: &[&NameMap],
    ) -> Self {
        let find = |w: &Wanted| match rest {
            Some(rest) if !map.covers(&w.name) => {
                let (pair, theirs) = rest.found(&w.name, checkpoint)?;
                Some((map.pairs.len() + pair, theirs))
            }
            _ => map.found(&w.name, checkpoint),
        };
        let (pairs, names): (Vec<Option<usize>>, Vec<Option<String>>) = wanted.iter().map(|w| find(w).unzip()).unzip();
        let mut resized = BTreeMap::new();
        let mut fitting = 0;
        for (w, theirs) in wanted.iter().zip(&names) {
            let Some(info) = theirs.as_deref().and_then(|name| checkpoint.info(name)) else { continue };
            if same_but_for_ones(&info.shape, &w.shape) {
                fitting += 1;
            } else if let Some(grid) = Grid::between(grids, &w.name, &info.shape, &w.shape) {
                resized.insert(w.name.clone(), grid);
                fitting += 1;
            }
        }
        let found = names.iter().flatten().count();
        Self { map, rest, names, pairs, grids: resized, found, fitting }
    }

    /// Two of ours that one pair of the map would fill by one of theirs. Two pairs may: a model's scores are often its
    /// embedding once more.
    fn shared<'t>(&'t self, wanted: &'t [Wanted]) -> Option<([&'t str; 2], &'t str)> {
        let mut first: BTreeMap<(Option<usize>, &str), &str> = BTreeMap::new();
        for ((w, theirs), pair) in wanted.iter().zip(&self.names).zip(&self.pairs) {
            if let Some(theirs) = theirs.as_deref()
                && let Some(before) = first.insert((*pair, theirs), &w.name)
            {
                return Some(([before, &w.name], theirs));
            }
        }
        None
    }

    /// The first name that is tried for `ours`.
    fn sought(&self, ours: &str) -> String {
        let theirs = self.map.theirs(ours).or_else(|| self.rest?.theirs(ours));
        theirs.unwrap_or_else(|| ours.to_owned())
    }

    /// What of `filled` is missing or has another shape.
    pub(super) fn failure(
        &self,
        wanted: &[Wanted],
        checkpoint: &Checkpoint,
        left_over: &[&str],
        grids: &[&NameMap],
        filled: &str,
    ) -> Failure {
        let (mut missing, mut other) = (Vec::new(), Vec::new());
        for (w, theirs) in wanted.iter().zip(&self.names) {
            let shape = theirs.as_deref().and_then(|name| Some((name, &checkpoint.info(name)?.shape)));
            match shape {
                None => {
                    let sought = self.sought(&w.name);
                    // Edit distances take time, and no more than these are listed.
                    let near = if missing.len() < LISTED { nearest(&sought, left_over.iter().copied()) } else { None };
                    let mut line = format!("missing: `{}`", w.name);
                    if sought != w.name {
                        let _ = write!(line, ", sought as `{}`", shown(&sought));
                    }
                    if let Some(near) = near {
                        let _ = write!(line, "; the nearest name is `{}`", shown(near));
                    }
                    missing.push(line);
                }
                Some((_, _)) if self.grids.contains_key(&w.name) => {}
                Some((theirs, shape)) if !same_but_for_ones(shape, &w.shape) => {
                    let held = match checkpoint.shard_of(theirs) {
                        Some(shard) => format!("`{}`", shown(&file_name(shard))),
                        None => "the checkpoint".into(),
                    };
                    let mut line = format!(
                        "another shape: `{}` is {:?}, and `{}` in {held} is {shape:?}",
                        w.name,
                        w.shape,
                        shown(theirs)
                    );
                    if let Some(tokens) = leading(grids, &w.name)
                        && shape.last() == w.shape.last()
                    {
                        let _ = write!(
                            line,
                            "; positions are interpolated between square grids only, behind {tokens} more"
                        );
                    }
                    other.push(line);
                }
                Some(_) => {}
            }
        }
        let what = match (missing.len(), other.len()) {
            (m, 0) => format!("does not fill {filled}: {m} of {} tensors are missing", wanted.len()),
            (0, o) => format!("does not fill {filled}: {o} of {} tensors have another shape", wanted.len()),
            (m, o) => format!(
                "does not fill {filled}: of {} tensors {m} are missing and {o} have another shape",
                wanted.len()
            ),
        };
        let mut failure = Failure::at(checkpoint.path(), what);
        for lines in [missing, other] {
            let more = lines.len().saturating_sub(LISTED);
            failure.notes.extend(lines.into_iter().take(LISTED));
            if more > 0 {
                failure.notes.push(format!("and {more} more"));
            }
        }
        if !left_over.is_empty() {
            let names: Vec<String> = left_over.iter().take(LISTED).map(|name| format!("`{}`", shown(name))).collect();
            let more = left_over.len().saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            failure.notes.push(format!("left over in the checkpoint: {}{more}", names.join(", ")));
        }
        failure
    }
}

/// Whether two shapes differ in nothing but dims of length one, which move no number: a class token is `[1, 1, d]` in one
/// checkpoint, `[1, d]` in another and `[d]` in a third, and a linear layer is `[out, in, 1]` where it was written as a
/// convolution over single points (paper.md A.3).
pub(super) fn same_but_for_ones(a: &[usize], b: &[usize]) -> bool {
    let sizes = |shape: &'_ [usize]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
    sizes(a) == sizes(b)
}

/// The name nearest to `wanted` by edit distance, if one is near enough to be meant.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer ones are no names, and would take time.
    const LONGEST: usize = 256;
    let limit = (wanted.len() / 3).max(2);
    names
        .filter(|name| name.len() <= LONGEST && name.len().abs_diff(wanted.len()) <= limit)
        .map(|name| (strsim::levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    fn map(name: &str, pairs: &[(&str, &str)]) -> NameMap {
        NameMap { name: name.into(), pairs: pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect() }
    }

    fn wanted(of: &[(&str, &[usize])]) -> Vec<Wanted> {
        of.iter().map(|(name, shape)| Wanted { name: name.to_string(), shape: shape.to_vec() }).collect()
    }

    fn checkpoint(tensors: &[(&str, &[usize])]) -> (tempfile::TempDir, Checkpoint) {
        let dir = tempfile::tempdir().unwrap();
        let numbers = [0.0; 64];
        let tensors: Vec<(&str, &[usize], &[f32])> =
            tensors.iter().map(|(name, shape)| (*name, *shape, &numbers[..shape.iter().product()])).collect();
        made::safetensors(&dir.path().join("w.safetensors"), &tensors);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        (dir, checkpoint)
    }

    #[test]
    fn wildcards() {
        let m = map(
            "m",
            &[
                ("vit.blocks.{i}.norm.{j}.weight", "b{j}.n{i}.w"),
                ("twice.{i}.{i}", "{i}"),
                ("llm.layer.{i}.*", "llama.layers.{i}.*"),
                ("star*mid", "s"),
                ("lost.{i}", "lost.{k}"),
                ("head.*", "fc.*"),
            ],
        );
        let theirs = |ours: &str| m.theirs(ours);
        assert_eq!(theirs("vit.blocks.12.norm.3.weight").as_deref(), Some("b3.n12.w"));
        assert_eq!(theirs("vit.blocks.x.norm.3.weight"), None);
        assert_eq!(theirs("vit.blocks.12.norm.3.weight.more"), None);
        assert_eq!(theirs("twice.4.4").as_deref(), Some("4"));
        assert_eq!(theirs("twice.4.5"), None);
        assert_eq!(theirs("llm.layer.0.attention.wq.weight").as_deref(), Some("llama.layers.0.attention.wq.weight"));
        assert_eq!(theirs("star*mid").as_deref(), Some("s"));
        assert_eq!(theirs("starXmid"), None);
        assert_eq!(theirs("lost.1").as_deref(), Some("lost.{k}"));
        assert_eq!(theirs("head.").as_deref(), Some("fc."));
        assert_eq!(theirs("other"), None);
        assert_eq!(NameMap::identity().theirs("a.b").as_deref(), Some("a.b"));
    }

    #[test]
    fn the_map_that_finds_most_is_taken() {
        let (_dir, c) = checkpoint(&[("blocks.0.w", &[2]), ("blocks.1.w", &[2]), ("head.w", &[3]), ("head.b", &[3])]);
        let wanted = wanted(&[("vit.0.w", &[2]), ("vit.1.w", &[2]), ("head.w", &[3])]);
        let maps = [
            map("wrong", &[("vit.{i}.w", "b.{i}.w")]),
            map("right", &[("vit.{i}.*", "blocks.{i}.*"), ("head.*", "head.*")]),
        ];
        let filling = fill_report(&wanted, &c, &maps).unwrap();
        assert_eq!(filling.map, "right");
        let names: Vec<(&str, &str)> = filling.names.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(names, [("vit.0.w", "blocks.0.w"), ("vit.1.w", "blocks.1.w"), ("head.w", "head.w")]);
        assert_eq!(filling.left_over, ["head.b"]);
    }

    #[test]
    fn a_table_of_the_spec_goes_before_those_that_find_more() {
        let (_dir, c) = checkpoint(&[("a.w", &[2]), ("b.w", &[2]), ("c.w", &[2])]);
        let wanted = wanted(&[("x.0", &[2]), ("x.1", &[2]), ("x.2", &[2])]);
        let librarys = [map("library", &[("x.0", "b.w"), ("x.1", "a.w"), ("x.2", "c.w")])];
        let own = |one: &str| [map("mine", &[("x.0", "a.w"), ("x.1", one)])];
        // What it says nothing of is the library's.
        let filling = fill_report_with(&wanted, &c, &own("b.w"), &librarys).unwrap();
        let names: Vec<&str> = filling.names.iter().map(|(_, theirs)| theirs.as_str()).collect();
        assert_eq!((filling.map.as_str(), names), ("mine", vec!["a.w", "b.w", "c.w"]));
        // Its mistakes are told.
        let failure = fill_report_with(&wanted, &c, &own("bb.w"), &librarys).unwrap_err();
        assert_eq!(failure.notes[0], "missing: `x.1`, sought as `bb.w`; the nearest name is `b.w`");
        assert_eq!(failure.notes.last().unwrap(), "names were taken by the spec's own table `mine`");
        // One that is of no use here is for something else, which is said.
        let other = [map("other", &[("x.0", "q")])];
        let filling = fill_report_with(&wanted, &c, &other, &librarys).unwrap();
        assert_eq!(filling.map, "library");
        assert_eq!(filling.notes, ["the spec's own names table `other` finds no tensor in it"]);
    }

    #[test]
    fn names_as_they_are_and_alternatives() {
        let (_dir, c) = checkpoint(&[("a", &[1])]);
        assert_eq!(fill_report(&wanted(&[("a", &[1])]), &c, &[]).unwrap().map, "the same names");
        let two = map("two", &[("x", "old"), ("x", "a")]);
        assert_eq!(fill_report(&wanted(&[("x", &[1])]), &c, &[two]).unwrap().names[0].1, "a");
        let (_dir, c) = checkpoint(&[("module.a", &[1])]);
        assert_eq!(fill_report(&wanted(&[("a", &[1])]), &c, &[]).unwrap().names[0].1, "module.a");
        assert!(fill_report(&[], &c, &[]).unwrap().names.is_empty());
    }

    /// paper.md A.1, A.3.
    #[test]
    fn dims_of_length_one_are_no_difference() {
        let (_dir, c) = checkpoint(&[("cls_token", &[1, 1, 4]), ("conv.weight", &[2, 3, 1])]);
        let fits = |of: &[(&str, &[usize])]| fill_report(&wanted(of), &c, &[]).is_ok();
        assert!(fits(&[("cls_token", &[1, 4]), ("conv.weight", &[2, 3])]));
        assert!(!fits(&[("conv.weight", &[3, 2])]));
        assert!(!fits(&[("conv.weight", &[6])]));
    }

    #[test]
    fn what_does_not_fit_is_listed() {
        let (dir, c) = checkpoint(&[("blocks.0.norm1.weight", &[2]), ("head.weight", &[3, 2]), ("extra", &[1])]);
        let wanted = wanted(&[("blocks.0.norm.weight", &[2]), ("head.weight", &[1000, 2]), ("zzz", &[1])]);
        let failure = fill_report(&wanted, &c, &[]).unwrap_err();
        assert_eq!(failure.path.as_deref(), Some(dir.path()));
        assert_eq!(failure.what, "does not fill the model: of 3 tensors 2 are missing and 1 have another shape");
        assert_eq!(
            failure.notes,
            [
                "missing: `blocks.0.norm.weight`; the nearest name is `blocks.0.norm1.weight`",
                "missing: `zzz`",
                "another shape: `head.weight` is [1000, 2], and `head.weight` in the checkpoint is [3, 2]",
                "left over in the checkpoint: `blocks.0.norm1.weight`, `extra`",
                "names were taken by the map that finds most of them: the same names",
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let (_dir, c) = checkpoint(&[("a", &[1])]);
        let wanted: Vec<Wanted> = (0..100).map(|i| Wanted { name: format!("part.{i}"), shape: vec![1] }).collect();
        let failure = fill_report(&wanted, &c, &[]).unwrap_err();
        assert_eq!(failure.notes.len(), LISTED + 2);
        assert_eq!(failure.notes[LISTED], "and 88 more");
    }
}
