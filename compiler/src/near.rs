//! Misspelt names: which known name is near to what was written, and whether it is the only one that can be meant.

use crate::diagnostic::Diagnostic;
use crate::source::Origin;

impl Diagnostic {
    /// The same with the nearest of `known` proposed for `name`, which stands at `at`; as it was where none is near.
    pub(crate) fn did_you_mean(self, name: &str, known: &[&str], at: Origin) -> Self {
        let Some(near) = nearest(name, known.iter().copied()) else { return self };
        let message = format!("did you mean `{near}`?");
        self.propose(message, at, near, is_evident(name, near, known))
    }
}

/// The nearest of `known` to `name`, if one is near.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
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
    digits(name) == digits(near)
        && slips(near) <= most
        && known.iter().all(|other| *other == near || slips(other) > most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_evident() {
        let known = ["vit_small", "vit_tiny", "linear", "true", "false", "head"];
        for (name, near) in [("vit_smal", "vit_small"), ("lienar", "linear"), ("False", "false"), ("Linear", "linear")]
        {
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
