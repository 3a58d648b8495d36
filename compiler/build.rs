//! Builds the library in anew when a file of `stdlib/` comes or goes: `include_dir` is told of changes in files alone.

fn main() {
    println!("cargo::rerun-if-changed=../stdlib");
}
