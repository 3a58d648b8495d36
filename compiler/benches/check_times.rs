//! How long checking takes, for every spec of `specs/` with all its variants and for long generated ones:
//! `cargo bench -p lmv-compiler --bench check_times`. What is measured is one check in a process of its own,
//! with the parsing of the library's modules, as `lmvc check SPEC` does it. It measures, and asserts nothing.
//!
//! With the paths of other builds of this program behind `--`, they are measured in turn with it, a column each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use lmv_compiler::{Spec, Which, check};

#[path = "../tests/spec_files/mod.rs"]
mod spec_files;

/// How often each spec is checked.
const ROUNDS: usize = 15;

/// The argument before the name of a spec, which is checked once here.
const ONE: &str = "--one";

fn main() -> ExitCode {
    // Cargo adds a `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let specs = specs();
    match arguments.as_slice() {
        [one, name] if one == ONE => check_once(&specs, name),
        others => compare(&specs, others),
    }
}

/// Checks one spec, and prints how many seconds it took.
fn check_once(specs: &BTreeMap<String, String>, name: &str) -> ExitCode {
    let begin = Instant::now();
    let compiled = check(&Spec { name, text: &specs[name], files: specs, overrides: &[], which: Which::All });
    let seconds = begin.elapsed().as_secs_f64();
    for diagnostic in &compiled.diagnostics {
        eprintln!("{}", diagnostic.render(&compiled.sources, false));
    }
    println!("{seconds}");
    if compiled.diagnostics.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The median times of this build and of the others, spec by spec.
fn compare(specs: &BTreeMap<String, String>, others: &[String]) -> ExitCode {
    let this = std::env::current_exe().expect("a program that runs has a path");
    let builds: Vec<PathBuf> = std::iter::once(this).chain(others.iter().map(PathBuf::from)).collect();
    for name in specs.keys() {
        let mut times = vec![Vec::new(); builds.len()];
        for _ in 0..ROUNDS {
            for (build, times) in builds.iter().zip(&mut times) {
                let output = Command::new(build).args([ONE, name]).output().expect("the program can be started");
                let text = String::from_utf8_lossy(&output.stdout);
                let Ok(seconds) = text.trim().parse::<f64>() else {
                    eprintln!("{name}: {}", String::from_utf8_lossy(&output.stderr));
                    return ExitCode::FAILURE;
                };
                times.push(1e3 * seconds);
            }
        }
        let medians: Vec<String> = times.into_iter().map(|times| format!("{:8.1} ms", median(times))).collect();
        println!("{}  {name}", medians.join("  "));
    }
    ExitCode::SUCCESS
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The specs by path, and those of some hundred to some ten thousand layers that are written out here.
fn specs() -> BTreeMap<String, String> {
    let mut specs = spec_files::spec_files();
    for layers in [500, 5_000, 50_000] {
        specs.insert(format!("a pipe of {layers} layers"), long(layers));
    }
    specs
}

/// One pipe of so many layers, each written out.
fn long(layers: usize) -> String {
    let steps = ["linear(8, 8)", "gelu", "layer_norm(8)", "linear(8, 8) as named"];
    let pipe: String = (0..layers).map(|layer| format!("\n  >> {}", steps[layer % steps.len()])).collect();
    format!("model(x : [4, 8]) {{\n  x{pipe}\n}}\n")
}
