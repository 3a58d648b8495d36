//! What holds for all that is taken of a checkpoint, whoever takes it: numbers that are weights as they are, and nothing of
//! a taken block left behind.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::Checkpoint;
use super::dtype::{Dtype, TensorInfo};
use super::file::shown;
use super::names::LISTED;
use crate::error::{Failure, Result};

/// Settings of `config.json` and `params.json` by which their weights are quantised.
const QUANTISED: [&str; 2] = ["quantization_config", "quantization_args"];

/// Ends of the names of what stands in a block and computes nothing of its own: tables that follow from sizes, counters,
/// caches. Hugging Face's, Meta's, timm's and those of tools that count operations.
const BUFFERS: [&str; 18] = [
    "inv_freq",
    "freqs",
    "freqs_cis",
    "cos_cached",
    "sin_cached",
    "position_ids",
    "token_type_ids",
    "num_batches_tracked",
    "masked_bias",
    "mask",
    "attn_mask",
    "causal_mask",
    "relative_position_index",
    "cache_k",
    "cache_v",
    "_float_tensor",
    "total_ops",
    "total_params",
];

/// Holds the tensors `taken` of a checkpoint, by its names, against what it has around them.
///
/// # Errors
/// When the model is quantised, when one of them is no tensor of floats, and when a block that some are from has more than
/// they are: the block would be another function without it.
pub fn check_taken(checkpoint: &Checkpoint, taken: &BTreeSet<&str>) -> Result<()> {
    check_quantised(checkpoint)?;
    check_floats(checkpoint, taken)?;
    let unplaced: Vec<&str> =
        left_over(checkpoint, taken).filter(|(_, place)| *place == Place::Inside).map(first).collect();
    let (Some(block), false) = (unplaced.first().and_then(|name| inner_block(name, taken)), unplaced.is_empty()) else {
        return Ok(());
    };
    let names: Vec<String> = unplaced.iter().take(LISTED).map(|name| format!("`{}`", shown(name))).collect();
    let more = unplaced.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what = match unplaced.len() {
        1 => format!("has a tensor in `{}` that the spec has no place for", shown(block)),
        n => format!("has {n} tensors in blocks like `{}` that the spec has no place for", shown(block)),
    };
    Err(Failure::at(checkpoint.file_of(unplaced[0]), what)
        .note(format!("left over: {}{more}", names.join(", ")))
        .note("without them the blocks would compute something else than they were trained to")
        .help("give a checkpoint of the model that the spec declares, or declare the model that this one is of"))
}

/// Blocks that stand beside taken ones and are not taken, in a line.
pub fn blocks_left(checkpoint: &Checkpoint, taken: &BTreeSet<&str>) -> Option<String> {
    let whole = left_over(checkpoint, taken).filter_map(|(_, place)| match place {
        Place::Beside(block) => Some(block),
        _ => None,
    });
    // In their own order: 2 before 10.
    let number = |block: &str| block.rsplit('.').next().and_then(|n| n.parse::<u64>().ok());
    let mut blocks: Vec<&str> = whole.map(|block| block.trim_end_matches('.')).collect();
    blocks.sort_by_key(|block| (block.rsplit_once('.').map(|(before, _)| before), number(block)));
    blocks.dedup();
    if blocks.is_empty() {
        return None;
    }
    let names: Vec<String> = blocks.iter().take(LISTED).map(|block| format!("`{}`", shown(block))).collect();
    let more = blocks.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let one = blocks.len() == 1;
    Some(format!(
        "{} {}{more} {} left over: the spec has fewer",
        if one { "block" } else { "blocks" },
        names.join(", "),
        if one { "is" } else { "are" }
    ))
}

