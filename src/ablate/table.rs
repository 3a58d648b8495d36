//! The table of an ablation: for each variant the mean of its seeds, their range, and what it differs from the first.

use lmv_runtime::evaluation::kept::KeptScore;
use serde_json::{Value, json};

/// A variant with its finished runs.
pub struct Row {
    /// Its name.
    pub variant: String,
    /// The runs: seed, folder, scores.
    pub runs: Vec<(u64, String, Vec<KeptScore>)>,
}

/// What a metric came to over the seeds of a variant.
#[derive(Debug, PartialEq)]
struct Cell {
    mean: f64,
    least: f64,
    most: f64,
    reported: Option<f64>,
}

impl Row {
    fn cell(&self, metric: &str) -> Option<Cell> {
        let found: Vec<&KeptScore> =
            self.runs.iter().filter_map(|(_, _, scores)| scores.iter().find(|score| score.name == metric)).collect();
        let first = found.first()?;
        let values = || found.iter().map(|score| score.value);
        Some(Cell {
            mean: values().sum::<f64>() / found.len() as f64,
            least: values().fold(f64::INFINITY, f64::min),
            most: values().fold(f64::NEG_INFINITY, f64::max),
            reported: first.reported,
        })
    }
}

/// The names of the metrics, in the order in which they are first met.
fn metrics(rows: &[Row]) -> Vec<&KeptScore> {
    let mut names: Vec<&KeptScore> = Vec::new();
    for score in rows.iter().flat_map(|row| &row.runs).flat_map(|(_, _, scores)| scores) {
        if names.iter().all(|known| known.name != score.name) {
            names.push(score);
        }
    }
    names
}

/// In Markdown: a row for each variant; for each metric its mean with the range of the seeds, the difference to the first
/// variant, and what was published.
pub fn markdown(rows: &[Row]) -> String {
    let metrics = metrics(rows);
    let published =
        |metric: &KeptScore| rows.iter().filter_map(|row| row.cell(&metric.name)).any(|cell| cell.reported.is_some());
    let mut lines = vec![vec!["variant".to_owned(), "seeds".to_owned()]];
    for metric in &metrics {
        lines[0].extend([metric.name.clone(), "difference".to_owned()]);
        lines[0].extend(published(metric).then(|| "reported".to_owned()));
    }
    for row in rows {
        let seeds: Vec<String> = row.runs.iter().map(|(seed, ..)| seed.to_string()).collect();
        let mut line = vec![row.variant.clone(), seeds.join(", ")];
        for metric in &metrics {
            let digits = if metric.unit == "percent" { 2 } else { 4 };
            let (cell, first) = (row.cell(&metric.name), rows[0].cell(&metric.name));
            line.push(cell.as_ref().map_or_else(String::new, |cell| match row.runs.len() {
                1 => format!("{:.digits$}", cell.mean),
                _ => format!("{:.digits$} ({:.digits$} to {:.digits$})", cell.mean, cell.least, cell.most),
            }));
            line.push(match (&cell, &first) {
                (Some(cell), Some(first)) if !std::ptr::eq(row, &rows[0]) => {
                    format!("{:+.digits$}", cell.mean - first.mean)
                }
                _ => String::new(),
            });
            if published(metric) {
                let reported = cell.and_then(|cell| cell.reported);
                line.push(reported.map_or_else(String::new, |reported| format!("{reported:.digits$}")));
            }
        }
        lines.push(line);
    }
    lines.insert(1, (0..lines[0].len()).map(|column| if column < 2 { "---" } else { "---:" }.to_owned()).collect());
    lines.into_iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
}

/// The same for programs, with every run.
pub fn json(rows: &[Row]) -> Value {
    let names = metrics(rows);
    let row = |row: &Row| {
        let cells = names.iter().filter_map(|metric| {
            let (cell, first) = (row.cell(&metric.name)?, rows[0].cell(&metric.name));
            let difference = first.map(|first| cell.mean - first.mean);
            let found = json!({
                "mean": cell.mean, "min": cell.least, "max": cell.most, "difference": difference,
                "reported": cell.reported,
            });
            Some((metric.name.clone(), found))
        });
        let cells: serde_json::Map<String, Value> = cells.collect();
        let runs = row.runs.iter().map(|(seed, folder, scores)| {
            let metrics: serde_json::Map<String, Value> =
                scores.iter().map(|score| (score.name.clone(), json!(score.value))).collect();
            json!({ "seed": seed, "folder": folder, "metrics": metrics })
        });
        json!({ "variant": row.variant, "metrics": cells, "runs": runs.collect::<Vec<_>>() })
    };
    json!({ "variants": rows.iter().map(row).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, top1: f64, loss: f64, reported: Option<f64>) -> (u64, String, Vec<KeptScore>) {
        let score = |name: &str, value, unit: &str, reported| KeptScore {
            name: name.into(),
            value,
            unit: unit.into(),
            more_is_better: unit == "percent",
            reported,
            parts: Vec::new(),
            samples: None,
            left_out: None,
        };
        (seed, format!("r-{seed}"), vec![score("top1", top1, "percent", reported), score("loss", loss, "", None)])
    }

    #[test]
    fn means_ranges_and_differences() {
        let rows = [
            Row { variant: "without".into(), runs: vec![run(0, 50.0, 1.0, Some(80.1)), run(1, 54.0, 2.0, Some(80.1))] },
            Row { variant: "block".into(), runs: vec![run(0, 55.0, 0.5, None)] },
        ];
        insta::assert_snapshot!(markdown(&rows), @"
        | variant | seeds | top1 | difference | reported | loss | difference |
        | --- | --- | ---: | ---: | ---: | ---: | ---: |
        | without | 0, 1 | 52.00 (50.00 to 54.00) |  | 80.10 | 1.5000 (1.0000 to 2.0000) |  |
        | block | 0 | 55.00 | +3.00 |  | 0.5000 | -1.0000 |
        ");
        let found = json(&rows);
        assert_eq!(found["variants"][1]["metrics"]["top1"]["difference"], 3.0);
        assert_eq!(found["variants"][0]["metrics"]["top1"]["max"], 54.0);
        assert_eq!(found["variants"][0]["runs"][1]["metrics"]["loss"], 2.0);
    }
}
