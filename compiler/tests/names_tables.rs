//! The tables that pair our parameters' names with those of checkpoints elsewhere, against the models that they are for:
//! every parameter has a name there, no two have the same one, and no line of a table is idle. Where paper.md lists what a
//! checkpoint holds (A.1 to A.4), the names are these and no others, and the shapes too.

use std::collections::{BTreeMap, BTreeSet};

use lmv_compiler::compile;
use lmv_compiler::library::name_tables;
use lmv_compiler::shape::Shape;

/// What the models of this file are made of.
const USES: &str = "
use data.argoverse { argoverse }
use data.flickr30k { flickr30k }
use data.points { modelnet40 }
use data.sqa3d { sqa3d }
use data.video { ssv2 }
use data.vqav2 { vqav2 }
use language.roberta { roberta_base }
use llm.inserted { mapped, ones_norm }
use motion.mmtransformer { mmtransformer }
use points.point_bert { point_bert, head as cloud_head, last_norm }
use scenes.sqa3d { sqa3d_model }
use video.videomae { videomae_base, videomae_small, head as clip_head }
use vision.clip { clip_vit_b32 }
use vision_language.meter { itm_score, meter, rank_output, vqa_classifier }
";

/// The sizes of all that the models keep, parameters and buffers, by path; dims of length 1 are left out, since a checkpoint
/// may have more of them.
fn tensors(models: &[&str]) -> BTreeMap<String, Vec<i64>> {
    let mut tensors = BTreeMap::new();
    for text in models {
        let compiled = compile("names_tables.lmv", &format!("{USES}{text}"), &[]);
        let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
        let graph = compiled.experiment.unwrap_or_else(|| panic!("{shown}")).graph;
        tensors.extend(graph.parameters.iter().map(|parameter| (parameter.path.clone(), sizes(&parameter.shape))));
    }
    tensors
}

fn sizes(shape: &Shape) -> Vec<i64> {
    let sizes = shape.to_string();
    let sizes = sizes.trim_matches(['[', ']']).split(", ").filter(|size| !size.is_empty());
    but_for_ones(&sizes.map(|size| size.parse().expect("a size in numbers")).collect::<Vec<_>>())
}

fn but_for_ones(shape: &[i64]) -> Vec<i64> {
    shape.iter().copied().filter(|&size| size != 1).collect()
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
    let mut forms = theirs_by_form(table, &[models]);
    forms.remove(0).into_iter().map(|(ours, (theirs, _))| (ours, theirs)).collect()
}

/// Holds the table against models in several forms, each of which alone has a name for each parameter. Gives by parameter,
/// for each form, the checkpoint's name and the shape.
fn theirs_by_form(table: &str, forms: &[&[&str]]) -> Vec<BTreeMap<String, (String, Vec<i64>)>> {
    let (_, pairs) = name_tables().into_iter().find(|(name, _)| name == table).expect("a table of the library");
    let mut idle: BTreeSet<&str> = pairs.iter().map(|(ours, _)| ours.as_str()).collect();
    let mut all = Vec::new();
    for models in forms {
        let mut names: BTreeMap<String, (String, Vec<i64>)> = BTreeMap::new();
        for (path, shape) in tensors(models) {
            let fitting = pairs.iter().find_map(|(ours, theirs)| Some((ours, theirs, fit(ours, &path)?)));
            let (ours, theirs, found) = fitting.unwrap_or_else(|| panic!("`{table}` has no name for {path}"));
            idle.remove(ours.as_str());
            let rest = found.get("*").cloned().unwrap_or_default();
            let name = found
                .iter()
                .fold(theirs.clone(), |name, (letter, value)| name.replace(&format!("{{{letter}}}"), value));
            names.insert(path, (name.replace('*', &rest), shape));
        }
        let different: BTreeSet<&String> = names.values().map(|(theirs, _)| theirs).collect();
        assert_eq!(different.len(), names.len(), "two parameters have one name in `{table}`");
        all.push(names);
    }
    assert!(idle.is_empty(), "lines of `{table}` that fit nothing: {idle:?}");
    all
}

/// What a checkpoint holds as paper.md lists it: shapes by name.
#[derive(Clone, Default)]
struct Listed(BTreeMap<String, Vec<i64>>);

