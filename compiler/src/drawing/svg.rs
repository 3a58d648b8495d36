//! The picture as SVG. Colours are classes with a rule for dark pages; a reader that knows no such rules gets the light
//! ones, with the page's own ground below them.

use std::fmt::Write;

use super::layout::{BAR, Frame, Layout, MARGIN, Way, layout};
use super::scene::{Part, PartKind, Scene};
use crate::graph::Graph;

/// Around the whole picture.
const EDGE: f64 = 24.0;
/// The lines above the picture.
const HEADER: f64 = 58.0;
/// The line below it.
const FOOTER: f64 = 40.0;

/// Widths of letters, in pixels: of names (monospaced, 13), of what is below them (11), of shapes (monospaced, 11).
const TITLE: f64 = 7.9;
const SMALL: f64 = 6.1;
const SHAPE: f64 = 6.7;

/// The width of the shape on a stream.
pub(super) fn label_width(label: &str) -> f64 {
    if label.is_empty() { 2.0 } else { label.chars().count() as f64 * SHAPE + 14.0 }
}

/// The size of a part that is closed; of an open one the least.
pub(super) fn part_size(part: &Part) -> (f64, f64) {
    let title = part.title.chars().count() as f64 * TITLE;
    match part.kind {
        PartKind::Input | PartKind::Output if part.title.is_empty() => (8.0, 0.0),
        PartKind::Input | PartKind::Output => (title + 28.0, 26.0),
        PartKind::Layer => {
            let lines = lines(part);
            let below = lines.iter().map(|line| line.text.chars().count() as f64 * SMALL).fold(0.0, f64::max);
            let mark = if part.frozen > 0 { 22.0 } else { 0.0 };
            if part.inner.is_some() {
                // All in one line.
                let said = said(part).chars().count() as f64 * SMALL;
                return (title + 12.0 + said + mark + 2.0 * MARGIN, BAR);
            }
            // The name stands in the middle, so the mark takes its room on both sides.
            let width = (title + 2.0 * mark + 28.0).max(below + 28.0).max(104.0);
            (width.ceil(), 30.0 + lines.len() as f64 * 15.0 + if lines.is_empty() { 0.0 } else { 3.0 })
        }
    }
}

struct Line {
    text: String,
    class: &'static str,
}

/// What stands below a part's name.
fn lines(part: &Part) -> Vec<Line> {
    let mut lines: Vec<Line> = part.detail.iter().map(|text| Line { text: text.clone(), class: "s" }).collect();
    if part.trained > 0 {
        lines.push(Line { text: format!("{} trained", amount(part.trained)), class: "s t" });
    }
    if part.frozen > 0 {
        lines.push(Line { text: format!("{} frozen", amount(part.frozen)), class: "s f" });
    }
    lines
}

/// What stands behind an open part's name.
fn said(part: &Part) -> String {
    lines(part).into_iter().map(|line| line.text).collect::<Vec<_>>().join(", ")
}

/// A number of parameters in three digits: `5.72 M`, `202 M`, `96`.
fn amount(count: i64) -> String {
    let count = count as f64;
    for (size, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        // What would round up to the next unit is said in it.
        if count >= size * 0.9995 {
            let scaled = count / size;
            let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
            return format!("{scaled:.digits$} {unit}");
        }
    }
    format!("{count}")
}

/// The whole file.
pub(super) fn write(scene: &Scene, graph: &Graph, title: &str) -> String {
    let layout = layout(scene);
    let (trained, frozen) = graph.parameter_counts();
    let counts = match (trained, frozen) {
        (0, 0) => "no parameters".to_owned(),
        (_, 0) => format!("{} trained", amount(trained)),
        (0, _) => format!("{} frozen", amount(frozen)),
        _ => format!("{} trained + {} frozen", amount(trained), amount(frozen)),
    };
    let head = (title.chars().count() as f64 * 10.4).max(counts.chars().count() as f64 * SMALL).max(300.0);
    let width = (layout.size.0.max(head) + 2.0 * EDGE).ceil();
    let height = (layout.size.1 + HEADER + FOOTER + 2.0 * EDGE).ceil();
    let mut out = Out { text: String::new() };
    out.line(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">"
    ));
    out.line(&format!("<title>{}</title>", escaped(title)));
    out.line(STYLE);
    out.line(&format!("<rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>"));
    out.text(EDGE, EDGE + 16.0, "h", title);
    out.text(EDGE, EDGE + 35.0, "s", &counts);
    let left = (width - layout.size.0) / 2.0;
    out.scene(scene, &layout, left, EDGE + HEADER, "page");
    out.legend(EDGE, height - EDGE - 10.0, trained > 0, frozen > 0);
    out.line("</svg>");
    out.text
}

