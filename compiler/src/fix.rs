//! Mending a spec by itself: the safe suggestions of its diagnostics are carried out, as far as they do not get into each
//! other's way and leave it with no more errors than it had.

use crate::Compiled;
use crate::diagnostic::Suggestion;

/// Mended once, a spec may show mistakes that lay behind the first ones; after so many rounds it is left as it is.
const MOST_ROUNDS: usize = 16;

/// A spec after what is safe was mended.
pub struct Fixed {
    /// Its text.
    pub text: String,
    /// What was changed, in the order in which it was; empty if nothing could be.
    pub changes: Vec<Change>,
    /// What the compiler makes of the text.
    pub compiled: Compiled,
}

/// One place that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Line and column (1-based) in the text before the round that changed it.
    pub line: usize,
    /// See `line`.
    pub column: usize,
    /// What stood there.
    pub before: String,
    /// What stands there now.
    pub after: String,
    /// The error it mended, by its code.
    pub code: &'static str,
}

/// Mends `text` as far as its safe suggestions go. `check` compiles a text of the same file.
pub fn fix(text: &str, mut check: impl FnMut(&str) -> Compiled) -> Fixed {
    let compiled = check(text);
    let mut fixed = Fixed { text: text.to_owned(), changes: Vec::new(), compiled };
    for _ in 0..MOST_ROUNDS {
        let proposals = safe(&fixed.compiled);
        let all: Vec<&Proposal> = proposals.iter().collect();
        if all.is_empty() {
            break;
        }
        // All together; where that makes it worse, one after the other.
        if try_out(&mut fixed, &all, &mut check) {
            continue;
        }
        let one = proposals.len() > 1 && all.iter().any(|proposal| try_out(&mut fixed, &[proposal], &mut check));
        if !one {
            break;
        }
    }
    fixed
}

/// Replacements of bytes of the text that belong together.
struct Proposal {
    edits: Vec<(usize, usize, String)>,
    code: &'static str,
}

/// What can be done at once: each error's only proposal if it is safe, and only where no other proposal wants to change
/// the same place in another way.
fn safe(compiled: &Compiled) -> Vec<Proposal> {
    let mut all: Vec<(Proposal, bool)> = Vec::new();
    for diagnostic in &compiled.diagnostics {
        let with_edits: Vec<&Suggestion> = diagnostic.suggestions.iter().filter(|s| !s.edits.is_empty()).collect();
        for suggestion in &with_edits {
            let here = suggestion.edits.iter().all(|edit| edit.origin.file == compiled.file);
            let edits: Vec<_> = suggestion
                .edits
                .iter()
                .map(|edit| (edit.origin.span.start, edit.origin.span.end, edit.text.clone()))
                .collect();
            let safe = suggestion.safe && here && with_edits.len() == 1;
            let same = |(other, _): &(Proposal, bool)| other.edits == edits;
            if here && !all.iter().any(same) {
                all.push((Proposal { edits, code: diagnostic.code.as_str() }, safe));
            }
        }
    }
    // Whole lines that are put in at one place stand one under the other, in any order.
    let line = |(start, end, text): &(usize, usize, String)| start == end && text.ends_with('\n');
    let meet =
        |a: &(usize, usize, String), b: &(usize, usize, String)| a.0 <= b.1 && b.0 <= a.1 && !(line(a) && line(b));
    let overlap = |a: &Proposal, b: &Proposal| a.edits.iter().any(|one| b.edits.iter().any(|other| meet(one, other)));
    let free: Vec<bool> = all
        .iter()
        .enumerate()
        .map(|(i, (proposal, safe))| {
            *safe && all.iter().enumerate().all(|(j, (other, _))| i == j || !overlap(proposal, other))
        })
        .collect();
    all.into_iter().zip(free).filter_map(|((proposal, _), free)| free.then_some(proposal)).collect()
}

/// Carries the proposals out if that leaves no more errors than there were; says whether it did.
fn try_out(fixed: &mut Fixed, proposals: &[&Proposal], check: &mut impl FnMut(&str) -> Compiled) -> bool {
    let mut edits: Vec<(usize, usize, &str, &'static str)> = proposals
        .iter()
        .flat_map(|proposal| {
            proposal.edits.iter().map(|(start, end, text)| (*start, *end, text.as_str(), proposal.code))
        })
        .collect();
    edits.sort_by_key(|(start, ..)| *start);
    let mut text = String::with_capacity(fixed.text.len());
    let mut changes = Vec::new();
    let mut upto = 0;
    for (start, end, after, code) in edits {
        let (Some(between), Some(before)) = (fixed.text.get(upto..start), fixed.text.get(start..end)) else {
            return false;
        };
        text += between;
        text += after;
        upto = end;
        let (line, column) = fixed.compiled.sources.line_column(fixed.compiled.file, start);
        changes.push(Change { line, column, before: before.to_owned(), after: after.to_owned(), code });
    }
    text += &fixed.text[upto..];
    let compiled = check(&text);
    // One alone may show a mistake that lay behind it. Several together must each mend one, or they undo each other: where
    // two layers do not fit, either width could be changed, and not both.
    let (before, after) = (fixed.compiled.diagnostics.len(), compiled.diagnostics.len());
    let worse = if proposals.len() > 1 { after + proposals.len() > before } else { after > before };
    if worse || text == fixed.text {
        return false;
    }
    fixed.text = text;
    fixed.compiled = compiled;
    fixed.changes.extend(changes);
    true
}
