//! Any tree, written as text, is read as the same tree.

mod generate;

use generate::shape_of;
use lmv_grammar::ast::File;
use lmv_grammar::{parse, parse_expr, print, print_expr};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_tree_is_read_as_itself(file in generate::file()) {
        let text = print(&file);
        let parsed = parse(&text);
        prop_assert!(parsed.errors.is_empty(), "{:#?}\n{}", parsed.errors, text);
        prop_assert_eq!(shape_of(&parsed.file), shape_of(&file), "{}", text);
    }

    #[test]
    fn a_printed_expression_is_read_as_itself(expr in generate::expr()) {
        let text = print_expr(&expr);
        let read = parse_expr(&text);
        prop_assert!(read.is_ok(), "{:?} {}", read, text);
        prop_assert_eq!(print_expr(&read.unwrap_or(expr)), text);
    }
}

#[test]
fn only_parentheses_that_are_needed_are_printed() {
    for (text, printed) in [
        ("((a) + (b * c))", "a + b * c"),
        ("(a + b) * c", "(a + b) * c"),
        ("a - (b - c)", "a - (b - c)"),
        ("(a ** b) ** (c ** d)", "(a ** b) ** c ** d"),
        ("-(2 ** 2)", "-(2 ** 2)"),
        ("(-2) ** 2", "-2 ** 2"),
        ("(a >> b) >> (c as d)", "(a >> b) >> c as d"),
        ("(a as b) as c", "(a as b) as c"),
        ("(a with { b: c }) as d", "a with { b: c } as d"),
        ("(repeat)(3)", "(repeat)(3)"),
        ("(f)(3)[(0)]", "f(3)[0]"),
        ("([a])[0]", "([a])[0]"),
        ("(1..2)..3", "(1..2)..3"),
        ("1 .. (n + 1)", "1..n + 1"),
        ("1e20 + 1_000 + 5e-4", "1e20 + 1000 + 0.0005"),
    ] {
        let expr = parse_expr(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(print_expr(&expr), printed, "{text}");
    }
}

#[test]
fn an_empty_file_is_printed_empty() {
    assert_eq!(print(&File::default()), "");
}
