//! The layout of programs: what it looks like, that it changes nothing, and that it is at rest.

mod generate;

use std::path::Path;

use generate::shape_of;
use lmv_grammar::{FormatError, format, parse, print};
use proptest::prelude::*;

/// The formatted text, which formatting again does not change, and which says the same.
#[track_caller]
fn formatted(text: &str) -> String {
    let once = format(text).unwrap_or_else(|error| panic!("{error:#?}\n{text}"));
    let twice = format(&once).unwrap_or_else(|error| panic!("{error:#?}\n{once}"));
    assert_eq!(twice, once, "formatting again changes it; the source:\n{text}");
    assert_eq!(shape_of(&parse(&once).file), shape_of(&parse(text).file));
    assert!(once.lines().all(|line| line.trim_end() == line), "{once}");
    assert!(once.is_empty() || once.ends_with('\n') && !once.ends_with("\n\n"), "{once:?}");
    once
}

#[track_caller]
fn check(text: &str, layout: &str) {
    assert_eq!(formatted(text), layout);
}

#[test]
fn blanks_are_put_in_order() {
    check("model=f( 3,a=b,)>>g\t>>h\n", "model = f(3, a = b) >> g >> h\n");
    check("\u{FEFF}seed=1\r\n\r\n\r\n\r\ndata=x\r\n\r\n", "seed = 1\n\ndata = x\n");
    check("let f( a , b=2 )= -a+b*- 3 ** 2..4", "let f(a, b = 2) = -a + b * -3 ** 2..4\n");
    check("layer f(d):[..,d]->[T ?,2*d]{a}", "layer f(d) : [.., d] -> [T?, 2 * d] { a }\n");
    check("extern dataset d : {a:[3] of class( n ),b:c}", "extern dataset d : { a : [3] of class(n), b : c }\n");
    check("eval={a:[b],c:d with{e:f}as g}", "eval = { a: [b], c: d with { e: f } as g }\n");
    check("use a . b{c,d  as e,}\nuse \"f\"", "use a.b { c, d as e }\nuse \"f\"\n");
    check("variant v for i in 0..3{model=a[i]}", "variant v for i in 0..3 { model = a[i] }\n");
    check("model( x:[2],y ){x}", "model(x : [2], y) { x }\n");
    check("names n{}\nrecipe r ( ){}", "names n {}\nrecipe r() {}\n");
    check("", "");
    check("\n\n", "");
}

#[test]
fn parentheses_stay() {
    check("model = ((a)) >> (b >> c)", "model = ((a)) >> (b >> c)\n");
}

#[test]
fn a_pipe_that_does_not_fit_has_a_line_for_each_step() {
    let long = "linear(4096, 384, bias = false, init = fan_in_uniform)";
    check(&format!("model = vit >> {long} >> {long}\n"), &format!("model = vit\n     >> {long}\n     >> {long}\n"));
    check(&format!("let f = vit >> {long} >> {long}\n"), &format!("let f = vit\n  >> {long}\n  >> {long}\n"));
    check(
        &format!(
            "layer f {{ let a = input >> {long} >> {long}\n a >> residual({long} as first >> {long} as second) }}\n"
        ),
        &format!(
            "layer f {{\n  let a = input\n    >> {long}\n    >> {long}\n  a\n    >> residual({long} as first\n                >> {long} as second)\n}}\n"
        ),
    );
}

#[test]
fn what_the_author_broke_stays_broken() {
    check("model = a >>\n b >> c", "model = a\n     >> b\n     >> c\n");
    check("model(x) {\n x }", "model(x) {\n  x\n}\n");
    check("eval = {\n a: b, c: d }", "eval = {\n  a: b,\n  c: d\n}\n");
    check("variant v {\n seed = 1 }", "variant v {\n  seed = 1\n}\n");
    check("model = f(a,\n  b)", "model = f(a, b)\n");
    check("model = a >> repeat(2) {\n b } as c", "model = a\n     >> repeat(2) {\n       b\n     } as c\n");
}

