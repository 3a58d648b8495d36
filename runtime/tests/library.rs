//! Each `extern` of the library has a Rust part, and each Rust part an `extern`.

use std::collections::BTreeSet;

use lmv_compiler::library::extern_names;
use lmv_runtime::{evaluation, layers, tasks};

fn same(kind: &str, rust: &[&str]) {
    let declared: BTreeSet<String> = extern_names(kind).into_iter().collect();
    let runs: BTreeSet<String> = rust.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(declared, runs, "what stdlib/ declares as {kind}, and what Rust runs");
    assert_eq!(runs.len(), rust.len(), "each once");
}

#[test]
fn every_declaration_runs() {
    same("layer", &layers::names());
    same("augment", &tasks::classification::pipeline::NAMES);
    same("metric", &evaluation::METRICS);
    same("dataset", &tasks::classification::DATASETS);
    same("init", &lmv_runtime::init::NAMES);
    same("loss", &lmv_runtime::training::recipe::LOSSES);
    same("optimizer", &lmv_runtime::training::recipe::OPTIMIZERS);
    same("schedule", &lmv_runtime::training::recipe::SCHEDULES);
    same("mix", &lmv_runtime::training::recipe::MIXES);
    same("sampler", &lmv_runtime::training::recipe::SAMPLERS);
    same("group", &lmv_runtime::training::recipe::GROUPS);
    same("llm", &lmv_runtime::weights::llm::FAMILIES);
}
