//! One block of a language model, out of whichever layout its checkpoint has (paper.md §2).

mod configuration;

use lmv_compiler::library;
use rayon::prelude::*;

pub use self::configuration::check_config;
use super::checkpoint::Checkpoint;
use super::file::shown;
use super::names::{NameMap, nearest};
use super::numbers::Numbers;
use crate::error::{Failure, Result};

/// The names of all families of language models whose checkpoints are read.
pub const FAMILIES: [&str; 2] = ["llama", "opt"];

/// What a spec declares about a language model: `llm llama7b = llama(dim = 4096, …)`.
#[derive(Clone, Debug, PartialEq)]
pub struct LlmSizes {
    /// `llama` or `opt`.
    pub family: String,
    /// The width of the stream.
    pub dim: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of the keys and values.
    pub kv_heads: usize,
    /// The width inside the feed-forward part.
    pub ffn: usize,
    /// The number of blocks.
    pub layers: usize,
    /// What its norms add under the root.
    pub eps: f64,
    /// Whether norms stand before attention and feed-forward (all but OPT-350M).
    pub norm_first: bool,
    /// The base of its rotary positions; `None` where the spec has none, as the paper.
    pub theta: Option<f64>,
}

/// How the checkpoints of a family call what is in a block: the library's tables `FAMILY_places` and `FAMILY_block…`
/// (`stdlib/weights/blocks.lmv`).
struct Naming {
    places: Vec<NameMap>,
    blocks: Vec<NameMap>,
}

impl Naming {
    fn of(family: &str) -> Self {
        let tables = |begins: &str| -> Vec<NameMap> {
            let of_it = library::name_tables().into_iter().filter(|(name, _)| name.starts_with(begins));
            of_it.map(|(name, pairs)| NameMap { name, pairs }).collect()
        };
        Self { places: tables(&format!("{family}_places")), blocks: tables(&format!("{family}_block")) }
    }

