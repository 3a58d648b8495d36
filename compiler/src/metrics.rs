//! `eval`, the metrics that a spec is measured by, each under a name of its own, and `reported`, the numbers that were
//! published for them.

use std::collections::BTreeMap;

use lmv_grammar::ast::{Expr, ExprKind, Name};
use serde::Serialize;

use crate::codes::Code;
use crate::config::{Call, Config};
use crate::diagnostic::Diagnostic;
use crate::elaborate::{Elaborator, Kind, Place};
use crate::measures::Measure;
use crate::settings::Setting;
use crate::source::Origin;
use crate::value::Scope;

/// A metric of a spec.
#[derive(Clone, Debug, Serialize)]
pub struct Metric {
    /// What it is called: by the name it is written with (`imagenet_a`, though that is `top1_on`), with what tells it from
    /// another of that name.
    pub label: String,
    /// The metric with its arguments.
    #[serde(flatten)]
    pub call: Call,
    /// The number that was published for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<f64>,
}

/// The metrics of a spec, once they are checked.
pub(crate) fn metrics(measures: Vec<Measure>, reported: &BTreeMap<String, f64>) -> Vec<Metric> {
    let metric = |measure: Measure| {
        let reported = reported.get(&measure.label).copied();
        Metric { label: measure.label, call: measure.call, reported }
    };
    measures.into_iter().map(metric).collect()
}

impl Elaborator<'_> {
    /// `[top1, top5]`, or `{ answer: [top1, top5], pose: l2 }` by the outputs of the model.
    pub(crate) fn eval_list(&mut self, eval: &Setting<'_>) -> Vec<Measure> {
        let file = eval.env.file;
        let of_output = |(name, expr): &'_ (Name, Expr)| {
            (Some((name.text.clone(), Origin { file, span: name.span })), expr.clone())
        };
        let lists: Vec<(Option<(String, Origin)>, Expr)> = match &eval.value.kind {
            ExprKind::Record(fields) => fields.iter().map(of_output).collect(),
            _ => vec![(None, eval.value.clone())],
        };
        let place = Place { env: eval.env.clone(), scope: Scope::root() };
        let mut measures = Vec::new();
        for (output, list) in lists {
            let items = match list.kind {
                ExprKind::List(items) => items,
                _ => vec![list],
            };
            for item in items {
                let at = Origin { file, span: item.span };
                self.want(Kind::Part("metric"), &item, file);
                let value = self.eval(&item, &place);
                if let Some(call) = self.part("metric", "`eval` lists metrics", value, at) {
                    let label = written(&item).unwrap_or(&call.name).to_owned();
                    measures.push(Measure { label, call, at, output: output.clone() });
                }
            }
        }
        tell_apart(&mut measures);
        measures
    }

    /// `{ top1: 80.7, imagenet_c: 58.7 }`: numbers by the names of metrics in `eval`.
    pub(crate) fn reported(&mut self, reported: &Setting<'_>, eval: &[Measure]) -> BTreeMap<String, f64> {
        let (file, at) = (reported.env.file, reported.at());
        let ExprKind::Record(fields) = &reported.value.kind else {
            self.report(
                Diagnostic::error(
                    Code::WrongType,
                    "`reported` is a record of numbers",
                    at,
                    "a number for each metric that one was published for",
                )
                .help("for example `reported = { top1: 80.7, top5: 95.4 }`"),
            );
            return BTreeMap::new();
        };
        let labels: Vec<&str> = eval.iter().map(|measure| measure.label.as_str()).collect();
        let place = Place { env: reported.env.clone(), scope: Scope::root() };
        let mut numbers = BTreeMap::new();
        for (name, value) in fields {
            let (name_at, value_at) = (Origin { file, span: name.span }, Origin { file, span: value.span });
            let value = self.eval(value, &place);
            if matches!(value, crate::value::Value::Error) {
                continue;
            }
            let kind = value.kind();
            let number = self.quietly(|this| this.settled(value, value_at)).as_ref().and_then(Config::float);
            let Some(number) = number else {
                self.report(Diagnostic::error(
                    Code::WrongType,
                    format!("what is reported for `{}` is a number", name.text),
                    value_at,
                    format!("this is {kind}"),
                ));
                continue;
            };
            if !labels.contains(&name.text.as_str()) {
                self.no_such_metric(name, name_at, &labels);
                continue;
            }
            numbers.insert(name.text.clone(), number);
        }
        numbers
    }

    fn no_such_metric(&mut self, name: &Name, at: Origin, labels: &[&str]) {
        let diagnostic = Diagnostic::error(
            Code::Reported,
            format!("a number is reported for `{}`, and `eval` does not measure it", name.text),
            at,
            "not one of its metrics",
        );
        let of_several = format!("{}(", name.text);
        let alike: Vec<&&str> = labels.iter().filter(|label| label.starts_with(&of_several)).collect();
        self.report(match (labels, alike.as_slice()) {
            ([], _) => diagnostic.help(format!("list what is measured: `eval = [{}]`", name.text)),
            (_, [first, ..]) => diagnostic
                .note(format!("several metrics have this name: `{first}`, …"))
                .help(format!("give each a name of its own: `let mine = {first}`, and `mine` in `eval` and here")),
            _ => diagnostic.did_you_mean_or(&name.text, labels, at, |diagnostic| {
                diagnostic.note(format!("`eval` has `{}`", labels.join("`, `")))
            }),
        });
    }
}

