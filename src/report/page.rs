//! The page of a run as HTML: all of it in one text, without a script and without anything from elsewhere.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lmv_runtime::error::{Failure, Result};
use lmv_runtime::evaluation::Kept;
use lmv_runtime::evaluation::kept::{FOLDER, Wrong};
use lmv_runtime::metrics::Reading;
use lmv_runtime::training::lock::Lock;
use serde_json::{Map, Value};

use super::classes::{by_class, confused};
use super::plot::{Curve, curves};
use crate::scores;

/// More points than this a curve does not need; those beyond are averaged.
const POINTS: usize = 600;

/// The pairs that are shown.
const PAIRS: usize = 20;

const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2rem auto; padding: 0 1rem;
  color: light-dark(#1a1a1a, #e6e6e6); background: light-dark(#fff, #16181c) }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid light-dark(#ddd, #3a3d44); text-align: right }
th:first-child, td:first-child { text-align: left }
figure { margin: 1rem 0; background: #fff; border-radius: 6px; overflow: hidden }
figure svg { display: block; width: 100%; height: auto }
.wrong { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 1rem }
.wrong img { width: 128px; height: 128px; object-fit: contain; image-rendering: pixelated; background: #8883 }
.wrong p { margin: .2rem 0; font-size: .8rem; overflow-wrap: anywhere }
.scroll { max-height: 26rem; overflow: auto }
";

/// The page.
///
/// # Errors
/// A picture that is named and not there.
pub fn html(run: &Path, lock: &Lock, lines: &[Map<String, Value>], kept: Option<&Kept>) -> Result<String> {
    let name = run.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        escaped(&name)
    );
    let variant = lock.variant.as_ref().map(|variant| format!("variant {variant}, ")).unwrap_or_default();
    let set: String = lock.set.iter().map(|(name, value)| format!(", {name} = {value}")).collect();
    let made = format!("{variant}seed {}, on {}, by lmvc {}{set}", lock.seed, lock.device, lock.lmvc);
    page += &format!("<p>{}</p>\n", escaped(&made));
    match kept {
        Some(kept) => page += &measured(kept),
        None => page += "<p>The run is not done: nothing was measured at its end yet.</p>\n",
    }
    page += &course(lines);
    if let Some(kept) = kept {
        page += &parts(kept);
        page += &mistakes(kept);
        page += &pictures(run, kept)?;
    }
    page += "</body>\n</html>\n";
    Ok(page)
}

fn measured(kept: &Kept) -> String {
    let rows = scores::kept(&kept.scores).into_iter().map(|row| {
        let (reported, difference) = row.beside().unwrap_or_default();
        vec![row.name.clone(), row.reading.show(row.value), reported, difference]
    });
    let when = match kept.epoch {
        Some(epoch) => format!("after epoch {epoch}"),
        None if kept.average => "with the averaged weights, by `lmvc eval --ema --keep`".into(),
        None => "by `lmvc eval --keep`".into(),
    };
    let left_out = match kept.left_out {
        0 => String::new(),
        count => format!("; {count} could not be read and were left out"),
    };
    format!("<h2>Scores</h2>\n<p>Measured {when}, on {} samples{left_out}.</p>\n", kept.samples)
        + &table(&["", "measured", "reported", "difference"], rows)
}

/// The curves, and the epochs as numbers.
fn course(lines: &[Map<String, Value>]) -> String {
    let of_kind = |kind: &'static str| lines.iter().filter(move |line| line.get("kind").is_some_and(|it| it == kind));
    let number = |line: &Map<String, Value>, key: &str| line.get(key).and_then(Value::as_f64);
    let steps: Vec<&Map<String, Value>> = of_kind("step").collect();
    let epochs: Vec<&Map<String, Value>> = of_kind("epoch").collect();
    // A step lies in its epoch as far as its place among that epoch's steps.
    let mut in_epoch: std::collections::BTreeMap<u64, (usize, usize)> = Default::default();
    let epoch_of = |line: &Map<String, Value>| line.get("epoch").and_then(Value::as_u64).unwrap_or(1);
    for step in &steps {
        in_epoch.entry(epoch_of(step)).or_default().1 += 1;
    }
    let mut places = Vec::new();
    let longest = in_epoch.values().map(|(_, all)| *all).max().unwrap_or(1);
    for step in &steps {
        let epoch = epoch_of(step);
        let (seen, _) = in_epoch.entry(epoch).or_default();
        *seen += 1;
        places.push((epoch - epoch.min(1)) as f64 + *seen as f64 / longest as f64);
    }
    let by_step = |name: &str, key: &str| {
        let points = steps.iter().zip(&places).filter_map(|(step, at)| Some((*at, number(step, key)?)));
        Curve { name: name.into(), points: thinned(points.collect()) }
    };
    let by_epoch = |name: &str, key: &str| {
        let points = epochs.iter().filter_map(|line| Some((epoch_of(line) as f64, number(line, key)?)));
        Curve { name: name.into(), points: points.collect() }
    };
    let mut keys: Vec<&str> = epochs.iter().flat_map(|line| line.keys()).map(String::as_str).collect();
    keys.retain(|key| key.starts_with("val_") && !["val_loss", "val_left_out"].contains(key));
    keys.sort_unstable();
    keys.dedup();
    let accuracies: Vec<Curve> = keys.iter().map(|key| by_epoch(&key[4..], key)).collect();
    let losses = [by_step("training", "loss"), by_epoch("evaluation", "val_loss")];
    let mut text = "<h2>Course</h2>\n".to_owned();
    for svg in [
        curves("Loss", "loss", &losses),
        curves("Metrics of the evaluation split", "", &accuracies),
        curves("Learning rate", "rate", &[by_step("learning rate", "lr")]),
    ] {
        if !svg.is_empty() {
            text += &format!("<figure>{svg}</figure>\n");
        }
    }
    let shown = |line: &Map<String, Value>, key: &str| number(line, key).map(|x| format!("{x:.4}")).unwrap_or_default();
    let rows = epochs.iter().map(|line| {
        let mut row = vec![epoch_of(line).to_string(), shown(line, "train_loss"), shown(line, "val_loss")];
        row.extend(keys.iter().map(|key| shown(line, key)));
        row
    });
    let mut head = vec!["epoch", "training loss", "evaluation loss"];
    head.extend(keys.iter().map(|key| &key[4..]));
    text + "<div class=\"scroll\">\n" + &table(&head, rows) + "</div>\n"
}

/// Neighbours averaged until there are few enough.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(POINTS).max(1);
    let mean = |points: &[(f64, f64)], of: &dyn Fn(&(f64, f64)) -> f64| {
        points.iter().map(of).sum::<f64>() / points.len() as f64
    };
    points.chunks(each).map(|points| (mean(points, &|point| point.0), mean(points, &|point| point.1))).collect()
}

/// The parts of metrics that have some: ImageNet-C by corruption and severity.
fn parts(kept: &Kept) -> String {
    let mut text = String::new();
    for row in scores::kept(&kept.scores).iter().filter(|row| !row.parts.is_empty()) {
        let wholes = row.parts.iter().filter(|(name, _)| !name.contains('/'));
        let mut most = 0;
        let lines: Vec<Vec<String>> = wholes
            .map(|(name, value)| {
                let inner = row.parts.iter().filter(|(part, _)| part.starts_with(&format!("{name}/")));
                let mut line = vec![name.clone(), row.reading.show(*value)];
                line.extend(inner.map(|(_, value)| row.reading.show(*value)));
                most = most.max(line.len() - 2);
                line
            })
            .collect();
        let severities: Vec<String> = (1..=most).map(|severity| severity.to_string()).collect();
        let mut head = vec!["", "all"];
        head.extend(severities.iter().map(String::as_str));
        text += &format!("<h2>{}</h2>\n", escaped(&row.name));
        text += &table(&head, lines.into_iter());
    }
    text
}

fn mistakes(kept: &Kept) -> String {
    if kept.predictions.is_empty() {
        return String::new();
    }
    let class = |number: usize| kept.classes.get(number).cloned().unwrap_or_else(|| number.to_string());
    let rows = by_class(&kept.predictions).into_iter().map(|found| {
        vec![class(found.class), Reading::Percent.show(found.accuracy()), format!("{} of {}", found.right, found.all)]
    });
    let mut text = "<h2>Classes, the worst first</h2>\n<div class=\"scroll\">\n".to_owned();
    text += &table(&["class", "right", ""], rows);
    text += "</div>\n";
    let pairs = confused(&kept.predictions);
    if !pairs.is_empty() {
        let rows = pairs
            .iter()
            .take(PAIRS)
            .map(|(label, predicted, count)| vec![class(*label), class(*predicted), count.to_string()]);
        text += "<h2>What is taken for what</h2>\n";
        text += &table(&["class", "taken for", &kept.noun], rows);
    }
    text
}

fn pictures(run: &Path, kept: &Kept) -> Result<String> {
    if kept.wrong.is_empty() {
        return Ok(String::new());
    }
    let class = |number: usize| escaped(kept.classes.get(number).map_or("", String::as_str));
    let mut text = format!("<h2>The most wrong {}</h2>\n<div class=\"wrong\">\n", escaped(&kept.noun));
    for Wrong { picture, prediction } in &kept.wrong {
        let path = run.join(FOLDER).join(picture);
        let bytes =
            std::fs::read(&path).map_err(|error| Failure::at(&path, format!("the picture cannot be read: {error}")))?;
        let (label, predicted) = (class(prediction.label), class(prediction.predicted));
        text += &format!(
            "<div><img alt=\"{0}\" title=\"{0}\" src=\"data:image/png;base64,{1}\"><p>{label} {2:.1} %<br>taken for \
             {predicted} {3:.1} %</p></div>\n",
            escaped(&prediction.image),
            STANDARD.encode(bytes),
            100.0 * prediction.of_label,
            100.0 * prediction.probability,
        );
    }
    Ok(text + "</div>\n")
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: String = cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head = line("th", &mut head.iter().copied());
    let rows: String = rows.map(|row| line("td", &mut row.iter().map(String::as_str))).collect();
    format!("<table>\n{head}{rows}</table>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_page() {
        let text = table(&["a"], std::iter::once(vec!["<script>\"&".to_owned()]));
        assert!(text.contains("<td>&lt;script&gt;&quot;&amp;</td>"), "{text}");
    }

    #[test]
    fn curves_are_thinned_by_means() {
        assert_eq!(thinned(vec![(0.0, 1.0), (1.0, 3.0)]), [(0.0, 1.0), (1.0, 3.0)]);
        let many: Vec<(f64, f64)> = (0..1200).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        let few = thinned(many);
        assert_eq!((few.len(), few[0]), (600, (0.5, 0.5)));
    }
}