    /// Every name that the tensor `local` of block `layer` may have, the usual ones first.
    fn candidates(&self, layer: usize, local: &str) -> Vec<String> {
        let locals = self.blocks.iter().flat_map(|block| block.candidates(local));
        locals
            .flat_map(|theirs| {
                let whole = format!("{layer}.{theirs}");
                let placed = self.places.iter().flat_map(|places| places.candidates(&whole).collect::<Vec<_>>());
                placed.collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The checkpoint's name for our tensor `local` (such as `attention.wq.weight`) of block `layer`.
///
/// # Errors
/// When the checkpoint has it under none of the names that the family uses.
pub fn block_tensor(checkpoint: &Checkpoint, family: &str, layer: usize, local: &str) -> Result<String> {
    find(checkpoint, family, layer, local)
}

fn find(checkpoint: &Checkpoint, family: &str, layer: usize, local: &str) -> Result<String> {
    let naming = Naming::of(family);
    let tried = naming.candidates(layer, local);
    if let Some(name) = tried.iter().find(|name| checkpoint.contains(name)) {
        return Ok(name.clone());
    }
    if tried.is_empty() {
        return Err(Failure::at(
            checkpoint.path(),
            format!("cannot give `{}`: no block of family `{}` has a tensor of this name", shown(local), shown(family)),
        ));
    }
    let names: Vec<String> = tried.iter().map(|name| format!("`{name}`")).collect();
    let failure =
        Failure::at(checkpoint.path(), format!("holds no `{local}` of block {layer} of a model of family `{family}`"))
            .note(format!("it was sought as {}", names.join(", ")));
    let number = format!("{layer}.");
    let prefixes = tried.iter().filter_map(|name| Some(name.split_once(&number)?.0));
    let held = prefixes.filter_map(|prefix| last_layer(checkpoint, prefix)).max();
    Err(match held {
        Some(last) if last < layer => failure
            .note(format!("its blocks are 0 to {last}"))
            .help("take a block that it has, or give a checkpoint of the model that the spec declares"),
        _ => match tried.iter().find_map(|name| nearest(name, checkpoint.names())) {
            Some(near) => failure.note(format!("the nearest name in it is `{}`", shown(near))),
            None => failure,
        }
        .help(format!("give a checkpoint of family `{family}` in Hugging Face's or Meta's layout")),
    })
}

/// The highest number that follows `prefix` in a name.
fn last_layer(checkpoint: &Checkpoint, prefix: &str) -> Option<usize> {
    checkpoint.names().filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse().ok()).max()
}

/// Our tensor `local` of block `layer`, row-major, which must have the shape `expected`.
///
/// Rows of q and k come in Hugging Face's order, the two rotary halves of a head one after the other, whichever layout
/// the checkpoint has: Meta's are put into that order here (paper.md §2.2), so that rotary code knows one layout.
///
/// # Errors
/// When it is not there, has another shape, or cannot be read.
pub fn read_block_tensor(
    checkpoint: &Checkpoint,
    sizes: &LlmSizes,
    layer: usize,
    local: &str,
    expected: &[usize],
) -> Result<Vec<f32>> {
    read_block_tensor_hashed(checkpoint, sizes, layer, local, expected, false).map(|(numbers, _)| numbers.into_f32())
}

/// [`read_block_tensor`] and the [hash](Checkpoint::hash_tensor) of the tensor as it is stored; with `halves`, numbers in
/// half precision are left so.
///
/// # Errors
/// As [`read_block_tensor`].
pub fn read_block_tensor_hashed(
    checkpoint: &Checkpoint,
    sizes: &LlmSizes,
    layer: usize,
    local: &str,
    expected: &[usize],
    halves: bool,
) -> Result<(Numbers, blake3::Hash)> {
    let name = find(checkpoint, &sizes.family, layer, local)?;
    let info = checkpoint.require(&name)?;
    if info.shape != expected {
        return Err(Failure::at(
            checkpoint.path(),
            format!("holds tensor `{}` as {:?}, and {expected:?} was expected for `{local}`", shown(&name), info.shape),
        )
        .help("give a checkpoint of the model that the spec declares, or declare the sizes of this one"));
    }
    let heads = match local {
        "attention.wq.weight" => sizes.heads,
        "attention.wk.weight" => sizes.kv_heads,
        _ => return checkpoint.read_numbers(&name, halves),
    };
    // Meta's names are ours.
    if !(checkpoint.is_meta() && name.ends_with(local)) {
        return checkpoint.read_numbers(&name, halves);
    }
    let rows = expected.first().copied().unwrap_or(0);
    if heads == 0 || !rows.is_multiple_of(heads * 2) {
        return Err(Failure::at(
            checkpoint.path(),
            format!("holds tensor `{}` with {rows} rows, which are no pairs for {heads} heads", shown(&name)),
        ));
    }
    let (mut numbers, hash) = checkpoint.read_numbers(&name, halves)?;
    match &mut numbers {
        Numbers::F32(numbers) => halves_from_pairs(numbers, heads, rows),
        Numbers::F16(numbers) => halves_from_pairs(numbers, heads, rows),
        Numbers::BF16(numbers) => halves_from_pairs(numbers, heads, rows),
    }
    Ok((numbers, hash))
}

/// Rows as [heads, hd / 2, 2] to rows as [heads, 2, hd / 2], in place: no more than a head for each core is held twice.
fn halves_from_pairs<T: Copy + Send>(numbers: &mut [T], heads: usize, rows: usize) {
    let (width, per_head) = (numbers.len() / rows.max(1), rows / heads);
    if width == 0 {
        return;
    }
    numbers.par_chunks_mut(per_head * width).for_each_init(Vec::new, |pairs, head| {
        pairs.clear();
        pairs.extend_from_slice(head);
        for (to, half_and_pair) in head.chunks_exact_mut(width).zip(0..) {
            let (half, pair) = (half_and_pair / (per_head / 2), half_and_pair % (per_head / 2));
            to.copy_from_slice(&pairs[(2 * pair + half) * width..][..width]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    pub(super) fn sizes() -> LlmSizes {
        LlmSizes {
            family: "llama".into(),
            dim: 4,
            heads: 1,
            kv_heads: 1,
            ffn: 8,
            layers: 2,
            eps: 1e-6,
            norm_first: true,
            theta: None,
        }
    }

    /// A checkpoint with these names, each a vector of one, and perhaps a configuration.
    pub(super) fn with(names: &[&str], config: Option<(&str, &str)>) -> (tempfile::TempDir, Checkpoint) {
        let dir = tempfile::tempdir().unwrap();
        let tensors: Vec<(&str, &[usize], &[f32])> = names.iter().map(|name| (*name, &[1][..], &[0.0][..])).collect();
        match config {
            Some(("params.json", _)) => made::torch_dict(&dir.path().join("consolidated.00.pth"), &tensors),
            _ => made::safetensors(&dir.path().join("model.safetensors"), &tensors),
        }
        if let Some((file, json)) = config {
            std::fs::write(dir.path().join(file), json).unwrap();
        }
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        (dir, checkpoint)
    }

    #[test]
    fn each_layout_has_its_names() {
        for (family, local, theirs) in [
            ("llama", "attention.wq.weight", "model.layers.1.self_attn.q_proj.weight"),
            ("llama", "feed_forward.w2.weight", "layers.1.mlp.down_proj.weight"),
            ("llama", "ffn_norm.weight", "layers.1.ffn_norm.weight"),
            ("llama", "attention.wo.weight", "language_model.model.layers.1.self_attn.o_proj.weight"),
            ("opt", "fc1.bias", "model.decoder.layers.1.fc1.bias"),
            ("opt", "self_attn.out_proj.weight", "decoder.layers.1.self_attn.out_proj.weight"),
            ("opt", "final_layer_norm.bias", "layers.1.final_layer_norm.bias"),
        ] {
            let (_dir, c) = with(&[theirs], None);
            assert_eq!(block_tensor(&c, family, 1, local).unwrap(), theirs);
        }
    }

    #[test]
    fn a_block_that_is_not_there() {
        let (_dir, c) =
            with(&["model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight"], None);
        let failure = block_tensor(&c, "llama", 31, "attention.wq.weight").unwrap_err();
        assert_eq!(failure.what, "holds no `attention.wq.weight` of block 31 of a model of family `llama`");
        assert!(failure.notes[0].contains("`layers.31.attention.wq.weight`"));
        assert_eq!(failure.notes[1], "its blocks are 0 to 1");
        let failure = block_tensor(&c, "llama", 1, "attention.wk.weight").unwrap_err();
        assert!(failure.notes[1].contains("the nearest name in it is `model.layers."), "{failure}");
        // Meta's names are ours, so what we do not have is sought as it is.
        let failure = block_tensor(&c, "llama", 0, "attention.wx.weight").unwrap_err();
        assert!(failure.notes[0].contains("`layers.0.attention.wx.weight`"), "{failure}");
        assert!(block_tensor(&c, "gpt", 0, "attention.wq.weight").unwrap_err().what.contains("family `gpt`"));
    }

    #[test]
    fn meta_rows_come_in_halves() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let tensors: [(&str, &[usize], &[f32]); 3] = [
            ("layers.0.attention.wq.weight", &[8, 2], &rows),
            ("layers.0.attention.wv.weight", &[8, 2], &rows),
            ("layers.0.attention.inner_attention.rope.freqs", &[1], &[0.0]),
        ];
        made::torch_dict(&dir.path().join("w.pth"), &tensors);
        let c = Checkpoint::open(dir.path()).unwrap();
        let two = LlmSizes { heads: 2, ..sizes() };
        let q = read_block_tensor(&c, &two, 0, "attention.wq.weight", &[8, 2]).unwrap();
        let order: Vec<usize> = q.chunks(2).map(|row| row[0] as usize / 2).collect();
        assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(read_block_tensor(&c, &two, 0, "attention.wv.weight", &[8, 2]).unwrap(), rows);
        let odd = LlmSizes { heads: 3, ..sizes() };
        assert!(
            read_block_tensor(&c, &odd, 0, "attention.wq.weight", &[8, 2])
                .unwrap_err()
                .what
                .contains("no pairs for 3 heads")
        );
        // The same names without Meta's mark are ours, and are left alone.
        let ours = dir.path().join("ours.safetensors");
        made::safetensors(&ours, &tensors[..2]);
        let c = Checkpoint::open(ours).unwrap();
        assert_eq!(read_block_tensor(&c, &two, 0, "attention.wq.weight", &[8, 2]).unwrap(), rows);
    }

    #[test]
    fn another_shape_says_both() {
        let (dir, c) = with(&["model.layers.0.input_layernorm.weight"], None);
        let failure = read_block_tensor(&c, &sizes(), 0, "attention_norm.weight", &[4096]).unwrap_err();
        assert_eq!(failure.path.as_deref(), Some(dir.path()));
        assert_eq!(
            failure.what,
            "holds tensor `model.layers.0.input_layernorm.weight` as [1], and [4096] was expected for `attention_norm.weight`"
        );
    }

    #[test]
    fn every_opt_is_found_whatever_stands_around_its_blocks() {
        // 350M has projections around its blocks and no last norm; the hub's older files have no `model.` in front.
        for prefix in ["model.decoder.", "decoder."] {
            let names: Vec<String> = ["project_in.weight", "project_out.weight", "embed_tokens.weight"]
                .iter()
                .map(|name| format!("{prefix}{name}"))
                .chain((0..24).map(|i| format!("{prefix}layers.{i}.self_attn.q_proj.weight")))
                .collect();
            let (_dir, c) = with(&names.iter().map(String::as_str).collect::<Vec<_>>(), None);
            for layer in [0, 9, 23] {
                let found = block_tensor(&c, "opt", layer, "self_attn.q_proj.weight").unwrap();
                assert_eq!(found, format!("{prefix}layers.{layer}.self_attn.q_proj.weight"));
            }
            let failure = block_tensor(&c, "opt", 24, "self_attn.q_proj.weight").unwrap_err();
            assert!(failure.notes.contains(&"its blocks are 0 to 23".to_string()), "{failure}");
        }
    }
}
