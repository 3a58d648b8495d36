//! What a syntax error says: for each mistake the text it points at, the message and the help.

use lmv_grammar::{SyntaxError, parse, parse_expr};

/// The only error of `source`: what it points at, its message, its help.
fn error(source: &str) -> (&str, String, String) {
    let errors = parse(source).errors;
    let [SyntaxError { span, message, help, .. }] = &errors[..] else { panic!("{source:?}: {errors:#?}") };
    (&source[span.start..span.end], message.clone(), help.clone().unwrap_or_default())
}

#[track_caller]
fn check(source: &str, at: &str, message: &str, help: &str) {
    assert_eq!(error(source), (at, message.to_owned(), help.to_owned()), "{source}");
}

#[test]
fn a_missing_pipe() {
    let message = "found `linear`, expected `>>`";
    let help = "join two steps with `>>`: `>> linear`";
    for source in [
        "model = vit linear",
        "model = vit\n  linear",
        "model = vit linear(3, 4)\ndata = x",
        "model = vit\n  >> a(3)\n  linear(3)\n  >> head",
        "recipe r { loss = a linear(3) }",
    ] {
        check(source, "linear", message, help);
    }
    check(
        "model = f(a linear)",
        "linear",
        "found `linear`, expected `)`, `,` or `>>`",
        "put `,` between two elements, or `>>` between two steps of a pipe",
    );
    check("layer f(d) { a linear }", "linear", "found `linear`, expected `}` or `>>`", help);
    check(
        "data = b c = d",
        "",
        "found a second item on one line, expected `>>` or a new line",
        "begin each item on a line of its own",
    );
}

#[test]
fn another_language_s_pipe() {
    for sign in ["->", "|", ">", "|>", "=>"] {
        let source = format!("model = vit {sign} head");
        let message = format!("found `{sign}`, expected `>>`");
        check(&source, sign, &message, "`>>` sends a stream into the layer after it");
    }
    check(
        "model = vit >>\ndata = x",
        "",
        "found the next item, expected an expression",
        "remove the last `>>`, or add the step that follows it",
    );
}

#[test]
fn an_unclosed_bracket_is_pointed_at() {
    let end = |bracket: &str| format!("add `{bracket}` at the end of what it holds");
    check("model = f(a, b\ndata = x", "(", "this `(` is never closed", &end(")"));
    check("model = x[1\n\n", "[", "this `[` is never closed", &end("]"));
    check("layer f(d) {\n  a >> b\n\ndata = x", "{", "this `{` is never closed", &end("}"));
    check("model = f([a, b)", "[", "this `[` is never closed", "add `]` before `)`");
    check("layer b(d) {\n  let x = f(d\n  x >> g\n}", "(", "this `(` is never closed", "add `)` before `x`");
    check("model = f(a))", ")", "this `)` closes nothing", "remove it");
}

#[test]
fn equals_and_colon() {
    let argument = |name: &str| format!("an argument or a default is given with `=`, as in `{name} = …`");
    check("model = f(bias: false)", ":", "found `:`, expected `)`, `,` or `>>`", &argument("bias"));
    check("model = f(3, bias: false)", ":", "found `:`, expected `)`, `,` or `>>`", &argument("bias"));
    check("layer f(d : 3) = x", ":", "found `:`, expected `)`, `,` or `=`", &argument("d"));
    let field = |name: &str| format!("a field of a record is given with `:`, as in `{name}: …`");
    check("model = { a = x }", "=", "found `=`, expected `:`", &field("a"));
    check("model = a with { x = 3 }", "=", "found `=`, expected `:`", &field("x"));
    check("recipe r() { loss: x }", ":", "found `:`, expected `=`", "a value is given with `=`");
    check("names n { \"a\" : \"b\" }", ":", "found `:`, expected `=`", "a value is given with `=`");
    check("model : vit", ":", "found `:`, expected `(` or `=`", "a value is given with `=`");
    check("model(x = [3]) { x }", "=", "found `=`, expected `)`, `,` or `:`", "the shape of an input stands after `:`");
}

