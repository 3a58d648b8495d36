use serde::Deserialize;

use super::*;
use crate::data::transforms::golden;

#[derive(Debug, Deserialize)]
struct Case {
    operation: String,
    magnitude: f64,
    negative: bool,
}

/// timm's name of an operation.
fn named(name: &str) -> Operation {
    let names = [
        "AutoContrast",
        "Equalize",
        "Invert",
        "Rotate",
        "PosterizeIncreasing",
        "SolarizeIncreasing",
        "SolarizeAdd",
        "ColorIncreasing",
        "ContrastIncreasing",
        "BrightnessIncreasing",
        "SharpnessIncreasing",
        "ShearX",
        "ShearY",
        "TranslateXRel",
        "TranslateYRel",
    ];
    let at = names.iter().position(|known| *known == name).expect("one of the fifteen");
    Operation::TIMM[at]
}

#[test]
fn every_operation_agrees_with_timm_within_one_level() {
    let cases: Vec<Case> = golden::cases("operations");
    let images = [
        (golden::scene(33, 25, 1, false), golden::stack("operations_colour.png", 25)),
        (golden::scene(40, 52, 2, true), golden::stack("operations_grey.png", 52)),
    ];
    let operations: std::collections::BTreeSet<&str> = cases.iter().map(|case| case.operation.as_str()).collect();
    assert_eq!(operations.len(), 15);
    for (image, expected) in images {
        assert_eq!(cases.len(), expected.len());
        for (case, theirs) in cases.iter().zip(&expected) {
            let ours = named(&case.operation).apply(image.clone(), case.magnitude / 10.0, case.negative);
            let (most, close) = golden::difference(&ours, theirs);
            println!("{case:?}: at most {most}, {:.2} % within one level", 100.0 * close);
            assert!(close >= 0.99, "{case:?}: at most {most}, {:.2} % within one level", 100.0 * close);
        }
    }
}

#[test]
fn of_no_bits_nothing_is_left() {
    let image = golden::scene(9, 9, 1, false);
    assert_eq!(Operation::Posterize(4.0).apply(image, 1.0, false), Pixels::black(9, 9));
}
