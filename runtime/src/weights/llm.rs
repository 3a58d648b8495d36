//! One block of a language model, out of whichever layout its checkpoint has (paper.md §2).

mod configuration;
mod naming;

use std::collections::BTreeSet;

use rayon::prelude::*;

pub use self::configuration::{check_config, check_counts, check_declared, settings_left_open};
pub use self::naming::{Block, is_of_blocks};
use super::checkpoint::Checkpoint;
use super::file::shown;
use super::names::Wanted;
use super::numbers::Numbers;
use crate::error::{Failure, Result};

/// The names of all families of language models whose checkpoints are read.
pub const FAMILIES: [&str; 2] = ["llama", "opt"];

/// What a spec declares about a language model: `llm llama7b = llama(dim = 4096, …)`.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// How they are scaled: nothing, `[factor]`, or `[factor, low, high, original]`.
    pub scaling: Vec<f64>,
    /// Which of `eps`, `theta` and `scaling` the spec leaves to the configuration beside the weights.
    pub left_open: BTreeSet<String>,
}

/// The checkpoint's name for our tensor `local` (such as `attention.wq.weight`) of block `layer`.
///
/// # Errors
/// When the checkpoint has it under none of the names that the family uses.
pub fn block_tensor(checkpoint: &Checkpoint, family: &str, layer: usize, local: &str) -> Result<String> {
    let sizes = LlmSizes { family: family.into(), ..LlmSizes::default() };
    let wanted = [Wanted { name: local.into(), shape: Vec::new() }];
    let block = Block { weights: family, sizes: &sizes, layer, own: &[] };
    Ok(block.names(checkpoint, &wanted)?.remove(0))
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
    let wanted = [Wanted { name: local.into(), shape: expected.to_vec() }];
    let block = Block { weights: &sizes.family, sizes, layer, own: &[] };
    let name = block.tensors(checkpoint, &wanted)?.remove(0);
    read_found(checkpoint, sizes, local, &name, Read { halves, as_stored: false })
}

/// The weights of a block whose rows rotary positions go by: of the queries and of the keys.
pub const TURNED: [&str; 2] = ["attention.wq.weight", "attention.wk.weight"];

/// How a tensor of a block is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Numbers in half precision are left so, and in their file where it can be mapped.
    pub halves: bool,
    /// The rows of q and k are left in the order of the file. Where nothing turns them, a score is a sum over the channels of
    /// a head, and no matter in which order; it must be the same in both, and then nothing of a block need be copied.
    pub as_stored: bool,
}

/// The tensor `name` of a checkpoint, which is our `local` of a block and has its shape, as [`read_block_tensor_hashed`]
/// gives it.
///
/// # Errors
/// When it cannot be read, or its rows are no pairs.
pub fn read_found(
    checkpoint: &Checkpoint,
    sizes: &LlmSizes,
    local: &str,
    name: &str,
    read: Read,
) -> Result<(Numbers, blake3::Hash)> {
    let heads = match TURNED.iter().position(|turned| *turned == local) {
        Some(0) => sizes.heads,
        Some(_) => sizes.kv_heads,
        None => return checkpoint.read_numbers(name, read.halves),
    };
    // Meta's names are ours.
    if !(checkpoint.is_meta() && name.ends_with(local)) {
        return checkpoint.read_numbers(name, read.halves);
    }
    let rows = checkpoint.require(name)?.shape.first().copied().unwrap_or(0);
    if heads == 0 || !rows.is_multiple_of(heads * 2) {
        return Err(Failure::at(
            checkpoint.path(),
            format!("holds tensor `{}` with {rows} rows, which are no pairs for {heads} heads", shown(name)),
        ));
    }
    let (numbers, hash) = checkpoint.read_numbers(name, read.halves)?;
    let numbers = match numbers {
        numbers if read.as_stored => numbers,
        Numbers::F32(mut numbers) => {
            halves_from_pairs(&mut numbers, heads, rows);
            Numbers::F32(numbers)
        }
        Numbers::F16(mut numbers) => {
            halves_from_pairs(&mut numbers, heads, rows);
            Numbers::F16(numbers)
        }
        Numbers::BF16(mut numbers) => {
            halves_from_pairs(&mut numbers, heads, rows);
            Numbers::BF16(numbers)
        }
        Numbers::MappedF16(bytes) => Numbers::f16(mapped_halves_from_pairs(bytes.as_ref(), heads, rows)),
        Numbers::MappedBF16(bytes) => Numbers::bf16(mapped_halves_from_pairs(bytes.as_ref(), heads, rows)),
    };
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
        for (to, place) in head.chunks_exact_mut(width).zip(0..) {
            to.copy_from_slice(&pairs[in_pairs(place, per_head) * width..][..width]);
        }
    });
}

