//! What `lmvc bench` prints: a table for people, an object for programs.

use lmv_runtime::benchmark::{Found, Machine, Measured, Part};
use serde_json::{Value, json};

use super::{BEFORE, Head, runs};
use crate::context::Paint;
use crate::units::{bytes, counted, si};

const HEADER: [&str; 6] = ["part", "median", "fastest … slowest", "pace", "of the machine", "peak memory"];

/// The table.
pub(super) fn draw(head: &Head<'_>, found: &Found, color: bool) -> String {
    let mut page = Paint::Strong.on(head.name, color) + "\n";
    page += &format!(
        "  batches of {}, {}, {}, {}; {} each, after {BEFORE}\n\n",
        head.batch,
        head.precision,
        head.device,
        counted(head.threads, "thread", "threads"),
        counted(runs(found), "run", "runs")
    );
    // Where nothing was measured, no table is drawn.
    let mut rows = if found.parts.is_empty() { Vec::new() } else { vec![HEADER.map(str::to_owned)] };
    rows.extend(found.parts.iter().map(|part| row(part, found.machine.as_ref())));
    let widths: Vec<usize> =
        (0..HEADER.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        let line = format!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        page += &if index == 0 { Paint::Faint.on(&line, color) } else { line };
        page.push('\n');
    }
    if !found.parts.is_empty() {
        page.push('\n');
    }
    if let Some(Machine { flops, product: [rows, terms, columns], bytes: copied }) = found.machine {
        let product = format!("[{rows}, {terms}] by [{terms}, {columns}]");
        page += &format!("  the machine: {}FLOP/s in a product {product}, {}B/s in a copy\n", si(flops), si(copied));
    }
    for (part, why) in &found.left_out {
        page += &format!("  not measured: {}, since {why}\n", title(*part));
    }
    for note in notes(found) {
        page += &format!("  note: {note}\n");
    }
    page
}

/// What was told while measuring, and what there is to say of the shares.
fn notes(found: &Found) -> Vec<String> {
    let beyond = |part: &&Measured| {
        let (_, middle, _) = spread(&part.seconds);
        let more = |amount: Option<f64>, most: f64| amount.is_some_and(|amount| amount / middle > most);
        found.machine.is_some_and(|machine| match part.flops {
            Some(flops) => more(Some(flops), machine.flops),
            None => more(part.bytes, machine.bytes),
        })
    };
    let busy = found.parts.iter().find(beyond).map(|part| {
        format!(
            "the share of {} is over 100 %: the machine was busy while it was measured; measure again",
            title(part.part)
        )
    });
    found.notes.iter().cloned().chain(busy).collect()
}

fn row(part: &Measured, machine: Option<&Machine>) -> [String; 6] {
    let (fastest, middle, slowest) = spread(&part.seconds);
    let pace = match (part.samples, part.bytes) {
        (Some(samples), _) => format!("{} samples/s", rate(samples as f64 / middle)),
        (None, Some(bytes)) => format!("{}B", si(bytes)),
        (None, None) => String::new(),
    };
    let share = |reached: f64, unit: &str, most: Option<f64>| match most {
        Some(most) => format!("{}{unit}, {:.0} %", si(reached), 100.0 * reached / most),
        None => format!("{}{unit}", si(reached)),
    };
    let of = match (part.flops, part.bytes) {
        (Some(flops), _) => share(flops / middle, "FLOP/s", machine.map(|machine| machine.flops)),
        (None, Some(bytes)) => share(bytes / middle, "B/s", machine.map(|machine| machine.bytes)),
        (None, None) => String::new(),
    };
    let of_run = match (part.part, part.batches) {
        (Part::Data, Some(batches)) => format!(", {}", counted(batches, "batch", "batches")),
        (Part::Weights, _) => ", all of them".to_owned(),
        _ => String::new(),
    };
    [
        title(part.part).to_owned() + &of_run,
        seconds(middle),
        format!("{} … {}", seconds(fastest), seconds(slowest)),
        pace,
        of,
        part.peak_bytes.map(|peak| bytes(peak as f64)).unwrap_or_default(),
    ]
}

fn title(part: Part) -> &'static str {
    match part {
        Part::Weights => "loading weights",
        Part::Data => "data",
        Part::Forward => "forward",
        Part::Train => "training step",
    }
}

/// The fastest, the median and the slowest.
fn spread(seconds: &[f64]) -> (f64, f64, f64) {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { at(middle) } else { (at(middle.saturating_sub(1)) + at(middle)) / 2.0 };
    (at(0), median, at(sorted.len().saturating_sub(1)))
}

