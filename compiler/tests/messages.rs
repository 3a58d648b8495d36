//! Messages as a user sees them. `INSTA_UPDATE=always cargo test` writes them anew; read the difference before it is kept.

mod programs;

use programs::check;

/// One snapshot: its name, the program, and how its messages are shown.
macro_rules! shows {
    ($($name:ident: $program:expr;)*) => {$(
        #[test]
        fn $name() {
            let compiled = check("spec.lmv", $program);
            let told = compiled.diagnostics.iter().chain(&compiled.warnings);
            let shown: Vec<String> = told.map(|d| d.render(&compiled.sources, false)).collect();
            assert!(!shown.is_empty(), "nothing is wrong");
            insta::assert_snapshot!(stringify!($name), shown.join("\n"));
        }
    )*};
}

/// The same as a program reads it.
macro_rules! tells {
    ($($name:ident: $program:expr;)*) => {$(
        #[test]
        fn $name() {
            let compiled = check("spec.lmv", $program);
            let told = compiled.diagnostics.iter().chain(&compiled.warnings);
            let told: Vec<String> = told.map(|d| format!("{:#}", d.to_json(&compiled.sources))).collect();
            insta::assert_snapshot!(stringify!($name), told.join("\n"));
        }
    )*};
}

shows! {
    block_of_another_width: "model = vit_small\n     >> linear(384, 4096)\n     >> frozen(opt_1_3b.layer[23])\n     >> linear(2048, 384)\n     >> head\n";
    no_linear_layers_around_the_block: "model = vit_small >> frozen(llama7b.layer[31]) >> head\n";
    too_narrow_a_linear_layer: "model = vit_small >> linear(384, 2048) >> linear(4096, 384) >> head\n";
    images_of_another_size: "model = vit_small >> head\ndata = shapes(image = 64)\n";
    heads_that_do_not_divide: "model = vit(d = 384, heads = 5) >> head\n";
    another_of_that_name: "use data.points { modelnet40 }\nuse points.point_bert { point_bert }\nmodel = point_bert >> head\ndata = modelnet40\n";
    a_warmup_that_is_not_over: "model = vit_small >> head\ndata = shapes(image = 224, classes = 4)\ntrain = deit(epochs = 3)\neval = [top5]\n";
    a_text_without_quotes: "use data.points { modelnet }\nuse points.point_bert { head, point_bert }\nmodel = point_bert >> head\ndata = modelnet(name = toys, classes = 3)\n";
    a_misspelt_name: "model = vit_smal >> head\n";
    a_misspelt_name_behind_a_byte_order_mark: "\u{feff}model = vit_smal >> head\n";
    a_misspelt_argument: "model = vit_small >> linear(384, 384, biass = false) >> head\n";
    a_missing_argument: "model = vit_small >> linear(384) >> head\n";
    a_block_too_far: "model = vit_small >> linear(384, 4096) >> frozen(llama7b.layer[32]) >> linear(4096, 384) >> head\n";
    layers_in_place_of_layer: "model = vit_small >> linear(384, 4096) >> frozen(llama7b.layers[31]) >> linear(4096, 384) >> head\n";
    a_whole_language_model: "model = vit_small >> linear(384, 4096) >> frozen(llama7b) >> linear(4096, 384) >> head\n";
    frozen_and_nothing_fills_it: "model = vit_small >> frozen(linear(384, 384)) >> head\n";
    a_forgotten_head: "model = vit_small\ndata = imagenet\ntrain = deit\neval = [top1]\n";
    other_classes_than_the_data: "model = vit_small >> head(100)\ndata = imagenet\ntrain = deit\n";
    a_place_on_one_machine: "model = vit_small >> head\ndata = imagenet(root = \"/data/imagenet\")\n";
    a_setting_that_is_none: "model = vit_small >> head\nepochs = 3\n";
    python_s_false: "model = vit_small >> linear(384, 384, bias = False) >> head\n";
    a_layer_by_way_of_itself: "layer deep(d) : [.., d] -> [.., d] { linear(d, d) >> deep(d) }\nmodel = vit_small >> deep(384) >> head\n";
    a_probability_above_one: "model = vit(d = 384, heads = 6, drop_path = 1.5) >> head\n";
    files_in_a_circle: "use \"./a.lmv\" { x }\nmodel = vit_small >> linear(384, x) >> head\n// file: a.lmv\nuse \"./b.lmv\" { y }\nlet x = y\n// file: b.lmv\nuse \"./a.lmv\" { x }\nlet y = 384\n";
    a_name_that_is_to_be_imported: "//! METER.\n\nmodel(image : [3, 288, 288]) { image >> clip_vit_b32(image = 288) }\n";
    a_variant_that_breaks_the_model_of_its_base: "use \"./base.lmv\"\nvariant small_images { data.image = 64 }\n// file: base.lmv\nmodel = vit_small >> head\ndata = imagenet\n";
    a_family_whose_blocks_are_all_too_wide: "let around(middle) = vit_small >> linear(384, 2048) >> middle >> head\nvariant layer for i in 0..32 { model = around(frozen(llama7b.layer[i])) }\n";
    a_flip_of_what_is_normalised: "recipe mine(epochs = 3, batch = 4) {\n  loss      = cross_entropy\n  optimizer = adamw(1e-3)\n  schedule  = constant\n  augment   = [random_crop(32), normalize(mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5]), horizontal_flip]\n}\nmodel = vit(image = 32, patch = 4, d = 32, depth = 1, heads = 2) >> head\ndata  = shapes\ntrain = mine\n";
    a_name_of_a_path_without_its_word: "model = vit_small >> head\ndata = imagenet(root = \"mine\")\n";
    a_recipe_whose_size_the_data_does_not_say: "use data.points { modelnet40 }\nmodel(points) { points >> linear(3, 40) >> mean_tokens }\ndata  = modelnet40\ntrain = deit\n";
    a_recipe_of_images_for_points: "use data.points { modelnet40 }\nmodel(points) { points >> linear(3, 40) >> mean_tokens }\ndata  = modelnet40\ntrain = deit(image = 32)\n";
    a_number_among_operations: "model = vit(image = 32, patch = 4, d = 32, depth = 1, heads = 2) >> head\ndata  = shapes\ntrain = one_cycle\ntrain.augment = [rand_augment(from = [3])]\n";
    rounds_without_end: "model = vit_small >> repeat(10**12) { linear(384, 384) } >> head\n";
}

tells! {
    json_of_a_shape_error: "model = vit_small\n     >> linear(384, 4096)\n     >> frozen(opt_1_3b.layer[23])\n     >> linear(2048, 384)\n     >> head\n";
    json_of_a_misspelt_name: "model = vit_smal >> head\n";
}

#[test]
fn a_line_that_no_window_holds_is_not_shown() {
    let program = format!("model = vit_small >> {}head\n", "linear(384, 385) >> ".repeat(1000));
    let compiled = check("spec.lmv", &program);
    let told = compiled.diagnostics.first().map(|d| d.render(&compiled.sources, false)).expect("it is wrong");
    assert!(told.len() < 1000, "{} bytes", told.len());
    assert!(told.contains("spec.lmv:1:") && told.contains("takes [.., 384]"), "{told}");
}
