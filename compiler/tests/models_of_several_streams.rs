//! Sizes of the paper's models that have several streams, against sums written out from the shapes in paper.md.

use lmv_compiler::{Experiment, compile};

/// Where the models and their data are.
const MODULES: [&str; 10] = [
    "data.argoverse",
    "data.flickr30k",
    "data.sqa3d",
    "data.vqav2",
    "language.roberta",
    "motion.mmtransformer",
    "motion.vectornet",
    "scenes.sqa3d",
    "vision.clip",
    "vision_language.meter",
];

fn check(text: &str) -> Experiment {
    let imports: String = MODULES.iter().map(|module| format!("use {module}\n")).collect();
    let compiled = compile("several_streams.lmv", &(imports + text), &[]);
    let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    compiled.experiment.unwrap_or_else(|| panic!("{shown}"))
}

/// `(trained, frozen)`.
fn counts(text: &str) -> (i64, i64) {
    check(text).graph.parameter_counts()
}

/// What the model gives, by name: `answer : [706]`.
fn outputs(text: &str) -> Vec<String> {
    let graph = check(text).graph;
    graph.outputs.iter().map(|port| format!("{} : {}", port.name, graph.shape(port.stream))).collect()
}

/// A linear layer with its bias.
fn linear(from: i64, to: i64) -> i64 {
    from * to + to
}

/// A layer norm, or a batch norm: a weight and a bias.
fn norm(d: i64) -> i64 {
    2 * d
}

/// paper.md §7.1: CLIP ViT-B/32 with 11 of its 12 blocks.
fn clip(image: i64) -> i64 {
    let tokens = (image / 32) * (image / 32) + 1;
    let block = norm(768) + linear(768, 3 * 768) + linear(768, 768) + norm(768) + linear(768, 3072) + linear(3072, 768);
    3 * 32 * 32 * 768 + 768 + tokens * 768 + norm(768) + 11 * block + norm(768)
}

/// The attention of a BERT layer: queries, keys, values, the result, and the norm after the sum.
fn bert_attention() -> i64 {
    4 * linear(768, 768) + norm(768)
}

/// The feed-forward part of a BERT layer.
fn bert_feed_forward() -> i64 {
    linear(768, 3072) + linear(3072, 768) + norm(768)
}

/// paper.md §7.1: words, positions, one type, a norm, and twelve layers.
fn roberta() -> i64 {
    50265 * 768 + 514 * 768 + 768 + norm(768) + 12 * (bert_attention() + bert_feed_forward())
}

/// paper.md §7.1: everything of METER but its heads.
fn meter(image: i64) -> i64 {
    let layer = 2 * bert_attention() + bert_feed_forward();
    clip(image) + roberta() + 2 * linear(768, 768) + 2 * 768 + 2 * 6 * layer + 2 * linear(768, 768)
}

#[test]
fn the_tower_of_clip_has_eleven_blocks() {
    assert_eq!(clip(224), 80_368_128);
    assert_eq!(counts("model = clip_vit_b32"), (80_368_128, 0));
    assert_eq!(outputs("model = clip_vit_b32"), ["output : [50, 768]"]);
    for (image, tokens) in [(384, 145), (576, 325)] {
        let text = format!("model = clip_vit_b32(image = {image})");
        assert_eq!(counts(&text), (clip(image), 0));
        assert_eq!(outputs(&text), [format!("output : [{tokens}, 768]")]);
    }
}

/// Hugging Face's `roberta-base` has 124,645,632 with its pooler, which METER does not use.
#[test]
fn roberta_base_is_hugging_faces_without_its_pooler() {
    assert_eq!(roberta(), 124_645_632 - linear(768, 768));
    let text = "model(x : [T?] of class(50265)) { x >> roberta_base }";
    assert_eq!(counts(text), (roberta(), 0));
    assert_eq!(outputs(text), ["output : [T?, 768]"]);
}

