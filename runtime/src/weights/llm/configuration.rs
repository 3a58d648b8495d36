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
    check(checkpoint, name, sizes, |_| false)
}

/// [`check_config`] of what the spec itself says: what it leaves to the configuration may be anything yet.
///
/// # Errors
/// The same.
pub fn check_declared(checkpoint: &Checkpoint, name: &str, sizes: &LlmSizes) -> Result<()> {
    check(checkpoint, name, sizes, |said| is_left_open(said, sizes))
}

fn check(checkpoint: &Checkpoint, name: &str, sizes: &LlmSizes, may_differ: impl Fn(&Said) -> bool) -> Result<()> {
    check_frequencies(checkpoint, name, sizes)?;
    let (Some(config), Some(path)) = (checkpoint.config(), checkpoint.config_path()) else { return Ok(()) };
    let config = model_of_text(config);
    check_kind(config, path, name, sizes)?;
    check_counts(config, path)?;
    let file = file_name(path);
    let said = says(config, path, sizes);
    let against: Vec<&Said> = said.iter().filter(|s| !s.agree && !may_differ(s)).collect();
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

/// What a configuration says of the settings that the spec leaves to it, where that is another value than stands for them now:
/// expressions of the language.
pub fn settings_left_open(checkpoint: &Checkpoint, sizes: &LlmSizes) -> Vec<(&'static str, String)> {
    let (Some(config), Some(path)) = (checkpoint.config(), checkpoint.config_path()) else { return Vec::new() };
    let said = says(model_of_text(config), path, sizes);
    let said = said.into_iter().filter(|said| !said.agree && is_left_open(said, sizes));
    said.map(|said| (said.ours, said.found)).collect()
}

/// What the weights may say of a model: no shape and no parameter hangs on it.
const SETTINGS: [&str; 3] = ["eps", "theta", "scaling"];

/// Whether a setting is the configuration's to say, and it says a value.
fn is_left_open(said: &Said, sizes: &LlmSizes) -> bool {
    let is_value = |c: char| matches!(c, '0'..='9' | '.' | '-' | 'e' | '[' | ']' | ',' | ' ');
    SETTINGS.contains(&said.ours) && sizes.left_open.contains(said.ours) && said.found.chars().all(is_value)
}

/// A model of images and text has its language model's settings in a part of its own.
fn model_of_text(config: &Value) -> &Value {
    config.get("text_config").filter(|part| part.is_object()).unwrap_or(config)
}

fn says(config: &Value, path: &Path, sizes: &LlmSizes) -> Vec<Said> {
    match file_name(path) == "params.json" {
        true => meta_says(config, sizes),
        false => hugging_face_says(config, sizes),
    }
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
    if sizes.theta.is_some() {
        check_scaling(config, path, name, sizes)?;
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

/// The part of a configuration that says how rotary positions are scaled, and in which way.
fn scaled(config: &Value) -> (&Value, &str) {
    let parts = ["rope_scaling", "rope_parameters"].iter().filter_map(|key| config.get(*key));
    let rope = parts.into_iter().find(|part| part.is_object()).unwrap_or(&Value::Null);
    let kind = ["rope_type", "type"].iter().find_map(|key| rope.get(key)).and_then(Value::as_str);
    (rope, kind.unwrap_or("default"))
}

/// Whether a model's rotary positions are scaled in a way that is computed here, and that is known.
fn check_scaling(config: &Value, path: &Path, name: &str, sizes: &LlmSizes) -> Result<()> {
    let (_, kind) = scaled(config);
    if scaling(config).is_none() {
        return Err(Failure::at(
            path,
            format!("is of a model whose rotary positions are scaled (`{}`), which is not computed here", shown(kind)),
        )
        .help(
            "take its blocks without `rope`, as in the paper, or give a model that is scaled in another way, or not",
        ));
    }
    // Meta's files say that they are scaled, and not by what: 8 in LLaMA-3.1, 32 in the small models of 3.2.
    if config.get("use_scaled_rope") == Some(&Value::Bool(true)) && sizes.scaling.is_empty() {
        return Err(Failure::at(
            path,
            "is of a model whose rotary positions are scaled (`use_scaled_rope`), and does not say by what",
        )
        .help(format!(
            "declare it: `llm {name} = llama(…, scaling = [8.0, 1.0, 4.0, 8192.0])` is LLaMA-3.1's; 32.0 in place of 8.0 that \
             of the small models of 3.2"
        )));
    }
    Ok(())
}

/// How the rotary positions of a model are scaled, as `rotary` takes it; `None` for a way that it does not know.
fn scaling(config: &Value) -> Option<Vec<f64>> {
    let (rope, kind) = scaled(config);
    let keys: &[&str] = match kind {
        "default" => &[],
        "linear" => &["factor"],
        "llama3" => &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
        _ => return None,
    };
    keys.iter().map(|key| rope.get(key)?.as_f64()).collect()
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
        let scaling = of("scaling", format!("{:?}", sizes.scaling));
        if scaling != "scaling = []" {
            parts.push(scaling);
        }
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

/// How the rotary positions are scaled.
fn rope_scaling(config: &Value, sizes: &LlmSizes) -> Option<Said> {
    sizes.theta?;
    let found = scaling(config)?;
    let list = |numbers: &[f64]| format!("{numbers:?}");
    Some(Said {
        ours: "scaling",
        declared: list(&sizes.scaling),
        theirs: "rope_scaling",
        agree: found == sizes.scaling,
        found: list(&found),
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
        said.push(rope_scaling(config, sizes));
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
mod tests;