/// The name that a metric is written with.
fn written(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name),
        ExprKind::Call(callee, _) => written(callee),
        _ => None,
    }
}

/// A way to name a metric.
type Way = fn(&Measure) -> Option<String>;

/// Gives metrics of one name names of their own: by the output that each is of, then by its arguments, then by number.
fn tell_apart(measures: &mut [Measure]) {
    let by_output = |measure: &Measure| Some(format!("{}.{}", measure.output.as_ref()?.0, measure.label));
    let by_arguments = |measure: &Measure| {
        let arguments = measure.call.arguments.iter().map(|(name, value)| format!("{name} = {value}"));
        let arguments = arguments.collect::<Vec<_>>().join(", ");
        (!arguments.is_empty()).then(|| format!("{}({arguments})", measure.label))
    };
    for way in [by_output as Way, by_arguments as Way] {
        for number in doubles(measures) {
            if let Some(label) = way(&measures[number]) {
                measures[number].label = label;
            }
        }
    }
    let left: Vec<(usize, String)> =
        doubles(measures).into_iter().map(|number| (number, measures[number].label.clone())).collect();
    for (at, (number, label)) in left.iter().enumerate() {
        let before = left[..at].iter().filter(|(_, other)| other == label).count();
        if before > 0 {
            measures[*number].label = format!("{label} #{}", before + 1);
        }
    }
}

/// Which metrics have a name that another one has.
fn doubles(measures: &[Measure]) -> Vec<usize> {
    let shared = |label: &str| measures.iter().filter(|measure| measure.label == label).count() > 1;
    (0..measures.len()).filter(|number| shared(&measures[*number].label)).collect()
}

#[cfg(test)]
mod tests {
    use crate::compile;

    fn labels(text: &str) -> Vec<String> {
        let compiled = compile("a.lmv", text, &[]);
        assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
        compiled.experiment.expect("a right spec").eval.into_iter().map(|metric| metric.label).collect()
    }

    #[test]
    fn a_metric_is_called_by_the_name_it_is_written_with() {
        let text = "model = vit_small >> head\ndata = imagenet\nlet mine = top5\n\
                    eval = [top1, mine, imagenet_a, imagenet_r(root = path(\"other\"))]";
        assert_eq!(labels(text), ["top1", "mine", "imagenet_a", "imagenet_r"]);
    }

    #[test]
    fn metrics_of_one_name_are_told_apart() {
        let text = "model = vit_small >> head\ndata = imagenet\n\
                    eval = [top1_on(path(\"a\")), top1_on(path(\"b\")), top1, top5, top1, top5]";
        let expected =
            ["top1_on(root = path(\"a\"))", "top1_on(root = path(\"b\"))", "top1", "top5", "top1 #2", "top5 #2"];
        assert_eq!(labels(text), expected);
    }

    #[test]
    fn what_is_reported_holds_for_what_it_stands_beside() {
        let reported = |text: &str, variant: &str| {
            let which = crate::Which::Variant(variant);
            let files = &crate::files::NoFiles;
            let compiled = crate::check(&crate::Spec { name: "a.lmv", text, files, overrides: &[], which });
            assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
            compiled.experiment.expect("a right variant").eval[0].reported
        };
        let text = "model = vit_small >> head\ndata = imagenet\ntrain = deit\neval = [top1]\nreported = { top1: 80.1 }\n\
                    variant same { seed = 1 }\nvariant other { train.epochs = 3 }\n\
                    variant short { train.epochs = 100\nreported = { top1: 75.3 } }";
        assert_eq!(
            [reported(text, "same"), reported(text, "other"), reported(text, "short")],
            [Some(80.1), None, Some(75.3)]
        );
    }
}
