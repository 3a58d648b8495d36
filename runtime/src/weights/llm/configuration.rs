//! What a checkpoint's `config.json` or `params.json` says of a language model, held against what the spec declares.

use std::path::Path;

use serde_json::Value;

use super::LlmSizes;
use crate::error::{Failure, Result};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::file::shown;
use crate::weights::layout::file_name;

/// One thing that the spec declares and a configuration says.
struct Said {
    ours: &'static str,
    declared: String,
    theirs: &'static str,
    found: String,
    agree: bool,
}

/// Compares what the spec declares of language model `name` with `config.json` or `params.json` of its checkpoint, as
/// far as these say it. A checkpoint without either passes: the shapes of its tensors are held against the sizes when
/// they are read.
///
/// # Errors
/// When they disagree, with every disagreement and the declaration that would fit.
pub fn check_config(checkpoint: &Checkpoint, name: &str, sizes: &LlmSizes) -> Result<()> {
    check_frequencies(checkpoint, name, sizes)?;
    let (Some(config), Some(path)) = (checkpoint.config(), checkpoint.config_path()) else { return Ok(()) };
    // A model of images and text has its language model's settings in a part of its own.
    let config = config.get("text_config").filter(|part| part.is_object()).unwrap_or(config);
    check_kind(config, path, name, sizes)?;
    check_counts(config, path)?;
    let file = file_name(path);
    let said = if file == "params.json" { meta_says(config, sizes) } else { hugging_face_says(config, sizes) };
    let against: Vec<&Said> = said.iter().filter(|s| !s.agree).collect();
    if against.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::at(path, format!("is of another model than `{name}` as the spec declares it"));
    for s in &against {
        let by = if s.ours == s.theirs { String::new() } else { format!(" ({})", s.theirs) };
        failure.notes.push(format!(
            "{name} is declared with {} = {}, and {file} of this checkpoint says {}{by}",
            s.ours, s.declared, s.found
        ));
    }
    Err(failure.help(format!(
        "give the checkpoint of `{name}` with `--weights {name}=DIR`, or declare what this one is: {}",
        declaration(name, sizes, &said)
    )))
}

/// Settings of Hugging Face's that make a block another function than the one here: family, setting, what it has in the
/// family's own models.
const KINDS: &[(&str, &str, &str)] = &[
    ("llama", "hidden_act", "\"silu\""),
    ("llama", "attention_bias", "false"),
    ("llama", "mlp_bias", "false"),
    ("opt", "activation_function", "\"relu\""),
    ("opt", "enable_bias", "true"),
    ("opt", "layer_norm_elementwise_affine", "true"),
];

/// Settings that count something.
const COUNTS: [&str; 11] = [
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "num_hidden_layers",
    "intermediate_size",
    "ffn_dim",
    "head_dim",
    "dim",
    "n_heads",
    "n_kv_heads",
    "n_layers",
];

/// Holds what a configuration counts against what can be counted.
///
/// # Errors
/// At the first number that is none.
pub fn check_counts(config: &Value, path: &Path) -> Result<()> {
    let mut said = COUNTS.iter().filter_map(|name| Some((name, config.get(*name).filter(|value| !value.is_null())?)));
    let wrong = said.find(|(_, value)| value.as_u64().is_none_or(|count| count == 0));
    let Some((name, value)) = wrong else { return Ok(()) };
    let found = shown(&value.to_string());
    Err(Failure::at(path, format!("is damaged: its {name} is {found}, and a whole number of at least 1 was expected"))
        .help("download the file again, from where the weights are from"))
}

/// Types of Hugging Face's models whose blocks are those of a family: Mistral's are LLaMA's, within the window of 4,096
/// tokens that they attend to.
const TYPES: &[(&str, &str)] = &[("llama", "llama"), ("llama", "mistral"), ("opt", "opt")];

