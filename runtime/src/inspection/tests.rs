use super::*;

fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}, expected {expected:?}");
}

#[test]
fn magnitudes_are_distances_from_the_mean_token() {
    // The mean is (1, 1): distances √2, 1, √5 and 2, of which 1 is the least.
    let found = activation(&[0.0, 0.0, 1.0, 2.0, 2.0, -1.0, 1.0, 3.0], 2);
    let span = 5f32.sqrt() - 1.0;
    near(&found.magnitude, &[(2f32.sqrt() - 1.0) / span, 0.0, 1.0, 1.0 / span]);
    assert_eq!(activation(&[3.0, 4.0], 2).magnitude, [0.0], "one token is no farther than another");
    assert_eq!(activation(&[], 2), Activation { magnitude: Vec::new(), frequency: Vec::new() });
}

/// numpy 2.4: the distances of `angle(fft(x))` of these three rows from their mean, brought to 0 to 1.
#[test]
fn frequencies_are_distances_of_phases() {
    let found = activation(&[1.0, 2.0, 3.0, 4.5, 0.5, 1.0, 0.25, -1.0, 2.0, 1.0, -1.0, 0.0], 4);
    near(&found.frequency, &[1.0, 0.528_244_6, 0.0]);
}