fn check_quantised(checkpoint: &Checkpoint) -> Result<()> {
    let (Some(config), Some(path)) = (checkpoint.config(), checkpoint.config_path()) else { return Ok(()) };
    let Some((setting, value)) = QUANTISED.iter().find_map(|key| Some((key, config.get(key)?))) else { return Ok(()) };
    if value.is_null() {
        return Ok(());
    }
    let method = value.get("quant_method").and_then(|method| method.as_str());
    let by = method.map_or(String::new(), |method| format!(", by `{}`", shown(method)));
    Err(Failure::at(path, format!("is of a quantised model{by}, and its numbers are not the weights themselves"))
        .note(format!("it has a `{setting}`"))
        .help("give the checkpoint of the model before that, in F16, BF16 or F32"))
}

fn check_floats(checkpoint: &Checkpoint, taken: &BTreeSet<&str>) -> Result<()> {
    let dtype = |name: &str| checkpoint.info(name).map(|info| info.dtype).filter(|dtype| !dtype.is_float());
    let others: Vec<(&str, Dtype)> = taken.iter().filter_map(|name| Some((*name, dtype(name)?))).collect();
    let Some((name, found)) = others.first() else { return Ok(()) };
    let failure = Failure::at(
        checkpoint.file_of(name),
        format!("holds tensor `{}` as {found}, which cannot be computed with", shown(name)),
    )
    .note("whole numbers in the place of weights are quantised, and so are floats of 8 bits: scales belong to them");
    let more = match others.len() - 1 {
        0 => None,
        1 => Some("one more tensor is such".to_owned()),
        n => Some(format!("{n} more tensors are such")),
    };
    let failure = more.into_iter().fold(failure, Failure::note);
    Err(failure.help("give the checkpoint of the model before it was quantised, or convert it to F16, BF16 or F32"))
}

/// Where a tensor that was not taken stands to those that were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    /// In a block of which others were taken.
    Inside,
    /// In this block, beside one that was taken.
    Beside(&'a str),
    /// Elsewhere, or a buffer.
    Elsewhere,
}

fn first<'a>((name, _): (&'a str, Place<'a>)) -> &'a str {
    name
}

/// The blocks that a name is in, from the outermost: `a.0.` and `a.0.b.1.` of `a.0.b.1.weight`.
fn blocks(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.').map(|(at, _)| at);
    dots.filter_map(|at| {
        let before = &name[..at];
        let number = before.rsplit('.').next()?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| &name[..=at])
    })
}

/// What stands before the number of a block.
fn before_number(block: &str) -> &str {
    block.trim_end_matches('.').trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The innermost block of `name` that others were taken of.
fn inner_block<'n>(name: &'n str, taken: &BTreeSet<&str>) -> Option<&'n str> {
    let any = |block: &&str| taken.range(*block..).next().is_some_and(|taken| taken.starts_with(*block));
    blocks(name).filter(any).last().map(|block| block.trim_end_matches('.'))
}

fn left_over<'c>(
    checkpoint: &'c Checkpoint,
    taken: &BTreeSet<&str>,
) -> impl Iterator<Item = (&'c str, Place<'c>)> + use<'c> {
    let mut of: BTreeSet<String> = BTreeSet::new();
    let mut rows: BTreeSet<String> = BTreeSet::new();
    for name in taken {
        for block in blocks(name) {
            of.insert(block.to_owned());
            rows.insert(before_number(block).to_owned());
        }
    }
    let mut places: BTreeMap<&'c str, Place<'c>> = BTreeMap::new();
    for name in checkpoint.names().filter(|name| !taken.contains(name)) {
        let mut place = Place::Elsewhere;
        for block in blocks(name) {
            if of.contains(block) {
                place = Place::Inside;
                continue;
            }
            if rows.contains(before_number(block)) {
                place = Place::Beside(block);
            }
            break;
        }
        if place == Place::Inside && is_buffer(name, checkpoint.info(name)) {
            place = Place::Elsewhere;
        }
        places.insert(name, place);
    }
    places.into_iter()
}