/// The same of numbers of two bytes in a file, to their bits in memory.
fn mapped_halves_from_pairs(bytes: &[u8], heads: usize, rows: usize) -> Vec<u16> {
    let source = bytes.as_chunks::<2>().0;
    let (width, per_head) = (source.len() / rows.max(1), rows / heads);
    let mut bits = vec![0; source.len()];
    if width == 0 {
        return bits;
    }
    bits.par_chunks_mut(width).zip(0..rows).for_each(|(to, row)| {
        let from = row / per_head * per_head + in_pairs(row % per_head, per_head);
        to.iter_mut().zip(&source[from * width..]).for_each(|(to, from)| *to = u16::from_le_bytes(*from));
    });
    bits
}

/// Which row of a head in pairs is at `place` when its halves lie one after the other.
fn in_pairs(place: usize, per_head: usize) -> usize {
    let (half, pair) = (place / (per_head / 2), place % (per_head / 2));
    2 * pair + half
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
            ..LlmSizes::default()
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
        // Nothing turns them: they may stay.
        let stay = Read { halves: false, as_stored: true };
        let stayed = read_found(&c, &two, "attention.wq.weight", "layers.0.attention.wq.weight", stay).unwrap();
        assert_eq!(stayed.0, Numbers::F32(rows.clone()));
        // The same out of a file that is mapped.
        let halves: Vec<half::f16> = rows.iter().copied().map(half::f16::from_f32).collect();
        let name = "layers.0.attention.wq.weight";
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F16, vec![8, 2], &bytes).unwrap();
        let mapped = dir.path().join("halves.safetensors");
        safetensors::serialize_to_file([(name, view)], None, &mapped).unwrap();
        let c = Checkpoint::open(mapped).unwrap();
        let whole = LlmSizes { heads: 2, kv_heads: 2, ..sizes() };
        for as_stored in [false, true] {
            let read = Read { halves: true, as_stored };
            let (numbers, _) = read_found(&c, &whole, "attention.wq.weight", name, read).unwrap();
            assert_eq!(numbers.into_f32(), if as_stored { &rows } else { &q }.clone());
        }
        let c = Checkpoint::open(dir.path().join("w.pth")).unwrap();
        assert!(c.is_meta());
        // Meta's names are enough, whatever the file is called and whatever lies beside it.
        let renamed = dir.path().join("llama.safetensors");
        made::safetensors(&renamed, &tensors[..2]);
        let c = Checkpoint::open(renamed).unwrap();
        assert_eq!(read_block_tensor(&c, &two, 0, "attention.wq.weight", &[8, 2]).unwrap(), q);
        // Hugging Face's have their order already.
        let theirs = dir.path().join("theirs.safetensors");
        made::safetensors(&theirs, &[("model.layers.0.self_attn.q_proj.weight", &[8, 2], &rows)]);
        let c = Checkpoint::open(theirs).unwrap();
        assert_eq!(read_block_tensor(&c, &two, 0, "attention.wq.weight", &[8, 2]).unwrap(), rows);
    }

    #[test]
    fn another_shape_says_both() {
        let (dir, c) = with(&["model.layers.0.input_layernorm.weight"], None);
        let failure = read_block_tensor(&c, &sizes(), 0, "attention_norm.weight", &[4096]).unwrap_err();
        assert_eq!(failure.path, Some(dir.path().join("model.safetensors")));
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