/// Three digits of a rate.
fn rate(number: f64) -> String {
    match number {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => si(n),
    }
}

/// Three digits of a time.
fn seconds(time: f64) -> String {
    match time {
        t if t >= 99.95 => format!("{t:.0} s"),
        t if t >= 9.995 => format!("{t:.1} s"),
        t if t >= 0.9995 => format!("{t:.2} s"),
        t if t >= 0.09995 => format!("{:.0} ms", t * 1e3),
        t if t >= 0.009995 => format!("{:.1} ms", t * 1e3),
        t if t >= 0.0009995 => format!("{:.2} ms", t * 1e3),
        t => format!("{:.0} µs", t * 1e6),
    }
}

/// The object.
pub(super) fn json(head: &Head<'_>, found: &Found) -> String {
    let machine = found.machine.as_ref();
    let of = |part: &Measured| -> Value {
        let (fastest, median, slowest) = spread(&part.seconds);
        let rate = |amount: Option<f64>| amount.map(|amount| amount / median);
        let share = |amount: Option<f64>, most: Option<f64>| Some(rate(amount)? / most?);
        json!({
            "part": part.part.name(),
            "median_seconds": median, "fastest_seconds": fastest, "slowest_seconds": slowest, "seconds": part.seconds,
            "samples": part.samples, "batches": part.batches, "samples_per_second": rate(part.samples.map(|n| n as f64)),
            "flops": part.flops, "flops_per_second": rate(part.flops),
            "flops_share": share(part.flops, machine.map(|machine| machine.flops)),
            "bytes": part.bytes.map(|bytes| bytes as u64), "bytes_per_second": rate(part.bytes),
            "bytes_share": share(part.bytes, machine.map(|machine| machine.bytes)),
            "peak_bytes": part.peak_bytes,
        })
    };
    let left_out: Vec<Value> =
        found.left_out.iter().map(|(part, why)| json!({ "part": part.name(), "reason": why })).collect();
    let object = json!({
        "spec": head.name, "lmvc": env!("CARGO_PKG_VERSION"), "batch": head.batch, "precision": head.precision,
        "device": head.device, "threads": head.threads, "repeats": runs(found), "warm_up": BEFORE,
        "parts": found.parts.iter().map(of).collect::<Vec<_>>(), "left_out": left_out, "notes": notes(found),
        "machine": machine.map(|machine| json!({
            "flops_per_second": machine.flops, "product": machine.product, "copy_bytes_per_second": machine.bytes,
        })),
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_a_median_of_any_number() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[5.0]), (5.0, 5.0, 5.0));
    }

    fn measured(part: Part, flops: Option<f64>) -> Measured {
        let (samples, batches, bytes) = (Some(48), Some(3), flops.is_none().then_some(4e6));
        Measured { part, seconds: vec![1.0, 2.0, 4.0], flops, samples, batches, bytes, peak_bytes: None }
    }

    #[test]
    fn a_row_says_what_a_run_of_it_is() {
        let titles = [Part::Weights, Part::Data, Part::Forward].map(|part| row(&measured(part, None), None)[0].clone());
        assert_eq!(titles, ["loading weights, all of them", "data, 3 batches", "forward"]);
        assert_eq!(row(&measured(Part::Data, None), None)[3], "24.0 samples/s");
    }

    #[test]
    fn a_share_over_the_whole_is_told_of() {
        let machine = Machine { flops: 10e9, product: [1; 3], bytes: 1.0 };
        let with = |flops| Found {
            parts: vec![measured(Part::Forward, Some(flops))],
            machine: Some(machine),
            ..Found::default()
        };
        // 10 and 11 a second in the median of two seconds.
        assert!(notes(&with(20e9)).is_empty());
        assert_eq!(row(&measured(Part::Forward, Some(22e9)), Some(&machine))[4], "11.0 GFLOP/s, 110 %");
        assert!(notes(&with(22e9))[0].starts_with("the share of forward is over 100 %: the machine was busy"));
    }

    #[test]
    fn times_keep_three_digits() {
        let shown: Vec<String> = [0.0000123, 0.001, 0.0123, 0.0999, 0.123, 1.0, 12.34, 123.4].map(seconds).into();
        assert_eq!(shown, ["12 µs", "1.00 ms", "12.3 ms", "99.9 ms", "123 ms", "1.00 s", "12.3 s", "123 s"]);
    }
}