#[test]
fn habits_of_other_languages() {
    check("model = vit;\ndata = x", ";", "found `;`, but nothing has to end a line", "remove the `;`");
    check("model = f('a')", "'a'", "found `'`, expected `\"`", "strings have double quotes: `\"a\"`");
    check("# hi\nmodel = a", "# hi", "found `#`, expected `//`", "a comment begins with `//`");
    check("model = a # hi\n  >> b\ndata = c", "# hi", "found `#`, expected `//`", "a comment begins with `//`");
    check("/* hi */\nmodel = b", "/", "found `/`, expected an item", "a comment begins with `//`");
    check("model = f(bias = True)", "True", "found `True`, expected `true`", "write `true`");
    check("model = f(bias = False)", "False", "found `False`, expected `false`", "write `false`");
}

#[test]
fn names_from_elsewhere() {
    let path =
        "a module of the library has dots, as in `use vision.vit`, and a file quotes, as in `use \"./mine.lmv\"`";
    check("use vision/vit", "/", "found `/`, expected `.` or `{`", path);
    check("use ./mine", "/", "found `/`, expected a name", path);
    let names = "the names stand in braces, as in `use vision.vit { vit, head }`";
    check("use vision.vit (vit)", "(", "found `(`, expected `.` or `{`", names);
    let all = "without braces, `use` brings in everything that is public";
    check("use vision.vit.*", "*", "found `*`, expected a name", all);
    check("use vision.vit { * }", "*", "found `*`, expected a name", all);
    let by_use = "names come from elsewhere by `use`, as in `use vision.vit { vit }` or `use \"./mine.lmv\"`";
    check("import vision", "vision", "found `vision`, expected `=`", by_use);
    check("use a { b c }", "c", "found `c`, expected `as`, `,` or `}`", "");
}

#[test]
fn strings() {
    check("model = f(\"a)\ndata = b", "\"a)", "this string is not closed on its line", "add a `\"` at its end");
    check("model = \"a\\q\"", "\\q", "`\\q` is no escape", "the escapes of a string are `\\\"`, `\\\\` and `\\n`");
}

#[test]
fn numbers() {
    check(
        "model = 99999999999999999999",
        "99999999999999999999",
        "this integer is too large: the largest is 9223372036854775807",
        "write it as a number with an exponent, as in `1e20`",
    );
    check("model = 1e999", "1e999", "this number is too large: the largest is 1.7976931348623157e308", "");
    let help = "a name does not begin with a digit, and a number does not run on into letters";
    check("model = 3x", "3x", "`3x` is not a number", help);
    check("model = [a 1_0e5]", "1_0e5", "found `1_0e5`, expected `,`, `]` or `>>`", {
        "put `,` between two elements, or `>>` between two steps of a pipe"
    });
    check("model = .5", ".", "found `.`, expected an expression", "write a zero before the `.`");
    check("model = 1..2..3", "..", "found `..`, but a range has two ends, as in `30..32`", "");
    check("model = 3(x)", "(", "found `(`, expected `>>`", "only a layer or a function is called; `*` multiplies");
}

#[test]
fn calls_stay_on_their_line() {
    check("model = f\n(x)", "(", "found `(`, expected `>>`", "the `(` of a call stands on the line of what is called");
    let help = "the `[` of an index stands on the line of what it is taken of";
    check("model = f\n[x]", "[", "found `[`, expected `>>`", help);
}

#[test]
fn documentation_in_the_wrong_place() {
    check(
        "model = a\n/// doc\n\n",
        "/// doc",
        "this documentation has no item under it",
        "begin a comment with `//`, and the documentation of the file with `//!` at its top",
    );
    check(
        "model = a\n//! late\ndata = b",
        "//! late",
        "found `//!` after the first item",
        "the documentation of a file stands at its top; begin a comment with `//`",
    );
    check(
        "model = f(a,\n  /// x\n  b)",
        "/// x",
        "found documentation in the middle of an item",
        "`///` stands above an item; begin a comment with `//`",
    );
}