struct Out {
    text: String,
}

impl Out {
    fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.line(&format!("<text x=\"{}\" y=\"{}\" class=\"{class}\">{}</text>", n(x), n(y), escaped(text)));
    }

    /// A scene with its left upper corner at a place.
    fn scene(&mut self, scene: &Scene, layout: &Layout, left: f64, top: f64, ground: &str) {
        let frames: Vec<Frame> =
            layout.parts.iter().map(|frame| Frame { x: frame.x + left, y: frame.y + top, ..*frame }).collect();
        // Open parts lie below the streams that enter them.
        for (part, frame) in scene.parts.iter().zip(&frames).filter(|(part, _)| part.inner.is_some()) {
            self.part(part, *frame);
        }
        for way in &layout.ways {
            self.way(way, left, top);
        }
        for (wire, (x, y)) in scene.wires.iter().zip(&layout.labels).filter(|(wire, _)| !wire.label.is_empty()) {
            let (x, y, width) = (x + left, y + top, label_width(&wire.label));
            self.line(&format!(
                "<rect class=\"{ground}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"15\" rx=\"7\"/>",
                n(x - width / 2.0),
                n(y - 7.5),
                n(width)
            ));
            self.text(x, y + 4.0, "d", &wire.label);
        }
        for ((part, frame), inner) in scene.parts.iter().zip(&frames).zip(&layout.inner) {
            match (&part.inner, inner) {
                (Some(within), Some(layout)) => {
                    let left = frame.x + (frame.width - layout.size.0) / 2.0;
                    self.scene(within, layout, left, frame.y + BAR, "ground");
                }
                _ => self.part(part, *frame),
            }
        }
    }

    fn part(&mut self, part: &Part, frame: Frame) {
        let Frame { x, y, width, height } = frame;
        let middle = x + width / 2.0;
        match part.kind {
            // Where a stream comes through the border of an open part.
            PartKind::Input | PartKind::Output if part.title.is_empty() => {
                return self.line(&format!("<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"3\"/>", n(middle), n(y)));
            }
            PartKind::Input | PartKind::Output => {
                self.rect("port", x, y, width, height, 13.0);
                return self.text(middle, y + 17.5, "n m", &part.title);
            }
            PartKind::Layer => {}
        }
        let class = match (part.trained > 0, part.frozen > 0) {
            _ if part.inner.is_some() => "open",
            (true, true) => "both",
            (true, false) => "trained",
            (false, true) => "frozen",
            (false, false) => "plain",
        };
        if part.times > 1 {
            // What is repeated lies on a pile.
            for behind in [7.0, 3.5] {
                self.rect(class, x + behind, y + behind, width, height, 8.0);
            }
        }
        self.rect(class, x, y, width, height, 8.0);
        if part.inner.is_some() {
            self.text(x + MARGIN, y + 19.0, "n", &part.title);
            let from = x + MARGIN + part.title.chars().count() as f64 * TITLE + 12.0;
            self.text(from, y + 19.0, "s", &said(part));
        } else {
            self.text(middle, y + 20.0, "n m", &part.title);
            for (index, line) in lines(part).into_iter().enumerate() {
                self.text(middle, y + 37.0 + index as f64 * 15.0, &format!("{} m", line.class), &line.text);
            }
        }
        let mut right = x + width - 8.0;
        if part.times > 1 {
            let times = format!("×{}", part.times);
            let wide = times.chars().count() as f64 * SHAPE + 12.0;
            self.rect("badge", x + width - wide + 8.0, y - 9.0, wide, 18.0, 9.0);
            self.text(x + width - wide / 2.0 + 8.0, y + 4.0, "d on", &times);
        }
        if part.frozen > 0 {
            // Beside the badge, where there is one.
            right -= if part.times > 1 { 24.0 } else { 7.0 };
            self.snowflake(right, y + 15.0);
        }
    }

    fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64, round: f64) {
        self.line(&format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{round}\"/>",
            n(x),
            n(y),
            n(width),
            n(height)
        ));
    }

    /// Six arms with two twigs each.
    fn snowflake(&mut self, x: f64, y: f64) {
        let mut path = String::new();
        for arm in 0..6 {
            let turn = |radius: f64, off: f64| {
                let angle = f64::from(arm) * std::f64::consts::FRAC_PI_3 + off;
                (x + radius * angle.sin(), y - radius * angle.cos())
            };
            let (tip, fork, left, right) = (turn(6.5, 0.0), turn(3.6, 0.0), turn(5.8, -0.42), turn(5.8, 0.42));
            let _ = write!(
                path,
                "M{} {}L{} {}M{} {}L{} {}L{} {}",
                n(x),
                n(y),
                n(tip.0),
                n(tip.1),
                n(left.0),
                n(left.1),
                n(fork.0),
                n(fork.1),
                n(right.0),
                n(right.1)
            );
        }
        self.line(&format!("<path class=\"flake\" d=\"{path}\"/>"));
    }

    fn way(&mut self, way: &Way, left: f64, top: f64) {
        let mut path = String::new();
        let mut here: Option<(f64, f64)> = None;
        let last = way.points.len().saturating_sub(1);
        for (index, ((x0, y0), (x1, y1))) in way.points.iter().enumerate() {
            let (x0, y0, x1, mut y1) = (x0 + left, y0 + top, x1 + left, y1 + top);
            if index == last && way.head {
                // The line ends inside of its head.
                y1 -= 5.0;
            }
            match here {
                None => {
                    let _ = write!(path, "M{} {}", n(x0), n(y0));
                }
                Some((x, y)) if (x - x0).abs() < 0.05 => {
                    let _ = (x, y);
                }
                Some((x, y)) => {
                    let half = y + (y0.min(if index == last { y1 } else { y0 }) - y) / 2.0;
                    let _ =
                        write!(path, "C{} {} {} {} {} {}", n(x), n(half), n(x0), n(half), n(x0), n(y0.min(y1.max(y))));
                }
            }
            let _ = write!(path, "V{}", n(y1));
            here = Some((x1, y1));
        }
        self.line(&format!("<path class=\"wire\" d=\"{path}\"/>"));
        if let (true, Some((x, y))) = (way.head, here) {
            self.line(&format!(
                "<path class=\"head\" d=\"M{} {}L{} {}L{} {}Z\"/>",
                n(x),
                n(y + 5.0),
                n(x - 3.6),
                n(y - 2.0),
                n(x + 3.6),
                n(y - 2.0)
            ));
        }
    }

    fn legend(&mut self, x: f64, y: f64, trained: bool, frozen: bool) {
        let mut at = x;
        for (class, text, there) in
            [("trained", "trained", trained), ("frozen", "frozen", frozen), ("plain", "no parameters", true)]
        {
            if there {
                self.rect(class, at, y - 10.0, 18.0, 12.0, 3.0);
                self.text(at + 25.0, y, "s", text);
                at += 25.0 + text.chars().count() as f64 * SMALL + 18.0;
            }
        }
    }
}