impl Listed {
    fn tensor(&mut self, name: &str, shape: &[i64]) {
        let before = self.0.insert(name.to_owned(), but_for_ones(shape));
        assert!(before.is_none(), "{name} is listed twice");
    }

    /// "w, b": a weight and a bias as long as the weight's first dim.
    fn both(&mut self, name: &str, weight: &[i64]) {
        self.tensor(&format!("{name}.weight"), weight);
        self.tensor(&format!("{name}.bias"), &weight[..1]);
    }

    fn both_of(&mut self, tensors: &[(&str, &[i64])]) {
        tensors.iter().for_each(|(name, weight)| self.both(name, weight));
    }

    /// The two linear layers and the block of LLaMA-7B, whose number begins at 0 again (A.1). `llama.norm.weight` is left
    /// over: it is all ones.
    fn llama(mut self, d: i64) -> Self {
        self.tensor("llama_dim_mapper1.weight", &[4096, d]);
        self.tensor("llama_dim_mapper2.weight", &[d, 4096]);
        for name in ["wq", "wk", "wv", "wo"] {
            self.tensor(&format!("llama.layers.0.attention.{name}.weight"), &[4096, 4096]);
        }
        self.tensor("llama.layers.0.feed_forward.w1.weight", &[11008, 4096]);
        self.tensor("llama.layers.0.feed_forward.w2.weight", &[4096, 11008]);
        self.tensor("llama.layers.0.feed_forward.w3.weight", &[11008, 4096]);
        self.tensor("llama.layers.0.attention_norm.weight", &[4096]);
        self.tensor("llama.layers.0.ffn_norm.weight", &[4096]);
        self
    }

    /// The same without what `left_over` picks, under a prefix.
    fn under(&self, prefix: &str, left_over: fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(name, _)| !left_over(name));
        Self(kept.map(|(name, shape)| (format!("{prefix}{name}"), shape.clone())).collect())
    }

    /// Names on one side alone, and shapes that differ.
    fn hold(&self, names: &BTreeMap<String, (String, Vec<i64>)>) {
        let ours: BTreeMap<String, Vec<i64>> = names.values().cloned().collect();
        let missing: Vec<_> = self.0.iter().filter(|(name, shape)| ours.get(*name) != Some(*shape)).collect();
        let unlisted: Vec<_> = ours.iter().filter(|(name, shape)| self.0.get(*name) != Some(*shape)).collect();
        assert!(missing.is_empty() && unlisted.is_empty(), "listed alone: {missing:?}\nours alone: {unlisted:?}");
    }
}

/// The first 12 numbers, of the blocks.
fn blocks(mut block: impl FnMut(i64)) {
    (0..12).for_each(&mut block);
}

/// paper.md A.1, for width d and 1000 classes.
fn listed_vit(d: i64) -> Listed {
    let mut list = Listed::default();
    list.tensor("cls_token", &[1, 1, d]);
    list.tensor("pos_embed", &[1, 197, d]);
    list.both("patch_embed.proj", &[d, 3, 16, 16]);
    blocks(|n| {
        list.both_of(&[
            (&format!("blocks.{n}.norm1"), &[d]),
            (&format!("blocks.{n}.attn.qkv"), &[3 * d, d]),
            (&format!("blocks.{n}.attn.proj"), &[d, d]),
            (&format!("blocks.{n}.norm2"), &[d]),
            (&format!("blocks.{n}.mlp.fc1"), &[4 * d, d]),
            (&format!("blocks.{n}.mlp.fc2"), &[d, 4 * d]),
        ]);
    });
    list.both_of(&[("norm", &[d]), ("head", &[1000, d])]);
    list
}

#[test]
fn vit_as_listed() {
    let alone = "model = vit_small >> head\ndata = imagenet";
    let by_parts = "model = vit_small >> layer_norm(384) as norm >> token(0) >> linear(384, 1000) as head";
    let llama = "model = vit_small >> linear(384, 4096, bias = false) >> frozen(llama7b.layer[31])
                   >> rms_norm(4096, affine = false) >> linear(4096, 384, bias = false) >> head
                 data = imagenet";
    let mapped = "model = vit_small >> mapped(384, frozen(llama7b.layer[31]) >> ones_norm) >> head\ndata = imagenet";
    let forms = theirs_by_form("vit", &[&[alone], &[by_parts], &[llama], &[mapped]]);
    let list = listed_vit(384);
    assert_eq!(list.0.len(), 152);
    list.hold(&forms[0]);
    list.hold(&forms[1]);
    list.clone().llama(384).hold(&forms[2]);
    list.llama(384).hold(&forms[3]);
}

