use super::super::tests::{sizes, with};
use std::collections::BTreeSet;

use super::*;
use crate::weights::made;

/// LLaMA-7B as the library declares it.
fn llama7b() -> LlmSizes {
    LlmSizes {
        family: "llama".into(),
        dim: 4096,
        heads: 32,
        kv_heads: 32,
        ffn: 11008,
        layers: 32,
        eps: 1e-6,
        norm_first: true,
        ..LlmSizes::default()
    }
}

#[test]
fn every_disagreement_is_listed() {
    let json = r#"{"model_type":"llama","hidden_size":5120,"num_attention_heads":40,"intermediate_size":13824,
        "num_hidden_layers":40,"rms_norm_eps":1e-6}"#;
    let (dir, c) = with(&["a"], Some(("config.json", json)));
    let declared = llama7b();
    let failure = check_config(&c, "llama7b", &declared).unwrap_err();
    assert_eq!(failure.path, Some(dir.path().join("config.json")));
    assert_eq!(
        failure.notes,
        [
            "llama7b is declared with dim = 4096, and config.json of this checkpoint says 5120 (hidden_size)",
            "llama7b is declared with heads = 32, and config.json of this checkpoint says 40 (num_attention_heads)",
            "llama7b is declared with layers = 32, and config.json of this checkpoint says 40 (num_hidden_layers)",
            "llama7b is declared with ffn = 11008, and config.json of this checkpoint says 13824 (intermediate_size)",
            "llama7b is declared with kv_heads = 32, and config.json of this checkpoint says 40 (num_attention_heads, as there are no num_key_value_heads)",
        ]
    );
    assert!(failure.help.unwrap().ends_with(
        "`llm llama7b = llama(dim = 5120, heads = 40, kv_heads = 40, ffn = 13824, layers = 40, eps = 1e-6)`"
    ));
    let right = LlmSizes { dim: 5120, heads: 40, kv_heads: 40, ffn: 13824, layers: 40, ..declared };
    assert_eq!(check_config(&c, "llama13b", &right), Ok(()));
}

#[test]
fn opt_and_its_norms() {
    let json = r#"{"model_type":"opt","hidden_size":1024,"num_attention_heads":16,"ffn_dim":4096,"num_hidden_layers":24,
        "do_layer_norm_before":false}"#;
    let (_dir, c) = with(&["a"], Some(("config.json", json)));
    let declared = LlmSizes {
        family: "opt".into(),
        dim: 1024,
        heads: 16,
        kv_heads: 16,
        ffn: 4096,
        layers: 24,
        eps: 1e-5,
        norm_first: true,
        ..LlmSizes::default()
    };
    let failure = check_config(&c, "opt_350m", &declared).unwrap_err();
    assert_eq!(
        failure.notes,
        [
            "opt_350m is declared with norm_first = true, and config.json of this checkpoint says false (do_layer_norm_before)"
        ]
    );
    assert_eq!(check_config(&c, "opt_350m", &LlmSizes { norm_first: false, ..declared.clone() }), Ok(()));
    let failure =
        check_config(&c, "x", &LlmSizes { family: "llama".into(), norm_first: false, ..declared }).unwrap_err();
    assert_eq!(
        failure.notes,
        ["x is declared with family = llama, and config.json of this checkpoint says opt (model_type)"]
    );
}