/// A coordinate, to a tenth of a pixel.
fn n(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "<style>
text{font-family:ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif}
.n,.d{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.h{font-size:16px;font-weight:600;fill:#1f2328}.n{font-size:13px;font-weight:600;fill:#1f2328}
.s{font-size:11px;fill:#59636e}.s.t{fill:#8a4b08}.s.f{fill:#0b5cad}
.d{font-size:11px;fill:#424a53;text-anchor:middle}.m{text-anchor:middle}.on{fill:#fff}
.page{fill:#fff}.port{fill:#24292f;stroke:none}.port+text{fill:#fff}
.trained{fill:#fff4e5;stroke:#d98a2b}.frozen{fill:#e3f0ff;stroke:#3b82d6}.both{fill:#fff4e5;stroke:#3b82d6;stroke-dasharray:5 3}
.plain{fill:#f3f4f6;stroke:#b1b8c0}.ground{fill:#f7f8fa}.dot{fill:#7a828c}.open{fill:#f7f8fa;stroke:#b1b8c0;stroke-dasharray:2 3}.badge{fill:#57606a}
.wire{fill:none;stroke:#7a828c;stroke-width:1.4}.head{fill:#7a828c}
.flake{fill:none;stroke:#2370c4;stroke-width:1.2;stroke-linecap:round}
@media (prefers-color-scheme:dark){
.h,.n{fill:#e6edf3}.s{fill:#9da7b3}.s.t{fill:#f0b26b}.s.f{fill:#79b8ff}.d{fill:#c0c8d0}.on{fill:#0d1117}
.page{fill:#0d1117}.port{fill:#d0d7de}.port+text{fill:#0d1117}
.trained{fill:#2b1f10;stroke:#c98232}.frozen{fill:#10233d;stroke:#4c9aff}.both{fill:#2b1f10;stroke:#4c9aff}
.plain{fill:#1b2028;stroke:#4d5560}.ground{fill:#11161d}.dot{fill:#8b949e}.open{fill:#11161d;stroke:#4d5560}.badge{fill:#9da7b3}
.wire{stroke:#8b949e}.head{fill:#8b949e}.flake{stroke:#79b8ff}}
</style>";
