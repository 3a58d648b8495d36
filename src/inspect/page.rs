//! The page of inspected clouds: one file with a script of its own and nothing from elsewhere.

use lmv_runtime::inspection::Inspected;
use serde_json::{Value, json};

/// Dark for little, bright for much: viridis at eight places (matplotlib's, van der Walt and Smith).
const HEAT: [[u8; 3]; 8] = [
    [68, 1, 84],
    [70, 50, 127],
    [54, 92, 141],
    [39, 127, 142],
    [31, 161, 135],
    [74, 194, 109],
    [159, 218, 58],
    [253, 231, 37],
];

/// The colour of an activation from 0 to 1.
pub fn heat(value: f32) -> [u8; 3] {
    let at = value.clamp(0.0, 1.0) * (HEAT.len() - 1) as f32;
    let lower = (at as usize).min(HEAT.len() - 2);
    let share = at - lower as f32;
    let mix =
        |channel: usize| f32::from(HEAT[lower][channel]) * (1.0 - share) + f32::from(HEAT[lower + 1][channel]) * share;
    [mix(0).round() as u8, mix(1).round() as u8, mix(2).round() as u8]
}

/// A colour for each group, those of neighbouring numbers far apart: the hue turns by the golden angle.
pub fn colour_of_group(group: usize) -> [u8; 3] {
    let hue = (group as f32 * 137.508) % 360.0 / 60.0;
    let part = |offset: f32| {
        let k = (offset + hue) % 6.0;
        (210.0 - 150.0 * k.min(4.0 - k).clamp(0.0, 1.0)).round() as u8
    };
    [part(5.0), part(3.0), part(1.0)]
}

/// The page; groups at most `above` active begin pale.
pub fn html(found: &[Inspected], above: f32) -> String {
    let clouds: Vec<Value> = found.iter().map(cloud).collect();
    // What could end the script or begin a comment is written by its number.
    let data = json!({ "clouds": clouds, "heat": HEAT, "above": above }).to_string().replace('<', "\\u003c");
    PAGE.replace("DATA", &data)
}

fn cloud(inspected: &Inspected) -> Value {
    let shortened = |values: &[f32]| values.iter().map(|x| (f64::from(*x) * 1e4).round() / 1e4).collect::<Vec<f64>>();
    let stages: Vec<Value> = inspected
        .stages
        .iter()
        .map(|stage| {
            json!({
                "name": stage.name,
                "magnitude": shortened(&stage.activation.magnitude),
                "frequency": shortened(&stage.activation.frequency),
            })
        })
        .collect();
    let colours: Vec<[u8; 3]> = (0..inspected.groups.len()).map(colour_of_group).collect();
    json!({
        "name": inspected.name,
        "class": inspected.class,
        "predicted": inspected.predicted,
        "probability": inspected.probability,
        "points": shortened(&inspected.points),
        "groups": inspected.groups,
        "colours": colours,
        "stages": stages,
    })
}

const PAGE: &str = include_str!("page.html");