#[test]
fn meter_is_two_encoders_and_six_rounds_of_co_attention() {
    let text = |image: i64, rest: &str| {
        format!("model(image, question) {{ (image, question) >> meter(data.image{rest}\ndata = vqav2(image = {image})")
    };
    assert_eq!(outputs(&text(224, ") }")), ["output : [1536]"]);
    let head = linear(1536, 1536) + norm(1536) + linear(1536, 3129);
    for image in [224, 384, 576] {
        assert_eq!(counts(&text(image, ") }")), (meter(image), 0));
        assert_eq!(counts(&text(image, ") >> vqa_classifier }")), (meter(image) + head, 0));
    }
    let around = "inserted = linear(768, 4096, bias = false) >> frozen(llama7b.layer[31])
                             >> rms_norm(4096, affine = false) >> linear(4096, 768, bias = false)";
    let llama = format!(", {around}) >> vqa_classifier }}");
    assert_eq!(counts(&text(224, &llama)), (meter(224) + head + 6_291_456, 202_383_360));
}

/// Both streams add their row of one table.
#[test]
fn meter_has_one_table_of_token_types() {
    let graph = check("model(image, question) { (image, question) >> meter }\ndata = vqav2").graph;
    let tables: Vec<String> = graph
        .parameters
        .iter()
        .filter(|parameter| parameter.path.starts_with("meter.token_type"))
        .map(|parameter| format!("{} {}", parameter.path, parameter.shape))
        .collect();
    assert_eq!(tables, ["meter.token_type_embeddings.weight [2, 768]"]);
}

#[test]
fn retrieval_scores_pairs() {
    let text = "model(image, caption) {
                  let both = (image, caption) >> meter(data.image)
                  { match: both >> frozen(random(itm_score)), score: both >> rank_output }
                }
                data = flickr30k(image = 224)";
    assert_eq!(counts(text), (meter(224) + linear(1536, 1), linear(1536, 2)));
    assert_eq!(outputs(text), ["match : [2]", "score : [1]"]);
}

/// A linear layer without bias and a batch norm.
fn point_layers(widths: &[i64]) -> i64 {
    widths.windows(2).map(|pair| pair[0] * pair[1] + norm(pair[1])).sum()
}

/// paper.md §8.1, by the width of language and fusion.
fn sqa3d(h: i64, answers: i64) -> i64 {
    let lstm = 4 * h * 300 + 4 * h * h + 2 * 4 * h;
    let backbone = point_layers(&[3 + 4, 64, 64, 128])
        + point_layers(&[3 + 128, 128, 128, 256])
        + 2 * point_layers(&[3 + 256, 128, 128, 256])
        + 2 * point_layers(&[256 + 256, 256, 256]);
    let voting = 2 * (linear(256, 256) + norm(256)) + linear(256, 3 + 256);
    let told = 2 + 3 + 2 + 18 * 4 + 18;
    let proposals = point_layers(&[3 + 256, 128, 128, 128]) + point_layers(&[128, 128, 128]) + linear(128, told);
    let attention = 4 * linear(h, h) + norm(h);
    let feed_forward = linear(h, 4 * h) + linear(4 * h, h) + norm(h);
    let fusion = 2 * 2 * (attention + feed_forward) + 2 * 2 * (2 * attention + feed_forward);
    let pool = linear(h, 256) + linear(256, 1) + linear(h, 512);
    let heads = linear(3 * 512, h) + linear(h, answers) + linear(2 * 512, h) + linear(h, 7);
    lstm + backbone + voting + proposals + linear(h, h) + linear(128, h) + fusion + 3 * pool + heads
}

#[test]
fn sqa3d_is_a_detector_two_texts_and_their_fusion() {
    for width in [256, 768] {
        let text = format!(
            "model(cloud, situation, question) {{ (cloud, situation, question) >> sqa3d_model(d = {width}) }}\ndata = sqa3d"
        );
        assert_eq!(counts(&text), (sqa3d(width, 706), 0));
        assert_eq!(outputs(&text)[..3], ["answer : [706]", "position : [3]", "rotation : [4]"]);
    }
}