/// Whether the blocks are of the kind that is computed here: some models have the family's names and another function.
fn check_kind(config: &Value, path: &Path, name: &str, sizes: &LlmSizes) -> Result<()> {
    if let Some(found) = config.get("model_type").and_then(Value::as_str)
        && !TYPES.iter().any(|(_, known)| *known == found)
    {
        let of_it: Vec<String> =
            TYPES.iter().filter(|(family, _)| *family == sizes.family).map(|(_, known)| format!("`{known}`")).collect();
        return Err(Failure::at(
            path,
            format!(
                "is of a model of type `{}`, whose blocks are not those of family `{}`",
                shown(found),
                sizes.family
            ),
        )
        .note(format!("its blocks have models of type {}", of_it.join(" and ")))
        .help(format!("give the checkpoint of `{name}` with `--weights {name}=DIR`")));
    }
    for (_, setting, usual) in KINDS.iter().filter(|(family, ..)| *family == sizes.family) {
        let found = config.get(setting).filter(|value| !value.is_null()).map(Value::to_string);
        if let Some(found) = found.filter(|found| found != usual) {
            return Err(Failure::at(
                path,
                format!(
                    "is of a model whose blocks are not those of family `{}`: its {setting} is {}",
                    sizes.family,
                    shown(&found)
                ),
            )
            .note(format!("{setting} = {usual} is what is computed here"))
            .help(format!("give the checkpoint of `{name}` with `--weights {name}=DIR`")));
        }
    }
    // Rotary positions matter where the spec has them.
    let rope = config.get("rope_scaling").or_else(|| config.get("rope_parameters")).unwrap_or(&Value::Null);
    let kind = ["rope_type", "type"].iter().find_map(|key| rope.get(key)).and_then(Value::as_str).unwrap_or("default");
    // Meta's word for the same.
    let kind = if config.get("use_scaled_rope") == Some(&Value::Bool(true)) { "use_scaled_rope" } else { kind };
    if sizes.theta.is_some() && kind != "default" {
        return Err(Failure::at(
            path,
            format!("is of a model whose rotary positions are scaled (`{}`), which is not computed here", shown(kind)),
        )
        .help("take its blocks without `rope`, as in the paper, or give a model without scaling"));
    }
    let turned = config.get("partial_rotary_factor").and_then(Value::as_f64).filter(|part| *part != 1.0);
    if let (Some(_), Some(part)) = (sizes.theta, turned) {
        return Err(Failure::at(
            path,
            format!("is of a model that turns {part} of each head by position, and all of it is turned here"),
        )
        .note("its partial_rotary_factor says so")
        .help(format!("take the blocks of `{name}` without `rope`, as in the paper, or give another model")));
    }
    Ok(())
}

/// Old checkpoints hold the frequencies of their rotary positions, one for each pair of a head: where the heads are not
/// those of the spec, no shape of a weight would tell, since heads share their matrices.
fn check_frequencies(checkpoint: &Checkpoint, name: &str, sizes: &LlmSizes) -> Result<()> {
    let found = checkpoint.names().find(|name| name.ends_with("rope.freqs") || name.ends_with("rotary_emb.inv_freq"));
    let Some((found, info)) = found.and_then(|found| Some((found, checkpoint.info(found)?))) else { return Ok(()) };
    let width = sizes.dim.checked_div(sizes.heads).unwrap_or(0);
    match info.shape[..] {
        [pairs] if sizes.family == "llama" && Some(width) != pairs.checked_mul(2) => Err(Failure::at(
            checkpoint.path(),
            format!("is of another model than `{name}` as the spec declares it"),
        )
        .note(format!(
            "{name} is declared with dim = {} and heads = {}, heads of {width} channels, and tensor `{}` is of heads of {}",
            sizes.dim,
            sizes.heads,
            shown(found),
            pairs.saturating_mul(2)
        ))
        .help(format!("give the checkpoint of `{name}` with `--weights {name}=DIR`, or declare the heads of this one"))),
        _ => Ok(()),
    }
}

