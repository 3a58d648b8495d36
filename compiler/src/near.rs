//! Misspelt names: which known name is near to what was written, and whether it is the only one that can be meant.

use crate::diagnostic::Diagnostic;
use crate::source::Origin;

/// Names longer than this are no slip of another, and comparing them would take time.
const LONGEST_NAME: usize = 100;

/// What other libraries and papers call things, and what they are called here. Those with `true` are the same thing.
const ELSEWHERE: &[(&str, &str, bool)] = &[
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
    ("acc", "top1", false),
    ("multihead_attention", "attention", false),
    ("batch_norm1d", "batch_norm", false),
    ("batch_norm2d", "batch_norm", false),
    ("adaptive_avg_pool1d", "mean_tokens", false),
    ("global_average_pooling", "mean_tokens", false),
    ("mean", "mean_tokens", false),
    ("patch_embed", "patchify", false),
    ("patch_embedding", "patchify", false),
    ("conv2d", "patchify", false),
    ("cat", "concat", false),
    ("stack", "concat", false),
    ("permute", "transpose", false),
    ("bmm", "matmul", false),
    ("einsum", "matmul", false),
    ("sum", "add", false),
    ("mul", "multiply", false),
    ("sub", "subtract", false),
    ("chunk", "split_at", false),
    ("split", "split_at", false),
    ("cross_entropy_loss", "cross_entropy", true),
    ("mse_loss", "mse", true),
    ("l2", "mse", false),
    ("bce_with_logits_loss", "binary_cross_entropy", true),
    ("bce", "binary_cross_entropy", true),
    ("adam", "adamw", false),
    ("sgd", "adamw", false),
    ("nhead", "heads", true),
    ("n_heads", "heads", true),
    ("num_attention_heads", "heads", true),
    ("embed_dim", "d", false),
    ("d_model", "d", false),
    ("hidden_size", "d", false),
    ("num_layers", "depth", false),
    ("n_layers", "depth", false),
    ("img_size", "image", true),
    ("image_size", "image", true),
    ("patch_size", "patch", true),
    ("max_lr", "lr", false),
    ("label_smoothing", "smoothing", true),
    ("scheduler", "schedule", true),
    ("lr_scheduler", "schedule", true),
    ("criterion", "loss", true),
    ("loss_fn", "loss", true),
    ("max_norm", "clip", false),
    ("grad_clip", "clip", true),
    ("transforms", "augment", false),
    ("network", "model", true),
    ("net", "model", true),
    ("dataset", "data", true),
    ("metrics", "eval", true),
    ("training", "train", true),
    ("cifar10", "image_folder", false),
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
        if let Some((ours, same)) = elsewhere(name, known) {
            return match same {
                true => self.propose(format!("here it is called `{ours}`"), at, ours, true),
                false => self.replace(format!("nearest to it is `{ours}`"), at, ours),
            };
        }
        let Some(near) = nearest(name, known.iter().copied()) else { return otherwise(self) };
        let message = format!("did you mean `{near}`?");
        self.propose(message, at, near, is_evident(name, near, known))
    }
}

/// What is called `name` elsewhere, and whether it is the same thing.
fn elsewhere(name: &str, known: &[&str]) -> Option<(&'static str, bool)> {
    let called = |(theirs, ours, _): &&(&str, &str, bool)| same_letters(theirs, name) && known.contains(ours);
    ELSEWHERE.iter().find(called).map(|(_, ours, same)| (*ours, *same))
}

/// The one of `known` that `name` means: what it is called elsewhere, or the nearest.
pub(crate) fn meant<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let ours = elsewhere(name, known).and_then(|(ours, _)| known.iter().find(|known| **known == ours).copied());
    ours.or_else(|| nearest(name, known.iter().copied()))
}

/// Whether two names differ in nothing but capitals and `_`: `ReLU` and `relu`, `llama_7b` and `llama7b`.
fn same_letters(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<String>();
    letters(a) == letters(b)
}

/// The nearest of `known` to `name`, if one is near.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
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

/// The three of `known` that are nearest to `name`, however far they are.
pub(crate) fn nearest_few<'n>(name: &str, known: &[&'n str]) -> Vec<&'n str> {
    let name = name.get(..LONGEST_NAME).unwrap_or(name);
    let mut by_distance: Vec<(f64, &'n str)> =
        known.iter().map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate)).collect();
    by_distance.sort_by(|a, b| b.0.total_cmp(&a.0));
    by_distance.into_iter().take(3).map(|(_, candidate)| candidate).collect()
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