/// Situation and question share the LSTM and the linear layer after it.
#[test]
fn sqa3d_reads_both_texts_with_one_lstm() {
    let graph =
        check("model(cloud, situation, question) { (cloud, situation, question) >> sqa3d_model }\ndata = sqa3d").graph;
    let with = |name: &str| graph.parameters.iter().filter(|parameter| parameter.path.ends_with(name)).count();
    assert_eq!(with("lstm.weight_hh_l0"), 1);
    assert_eq!(with("lang_feat_linear.fc.weight"), 1);
}

/// paper.md §6.3.
#[test]
fn vectornet_is_a_subgraph_a_global_graph_and_two_heads() {
    let subgraph = linear(8, 64) + norm(64) + 2 * (linear(128, 64) + norm(64));
    let global = 3 * linear(128, 64);
    let head = |out: i64| linear(64, 64) + norm(64) + linear(64, out);
    let text = "model(polylines) { polylines >> vectornet }\ndata = argoverse";
    assert_eq!(counts(text), (subgraph + global + head(6 * 30 * 2) + head(6), 0));
    assert_eq!(outputs(text), ["trajectories : [6, 30, 2]", "confidence : [6]"]);
    let around =
        "torch_linear(64, 4096, bias = false) >> frozen(llama7b.layer[31]) >> torch_linear(4096, 64, bias = false)";
    let llama = format!("model(polylines) {{ polylines >> vectornet(inserted = {around}) }}\ndata = argoverse");
    assert_eq!(counts(&llama).0, counts(text).0 + 2 * 64 * 4096);
}

/// paper.md §6.4.
#[test]
fn mmtransformer_is_five_stacks_their_fusions_and_two_heads() {
    let mlp = |from: i64, hidden: i64, to: i64| linear(from, hidden) + norm(hidden) + linear(hidden, to);
    let lane_net = linear(7, 32) + norm(32) + linear(64, 32) + norm(32);
    let attention = 4 * linear(128, 128);
    let feed_forward = linear(128, 256) + linear(256, 128);
    let encoder = 2 * (attention + feed_forward + 2 * norm(128)) + norm(128);
    let decoder = 2 * (2 * attention + feed_forward + 3 * norm(128)) + norm(128);
    let trajectory = linear(4, 128) + encoder + 6 * 128 + decoder;
    let lanes = lane_net + linear(64, 128) + encoder + decoder;
    let fusions = mlp(2, 64, 64) + mlp(128 + 64, 128, 128) + mlp(6 * 128, 128, 128) + mlp(128 + 64, 128, 128);
    let regression = linear(256, 256) + norm(256) + linear(256, 128) + linear(128, 60);
    let confidence = linear(256, 512) + linear(512, 256) + linear(256, 128) + linear(128, 1);
    let text = "model(history, places, lanes) { (history, places, lanes) >> mmtransformer }\ndata = argoverse";
    assert_eq!(counts(text), (trajectory + lanes + fusions + encoder + regression + confidence, 0));
    assert_eq!(outputs(text), ["trajectories : [6, 30, 2]", "confidence : [6]"]);
}

/// paper.md §6.5, §7.1, §8.1: all agents and lanes, all visual tokens, the proposals that are objects.
#[test]
fn the_frozen_block_sees_the_tokens_that_the_paper_puts_through_it() {
    let around = |d: i64| {
        format!(
            "inserted = linear({d}, 4096, bias = false) >> frozen(llama7b.layer[31]) >> linear(4096, {d}, bias = false)"
        )
    };
    for (inputs, model, data, sees) in [
        ("polylines", format!("vectornet({})", around(64)), "argoverse", "[P?, 4096]"),
        ("history, places, lanes", format!("mmtransformer({})", around(128)), "argoverse", "[A? + L?, 4096]"),
        ("image, question", format!("meter({})", around(768)), "vqav2", "[50, 4096]"),
        ("cloud, situation, question", format!("sqa3d_model({})", around(768)), "sqa3d", "[kept?, 4096]"),
    ] {
        let graph = check(&format!("model({inputs}) {{ ({inputs}) >> {model} }}\ndata = {data}")).graph;
        let first = graph.nodes.iter().find(|node| node.path.starts_with("llama7b.layer.31")).expect("a block");
        assert_eq!(graph.streams[first.inputs[0].0].shape.to_string(), sees, "{model}");
    }
}
