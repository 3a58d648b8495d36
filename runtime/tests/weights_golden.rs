//! The checkpoint readers on real files: what Hugging Face, PyTorch and the paper's reference code wrote
//! (shared/data/README.md).

use std::path::{Path, PathBuf};

use lmv_runtime::weights::{
    Checkpoint, Dtype, LlmSizes, NameMap, Wanted, block_tensor, check_config, fill_report, read_block_tensor,
};

/// `path` under the shared folder, which is beside the repository or where `LMV_SHARED` says.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LMV_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared golden files");
    None
}

fn llama(kv_heads: usize) -> LlmSizes {
    LlmSizes {
        family: "llama".into(),
        dim: 64,
        heads: 4,
        kv_heads,
        ffn: 192,
        layers: 3,
        eps: 1e-6,
        norm_first: true,
        ..LlmSizes::default()
    }
}

fn opt(norm_first: bool) -> LlmSizes {
    LlmSizes {
        family: "opt".into(),
        dim: 64,
        heads: 4,
        kv_heads: 4,
        ffn: 128,
        layers: 2,
        eps: 1e-5,
        norm_first,
        ..LlmSizes::default()
    }
}

fn llama_shapes(s: &LlmSizes) -> Vec<(&'static str, Vec<usize>)> {
    let kv = s.dim / s.heads * s.kv_heads;
    vec![
        ("attention.wq.weight", vec![s.dim, s.dim]),
        ("attention.wk.weight", vec![kv, s.dim]),
        ("attention.wv.weight", vec![kv, s.dim]),
        ("attention.wo.weight", vec![s.dim, s.dim]),
        ("feed_forward.w1.weight", vec![s.ffn, s.dim]),
        ("feed_forward.w2.weight", vec![s.dim, s.ffn]),
        ("feed_forward.w3.weight", vec![s.ffn, s.dim]),
        ("attention_norm.weight", vec![s.dim]),
        ("ffn_norm.weight", vec![s.dim]),
    ]
}

fn opt_shapes(s: &LlmSizes) -> Vec<(String, Vec<usize>)> {
    let square = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|p| (format!("self_attn.{p}"), vec![s.dim, s.dim]));
    let norms = ["self_attn_layer_norm", "final_layer_norm"].map(|n| (n.to_string(), vec![s.dim]));
    let fc = [("fc1".to_string(), vec![s.ffn, s.dim]), ("fc2".to_string(), vec![s.dim, s.ffn])];
    square
        .into_iter()
        .chain(norms)
        .chain(fc)
        .flat_map(|(name, shape)| [(format!("{name}.bias"), vec![shape[0]]), (format!("{name}.weight"), shape)])
        .collect()
}

fn every_block_reads(checkpoint: &Checkpoint, sizes: &LlmSizes, shapes: &[(impl AsRef<str>, Vec<usize>)]) {
    check_config(checkpoint, "golden", sizes).unwrap();
    for layer in 0..sizes.layers {
        for (local, shape) in shapes {
            let numbers = read_block_tensor(checkpoint, sizes, layer, local.as_ref(), shape).unwrap();
            assert_eq!(numbers.len(), shape.iter().product::<usize>());
            assert!(numbers.iter().all(|x| x.is_finite()) && numbers.iter().any(|x| *x != 0.0), "{}", local.as_ref());
        }
    }
    assert!(block_tensor(checkpoint, &sizes.family, sizes.layers, shapes[0].0.as_ref()).is_err());
}

fn every_tensor_reads(checkpoint: &Checkpoint) {
    assert!(checkpoint.names().count() > 0);
    for name in checkpoint.names() {
        let info = checkpoint.require(name).unwrap();
        assert_eq!(checkpoint.read(name).unwrap().bytes.len(), info.bytes().unwrap());
        assert_eq!(checkpoint.read_f32(name).unwrap().len(), info.elements().unwrap());
    }
}

#[test]
fn hugging_face_shards() {
    let Some(path) = shared("golden/llama_hf") else { return };
    let checkpoint = Checkpoint::open(path).unwrap();
    assert!(!checkpoint.is_meta());
    every_tensor_reads(&checkpoint);
    every_block_reads(&checkpoint, &llama(4), &llama_shapes(&llama(4)));
}