/// `llm name = family(…)` with what the configuration says where it says something.
fn declaration(name: &str, sizes: &LlmSizes, said: &[Said]) -> String {
    let of = |ours: &str, declared: String| {
        let found = said.iter().find(|s| s.ours == ours && !s.agree).map(|s| s.found.clone());
        format!("{ours} = {}", found.unwrap_or(declared))
    };
    let family =
        said.iter().find(|s| s.ours == "family" && !s.agree).map_or(sizes.family.as_str(), |s| s.found.as_str());
    let mut parts = vec![of("dim", sizes.dim.to_string()), of("heads", sizes.heads.to_string())];
    if family == "llama" {
        parts.push(of("kv_heads", sizes.kv_heads.to_string()));
    }
    parts.push(of("ffn", sizes.ffn.to_string()));
    parts.push(of("layers", sizes.layers.to_string()));
    match family {
        "opt" => parts.push(of("norm_first", sizes.norm_first.to_string())),
        _ => parts.push(of("eps", format!("{:e}", sizes.eps))),
    }
    if let (Some(theta), "llama") = (sizes.theta, family) {
        parts.push(of("theta", format!("{theta:?}")));
        parts.push("rope = true".into());
    }
    format!("`llm {name} = {family}({})`", parts.join(", "))
}

fn whole(config: &Value, ours: &'static str, declared: usize, theirs: &'static str) -> Option<Said> {
    let value = config.get(theirs).filter(|value| !value.is_null())?;
    let agree = value.as_u64() == Some(declared as u64);
    Some(Said { ours, declared: declared.to_string(), theirs, found: shown(&value.to_string()), agree })
}

fn eps(config: &Value, declared: f64, theirs: &'static str) -> Option<Said> {
    let value = config.get(theirs).filter(|value| !value.is_null())?;
    // Configurations written by way of 32-bit floats have 9.99999974e-6 for 1e-5.
    let agree = value.as_f64().is_some_and(|found| (found - declared).abs() <= 1e-6 * declared.abs());
    let found = value.as_f64().map_or_else(|| shown(&value.to_string()), |found| format!("{found:e}"));
    Some(Said { ours: "eps", declared: format!("{declared:e}"), theirs, found, agree })
}

/// The base of the rotary positions, which Hugging Face has had in two places.
fn theta(config: &Value, sizes: &LlmSizes) -> Option<Said> {
    let declared = sizes.theta?;
    let value = config.get("rope_theta").or_else(|| config.get("rope_parameters")?.get("rope_theta"))?;
    let found = value.as_f64();
    Some(Said {
        ours: "theta",
        declared: format!("{declared:?}"),
        theirs: "rope_theta",
        found: found.map_or_else(|| shown(&value.to_string()), |found| format!("{found:?}")),
        agree: found == Some(declared),
    })
}

/// `theirs`, or a size that follows from others where it is not said.
fn derived(ours: &'static str, declared: usize, theirs: &'static str, found: Option<u64>) -> Option<Said> {
    let found = found?;
    Some(Said {
        ours,
        declared: declared.to_string(),
        theirs,
        found: found.to_string(),
        agree: found == declared as u64,
    })
}

fn hugging_face_says(config: &Value, sizes: &LlmSizes) -> Vec<Said> {
    let found = config.get("model_type").and_then(Value::as_str);
    let found = found.and_then(|found| TYPES.iter().find(|(_, known)| *known == found));
    let family_of = found.map(|(family, _)| *family);
    let family = found.map(|(family, _)| Said {
        ours: "family",
        declared: sizes.family.clone(),
        theirs: "model_type",
        found: (*family).to_string(),
        agree: *family == sizes.family,
    });
    let mut said = vec![
        family,
        whole(config, "dim", sizes.dim, "hidden_size"),
        whole(config, "heads", sizes.heads, "num_attention_heads"),
        whole(config, "layers", sizes.layers, "num_hidden_layers"),
    ];
    // What the file is decides which fields it has, even where the spec says another family.
    if family_of.unwrap_or(&sizes.family) == "opt" {
        said.push(whole(config, "ffn", sizes.ffn, "ffn_dim"));
        said.push(config.get("do_layer_norm_before").filter(|v| !v.is_null()).map(|value| Said {
            ours: "norm_first",
            declared: sizes.norm_first.to_string(),
            theirs: "do_layer_norm_before",
            found: shown(&value.to_string()),
            agree: value.as_bool() == Some(sizes.norm_first),
        }));
    } else {
        said.push(whole(config, "ffn", sizes.ffn, "intermediate_size"));
        said.push(whole(config, "kv_heads", sizes.kv_heads, "num_key_value_heads").or_else(|| {
            let heads = config.get("num_attention_heads").and_then(Value::as_u64);
            derived("kv_heads", sizes.kv_heads, "num_attention_heads, as there are no num_key_value_heads", heads)
        }));
        said.push(eps(config, sizes.eps, "rms_norm_eps"));
        said.push(theta(config, sizes));
        if let (Some(width), true) = (config.get("head_dim").and_then(Value::as_u64), sizes.heads > 0) {
            // The one size that a spec does not say by itself.
            let declared = sizes.dim / sizes.heads;
            said.push((width != declared as u64).then(|| Said {
                ours: "dim / heads",
                declared: declared.to_string(),
                theirs: "head_dim",
                found: width.to_string(),
                agree: false,
            }));
        }
    }
    said.into_iter().flatten().collect()
}

