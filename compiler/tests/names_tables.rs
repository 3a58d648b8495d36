//! The tables that pair our parameters' names with those of checkpoints elsewhere, against the models that they are for:
//! every parameter has a name there, no two have the same one, and no line of a table is idle.

use std::collections::{BTreeMap, BTreeSet};

use lmv_compiler::compile;
use lmv_compiler::library::name_tables;

/// What the models of this file are made of.
const USES: &str = "
use data.argoverse { argoverse }
use data.flickr30k { flickr30k }
use data.sqa3d { sqa3d }
use data.vqav2 { vqav2 }
use language.roberta { roberta_base }
use motion.mmtransformer { mmtransformer }
use scenes.sqa3d { sqa3d_model }
use vision.clip { clip_vit_b32 }
use vision_language.meter { itm_score, meter, rank_output, vqa_classifier }
";

/// The paths of all parameters of the models.
fn paths(models: &[&str]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for text in models {
        let compiled = compile("names_tables.lmv", &format!("{USES}{text}"), &[]);
        let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
        let graph = compiled.experiment.unwrap_or_else(|| panic!("{shown}")).graph;
        paths.extend(graph.parameters.into_iter().map(|parameter| parameter.path));
    }
    paths
}

/// What `{i}`, `{word}` and the `*` at the end of a pattern stand for in a path, if it fits.
fn fit(pattern: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let (mut pattern, mut path) = (pattern, path);
    while !pattern.is_empty() {
        if pattern == "*" {
            found.insert("*".to_owned(), path.to_owned());
            return Some(found);
        }
        if let Some((name, rest)) = pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            let end = path.find('.').unwrap_or(path.len());
            let (segment, after) = path.split_at(end);
            let is_number = segment.parse::<u32>().is_ok();
            if (name.len() == 1 && !is_number) || found.get(name).is_some_and(|earlier| earlier != segment) {
                return None;
            }
            found.insert(name.to_owned(), segment.to_owned());
            (pattern, path) = (rest, after);
        } else {
            let first = pattern.chars().next()?;
            (pattern, path) = (&pattern[first.len_utf8()..], path.strip_prefix(first)?);
        }
    }
    path.is_empty().then_some(found)
}

/// Holds the table against the models, and gives the checkpoint's name of each parameter.
fn theirs(table: &str, models: &[&str]) -> BTreeMap<String, String> {
    let (_, pairs) = name_tables().into_iter().find(|(name, _)| name == table).expect("a table of the library");
    let mut idle: BTreeSet<&str> = pairs.iter().map(|(ours, _)| ours.as_str()).collect();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for path in paths(models) {
        let fitting = pairs.iter().find_map(|(ours, theirs)| Some((ours, theirs, fit(ours, &path)?)));
        let (ours, theirs, found) = fitting.unwrap_or_else(|| panic!("`{table}` has no name for {path}"));
        idle.remove(ours.as_str());
        let rest = found.get("*").cloned().unwrap_or_default();
        let name =
            found.iter().fold(theirs.clone(), |name, (letter, value)| name.replace(&format!("{{{letter}}}"), value));
        names.insert(path, name.replace('*', &rest));
    }
    let different: BTreeSet<&String> = names.values().collect();
    assert_eq!(different.len(), names.len(), "two parameters have one name in `{table}`");
    assert!(idle.is_empty(), "lines of `{table}` that fit nothing: {idle:?}");
    names
}

/// paper.md A.4.
#[test]
fn clip_and_roberta() {
    let clip = theirs("clip", &["model = clip_vit_b32"]);
    assert_eq!(
        clip["clip_vit_b32.resblocks.10.attn.in_proj.bias"],
        "visual.transformer.resblocks.10.attn.in_proj_bias"
    );
    assert_eq!(clip["clip_vit_b32.resblocks.3.mlp.c_fc.weight"], "visual.transformer.resblocks.3.mlp.c_fc.weight");
    let roberta = theirs("roberta", &["model(x : [T?] of class(50265)) { x >> roberta_base }"]);
    assert_eq!(
        roberta["roberta_base.encoder.layer.11.attention.output.LayerNorm.weight"],
        "roberta.encoder.layer.11.attention.output.LayerNorm.weight"
    );
    assert_eq!(
        roberta["roberta_base.embeddings.position_embeddings.weight"],
        "roberta.embeddings.position_embeddings.weight"
    );
}