#[test]
fn the_form_of_items() {
    check(
        "laier block(d) = x",
        "block",
        "found `block`, expected `=`",
        "an item begins with `let`, `layer`, `dataset`, `augment`, `extern`, `recipe`, `llm`, `names`, `use`, \
         `variant`, `model(…)` or a name and `=`",
    );
    check("variant a = 3", "=", "found `=`, expected `for` or `{`", "");
    check("variant a for i = 3 { }", "=", "found `=`, expected `in`", "");
    let settings = "a variant changes settings, as in `train.epochs = 100`; everything else stands outside of it";
    check("variant a {\n  let x = 3\n}", "let", "found `let`, expected a setting or `}`", settings);
    let one_to_a_line = "found a second item on one line, expected `>>` or a new line";
    check("variant a { seed = 1 data = b }", "", one_to_a_line, "begin each item on a line of its own");
    check("model =\nuse a.b", "", "found the next item, expected an expression", "");
    check("model =\ndata = x", "", "found the next item, expected an expression", "");
    check("seed =\nllm a = b", "", "found the next item, expected an expression", "");
    check("extern layer", "", "found the end of the text, expected a name", "");
    check("extern layer f :", "", "found the end of the text, expected a type", "");
    let kept = "found `all`, expected `nothing`, `inputs`, `inputs_for_parameters` or `outputs`";
    check("extern layer f { keeps = all }", "all", kept, "");
    let field = "a field of a record is given with `:`, as in `looses: …`";
    check("extern layer f { looses = nothing }", "=", "found `=`, expected `:`", field);
    check(
        "extern layer f : [a, ..] -> [b]",
        "..",
        "`..` is not the first dim of this shape",
        "`..` stands first, as in `[.., d]`",
    );
    check(
        "layer f { let x = 3 }",
        "}",
        "found `}`, expected an expression or `>>`",
        "a block ends with the value that it gives",
    );
    check("model = (a,)", ",", "a tuple has two elements or more, and this one has one", "remove the `,`");
    check("model = ()", ")", "found `)`, expected an expression", "");
    check("let let = 3", "let", "found `let`, expected a name", "");
    check(
        "model = é",
        "é",
        "found `é`, expected an expression",
        "names are written with `a` to `z`, `A` to `Z`, digits and `_`",
    );
}

#[test]
fn each_item_has_its_own_error_and_the_others_are_read() {
    let source =
        "seed = 1\nmodel = a -> b\ndata = c\n/// Doc.\nlayer f(d {\n  d\n}\neval = [a b]\n\ntrain = \"x\neval = e\n";
    let parsed = parse(source);
    let items: Vec<_> = parsed.file.items.iter().map(|item| &source[item.span.start..item.span.end]).collect();
    assert_eq!(items, ["seed = 1", "data = c", "eval = e"]);
    let at: Vec<_> = parsed.errors.iter().map(|error| &source[error.span.start..error.span.end]).collect();
    assert_eq!(at, ["->", "(", "b", "\"x"]);
}

#[test]
fn lines_in_the_first_column_may_lie_in_brackets() {
    let parsed = parse("model = f(\na,\nb = 3,\n)\n>> g\ndata = c d\n");
    assert_eq!((parsed.file.items.len(), parsed.errors.len()), (1, 1), "{parsed:#?}");
}

#[test]
fn an_expression_is_all_of_its_text() {
    let error = |text| parse_expr(text).expect_err(text);
    assert_eq!(error("").message, "found the end of the text, expected an expression");
    assert_eq!(error("1e-4 2").message, "found `2`, expected `>>`");
    assert_eq!(error("a = b").message, "found `=`, expected `>>`");
    assert_eq!(error("f(a").message, "this `(` is never closed");
}
