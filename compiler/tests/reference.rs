//! `docs/reference` is what the library says. `LMV_WRITE_REFERENCE=1 cargo test -p lmv-compiler --test reference` writes it
//! anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lmv_compiler::manual::pages;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference")
}

/// Every file below a folder, by its path from there.
fn files(folder: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("an entry of docs/reference")) {
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => files(&entry.path(), &format!("{path}/"), found),
            false => drop(found.insert(path, fs::read_to_string(entry.path()).expect("a page is text"))),
        }
    }
}

fn write() {
    let mut old = BTreeMap::new();
    files(&folder(), "", &mut old);
    let pages = pages();
    let kept: BTreeSet<&str> = pages.iter().map(|page| page.path.as_str()).collect();
    for gone in old.keys().filter(|path| !kept.contains(path.as_str())) {
        fs::remove_file(folder().join(gone)).expect("a page of a module that is gone");
    }
    for page in &pages {
        let path = folder().join(&page.path);
        fs::create_dir_all(path.parent().expect("a page lies in a folder")).expect("its folder");
        fs::write(path, &page.text).expect("the page");
    }
}

#[test]
fn the_manual_says_what_the_library_says() {
    if std::env::var_os("LMV_WRITE_REFERENCE").is_some() {
        write();
    }
    let mut there = BTreeMap::new();
    files(&folder(), "", &mut there);
    let mut wrong = Vec::new();
    for page in pages() {
        match there.remove(&page.path) {
            Some(text) if text.replace("\r\n", "\n") == page.text => {}
            Some(_) => wrong.push(format!("{} is not up to date", page.path)),
            None => wrong.push(format!("{} is missing", page.path)),
        }
    }
    wrong.extend(there.into_keys().map(|path| format!("{path} is of no module")));
    assert!(
        wrong.is_empty(),
        "docs/reference:\n  {}\nwrite it anew by `LMV_WRITE_REFERENCE=1 cargo test -p lmv-compiler --test reference`",
        wrong.join("\n  ")
    );
}

#[test]
fn every_link_of_the_manual_leads_to_a_heading() {
    let pages = pages();
    let headings: BTreeMap<&str, BTreeSet<&str>> = pages
        .iter()
        .map(|page| (page.path.as_str(), page.text.lines().filter_map(|line| line.strip_prefix("## ")).collect()))
        .collect();
    let mut links = 0;
    for page in &pages {
        for target in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            // Out of the manual: the library itself and the language's page.
            if file.ends_with(".lmv") || file.ends_with("language.md") {
                let at = folder().join(&page.path).parent().expect("its folder").join(file);
                assert!(at.exists(), "{}: {target}", page.path);
                continue;
            }
            let mut way: Vec<&str> = page.path.split('/').collect();
            way.pop();
            for step in file.split('/').filter(|step| !step.is_empty()) {
                match step {
                    ".." => _ = way.pop(),
                    step => way.push(step),
                }
            }
            let to = if file.is_empty() { page.path.clone() } else { way.join("/") };
            let known = headings.get(to.as_str()).unwrap_or_else(|| panic!("{}: {target} leads to no page", page.path));
            assert!(heading.is_empty() || known.contains(heading), "{}: {target}", page.path);
            links += 1;
        }
    }
    assert!(links > 500, "{links} links");
}

#[test]
fn every_name_of_the_library_is_documented() {
    let lacking: Vec<String> = lmv_compiler::manual::entries()
        .iter()
        .filter(|entry| entry.doc.is_none_or(|doc| doc.trim().is_empty()) && !entry.name.starts_with('_'))
        .map(|entry| entry.path())
        .collect();
    assert!(lacking.is_empty(), "without a `///` comment: {}", lacking.join(", "));
}
