//! A cloud's picture: its groups, and how active they are at each stage, with what each is and the scale of the colours.

use lmv_runtime::data::Pixels;
use lmv_runtime::data::clouds::picture::{View, draw as cloud};
use lmv_runtime::inspection::Inspected;

use super::lettering::{LETTER, LINE, shortened, write};
use super::page::{colour_of_group, heat};

/// The side of one picture, and the room between two.
const SIDE: usize = 240;
const ROOM: usize = 8;
/// The height of the line over all of them, and of the one over each.
const TITLE: usize = LINE + ROOM;
const CAPTION: usize = LINE + 3;

const INK: [u8; 3] = [40, 40, 46];

const BACKGROUND: [u8; 3] = [255, 255, 255];
/// Points of no group, or of one that is hardly active.
const PALE: [u8; 3] = [206, 210, 216];

/// Where a picture lies on the sheet.
fn corner(column: usize, row: usize) -> (usize, usize) {
    (ROOM + column * (SIDE + ROOM), TITLE + CAPTION + row * (CAPTION + SIDE + ROOM))
}

/// Over all of it what the cloud is and what it was taken for. The groups in colours of their own in the first column, below
/// them the scale; behind it a column for each stage, above by magnitude, below by frequency. Groups at most `above` active
/// are pale.
pub fn draw(inspected: &Inspected, above: f32) -> Pixels {
    let columns = inspected.stages.len() + 1;
    let (width, height) = corner(columns, 1);
    let height = height + SIDE + ROOM;
    let mut sheet = Pixels::from_fn(width, height, |_, _| BACKGROUND);
    let of_point = groups_of_points(inspected);
    let view = View { side: SIDE, radius: 2.0, background: BACKGROUND };
    let mut put = |column: usize, row: usize, colour: &dyn Fn(usize) -> [u8; 3]| {
        let picture = cloud(&inspected.points, view, |point| Some(of_point[point].map_or(PALE, colour)));
        let (left, top) = corner(column, row);
        paste(&mut sheet, &picture, left, top);
    };
    put(0, 0, &colour_of_group);
    for (column, stage) in inspected.stages.iter().enumerate() {
        for (row, values) in [&stage.activation.magnitude, &stage.activation.frequency].into_iter().enumerate() {
            put(column + 1, row, &|group| match values[group] {
                value if value > above => heat(value),
                _ => PALE,
            });
        }
    }
    let title = format!("{}: {}", inspected.name, taken_for(inspected));
    write(&mut sheet, ROOM, ROOM / 2, &shortened(&title, width - 2 * ROOM), INK);
    caption(&mut sheet, (0, 0), "", "groups");
    for (column, stage) in inspected.stages.iter().enumerate() {
        caption(&mut sheet, (column + 1, 0), &stage.name, "magnitude");
        caption(&mut sheet, (column + 1, 1), &stage.name, "frequency");
    }
    scale(&mut sheet, above);
    sheet
}

/// `tall, taken for flat (61.2 %)`.
pub fn taken_for(inspected: &Inspected) -> String {
    let Inspected { class, predicted, probability, .. } = inspected;
    format!("{class}, taken for {predicted} ({:.1} %)", 100.0 * probability)
}

/// What a picture is, over it: a stage, and what of it is shown.
fn caption(sheet: &mut Pixels, (column, row): (usize, usize), stage: &str, what: &str) {
    let (left, top) = corner(column, row);
    let text = match stage {
        "" => what.to_owned(),
        stage => format!("{}, {what}", shortened(stage, SIDE - (what.len() + 2) * LETTER)),
    };
    write(sheet, left, top - CAPTION, &text, INK);
}

/// The colours of activations, below the groups: a share of the most active group's.
fn scale(sheet: &mut Pixels, above: f32) {
    let (left, top) = corner(0, 1);
    let (width, thick) = (SIDE - 2 * ROOM, 16);
    write(sheet, left, top, "share of the most active group", INK);
    let bar = top + CAPTION + ROOM;
    for x in 0..width {
        let share = x as f32 / (width - 1) as f32;
        let [r, g, b] = if share > above { heat(share) } else { PALE };
        for y in bar..bar + thick {
            let at = 3 * (y * sheet.width + left + x);
            sheet.data[at..at + 3].copy_from_slice(&[r, g, b]);
        }
    }
    let below = bar + thick + 3;
    write(sheet, left, below, "0", INK);
    write(sheet, left + width - LETTER, below, "1", INK);
    if above > 0.0 && above < 1.0 {
        let text = format!("{above}");
        let at = (above * width as f32) as usize;
        let widest = width.saturating_sub((text.len() + 2) * LETTER);
        write(sheet, left + at.clamp(2 * LETTER, widest.max(2 * LETTER)), below, &text, INK);
    }
}