#[test]
fn brackets_are_filled_and_tuples_listed() {
    let name = "a_name_of_thirty_characters_or";
    check(
        &format!("let x = f({name}, {name}, {name}, {name}, b)\n"),
        &format!("let x = f({name}, {name}, {name},\n          {name}, b)\n"),
    );
    check(
        &format!("let x = ({name}, {name}, {name}, {name})\n"),
        &format!("let x = ({name},\n         {name},\n         {name},\n         {name})\n"),
    );
    check(
        &format!("layer f({name} = 1, {name} = 2) : [{name}] -> [{name}] {{ a }}"),
        &format!("layer f({name} = 1, {name} = 2)\n    : [{name}] -> [{name}] {{ a }}\n"),
    );
    check(
        &format!("use a.b {{ {name}, {name}, {name}, {name} as c }}"),
        &format!("use a.b {{\n  {name}, {name}, {name},\n  {name} as c\n}}\n"),
    );
    check(
        &format!("let x = {name} + {name} * {name} + {name}"),
        &format!("let x = {name} + {name} * {name}\n        + {name}\n"),
    );
}

#[test]
fn the_equals_signs_of_neighbours_stand_under_each_other() {
    check(
        "data = a\nmodel = b\ntrain.epochs = c\n\nseed = 3\nlet x = 4\neval = 5\n",
        "data         = a\nmodel        = b\ntrain.epochs = c\n\nseed = 3\nlet x = 4\neval = 5\n",
    );
    check(
        "recipe r { loss = a\n optimizer = b // why\n // next\n mix = c\n\n ema = d }",
        "recipe r {\n  loss      = a\n  optimizer = b // why\n  // next\n  mix       = c\n\n  ema = d\n}\n",
    );
    check(
        "variant v { seed = 1\n train.epochs = 2\n model = a\n >> b }",
        "variant v {\n  seed         = 1\n  train.epochs = 2\n  model        = a\n              >> b\n}\n",
    );
    check("names n { \"a\" = \"b\"\n \"long\" = \"c\" }", "names n {\n  \"a\" = \"b\"\n  \"long\" = \"c\"\n}\n");
}

#[test]
fn documentation_and_blank_lines() {
    check(
        "//!The file.\n//!\n\n\n///  indented\n///\nmodel = a\n\n\n\n// alone\n\n/// b\n\nlayer f = g\n",
        "//! The file.\n//!\n\n///  indented\n///\nmodel = a\n\n// alone\n\n/// b\nlayer f = g\n",
    );
    check("layer f {\n\n\n  let a = b\n\n\n  let c = d\n  c\n\n}\n", "layer f {\n  let a = b\n\n  let c = d\n  c\n}\n");
    check("variant v {\n  /// Why.\n  seed = 1\n}\n", "variant v {\n  /// Why.\n  seed = 1\n}\n");
}

#[test]
fn comments_stay_where_they_are() {
    check(
        "// top\n\nmodel = a // first\n  // second\n  >> b // third\n// end\n",
        "// top\n\nmodel = a // first\n     // second\n     >> b // third\n// end\n",
    );
    check("model = a >> // why\n b", "model = a // why\n     >> b\n");
    check(
        "model = f(a, // one\n b // two\n , c // three\n)",
        "model = f(a, // one\n          b, // two\n          c // three\n          )\n",
    );
    check("model = f( // none\n)", "model = f( // none\n          )\n");
    check("layer f { // open\n a\n // close\n}", "layer f { // open\n  a\n  // close\n}\n");
    check("recipe r {\n // nothing\n}", "recipe r {\n  // nothing\n}\n");
    check("extern layer f { // a\n flops = 1 // b\n}", "extern layer f { // a\n  flops = 1 // b\n}\n");
    check("//// four\nseed = 1 //no blank", "//// four\nseed = 1 //no blank\n");
    check("model = \"// no comment\"", "model = \"// no comment\"\n");
    check("use a { b, // why\n c }", "use a {\n  b, // why\n  c\n}\n");
    check("layer // odd\nf = // places\ng", "layer // odd\n    f = // places\n    g\n");
    check("let x = a + // one\n b", "let x = a // one\n        + b\n");
    check("model = { a: b, // one\n c: d, // two\n}", "model = {\n  a: b, // one\n  c: d // two\n}\n");
}