#[test]
fn meta_configurations() {
    let json = r#"{"dim":4096,"multiple_of":256,"n_heads":32,"n_layers":32,"norm_eps":1e-05,"vocab_size":-1}"#;
    let (_dir, c) = with(&["a"], Some(("params.json", json)));
    let declared = llama7b();
    let failure = check_config(&c, "llama7b", &declared).unwrap_err();
    assert_eq!(
        failure.notes,
        ["llama7b is declared with eps = 1e-6, and params.json of this checkpoint says 1e-5 (norm_eps)"]
    );
    assert_eq!(check_config(&c, "llama7b", &LlmSizes { eps: 1e-5, ..declared }), Ok(()));
    // LLaMA-2 70B and LLaMA-3 8B.
    let ffn = |json: &str| meta_ffn(&serde_json::from_str(json).unwrap());
    assert_eq!(ffn(r#"{"dim":8192,"multiple_of":4096,"ffn_dim_multiplier":1.3}"#), Some(28672));
    assert_eq!(ffn(r#"{"dim":4096,"multiple_of":1024,"ffn_dim_multiplier":1.3}"#), Some(14336));
    assert_eq!(ffn(r#"{"dim":64,"multiple_of":32}"#), Some(192));
    assert_eq!(ffn(r#"{"dim":18446744073709551615,"multiple_of":32}"#), None);
    assert_eq!(ffn(r#"{"dim":64,"multiple_of":0}"#), None);
    assert_eq!(ffn(r#"{"dim":64,"multiple_of":32,"ffn_dim_multiplier":1e300}"#), None);
}

#[test]
fn a_configuration_of_the_wrong_type_is_damaged() {
    let (_dir, c) =
        with(&["a"], Some(("config.json", r#"{"hidden_size":"wide","num_key_value_heads":null,"rms_norm_eps":null}"#)));
    let failure = check_config(&c, "x", &sizes()).unwrap_err();
    assert_eq!(failure.what, "is damaged: its hidden_size is \"wide\", and a whole number of at least 1 was expected");
    for heads in ["0", "-8", "\"8\"", "1.5"] {
        let json = format!(r#"{{"num_attention_heads":{heads}}}"#);
        let (_dir, c) = with(&["a"], Some(("config.json", &json)));
        let failure = check_config(&c, "x", &sizes()).unwrap_err();
        assert!(failure.what.starts_with(&format!("is damaged: its num_attention_heads is {heads},")), "{failure}");
    }
    let (_dir, c) = with(&["a"], None);
    assert_eq!(check_config(&c, "x", &sizes()), Ok(()));
}

#[test]
fn blocks_of_another_function_are_refused() {
    let of = |json: &str, sizes: &LlmSizes| {
        let (_dir, c) = with(&["a"], Some(("config.json", json)));
        check_config(&c, "x", sizes)
    };
    let biased = of(r#"{"model_type":"llama","attention_bias":true}"#, &sizes()).unwrap_err();
    assert_eq!(biased.what, "is of a model whose blocks are not those of family `llama`: its attention_bias is true");
    assert!(of(r#"{"hidden_act":"gelu"}"#, &sizes()).unwrap_err().what.contains("its hidden_act is \"gelu\""));
    let opt = LlmSizes { family: "opt".into(), ..sizes() };
    assert!(of(r#"{"enable_bias":false}"#, &opt).unwrap_err().what.contains("its enable_bias is false"));
    assert_eq!(of(r#"{"hidden_act":"silu","attention_bias":false,"mlp_bias":null}"#, &sizes()), Ok(()));
}

#[test]
fn the_type_of_a_model_decides() {
    let of = |json: &str| {
        let (_dir, c) = with(&["a"], Some(("config.json", json)));
        check_config(&c, "x", &sizes())
    };
    assert_eq!(of(r#"{"model_type":"mistral"}"#), Ok(()));
    assert_eq!(of(r#"{"model_type":"llava","text_config":{"model_type":"llama","hidden_size":4}}"#), Ok(()));
    let failure = of(r#"{"model_type":"qwen2"}"#).unwrap_err();
    assert_eq!(failure.what, "is of a model of type `qwen2`, whose blocks are not those of family `llama`");
    assert!(of(r#"{"text_config":{"hidden_size":8}}"#).unwrap_err().notes[0].contains("says 8 (hidden_size)"));
}

#[test]
fn heads_that_are_turned_in_part() {
    let (_dir, c) = with(&["a"], Some(("config.json", r#"{"partial_rotary_factor":0.5}"#)));
    assert_eq!(check_config(&c, "x", &sizes()), Ok(()));
    let failure = check_config(&c, "x", &LlmSizes { theta: Some(1e4), ..sizes() }).unwrap_err();
    assert!(failure.what.contains("turns 0.5 of each head"), "{failure}");
}

#[test]
fn rotary_positions_are_held_against_the_spec_where_it_has_them() {
    // LLaMA-3 8B's settings, at this size; Hugging Face 5 has the base in another place.
    let old = r#"{"hidden_size":4,"num_attention_heads":1,"num_key_value_heads":1,"rope_theta":500000.0,"head_dim":4}"#;
    let new = r#"{"rope_parameters":{"rope_theta":500000.0,"rope_type":"default"}}"#;
    for json in [old, new] {
        let (_dir, c) = with(&["a"], Some(("config.json", json)));
        assert_eq!(check_config(&c, "x", &sizes()), Ok(()));
        assert_eq!(check_config(&c, "x", &LlmSizes { theta: Some(500_000.0), ..sizes() }), Ok(()));
        let failure = check_config(&c, "x", &LlmSizes { theta: Some(10_000.0), ..sizes() }).unwrap_err();
        assert_eq!(
            failure.notes,
            ["x is declared with theta = 10000.0, and config.json of this checkpoint says 500000.0 (rope_theta)"]
        );
        assert!(failure.help.unwrap().ends_with("eps = 1e-6, theta = 500000.0, rope = true)`"));
    }
    let scaled = r#"{"rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0}}"#;
    let (_dir, c) = with(&["a"], Some(("config.json", scaled)));
    assert_eq!(check_config(&c, "x", &sizes()), Ok(()));
    let failure = check_config(&c, "x", &LlmSizes { theta: Some(500_000.0), ..sizes() }).unwrap_err();
    assert!(failure.what.contains("are scaled (`llama3`)"), "{failure}");
    let meta = r#"{"dim":4,"n_heads":1,"n_layers":2,"rope_theta":500000.0,"use_scaled_rope":true}"#;
    let (_dir, c) = with(&["layers.0.attention.wq.weight"], Some(("params.json", meta)));
    let declared = LlmSizes { theta: Some(500_000.0), ..sizes() };
    let failure = check_config(&c, "x", &declared).unwrap_err();
    assert!(failure.what.ends_with("does not say by what"), "{failure}");
    assert_eq!(check_config(&c, "x", &LlmSizes { scaling: vec![8.0, 1.0, 4.0, 8192.0], ..declared }), Ok(()));
}

#[test]
fn what_the_spec_leaves_open_is_what_the_configuration_says() {
    let json = r#"{"hidden_size":8,"rms_norm_eps":9.99999974e-6,"rope_theta":500000,"rope_scaling":{"rope_type":"llama3",
        "factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}}"#;
    let (_dir, c) = with(&["a"], Some(("config.json", json)));
    let all: BTreeSet<String> = ["eps", "theta", "scaling", "dim"].map(str::to_owned).into();
    let open = LlmSizes { left_open: all.clone(), theta: Some(1e4), ..sizes() };
    let said = settings_left_open(&c, &open);
    assert_eq!(
        said,
        [
            ("eps", "9.99999974e-6".to_owned()),
            ("theta", "500000.0".to_owned()),
            ("scaling", "[8.0, 1.0, 4.0, 8192.0]".to_owned()),
        ]
    );
    // Sizes are the spec's to say, what it says itself too, and positions matter where it has them.
    let without = LlmSizes { theta: None, ..open.clone() };
    assert_eq!(settings_left_open(&c, &without).len(), 1);
    assert_eq!(settings_left_open(&c, &LlmSizes { left_open: BTreeSet::new(), ..open.clone() }), []);
    // Settings that are no numbers are told where everything is held against the spec.
    let (_dir, c) = with(&["a"], Some(("config.json", r#"{"rms_norm_eps":"small"}"#)));
    assert_eq!(settings_left_open(&c, &open), []);
    assert!(check_config(&c, "x", &open).unwrap_err().notes[0].contains("says \"small\""));
    // Twice as slow, in the one way and in the other.
    let (_dir, c) = with(&["a"], Some(("config.json", r#"{"rope_scaling":{"type":"linear","factor":2}}"#)));
    assert_eq!(settings_left_open(&c, &open), [("scaling", "[2.0]".to_owned())]);
    let (_dir, c) = with(&["a"], Some(("config.json", r#"{"rope_scaling":{"type":"yarn","factor":2}}"#)));
    assert_eq!(settings_left_open(&c, &open), []);
}

#[test]
fn a_config_that_lies_about_heads_is_found_out() {
    // By the spec, by the width of a head, and by the frequencies that the file itself holds.
    let (dir, c) = with(&["a"], Some(("config.json", r#"{"num_attention_heads":2,"num_key_value_heads":1}"#)));
    let failure = check_config(&c, "x", &sizes()).unwrap_err();
    assert_eq!(failure.path, Some(dir.path().join("config.json")));
    assert_eq!(
        failure.notes,
        ["x is declared with heads = 1, and config.json of this checkpoint says 2 (num_attention_heads)"]
    );
    let two = LlmSizes { heads: 2, kv_heads: 2, ..sizes() };
    let (_dir, c) = with(&["a"], Some(("config.json", r#"{"num_attention_heads":2,"head_dim":4}"#)));
    let failure = check_config(&c, "x", &two).unwrap_err();
    assert_eq!(
        failure.notes,
        ["x is declared with dim / heads = 2, and config.json of this checkpoint says 4 (head_dim)"]
    );
    let dir = tempfile::tempdir().unwrap();
    let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
    made::safetensors(&dir.path().join("model.safetensors"), &[(name, &[2], &[1.0, 0.5])]);
    std::fs::write(dir.path().join("config.json"), r#"{"num_attention_heads":2}"#).unwrap();
    let c = Checkpoint::open(dir.path()).unwrap();
    let failure = check_config(&c, "x", &two).unwrap_err();
    assert_eq!(
        failure.notes,
        [format!(
            "x is declared with dim = 4 and heads = 2, heads of 2 channels, and tensor `{name}` is of heads of 4"
        )]
    );
}