/// For each point the group whose centre is nearest to it of those that have it, if one has.
fn groups_of_points(inspected: &Inspected) -> Vec<Option<usize>> {
    let count = inspected.points.len() / 3;
    let mut nearest: Vec<(f32, Option<usize>)> = vec![(f32::INFINITY, None); count];
    let point = |index: usize| &inspected.points[3 * index..3 * index + 3];
    for (group, members) in inspected.groups.iter().enumerate() {
        let Some(&centre) = members.first() else { continue };
        for &member in members.iter().filter(|member| **member < count) {
            let distance: f32 = point(member).iter().zip(point(centre)).map(|(a, b)| (a - b) * (a - b)).sum();
            if distance < nearest[member].0 {
                nearest[member] = (distance, Some(group));
            }
        }
    }
    nearest.into_iter().map(|(_, group)| group).collect()
}

fn paste(sheet: &mut Pixels, picture: &Pixels, left: usize, top: usize) {
    for row in 0..picture.height {
        let from = 3 * row * picture.width;
        let to = 3 * ((top + row) * sheet.width + left);
        sheet.data[to..to + 3 * picture.width].copy_from_slice(&picture.data[from..from + 3 * picture.width]);
    }
}

#[cfg(test)]
mod tests {
    use lmv_runtime::inspection::{Activation, InspectedStage};

    use super::*;

    fn two_groups() -> Inspected {
        Inspected {
            name: "chair/1".into(),
            class: "chair".into(),
            predicted: "sofa".into(),
            probability: 0.5,
            points: vec![0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 5.0, 0.0, 0.0],
            groups: vec![vec![0, 1, 2], vec![2, 1]],
            stages: vec![InspectedStage {
                name: "<encoder>".into(),
                activation: Activation { magnitude: vec![0.0, 1.0], frequency: vec![1.0, 0.0] },
            }],
        }
    }

    #[test]
    fn a_point_is_of_the_nearest_centre_that_has_it() {
        assert_eq!(groups_of_points(&two_groups()), [Some(0), Some(0), Some(1), None]);
    }

    #[test]
    fn a_panel_has_a_column_more_than_stages_and_shows_what_is_active() {
        let panel = draw(&two_groups(), 0.25);
        assert_eq!((panel.width, panel.height), (2 * (SIDE + ROOM) + ROOM, TITLE + 2 * (CAPTION + SIDE + ROOM)));
        let drawn = |column: usize, row: usize| -> std::collections::BTreeSet<[u8; 3]> {
            let (left, top) = corner(column, row);
            let all = (0..SIDE * SIDE).map(|at| panel.at(left + at % SIDE, top + at / SIDE));
            all.filter(|colour| *colour != BACKGROUND).collect()
        };
        assert!(drawn(0, 0).len() >= 3, "two groups, and a point of none");
        let scale = drawn(0, 1);
        assert!(
            scale.contains(&PALE) && scale.contains(&heat(1.0)) && scale.contains(&INK),
            "the scale is below the groups"
        );
        let inked = |left: usize, top: usize, width: usize| {
            (0..width * LINE).any(|at| panel.at(left + at % width, top + at / width) == INK)
        };
        assert!(inked(ROOM, ROOM / 2, SIDE), "a title");
        for (column, row) in [(0, 0), (1, 0), (1, 1)] {
            let (left, top) = corner(column, row);
            assert!(inked(left, top - CAPTION, SIDE), "a caption over picture {column}, {row}");
        }
        let vivid = |colours: std::collections::BTreeSet<[u8; 3]>| {
            colours.into_iter().any(|[r, g, b]| r.max(g).max(b) - r.min(g).min(b) > 60)
        };
        assert!(vivid(drawn(1, 0)) && vivid(drawn(1, 1)));
        assert!(!vivid({
            let mut nothing = two_groups();
            nothing.stages[0].activation.magnitude = vec![0.1, 0.2];
            let panel = draw(&nothing, 0.25);
            let (left, top) = corner(1, 0);
            let all = (0..SIDE * SIDE).map(|at| panel.at(left + at % SIDE, top + at / SIDE));
            all.collect()
        }));
    }

    #[test]
    fn no_name_breaks_the_page() {
        let page = super::super::page::html(&[two_groups()], 0.25);
        assert!(page.contains("\\u003cencoder>") && !page.contains("<encoder>"), "in the data of the script");
        assert!(!page.contains("http") && !page.contains("src="), "nothing from elsewhere");
    }
}
