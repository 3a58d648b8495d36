//! The weights that come with the program: whole, and what they are said to be.

use lmv_runtime::weights::Checkpoint;

#[test]
fn tiny_lm_is_a_whole_language_model() {
    let checkpoint = Checkpoint::built_in("tiny_lm").expect("it is part of the program").expect("it is whole");
    let numbers: usize = checkpoint
        .names()
        .map(|name| {
            let values = checkpoint.read_f32(name).expect("it reads");
            assert!(values.iter().all(|x| x.is_finite() && x.abs() < 100.0), "{name}");
            assert!(values.iter().any(|x| *x != 0.0), "{name} says something");
            values.len()
        })
        .sum();
    // Two of 256 by 96, four blocks of four of 96 by 96, three of 96 by 256 and two norms, and a norm.
    assert_eq!(numbers, 2 * 256 * 96 + 4 * (4 * 96 * 96 + 3 * 96 * 256 + 2 * 96) + 96);
    assert_eq!(numbers, 492_384);
    assert!(Checkpoint::built_in("llama7b").is_none());
}
