//! The curves of a run as SVG.

use std::error::Error;

use plotters::prelude::*;

/// Width and height, in pixels of the page.
const SIZE: (u32, u32) = (860, 300);

/// A curve: its name and its points.
pub struct Curve {
    /// What it is called in the legend.
    pub name: String,
    /// Across and up.
    pub points: Vec<(f64, f64)>,
}

/// Curves over epochs; empty where there is no point that can be drawn.
pub fn curves(title: &str, unit: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    if points().next().is_none() {
        return String::new();
    }
    let range = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min);
        let most = points().map(of).fold(f64::NEG_INFINITY, f64::max);
        // A flat line is drawn in the middle.
        let around = if least == 0.0 { 0.5 } else { least.abs() * 0.5 };
        if most > least { (least, most) } else { (least - around, most + around) }
    };
    let mut svg = String::new();
    match draw(&mut svg, title, unit, curves, range(&|point| point.0), range(&|point| point.1)) {
        Ok(()) => svg,
        // The numbers stand in tables too.
        Err(_) => String::new(),
    }
}

fn draw(
    svg: &mut String,
    title: &str,
    unit: &str,
    curves: &[Curve],
    (left, right): (f64, f64),
    (low, high): (f64, f64),
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let room = (high - low) * 0.05;
    // Nothing that is drawn here goes from above zero to below.
    let bottom = if low < 0.0 { low - room } else { (low - room).max(0.0) };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(left..right, bottom..high + room)?;
    let label = |y: &f64| match y.abs() {
        nothing if nothing < (high - low) * 1e-6 => "0".to_owned(),
        small if small < 0.01 => format!("{y:.1e}"),
        _ => format!("{y:.2}"),
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("epoch")
        .y_desc(unit)
        // A short run has marks between its epochs, which have no number.
        .x_label_formatter(&|x| if (x - x.round()).abs() < 0.01 { format!("{x:.0}") } else { String::new() })
        .y_label_formatter(&label)
        .x_labels(10)
        .y_labels(6)
        .draw()?;
    for (number, curve) in curves.iter().enumerate() {
        // Colours that can be told apart without seeing red from green (Okabe and Ito).
        let colours = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
        let colour = colours[number % colours.len()];
        let points = curve.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite());
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
        if curve.points.len() == 1 {
            chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    if curves.len() > 1 {
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
    }
    area.present()?;
    Ok(())
}