#[test]
fn a_file_with_errors_is_left_alone() {
    let error = format("model = a -> b\n").expect_err("an error");
    let FormatError::Syntax(errors) = error else { panic!("{error:?}") };
    assert_eq!(errors[0].message, "found `->`, expected `>>`");
}

#[test]
fn the_library_and_the_specs_keep_their_meaning() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["stdlib", "specs"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file");
        formatted(&text);
    }
}

/// The right programs of the suite, each under its name.
#[test]
fn the_suite_keeps_its_meaning() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suite"), &mut files);
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file");
        for case in text.split("// --- ") {
            let case = format!("// --- {case}");
            if parse(&case).errors.is_empty() {
                formatted(&case);
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count}");
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "lmv") {
            files.push(path);
        }
    }
}

/// What may stand in place of a blank between two tokens; `N` becomes the number of the comment.
const GAPS: &[&str] =
    &[" ", "   ", "\t", "\n    ", "\r\n  ", "\n\n\n  ", " // cN\n  ", "\n  // cN\n  ", " //cN\n \n   // cN\n\n "];

/// `text` with other gaps between its tokens, and how many comments are in them.
fn with_gaps(text: &str, gaps: &[usize]) -> (String, usize) {
    let mut noisy = String::new();
    let mut count = 0;
    let mut gaps = gaps.iter().cycle();
    for line in text.lines() {
        let is_doc = line.starts_with("///") || line.starts_with("//!");
        let mut in_string = false;
        let mut escaped = false;
        let indent = if noisy.is_empty() || noisy.ends_with('\n') { 0 } else { 1 };
        assert_eq!(indent, 0);
        for c in line.chars() {
            if c == ' ' && !in_string && !is_doc {
                let gap = GAPS[*gaps.next().expect("gaps without end") % GAPS.len()];
                let mut parts = gap.split('N');
                noisy.push_str(parts.next().unwrap_or_default());
                for part in parts {
                    noisy.push_str(&count.to_string());
                    noisy.push_str(part);
                    count += 1;
                }
            } else {
                noisy.push(c);
            }
            if c == '"' && !escaped {
                in_string = !in_string;
            }
            escaped = in_string && c == '\\' && !escaped;
        }
        noisy.push('\n');
    }
    (noisy, count)
}

/// The numbers of the comments in `text` that [`with_gaps`] put there.
fn comments(text: &str) -> Vec<usize> {
    let number = |part: &str| {
        let part = part.trim_start();
        let digits: String = part.strip_prefix('c')?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let code = text.lines().filter(|line| !line.trim_start().starts_with("///") && !line.starts_with("//!"));
    code.filter_map(|line| line.rfind("//").and_then(|at| number(&line[at + 2..]))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn any_program_keeps_its_meaning_and_its_comments(
        text in generate::file().prop_map(|file| print(&file)),
        gaps in prop::collection::vec(prop_oneof![3 => 0usize..3, 1 => 0..GAPS.len()], 1..40),
    ) {
        let (noisy, count) = with_gaps(&text, &gaps);
        let parsed = parse(&noisy);
        prop_assert!(parsed.errors.is_empty(), "{:#?}\n{}", parsed.errors, noisy);
        let once = format(&noisy);
        prop_assert!(once.is_ok(), "{:#?}\n{}", once, noisy);
        let once = once.unwrap_or_default();
        prop_assert_eq!(shape_of(&parse(&once).file), shape_of(&parsed.file), "{}", noisy);
        prop_assert_eq!(comments(&once), (0..count).collect::<Vec<_>>(), "{}", once);
        let twice = format(&once);
        prop_assert_eq!(twice.as_ref(), Ok(&once), "of\n{}", noisy);
        prop_assert!(once.lines().all(|line| line.trim_end() == line), "{}", once);
    }
}