fn meta_says(config: &Value, sizes: &LlmSizes) -> Vec<Said> {
    let heads = config.get("n_heads").and_then(Value::as_u64);
    let family = (sizes.family != "llama").then(|| Said {
        ours: "family",
        declared: sizes.family.clone(),
        theirs: "Meta's layout",
        found: "llama".into(),
        agree: false,
    });
    let said = [
        family,
        whole(config, "dim", sizes.dim, "dim"),
        whole(config, "heads", sizes.heads, "n_heads"),
        whole(config, "kv_heads", sizes.kv_heads, "n_kv_heads")
            .or_else(|| derived("kv_heads", sizes.kv_heads, "n_heads, as there are no n_kv_heads", heads)),
        derived("ffn", sizes.ffn, "from dim, multiple_of and ffn_dim_multiplier", meta_ffn(config)),
        whole(config, "layers", sizes.layers, "n_layers"),
        eps(config, sizes.eps, "norm_eps"),
        theta(config, sizes),
    ];
    said.into_iter().flatten().collect()
}

/// The width inside the feed-forward part, as Meta's code computes it: two thirds of 4 × dim, times the multiplier if
/// there is one, rounded up to a multiple. `None` where the file does not say enough, or nothing that can be.
fn meta_ffn(config: &Value) -> Option<u64> {
    let dim = config.get("dim")?.as_u64()?;
    let multiple = config.get("multiple_of")?.as_u64().filter(|m| *m > 0)?;
    let mut hidden = dim.checked_mul(8)? / 3;
    if let Some(factor) = config.get("ffn_dim_multiplier").and_then(Value::as_f64) {
        // Python's `int` cuts off the fraction, as does this.
        hidden = (factor * hidden as f64) as u64;
    }
    hidden.div_ceil(multiple).checked_mul(multiple)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sizes, with};
    use super::*;
    use crate::weights::made;

    #[test]
    fn every_disagreement_is_listed() {
        let json = r#"{"model_type":"llama","hidden_size":5120,"num_attention_heads":40,"intermediate_size":13824,
            "num_hidden_layers":40,"rms_norm_eps":1e-6}"#;
        let (dir, c) = with(&["a"], Some(("config.json", json)));
        let declared = LlmSizes {
            family: "llama".into(),
            dim: 4096,
            heads: 32,
            kv_heads: 32,
            ffn: 11008,
            layers: 32,
            eps: 1e-6,
            norm_first: true,
            theta: None,
        };
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
            theta: None,
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
        let declared = LlmSizes {
            family: "llama".into(),
            dim: 4096,
            heads: 32,
            kv_heads: 32,
            ffn: 11008,
            layers: 32,
            eps: 1e-6,
            norm_first: true,
            theta: None,
        };
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
        let (_dir, c) = with(
            &["a"],
            Some(("config.json", r#"{"hidden_size":"wide","num_key_value_heads":null,"rms_norm_eps":null}"#)),
        );
        let failure = check_config(&c, "x", &sizes()).unwrap_err();
        assert_eq!(
            failure.what,
            "is damaged: its hidden_size is \"wide\", and a whole number of at least 1 was expected"
        );
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
        assert_eq!(
            biased.what,
            "is of a model whose blocks are not those of family `llama`: its attention_bias is true"
        );
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
        let old =
            r#"{"hidden_size":4,"num_attention_heads":1,"num_key_value_heads":1,"rope_theta":500000.0,"head_dim":4}"#;
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
}
