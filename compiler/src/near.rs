//! Misspelt names: which known name is near to what was written, and whether it is the only one that can be meant.

use crate::diagnostic::Diagnostic;
use crate::source::Origin;

/// What other libraries and papers call things, and what they are called here. Those with `true` are the same thing.
const ELSEWHERE: [(&str, &str, bool); 22] = [
    ("freeze", "frozen", true),
    ("unfreeze", "trainable", true),
    ("unfrozen", "trainable", true),
    ("dense", "linear", true),
    ("fc", "linear", true),
    ("swish", "silu", true),
    ("mhsa", "attention", false),
    ("self_attention", "attention", false),
    ("mlp", "feed_forward", false),
    ("cls_token", "class_token", true),
    ("pos_embed", "position", true),
    ("drop_path", "stochastic_depth", true),
    ("mean_pool", "mean_tokens", true),
    ("in_features", "in", true),
    ("out_features", "out", true),
    ("learning_rate", "lr", true),
    ("wd", "weight_decay", true),
    ("batch_size", "batch", true),
    ("num_heads", "heads", true),
    ("num_classes", "classes", true),
    ("none", "identity", false),
    ("accuracy", "top1", false),
];

impl Diagnostic {
    /// The same with the nearest of `known` proposed for `name`, which stands at `at`; as it was where none is near.
    pub(crate) fn did_you_mean(self, name: &str, known: &[&str], at: Origin) -> Self {
        self.did_you_mean_or(name, known, at, |diagnostic| diagnostic)
    }

    /// The same; where no name is near, with what `otherwise` adds.
    pub(crate) fn did_you_mean_or(
        self,
        name: &str,
        known: &[&str],
        at: Origin,
        otherwise: impl FnOnce(Self) -> Self,
    ) -> Self {
        if let Some((_, ours, same)) =
            ELSEWHERE.iter().find(|(theirs, ours, _)| same_letters(theirs, name) && known.contains(ours))
        {
            return self.propose(format!("here it is called `{ours}`"), at, *ours, *same);
        }
        let Some(near) = nearest(name, known.iter().copied()) else { return otherwise(self) };
        let message = format!("did you mean `{near}`?");
        self.propose(message, at, near, is_evident(name, near, known))
    }
}

/// Whether two names differ in nothing but capitals and `_`: `ReLU` and `relu`, `llama_7b` and `llama7b`.
fn same_letters(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<String>();
    letters(a) == letters(b)
}

/// The nearest of `known` to `name`, if one is near.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    known
        .into_iter()
        .map(|candidate| {
            let near = if same_letters(name, candidate) { 1.0 } else { strsim::jaro_winkler(name, candidate) };
            (near, candidate)
        })
        .filter(|(near, _)| *near > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Whether `near` is what `name` must have meant: a slip of a letter or two away, and no other known name is. Digits are
/// no slip: `llama8b` is not `llama7b`.
fn is_evident(name: &str, near: &str, known: &[&str]) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let slips = |candidate: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
    let most = match name.chars().count() {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    };
    if same_letters(name, near) {
        return known.iter().filter(|other| same_letters(name, other)).count() == 1;
    }
    digits(name) == digits(near)
        && slips(near) <= most
        && known.iter().all(|other| *other == near || slips(other) > most)
}

pub(crate) fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_evident() {
        let known = ["vit_small", "vit_tiny", "linear", "true", "false", "head"];
        for (name, near) in [
            ("HEAD", "head"),
            ("vitsmall", "vit_small"),
            ("vit_smal", "vit_small"),
            ("lienar", "linear"),
            ("False", "false"),
            ("Linear", "linear"),
        ] {
            assert_eq!(nearest(name, known), Some(near));
            assert!(is_evident(name, near, &known), "{name}");
        }
    }

    #[test]
    fn what_could_be_two_names_or_another_thing_is_not() {
        assert!(!is_evident("top2", "top1", &["top1", "top5"]));
        assert!(!is_evident("llama8b", "llama7b", &["llama7b"]));
        assert!(!is_evident("opt_13b", "opt_1_3b", &["opt_1_3b", "opt_6_7b", "opt_13_b"]));
        assert!(!is_evident("heads", "head", &["head", "headd"]));
        assert!(!is_evident("ad", "add", &["add"]));
    }
}
