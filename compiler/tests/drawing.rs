//! Pictures of small models, as snapshots, and what holds for all of them.

use lmv_compiler::compile;
use lmv_compiler::drawing::{MOST_BOXES, Options, draw};

fn picture(text: &str, depth: Option<usize>) -> Result<String, usize> {
    let compiled = compile("spec.lmv", text, &[]);
    let shown: Vec<String> = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    let experiment = compiled.experiment.as_ref().unwrap_or_else(|| panic!("a right spec: {}", shown.join("\n")));
    draw(&experiment.graph, &compiled, &Options { title: "spec.lmv", depth })
}

fn svg(text: &str) -> String {
    picture(text, None).expect("a small model")
}

/// The texts of a picture, from top to bottom as they stand in the file.
fn texts(svg: &str) -> Vec<String> {
    let lines = svg.lines().filter(|line| line.starts_with("<text "));
    lines.filter_map(|line| Some(line.split_once('>')?.1.strip_suffix("</text>")?.to_owned())).collect()
}

const FROZEN_INSIDE: &str = "model = vit_small >> linear(384, 4096) >> frozen(llama7b.layer[31]) >> linear(4096, 384) >> head\n\
                             data = imagenet\n";
const TWO_STREAMS: &str = "model(a : [8], b : [T?, 8]) {\n  let c = b >> repeat(3) { linear(8, 8) >> gelu } as turns >> \
                           mean_tokens\n  let s = (a, c) >> add\n  (s >> linear(8, 4), s >> linear(8, 2))\n}\n";

#[test]
fn a_frozen_block_inside() {
    insta::assert_snapshot!(svg(FROZEN_INSIDE));
}

#[test]
fn two_streams_with_a_repeat() {
    insta::assert_snapshot!(svg(TWO_STREAMS));
}

/// `LMV_WRITE_REFERENCE=1 cargo test -p lmv-compiler --test drawing` writes it anew.
#[test]
fn the_picture_in_the_readme_is_of_the_spec_as_it_is() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let spec = std::fs::read_to_string(root.join("specs/imagenet/vit_small_llama.lmv")).expect("the spec");
    let compiled = compile("vit_small_llama.lmv", &spec, &[]);
    let graph = &compiled.experiment.as_ref().expect("a right spec").graph;
    let svg = draw(graph, &compiled, &Options { title: "vit_small_llama.lmv", depth: None }).expect("a small model");
    let at = root.join("docs/images/vit_small_llama.svg");
    if std::env::var_os("LMV_WRITE_REFERENCE").is_some() {
        std::fs::write(&at, &svg).expect("the picture");
    }
    let there = std::fs::read_to_string(&at).expect("docs/images/vit_small_llama.svg");
    assert_eq!(there.replace("\r\n", "\n"), svg, "write it anew by LMV_WRITE_REFERENCE=1");
}

#[test]
fn a_picture_says_what_the_spec_says() {
    let texts = texts(&svg(FROZEN_INSIDE));
    for said in
        ["image", "vit_small", "linear(384, 4096)", "llama7b.layer[31]", "202 M frozen", "[197, 4096]", "[1000]"]
    {
        assert!(texts.iter().any(|text| text == said), "{said} is missing: {texts:?}");
    }
    assert!(!texts.iter().any(|text| text.contains("blocks")), "the library stays closed: {texts:?}");
}

#[test]
fn what_is_frozen_has_a_snowflake_and_what_is_repeated_its_number() {
    let frozen = svg(FROZEN_INSIDE);
    assert_eq!(frozen.matches("class=\"flake\"").count(), 1);
    assert_eq!(svg(TWO_STREAMS).matches("class=\"flake\"").count(), 0);
    assert!(texts(&svg(TWO_STREAMS)).contains(&"×3".to_owned()));
    let library = picture(FROZEN_INSIDE, Some(2)).expect("a small model");
    assert!(texts(&library).contains(&"×12".to_owned()), "the blocks of the transformer");
}

#[test]
fn a_layer_around_a_layer_goes_round_no_circle() {
    let text = "layer around(middle) : [.., 8] -> [.., 8] { linear(8, 8) >> middle >> linear(8, 8) }\n\
                model(x : [8]) { x >> around(linear(8, 8) as inner) >> repeat(2) { around(gelu) } }\n";
    let texts = texts(&svg(text));
    assert!(texts.contains(&"inner".to_owned()), "{texts:?}");
}

#[test]
fn every_depth_is_a_picture() {
    for depth in 1..8 {
        for text in [FROZEN_INSIDE, TWO_STREAMS] {
            let svg = picture(text, Some(depth)).expect("a small model");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "depth {depth}");
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        }
    }
}

#[test]
fn signs_of_xml_in_names_are_escaped() {
    let compiled = compile("spec.lmv", "model(x : [8]) { x >> gelu }", &[]);
    let graph = &compiled.experiment.as_ref().expect("a right spec").graph;
    let svg = draw(graph, &compiled, &Options { title: "<a & \"b\">", depth: None }).expect("a small model");
    assert!(svg.contains("<title>&lt;a &amp; &quot;b&quot;&gt;</title>"));
}

#[test]
fn a_model_of_too_many_boxes_is_no_picture() {
    let steps: String = (0..=MOST_BOXES).map(|_| " >> gelu").collect();
    assert!(picture(&format!("model(x : [8]) {{ x{steps} }}"), None).is_err_and(|boxes| boxes > MOST_BOXES));
    // As rounds they are one box.
    assert!(picture("model(x : [8]) { x >> repeat(5000) { linear(8, 8) } }", None).is_ok());
}