/// paper.md A.2, for width d and 174 classes.
fn listed_videomae(d: i64) -> Listed {
    let mut list = Listed::default();
    list.both("patch_embed.proj", &[d, 3, 2, 16, 16]);
    blocks(|n| {
        list.tensor(&format!("blocks.{n}.attn.qkv.weight"), &[3 * d, d]);
        list.tensor(&format!("blocks.{n}.attn.q_bias"), &[d]);
        list.tensor(&format!("blocks.{n}.attn.v_bias"), &[d]);
        list.both_of(&[
            (&format!("blocks.{n}.norm1"), &[d]),
            (&format!("blocks.{n}.attn.proj"), &[d, d]),
            (&format!("blocks.{n}.norm2"), &[d]),
            (&format!("blocks.{n}.mlp.fc1"), &[4 * d, d]),
            (&format!("blocks.{n}.mlp.fc2"), &[d, 4 * d]),
        ]);
    });
    list.both_of(&[("fc_norm", &[d]), ("head", &[174, d])]);
    list
}

#[test]
fn videomae_as_listed() {
    let alone = "model = videomae_small >> clip_head\ndata = ssv2";
    let llama =
        "model = videomae_small >> mapped(384, frozen(llama7b.layer[15]) >> ones_norm) >> clip_head\ndata = ssv2";
    let forms = theirs_by_form("videomae", &[&[alone], &[llama]]);
    let list = listed_videomae(384);
    list.hold(&forms[0]);
    list.clone().llama(384).hold(&forms[1]);
    let base = theirs_by_form("videomae_pretrained", &[&["model = videomae_base"]]);
    listed_videomae(768)
        .under("encoder.", |name| name.starts_with("fc_norm") || name.starts_with("head"))
        .hold(&base[0]);
}

/// paper.md A.3, for 40 classes.
fn listed_point_bert() -> Listed {
    let d = 384;
    let mut list = Listed::default();
    for (name, input, hidden, output) in [("encoder.first_conv", 3, 128, 256), ("encoder.second_conv", 512, 512, 256)] {
        list.both(&format!("{name}.0"), &[hidden, input, 1]);
        list.both(&format!("{name}.1"), &[hidden]);
        list.tensor(&format!("{name}.1.running_mean"), &[hidden]);
        list.tensor(&format!("{name}.1.running_var"), &[hidden]);
        list.both(&format!("{name}.3"), &[output, hidden, 1]);
    }
    list.tensor("cls_token", &[1, 1, d]);
    list.tensor("cls_pos", &[1, 1, d]);
    list.both_of(&[("reduce_dim", &[d, 256]), ("pos_embed.0", &[128, 3]), ("pos_embed.2", &[d, 128])]);
    blocks(|n| {
        list.tensor(&format!("blocks.blocks.{n}.attn.qkv.weight"), &[3 * d, d]);
        list.both_of(&[
            (&format!("blocks.blocks.{n}.norm1"), &[d]),
            (&format!("blocks.blocks.{n}.attn.proj"), &[d, d]),
            (&format!("blocks.blocks.{n}.norm2"), &[d]),
            (&format!("blocks.blocks.{n}.mlp.fc1"), &[4 * d, d]),
            (&format!("blocks.blocks.{n}.mlp.fc2"), &[d, 4 * d]),
        ]);
    });
    list.both_of(&[("norm", &[d]), ("cls_head_finetune.0", &[256, 2 * d]), ("cls_head_finetune.3", &[40, 256])]);
    list
}

