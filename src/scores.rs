//! What was measured beside what was published: as lines, as a table in Markdown, and for programs.

use lmv_compiler::Experiment;
use lmv_runtime::evaluation::kept::KeptScore;
use lmv_runtime::metrics::{Reading, Score};
use serde_json::{Map, Value, json};

/// One metric: what it came to, and what was published.
pub struct Row {
    /// What it is called.
    pub name: String,
    /// What it came to.
    pub value: f64,
    /// What was published.
    pub reported: Option<f64>,
    /// How it reads.
    pub reading: Reading,
    /// What it is made of.
    pub parts: Vec<(String, f64)>,
    /// The samples it was measured on and those that could not be read, where they are not those of the evaluation split.
    pub samples: Option<(usize, usize)>,
}

impl Row {
    /// Measured minus published.
    pub fn difference(&self) -> Option<f64> {
        self.reported.map(|reported| self.value - reported)
    }

    /// What was published, and the difference, as text.
    pub fn beside(&self) -> Option<(String, String)> {
        Some((self.number(self.reported?), self.signed(self.difference()?)))
    }

    /// A number of this metric without its unit.
    fn number(&self, value: f64) -> String {
        match self.reading {
            Reading::Percent | Reading::ErrorPercent => format!("{value:.2}"),
            Reading::Less => format!("{value:.4}"),
        }
    }

    fn signed(&self, difference: f64) -> String {
        match self.reading {
            Reading::Percent | Reading::ErrorPercent => format!("{difference:+.2}"),
            Reading::Less => format!("{difference:+.4}"),
        }
    }
}

/// What was measured, each with what the spec says was published for it.
pub fn rows(scores: &[Score], experiment: &Experiment) -> Vec<Row> {
    let reported = |name: &str| experiment.eval.iter().find(|metric| metric.label == name)?.reported;
    let row = |score: &Score| Row {
        name: score.name.clone(),
        value: score.value,
        reported: reported(&score.name),
        reading: score.reading,
        parts: score.parts.clone(),
        samples: score.samples,
    };
    scores.iter().map(row).collect()
}

/// The same of what a run keeps.
pub fn kept(scores: &[KeptScore]) -> Vec<Row> {
    let reading = |score: &KeptScore| match (score.unit.as_str(), score.more_is_better) {
        ("percent", true) => Reading::Percent,
        ("percent", false) => Reading::ErrorPercent,
        _ => Reading::Less,
    };
    let row = |score: &KeptScore| Row {
        name: score.name.clone(),
        value: score.value,
        reported: score.reported,
        reading: reading(score),
        parts: score.parts.clone(),
        samples: score.samples.zip(score.left_out),
    };
    scores.iter().map(row).collect()
}

/// A line a metric, and below it a line for each of its parts; parts of parts (`fog/3`) are for programs.
pub fn lines(rows: &[Row]) -> String {
    let shown = |part: &&(String, f64)| !part.0.contains('/');
    let names = rows.iter().flat_map(|row| {
        let parts = row.parts.iter().filter(shown).map(|(name, _)| name.chars().count() + 2);
        std::iter::once(row.name.chars().count()).chain(parts)
    });
    let width = names.max().unwrap_or(0);
    let values = rows.iter().map(|row| row.reading.show(row.value).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let value = row.reading.show(row.value);
        let beside = match row.beside() {
            Some((reported, difference)) => {
                format!("{:pad$}  reported {reported}, {difference}", "", pad = values - value.chars().count())
            }
            None => String::new(),
        };
        text += &format!("{:width$}  {value}{beside}\n", row.name);
        for (name, value) in row.parts.iter().filter(shown) {
            text += &format!("  {name:inner$}  {}\n", row.reading.show(*value), inner = width - 2);
        }
    }
    text
}

/// A table with a column for each metric: measured, and where anything was published, that and the difference.
pub fn markdown(rows: &[Row]) -> String {
    let line = |title: &str, cell: &dyn Fn(&Row) -> String| {
        let cells: Vec<String> = rows.iter().map(cell).collect();
        format!("| {title} | {} |\n", cells.join(" | "))
    };
    let mut text = line("", &|row| row.name.replace('|', "\\|"));
    text += &line("---", &|_| "---:".into());
    text += &line("measured", &|row| row.number(row.value));
    if rows.iter().any(|row| row.reported.is_some()) {
        text += &line("reported", &|row| row.reported.map(|value| row.number(value)).unwrap_or_default());
        text += &line("difference", &|row| row.difference().map(|value| row.signed(value)).unwrap_or_default());
    }
    text
}

/// An object with the metrics by name, what was published for them, and what they are made of.
pub fn json(rows: &[Row]) -> Map<String, Value> {
    let by_name = |of: &dyn Fn(&Row) -> Option<Value>| -> Map<String, Value> {
        rows.iter().filter_map(|row| Some((row.name.clone(), of(row)?))).collect()
    };
    let parts = |row: &Row| {
        let parts: Map<String, Value> = row.parts.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        (!parts.is_empty()).then_some(Value::Object(parts))
    };
    let elsewhere =
        |row: &Row| row.samples.map(|(samples, left_out)| json!({ "samples": samples, "left_out": left_out }));
    let mut object = Map::new();
    object.insert("metrics".into(), Value::Object(by_name(&|row| Some(json!(row.value)))));
    for (key, found) in [
        ("reported", by_name(&|row| row.reported.map(|value| json!(value)))),
        ("difference", by_name(&|row| row.difference().map(|value| json!(value)))),
        ("parts", by_name(&parts)),
        ("elsewhere", by_name(&elsewhere)),
    ] {
        if !found.is_empty() {
            object.insert(key.into(), Value::Object(found));
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Row> {
        let row = |name: &str, value, reported, reading| Row {
            name: name.into(),
            value,
            reported,
            reading,
            parts: Vec::new(),
            samples: None,
        };
        let mut damaged = row("imagenet_c", 50.5, Some(57.25), Reading::Percent);
        damaged.parts = vec![("fog".into(), 40.0), ("fog/1".into(), 60.0)];
        vec![row("top1", 80.0, Some(80.5), Reading::Percent), damaged, row("loss", 1.25, None, Reading::Less)]
    }

    #[test]
    fn what_was_published_stands_beside_what_was_measured() {
        insta::assert_snapshot!(lines(&all()), @"
        top1        80.00 %  reported 80.50, -0.50
        imagenet_c  50.50 %  reported 57.25, -6.75
          fog       40.00 %
        loss        1.2500
        ");
        insta::assert_snapshot!(markdown(&all()), @"
        |  | top1 | imagenet_c | loss |
        | --- | ---: | ---: | ---: |
        | measured | 80.00 | 50.50 | 1.2500 |
        | reported | 80.50 | 57.25 |  |
        | difference | -0.50 | -6.75 |  |
        ");
    }

    #[test]
    fn programs_get_every_part() {
        let object = json(&all());
        assert_eq!(object["parts"]["imagenet_c"]["fog/1"], 60.0);
        assert_eq!(object["difference"]["top1"], -0.5);
        assert!(object["reported"].get("loss").is_none());
        assert!(!object.contains_key("elsewhere"));
    }
}