/// paper.md A.4.
#[test]
fn meter() {
    let answers = "model(image, question) { (image, question) >> meter(data.image) >> vqa_classifier }\ndata = vqav2";
    let retrieval = "layer heads : [1536] -> { match : [2], score : [1] } {
                       { match: input >> itm_score, score: input >> rank_output }
                     }
                     model(image, caption) { (image, caption) >> meter(data.image) >> heads }
                     data = flickr30k";
    let names = theirs("meter", &[answers, retrieval]);
    for (ours, theirs) in [
        ("meter.vit_model.class_embedding.token.weight", "vit_model.visual.class_embedding"),
        ("meter.vit_model.ln_post.bias", "vit_model.visual.ln_post.bias"),
        (
            "meter.text_transformer.encoder.layer.0.output.dense.weight",
            "text_transformer.encoder.layer.0.output.dense.weight",
        ),
        (
            "meter.cross_modal_layers.5.image.crossattention.self.query.weight",
            "cross_modal_image_layers.5.crossattention.self.query.weight",
        ),
        ("meter.cross_modal_text_pooler.dense.weight", "cross_modal_text_pooler.dense.weight"),
        ("meter.token_type_embeddings.weight", "token_type_embeddings.weight"),
        ("vqa_classifier.fc2.weight", "vqa_classifier.3.weight"),
        ("heads.itm_score.fc.weight", "itm_score.fc.weight"),
        ("heads.rank_output.weight", "rank_output.weight"),
    ] {
        assert_eq!(names[ours], theirs);
    }
}

/// paper.md A.5.
#[test]
fn sqa3d() {
    let model = "model(cloud, situation, question) { (cloud, situation, question) >> sqa3d_model }\ndata = sqa3d";
    let names = theirs("sqa3d", &[model]);
    for (ours, theirs) in [
        ("sqa3d_model.lang_net.lstm.weight_hh_l0", "lang_net.lstm.weight_hh_l0"),
        ("sqa3d_model.voting_net.bn2.weight", "voting_net.bn2.weight"),
        ("sqa3d_model.proposal_net.proposal.out.bias", "proposal_net.proposal.6.bias"),
        ("sqa3d_model.object_feat_linear.fc.weight", "object_feat_linear.0.weight"),
        ("sqa3d_model.dec_list_2.1.norm3.b_2", "dec_list_2.1.norm3.b_2"),
        ("sqa3d_model.answer_cls.fc2.weight", "answer_cls.3.weight"),
    ] {
        assert_eq!(names[ours], theirs);
    }
}

/// paper.md §6.4; the names are those of the released code's modules.
#[test]
fn mmtransformer() {
    let model = "model(history, places, lanes) { (history, places, lanes) >> mmtransformer }\ndata = argoverse";
    let names = theirs("mmtransformer", &[model]);
    for (ours, theirs) in [
        ("mmtransformer.subgraph.rest.0.norm.bias", "subgraph.layer_seq.lmlp_1.mlp.1.bias"),
        ("mmtransformer.hist_tf.query_embed.weight", "stacked_transformer.query_embed.weight"),
        (
            "mmtransformer.lane_dec.layers.1.src_attn.out.weight",
            "stacked_transformer.lane_dec.layers.1.src_attn.linears.3.weight",
        ),
        (
            "mmtransformer.hist_tf.decoder.layers.0.norm3.weight",
            "stacked_transformer.hist_tf.decoder.layers.0.sublayer.2.norm.weight",
        ),
        ("mmtransformer.fusion2.fc2.bias", "stacked_transformer.fusion2.3.bias"),
        (
            "mmtransformer.prediction_header.classification_layer.fc2.weight",
            "stacked_transformer.prediction_header.classification_layer.1.weight",
        ),
    ] {
        assert_eq!(names[ours], theirs);
    }
}
