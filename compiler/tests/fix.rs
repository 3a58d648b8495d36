//! What `lmvc check --fix` does to a text.

use lmv_compiler::compile;
use lmv_compiler::fix::{Fixed, fix};

fn mended(text: &str) -> Fixed {
    let fixed = fix(text, |text| compile("spec.lmv", text, &[]));
    let before = compile("spec.lmv", text, &[]).diagnostics.len();
    assert!(fixed.compiled.diagnostics.len() <= before, "more errors than before");
    assert_eq!(compile("spec.lmv", &fixed.text, &[]).diagnostics.len(), fixed.compiled.diagnostics.len());
    assert_eq!(fixed.text == text, fixed.changes.is_empty(), "changes are told");
    fixed
}

/// The text becomes `after`, which has no errors.
fn becomes(text: &str, after: &str) {
    let fixed = mended(text);
    assert_eq!(fixed.text, after);
    assert!(fixed.compiled.experiment.is_some(), "{after}");
}

/// Nothing is done to the text.
fn stays(text: &str) {
    let fixed = mended(text);
    assert_eq!(fixed.text, text);
    assert!(!fixed.compiled.diagnostics.is_empty());
}

#[test]
fn misspelt_names_are_put_right() {
    becomes("model = vit_smal >> haed\ndata = imagenet\n", "model = vit_small >> head\ndata = imagenet\n");
    becomes(
        "model = vit_small >> linear(384, 384, bais = False) >> head\n",
        "model = vit_small >> linear(384, 384, bias = false) >> head\n",
    );
    becomes("modle = vit_small >> head\n", "model = vit_small >> head\n");
    // Once the input has its name, the use of it is what is misspelt.
    becomes(
        "model(imgae) { imgae >> patchify(8, 3, 64) >> mean_tokens >> linear(64, 10) }\ndata = shapes\n",
        "model(image) { image >> patchify(8, 3, 64) >> mean_tokens >> linear(64, 10) }\ndata = shapes\n",
    );
}

#[test]
fn a_width_with_one_number_that_fits_is_put_right_and_so_is_the_next() {
    becomes(
        "model = vit_small >> linear(384, 4096) >> frozen(opt_1_3b.layer[23]) >> linear(4096, 384) >> head\n",
        "model = vit_small >> linear(384, 2048) >> frozen(opt_1_3b.layer[23]) >> linear(2048, 384) >> head\n",
    );
}

#[test]
fn a_text_keeps_everything_else_as_it_is() {
    becomes(
        "\u{feff}// größe\r\n\r\nmodel = vit_smal // the ü\r\n  >> head\r\n",
        "\u{feff}// größe\r\n\r\nmodel = vit_small // the ü\r\n  >> head\r\n",
    );
}

#[test]
fn habits_from_other_languages_are_put_right_one_after_the_other() {
    becomes("# mine\nmodel = vit_small -> head;\nseed : 3\n", "// mine\nmodel = vit_small >> head\nseed = 3\n");
    becomes(
        "model = vit_small | head\ndata = imagenet(root = path('imagenet'))\n",
        "model = vit_small >> head\ndata = imagenet(root = path(\"imagenet\"))\n",
    );
}

#[test]
fn blocks_are_layer() {
    becomes(
        "model = vit_small >> linear(384, 4096) >> frozen(llama7b.layers[31]) >> linear(4096, 384) >> head\n",
        "model = vit_small >> linear(384, 4096) >> frozen(llama7b.layer[31]) >> linear(4096, 384) >> head\n",
    );
}

#[test]
fn what_is_for_the_user_to_say_stays() {
    // Either of the two linear layers may be the wrong one.
    stays("model = vit_small >> linear(384, 2048) >> linear(4096, 384) >> head\n");
    // Two metrics are as near.
    stays("model = vit_small >> head\ndata = shapes\neval = [top2]\n");
    // Another number of weights is another model.
    stays("model = vit_small >> linear(384, 4096) >> frozen(llama8b.layer[31]) >> linear(4096, 384) >> head\n");
    // A block that is not there, a machine's path, a forgotten head.
    stays("model = vit_small >> linear(384, 4096) >> frozen(llama7b.layer[32]) >> linear(4096, 384) >> head\n");
    stays("model = vit_small >> head\ndata = imagenet(root = \"/data/imagenet\")\n");
    stays("model = vit_small\ndata = imagenet\ntrain = deit\n");
    // A width that is an expression of the user's own.
    stays(
        "let d = 4096\nmodel = vit_small >> linear(384, d) >> frozen(opt_1_3b.layer[23]) >> linear(2048, 384) >> head\n",
    );
}

#[test]
fn a_fix_that_would_show_more_errors_is_not_made() {
    // Behind the misspelt name stand two errors.
    let text = "model = vit_smal >> linear(385, 8) >> linear(9, 384) >> head\n";
    let fixed = mended(text);
    assert_eq!(fixed.text, text, "{:?}", fixed.changes);
}

#[test]
fn one_fix_that_makes_it_worse_does_not_hold_back_the_others() {
    let fixed = mended("model = vit_smal >> linear(385, 8) >> linear(9, 8) >> linear(9, 384) >> head\nsede = 3\n");
    assert_eq!(fixed.text, "model = vit_smal >> linear(385, 8) >> linear(9, 8) >> linear(9, 384) >> head\nseed = 3\n");
}

#[test]
fn a_change_says_where_it_was_and_why() {
    let fixed = mended("data = shapes\nmodel = vit_smal >> head\n");
    let [change] = fixed.changes.as_slice() else { panic!("{:?}", fixed.changes) };
    assert_eq!((change.line, change.column, change.code), (2, 9, "E0201"));
    assert_eq!((change.before.as_str(), change.after.as_str()), ("vit_smal", "vit_small"));
}

#[test]
fn a_right_text_stays() {
    let text = "model = vit_small >> head\n";
    assert_eq!(mended(text).text, text);
}

#[test]
fn what_is_missing_is_imported() {
    becomes(
        "//! METER.\r\n\r\nmodel(image, question) { (image, question) >> meter >> vqa_classifier }\ndata = vqav2\n",
        "//! METER.\r\n\r\nuse vision_language.meter { meter }\nuse vision_language.meter { vqa_classifier }\n\
         use data.vqav2 { vqav2 }\nmodel(image, question) { (image, question) >> meter >> vqa_classifier }\ndata = vqav2\n",
    );
    becomes(
        "\u{feff}model(image : [3, 288, 288]) { image >> clip_vit_b32(image = 288) }",
        "\u{feff}use vision.clip { clip_vit_b32 }\nmodel(image : [3, 288, 288]) { image >> clip_vit_b32(image = 288) }",
    );
    becomes(
        "use vision.vitt { vit_smal }\nmodel = vit_small >> head\n",
        "use vision.vit { vit_small }\nmodel = vit_small >> head\n",
    );
}

/// Either width could be changed where two layers do not fit: changing both would leave them apart.
#[test]
fn two_ways_to_mend_one_place_do_not_undo_each_other() {
    let wrong = "let around(middle) = linear(384, 2048) >> middle >> linear(4096, 384)\n\
                 model = vit_small >> around(frozen(llama7b.layer[31])) >> head\n\
                 variant mlp { model = vit_small >> around(gelu) >> head }\n";
    let fixed = mended(wrong);
    assert_eq!(fixed.text, wrong.replace("2048", "4096"));
    assert_eq!(fixed.changes.len(), 1);
}