#[test]
fn point_bert_as_listed() {
    let alone = "model = point_bert >> cloud_head\ndata = modelnet40";
    // Its norm starts from the pretraining, and lies beside the head.
    let llama = "model = pretrained(\"start\", point_bert) >> mapped(384, frozen(llama7b.layer[31]) >> ones_norm)
          >> cloud_head(norm = pretrained(\"start\", last_norm))\ndata = modelnet40";
    let forms = theirs_by_form("point_bert", &[&[alone], &[llama]]);
    let list = listed_point_bert();
    list.hold(&forms[0]);
    list.clone().llama(384).hold(&forms[1]);
    // All of it is pretrained but the head (paper.md §4.2).
    let pretrained =
        theirs_by_form("point_bert_pretrained", &[&["model = point_bert >> last_norm\ndata = modelnet40"]]);
    list.under("transformer_q.", |name| name.starts_with("cls_head_finetune")).hold(&pretrained[0]);
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

/// paper.md A.4, for images of 224 pixels and 3129 answers.
fn listed_meter() -> Listed {
    let (d, hidden) = (768, 4 * 768);
    let mut list = Listed::default();
    list.tensor("vit_model.visual.conv1.weight", &[d, 3, 32, 32]);
    list.tensor("vit_model.visual.class_embedding", &[d]);
    list.tensor("vit_model.visual.positional_embedding", &[1 + 49, d]);
    list.both_of(&[("vit_model.visual.ln_pre", &[d]), ("vit_model.visual.ln_post", &[d])]);
    for n in 0..=10 {
        let block = format!("vit_model.visual.transformer.resblocks.{n}");
        list.tensor(&format!("{block}.attn.in_proj_weight"), &[3 * d, d]);
        list.tensor(&format!("{block}.attn.in_proj_bias"), &[3 * d]);
        list.both_of(&[
            (&format!("{block}.ln_1"), &[d]),
            (&format!("{block}.attn.out_proj"), &[d, d]),
            (&format!("{block}.ln_2"), &[d]),
            (&format!("{block}.mlp.c_fc"), &[hidden, d]),
            (&format!("{block}.mlp.c_proj"), &[d, hidden]),
        ]);
    }
    list.tensor("text_transformer.embeddings.word_embeddings.weight", &[50265, d]);
    list.tensor("text_transformer.embeddings.position_embeddings.weight", &[514, d]);
    list.tensor("text_transformer.embeddings.token_type_embeddings.weight", &[1, d]);
    list.both("text_transformer.embeddings.LayerNorm", &[d]);
    let layers = |name: &str, count: usize| (0..count).map(|n| format!("{name}.{n}")).collect::<Vec<_>>();
    let fusion = [layers("cross_modal_text_layers", 6), layers("cross_modal_image_layers", 6)].concat();
    for (layers, attentions) in
        [(layers("text_transformer.encoder.layer", 12), &["attention"][..]), (fusion, &["attention", "crossattention"])]
    {
        for layer in layers {
            for attention in attentions {
                for name in ["self.query", "self.key", "self.value", "output.dense"] {
                    list.both(&format!("{layer}.{attention}.{name}"), &[d, d]);
                }
                list.both(&format!("{layer}.{attention}.output.LayerNorm"), &[d]);
            }
            list.both_of(&[
                (&format!("{layer}.intermediate.dense"), &[hidden, d]),
                (&format!("{layer}.output.dense"), &[d, hidden]),
                (&format!("{layer}.output.LayerNorm"), &[d]),
            ]);
        }
    }
    list.tensor("token_type_embeddings.weight", &[2, d]);
    list.both_of(&[
        ("cross_modal_text_transform", &[d, d]),
        ("cross_modal_image_transform", &[d, d]),
        ("cross_modal_text_pooler.dense", &[d, d]),
        ("cross_modal_image_pooler.dense", &[d, d]),
        ("vqa_classifier.0", &[2 * d, 2 * d]),
        ("vqa_classifier.1", &[2 * d]),
        ("vqa_classifier.3", &[3129, 2 * d]),
        ("itm_score.fc", &[2, 2 * d]),
        ("rank_output", &[1, 2 * d]),
    ]);
    list
}

#[test]
fn meter_as_listed() {
    let answers = "model(image, question) { (image, question) >> meter(data.image) >> vqa_classifier }\ndata = vqav2";
    let retrieval = "layer heads : [1536] -> { match : [2], score : [1] } {
                       { match: input >> itm_score, score: input >> rank_output }
                     }
                     model(image, caption) { (image, caption) >> meter(data.image) >> heads }
                     data = flickr30k(image = 224)";
    listed_meter().hold(&theirs_by_form("meter", &[&[answers, retrieval]])[0]);
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
        ("sqa3d_model.enc_list_q.0.mhatt.query.weight", "enc_list_q.0.mhatt.linear_q.weight"),
        ("sqa3d_model.dec_list.1.mhatt2.out.bias", "dec_list.1.mhatt2.linear_merge.bias"),
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
