//! Every spec in `specs/` checks clean, with all its variants, and comes out the size that the paper's models have.

use std::collections::BTreeMap;

use lmv_compiler::{Compiled, Experiment, Spec, Which, check};

mod spec_files;

use spec_files::spec_files as specs;

fn checked(all: &BTreeMap<String, String>, name: &str, which: Which<'_>) -> Compiled {
    check(&Spec { name, text: &all[name], files: all, overrides: &[], which })
}

fn shown(compiled: &Compiled) -> String {
    compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect()
}

/// A variant of a spec, or the spec itself.
fn experiment(all: &BTreeMap<String, String>, name: &str, variant: Option<&str>) -> Experiment {
    let compiled = checked(all, name, variant.map_or(Which::Base, Which::Variant));
    let wrong = shown(&compiled);
    compiled.experiment.unwrap_or_else(|| panic!("{name} {variant:?}\n{wrong}"))
}

#[test]
fn every_spec_and_each_of_its_variants_is_right() {
    let all = specs();
    let mut wrong = String::new();
    for name in all.keys() {
        wrong += &shown(&checked(&all, name, Which::All));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The rows of the paper's tables by name; conflicts between its sources have variants beside them.
#[test]
fn a_table_has_a_variant_for_each_of_its_rows() {
    let all = specs();
    let rows: [(&str, &[&str]); 6] = [
        ("imagenet/table1", &["tiny", "tiny_llama", "small", "small_llama", "base", "base_llama"]),
        (
            "imagenet/table6",
            &[
                "baseline",
                "llama",
                "mlp",
                "fine_tuned",
                "random",
                "baseline_100",
                "llama_100",
                "mlp_100",
                "fine_tuned_100",
            ],
        ),
        ("imagenet/table_c", &["baseline", "opt_125m", "opt_350m", "opt_1_3b", "opt_2_7b", "opt_6_7b"]),
        ("imagenet/table_d", &["baseline", "tail", "middle", "first", "last_two"]),
        (
            "points/table2",
            &[
                "bg",
                "bg_llama",
                "bg_mlp",
                "bg_random",
                "obj",
                "obj_llama",
                "t50",
                "t50_llama",
                "modelnet_1k",
                "modelnet_1k_llama",
                "modelnet_4k",
                "modelnet_4k_llama",
                "modelnet_8k",
                "modelnet_8k_llama",
            ],
        ),
        (
            "video/table3",
            &["small", "small_llama", "small_llama_by_the_text", "small_mlp", "small_random", "base", "base_llama"],
        ),
    ];
    for (table, rows) in rows {
        let variants = checked(&all, &format!("specs/{table}.lmv"), Which::All).variants;
        for row in rows {
            assert!(variants.iter().any(|variant| variant == row), "{table} has no {row}, but {variants:?}");
        }
    }
    // What the paper or its sources leave open (paper.md §12).
    let choices: [(&str, &[&str]); 8] = [
        ("imagenet/table6", &["mlp_norm_first"]),
        (
            "imagenet/table_c",
            &[
                "opt_125m_four_fifths",
                "opt_350m_four_fifths",
                "opt_125m_without_norm",
                "opt_350m_without_norm",
                "opt_1_3b_without_norm",
                "opt_2_7b_without_norm",
                "opt_6_7b_without_norm",
            ],
        ),
        ("points/table2", &["bg_llama_by_the_text", "bg_llama_smoothed", "modelnet_1k_voted"]),
        (
            "motion/vectornet",
            &[
                "llama_before_global_graph",
                "llama_without_norm",
                "trained_with_one_guess",
                "scaled_attention",
                "likelihood",
                "without_weight_decay",
                "not_turned",
            ],
        ),
        (
            "motion/mmtransformer",
            &[
                "llama_before_social",
                "llama_without_norm",
                "drop_by_a_quarter",
                "without_weight_decay",
                "confidence_by_class",
                "lanes_as_released",
            ],
        ),
        (
            "vqa/meter",
            &[
                "llama_for_both",
                "llama_without_norm",
                "image_384",
                "image_576",
                "without_rand_augment",
                "absvit",
                "rest_val",
            ],
        ),
        (
            "retrieval/meter",
            &["llama_for_both", "image_384", "image_576", "zero_shot", "karpathy_val", "own_rank_output"],
        ),
        (
            "sqa3d/sqa3d",
            &[
                "llama_on_seeds",
                "llama_for_all",
                "llama_without_situation",
                "llama_without_norm",
                "repository_recipe",
                "recipe_by_the_text",
                "narrow",
                "test",
            ],
        ),
    ];
    for (spec, choices) in choices {
        let variants = checked(&all, &format!("specs/{spec}.lmv"), Which::All).variants;
        for choice in choices {
            assert!(variants.iter().any(|variant| variant == choice), "{spec} has no {choice}, but {variants:?}");
        }
    }
    let figure = checked(&all, "specs/imagenet/figure2.lmv", Which::All).variants;
    for block in 0..32 {
        assert!(figure.contains(&format!("llama.{block}")) && figure.contains(&format!("opt.{block}")));
    }
}

/// `(trained, frozen)` of each variant.
fn counts(name: &str) -> BTreeMap<String, (i64, i64)> {
    let all = specs();
    let count = |variant: &String| experiment(&all, name, Some(variant)).graph.parameter_counts();
    checked(&all, name, Which::All).variants.iter().map(|variant| (variant.clone(), count(variant))).collect()
}

/// A block of LLaMA-7B: attention, feed-forward, two norms (paper.md §1.2).
const LLAMA: i64 = 4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096;

/// The two linear layers around it, for a stream of width d.
fn mappers(d: i64) -> i64 {
    2 * d * 4096
}

#[test]
fn table_1_has_the_sizes_of_the_paper() {
    assert_eq!(LLAMA, 202_383_360);
    assert_eq!([192, 384, 768].map(mappers), [1_572_864, 3_145_728, 6_291_456]);
    let of = counts("specs/imagenet/table1.lmv");
    assert_eq!(of["tiny"], (5_717_416, 0));
    assert_eq!(of["tiny_llama"], (5_717_416 + 1_572_864, LLAMA));
    assert_eq!(of["small"], (22_050_664, 0));
    assert_eq!(of["small_llama"], (22_050_664 + 3_145_728, LLAMA));
    assert_eq!(of["base"], (86_567_656, 0));
    assert_eq!(of["base_llama"], (86_567_656 + 6_291_456, LLAMA));
}

#[test]
fn ablations_change_what_they_name() {
    let small = 22_050_664;
    let of = counts("specs/imagenet/table6.lmv");
    assert_eq!(of["baseline"], (small, 0));
    assert_eq!(of["llama"], (small + mappers(384), LLAMA));
    // A layer norm of 4096 weights and biases is what an MLP has more than the mappers (paper.md §9.1).
    assert_eq!(of["mlp"], (small + mappers(384) + 8192, 0));
    assert_eq!(of["fine_tuned"], (small + mappers(384) + LLAMA, 0));
    assert_eq!(of["random"], of["fine_tuned"]);
    let of = counts("specs/imagenet/table_d.lmv");
    assert_eq!(of["baseline"], (small, 0));
    for one in ["first", "middle", "tail"] {
        assert_eq!(of[one], (small + mappers(384), LLAMA), "{one}");
    }
    assert_eq!(of["last_two"], (small + mappers(384), 2 * LLAMA));
    let of = counts("specs/imagenet/table_c.lmv");
    for (name, dim) in
        [("opt_125m", 768), ("opt_350m", 1024), ("opt_1_3b", 2048), ("opt_2_7b", 2560), ("opt_6_7b", 4096)]
    {
        assert_eq!(of[name].0, small + 2 * 384 * dim, "{name}");
    }
    let of = counts("specs/imagenet/figure2.lmv");
    assert!((0..32).all(|i| of[&format!("llama.{i}")] == (small + mappers(384), LLAMA)));
}

#[test]
fn epochs_and_learning_rates_are_those_of_the_tables() {
    let all = specs();
    let epochs =
        |variant: &str| experiment(&all, "specs/imagenet/table6.lmv", Some(variant)).train.expect("a recipe").epochs;
    assert_eq!(["llama", "llama_100", "mlp", "mlp_100"].map(epochs), [300, 100, 300, 100]);
    let lr = |spec: &str, variant: &str| {
        let train = experiment(&all, spec, Some(variant)).train.expect("a recipe");
        match &train.fields["optimizer"] {
            lmv_compiler::config::Config::Call(call) => call.float("lr").expect("a rate"),
            other => panic!("{other}"),
        }
    };
    let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} and {b}");
    near(lr("specs/imagenet/table_c.lmv", "opt_6_7b"), 1e-3);
    near(lr("specs/imagenet/table_c.lmv", "opt_125m"), 2e-4);
    near(lr("specs/imagenet/table_c.lmv", "opt_125m_four_fifths"), 8e-4);
    // paper.md §5.3 has the products.
    near(lr("specs/video/table3.lmv", "small_llama"), 9.375e-5);
    near(lr("specs/video/table3.lmv", "base_llama"), 2.34375e-5);
}

/// A pre-norm block with a feed-forward part four times as wide, and `biases` of the attention's first layer.
fn transformer_block(d: i64, biases: i64) -> i64 {
    let attention = 3 * d * d + biases + d * d + d;
    let feed_forward = 4 * d * d + 4 * d + 4 * d * d + d;
    2 * d + attention + 2 * d + feed_forward
}

/// paper.md §5.1, with the 174 classes of Something-Something v2.
#[test]
fn videomae_has_the_sizes_of_its_shapes() {
    let vit = |d: i64| {
        let tubelets = 3 * 2 * 16 * 16 * d + d;
        let head = 2 * d + 174 * d + 174;
        // Queries and values have biases, keys have none.
        tubelets + 12 * transformer_block(d, 2 * d) + head
    };
    assert_eq!([vit(384), vit(768)], [21_946_926, 86_361_006]);
    let of = counts("specs/video/table3.lmv");
    assert_eq!(of["small"], (vit(384), 0));
    assert_eq!(of["base"], (vit(768), 0));
    for code_or_text in ["", "_by_the_text"] {
        assert_eq!(of[&format!("small_llama{code_or_text}")], (vit(384) + mappers(384), LLAMA));
        assert_eq!(of[&format!("base_llama{code_or_text}")], (vit(768) + mappers(768), LLAMA));
    }
    assert_eq!(of["small_random"], (vit(384) + mappers(384) + LLAMA, 0));
}

/// paper.md §4.1 and A.3, with 40 classes.
#[test]
fn point_bert_has_the_sizes_of_its_shapes() {
    let linear = |input: i64, output: i64| input * output + output;
    let batch_norm = |d: i64| 2 * d;
    let first = linear(3, 128) + batch_norm(128) + linear(128, 256);
    let second = linear(512, 512) + batch_norm(512) + linear(512, 256);
    let tokens = first + second + linear(256, 384) + 2 * 384;
    let places = linear(3, 128) + linear(128, 384);
    let head = 2 * 384 + linear(768, 256) + linear(256, 40);
    let whole = tokens + places + 12 * transformer_block(384, 0) + head;
    let of = counts("specs/points/table2.lmv");
    for (variant, count) in &of {
        let has = |word| variant.split('_').any(|part| part == word);
        let (trained, frozen) = match (has("llama"), has("mlp"), has("random")) {
            (true, _, _) => (whole + mappers(384), LLAMA),
            (_, true, _) => (whole + mappers(384) + 8192, 0),
            (_, _, true) => (whole + mappers(384) + LLAMA, 0),
            _ => (whole, 0),
        };
        assert_eq!(*count, (trained, frozen), "{variant}");
    }
}

/// A token for each neighbourhood, tube or patch, and one for the class where there is one.
#[test]
fn the_block_of_the_language_model_sees_all_tokens() {
    let all = specs();
    let tokens = |spec: &str, variant: &str| {
        let graph = experiment(&all, spec, Some(variant)).graph;
        let node = graph.nodes.iter().find(|node| node.path.ends_with("attention.wq")).expect("a block of LLaMA");
        graph.shape(node.inputs[0]).to_string()
    };
    assert_eq!(tokens("specs/imagenet/table1.lmv", "tiny_llama"), "[197, 4096]");
    assert_eq!(tokens("specs/points/table2.lmv", "t50_llama"), "[65, 4096]");
    assert_eq!(tokens("specs/points/table2.lmv", "modelnet_4k_llama"), "[257, 4096]");
    assert_eq!(tokens("specs/points/table2.lmv", "modelnet_8k_llama"), "[513, 4096]");
    assert_eq!(tokens("specs/video/table3.lmv", "base_llama"), "[1568, 4096]");
    assert_eq!(tokens("specs/sqa3d/sqa3d.lmv", "llama_on_seeds"), "[1024, 4096]");
    assert_eq!(tokens("specs/motion/vectornet.lmv", "llama_before_global_graph"), "[P?, 4096]");
}