fn is_buffer(name: &str, info: Option<&TensorInfo>) -> bool {
    let end = name.rsplit('.').next().unwrap_or(name);
    // GPT-2's and its like's causal mask is called a bias, of [1, 1, tokens, tokens].
    let mask = end == "bias" && info.is_some_and(|info| info.shape.len() >= 3);
    let index = info.is_some_and(|info| !info.dtype.is_float());
    mask || index || BUFFERS.contains(&end)
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    fn with(names: &[&str], config: Option<&str>) -> (tempfile::TempDir, Checkpoint) {
        let dir = tempfile::tempdir().unwrap();
        let tensors: Vec<(&str, &[usize], &[f32])> = names.iter().map(|name| (*name, &[1][..], &[0.0][..])).collect();
        made::safetensors(&dir.path().join("model.safetensors"), &tensors);
        if let Some(config) = config {
            std::fs::write(dir.path().join("config.json"), config).unwrap();
        }
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        (dir, checkpoint)
    }

    fn taken<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
        names.iter().copied().collect()
    }

    #[test]
    fn what_a_taken_block_has_more_is_an_error() {
        let names = ["blocks.0.norm.weight", "blocks.0.ls1.gamma", "blocks.1.norm.weight", "head.weight"];
        let (dir, c) = with(&names, None);
        let failure = check_taken(&c, &taken(&["blocks.0.norm.weight"])).unwrap_err();
        assert_eq!(failure.path, Some(dir.path().join("model.safetensors")));
        assert_eq!(failure.what, "has a tensor in `blocks.0` that the spec has no place for");
        assert_eq!(failure.notes[0], "left over: `blocks.0.ls1.gamma`");
        let all = taken(&["blocks.0.norm.weight", "blocks.0.ls1.gamma"]);
        assert_eq!(check_taken(&c, &all), Ok(()));
        assert_eq!(blocks_left(&c, &all).unwrap(), "block `blocks.1` is left over: the spec has fewer");
        assert_eq!(blocks_left(&c, &taken(&["head.weight"])), None);
    }

    #[test]
    fn blocks_inside_blocks_and_in_their_order() {
        let names = ["a.0.b.0.w", "a.0.b.1.w", "a.0.b.2.x", "a.2.w", "a.10.w", "c.0.w"];
        let (_dir, c) = with(&names, None);
        let of = taken(&["a.0.b.0.w"]);
        assert_eq!(check_taken(&c, &of), Ok(()));
        assert_eq!(
            blocks_left(&c, &of).unwrap(),
            "blocks `a.2`, `a.10`, `a.0.b.1`, `a.0.b.2` are left over: the spec has fewer"
        );
    }

    #[test]
    fn buffers_are_no_weights() {
        let names = ["h.0.w", "h.0.rotary_emb.inv_freq", "h.0.attn.masked_bias", "h.0.bn.num_batches_tracked"];
        let (_dir, c) = with(&names, None);
        assert_eq!(check_taken(&c, &taken(&["h.0.w"])), Ok(()));
    }

    #[test]
    fn whole_numbers_are_no_weights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::I8, vec![2], &[1, 2]).unwrap();
        safetensors::serialize_to_file([("h.0.w", view)], None, &path).unwrap();
        let c = Checkpoint::open(&path).unwrap();
        let failure = check_taken(&c, &taken(&["h.0.w"])).unwrap_err();
        assert_eq!(failure.path, Some(path));
        assert_eq!(failure.what, "holds tensor `h.0.w` as I8, which cannot be computed with");
    }

    #[test]
    fn a_quantised_model_says_so_itself() {
        let config = r#"{"quantization_config": {"quant_method": "bitsandbytes"}}"#;
        let (dir, c) = with(&["h.0.w"], Some(config));
        let failure = check_taken(&c, &taken(&["h.0.w"])).unwrap_err();
        assert_eq!(failure.path, Some(dir.path().join("config.json")));
        assert!(failure.what.contains("quantised model, by `bitsandbytes`"), "{failure}");
        assert!(failure.help.is_some());
        let (_dir, c) = with(&["h.0.w"], Some(r#"{"quantization_config": null}"#));
        assert_eq!(check_taken(&c, &taken(&["h.0.w"])), Ok(()));
    }
}
