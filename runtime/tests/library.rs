//! Each `extern` of the library has a Rust part, and each Rust part an `extern`; one that says `not_yet_run` has none.

use std::collections::BTreeSet;

use lmv_compiler::library::{extern_names, not_yet_run};
use lmv_runtime::{layers, tasks};

fn same(kind: &str, rust: &[&str]) {
    let unwritten = |name: &String| not_yet_run().contains(&(kind.to_owned(), name.clone()));
    let (without, declared): (BTreeSet<String>, BTreeSet<String>) = extern_names(kind).into_iter().partition(unwritten);
    let runs: BTreeSet<String> = rust.iter().map(|name| (*name).to_owned()).collect();
    let both: Vec<&String> = without.intersection(&runs).collect();
    assert!(
        both.is_empty(),
        "the {kind}s {both:?} say `not_yet_run` in stdlib/, and Rust runs them: take the line out"
    );
    assert_eq!(declared, runs, "what stdlib/ declares as {kind} without `not_yet_run`, and what Rust runs");
    assert_eq!(runs.len(), rust.len(), "each once");
}

#[test]
fn every_declaration_runs() {
    same("layer", &layers::names());
    same("augment", &[&tasks::classification::pipeline::WHOLE[..], &tasks::points::AUGMENTS].concat());
    same("operation", &tasks::classification::pipeline::OPERATIONS);
    same("metric", &lmv_runtime::metrics::names());
    same("dataset", &tasks::datasets());
    same("init", &lmv_runtime::init::NAMES);
    same("loss", &lmv_runtime::losses::names());
    same("optimizer", &lmv_runtime::training::recipe::OPTIMIZERS);
    same("schedule", &lmv_runtime::training::recipe::SCHEDULES);
    same("mix", &lmv_runtime::training::recipe::MIXES);
    same("sampler", &lmv_runtime::training::recipe::SAMPLERS);
    same("group", &lmv_runtime::training::recipe::GROUPS);
    same("scale", &lmv_runtime::training::recipe::SCALES);
    same("views", &lmv_runtime::training::recipe::VIEWS);
    same("clip", &lmv_runtime::training::recipe::CLIPS);
    same("momentum", &lmv_runtime::training::recipe::MOMENTA);
    same("llm", &lmv_runtime::weights::llm::FAMILIES);
}

#[test]
fn a_declaration_without_a_rust_part_is_of_a_kind_that_has_some() {
    let kinds = [
        "layer",
        "augment",
        "operation",
        "metric",
        "dataset",
        "init",
        "loss",
        "optimizer",
        "schedule",
        "mix",
        "sampler",
        "group",
        "scale",
        "views",
        "clip",
        "momentum",
        "llm",
    ];
    for (kind, name) in not_yet_run() {
        assert!(kinds.contains(&kind.as_str()), "the {kind} `{name}`: nothing would ever run a {kind}");
    }
}