#[test]
fn grouped_queries_in_bf16() {
    let Some(path) = shared("golden/llama_hf_gqa_bf16") else { return };
    let checkpoint = Checkpoint::open(path).unwrap();
    assert_eq!(checkpoint.info("model.layers.0.self_attn.k_proj.weight").unwrap().dtype, Dtype::BF16);
    every_tensor_reads(&checkpoint);
    every_block_reads(&checkpoint, &llama(2), &llama_shapes(&llama(2)));
    let failure = check_config(&checkpoint, "golden", &llama(4)).unwrap_err();
    assert!(
        failure.to_string().contains("declared with kv_heads = 4, and config.json of this checkpoint says 2"),
        "{failure}"
    );
}

#[test]
fn opt_with_both_places_of_its_norms() {
    for (path, norm_first) in [("golden/opt_hf", true), ("golden/opt_hf_postnorm", false)] {
        let Some(path) = shared(path) else { return };
        let checkpoint = Checkpoint::open(path).unwrap();
        every_tensor_reads(&checkpoint);
        every_block_reads(&checkpoint, &opt(norm_first), &opt_shapes(&opt(norm_first)));
        assert!(check_config(&checkpoint, "golden", &opt(!norm_first)).is_err());
    }
}

#[test]
fn meta_in_hugging_face_order_is_hugging_face() {
    let (Some(meta), Some(hf)) = (shared("golden/llama_meta"), shared("golden/llama_hf")) else { return };
    let (meta, hf) = (Checkpoint::open(meta).unwrap(), Checkpoint::open(hf).unwrap());
    assert!(meta.is_meta());
    assert_eq!(meta.info("layers.0.attention.wq.weight").unwrap().dtype, Dtype::F16);
    every_tensor_reads(&meta);
    let sizes = llama(4);
    every_block_reads(&meta, &sizes, &llama_shapes(&sizes));
    for layer in 0..sizes.layers {
        for (local, shape) in llama_shapes(&sizes) {
            let a = read_block_tensor(&meta, &sizes, layer, local, &shape).unwrap();
            let b = read_block_tensor(&hf, &sizes, layer, local, &shape).unwrap();
            // Half a unit in the last place of 11 bits, and the smallest subnormal half for the tiny ones.
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= b.abs() / 2048.0 + 6e-8), "{layer} {local}");
        }
    }
    // The file by itself finds its configuration too.
    let file = Checkpoint::open(meta.path().join("consolidated.00.pth")).unwrap();
    assert!(file.is_meta());
    check_config(&file, "golden", &sizes).unwrap();
}

#[test]
fn a_really_pretrained_model() {
    let Some(path) = shared("weights/stories260K") else { return };
    let checkpoint = Checkpoint::open(path).unwrap();
    let sizes = LlmSizes { heads: 8, kv_heads: 4, ffn: 172, layers: 5, eps: 1e-5, ..llama(4) };
    every_tensor_reads(&checkpoint);
    every_block_reads(&checkpoint, &sizes, &llama_shapes(&sizes));
}

#[test]
fn the_reference_checkpoints() {
    for (path, name, shape) in [
        ("golden/vit_llama/checkpoint.pth", "cls_token", 3),
        ("golden/point_bert/checkpoint.pth", "encoder.first_conv.0.weight", 3),
        ("golden/videomae/checkpoint.pth", "patch_embed.proj.weight", 5),
    ] {
        let Some(path) = shared(path) else { return };
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.require(name).unwrap().shape.len(), shape, "{}", path.display());
        every_tensor_reads(&checkpoint);
        // Every tensor under names of ours, and back by a map.
        let wanted: Vec<Wanted> = checkpoint
            .names()
            .map(|name| Wanted { name: format!("net.{name}"), shape: checkpoint.info(name).unwrap().shape.clone() })
            .collect();
        let map = NameMap { name: "reference".into(), pairs: vec![("net.*".into(), "*".into())] };
        let filling = fill_report(&wanted, &checkpoint, &[map]).unwrap();
        assert_eq!((filling.map.as_str(), filling.left_over.len()), ("reference", 0));
    }
}

#[test]
fn counters_are_whole_numbers() {
    let Some(path) = shared("golden/point_bert/checkpoint.pth") else { return };
    let checkpoint = Checkpoint::open(path).unwrap();
    let tensor = checkpoint.read("encoder.first_conv.1.num_batches_tracked").unwrap();
    assert_eq!((tensor.dtype, tensor.shape.len(), tensor.bytes.len()), (Dtype::I64, 0, 8));
}
