//! What the forward pass of a step keeps for the backward pass, counted in bytes as they are allocated, against what
//! `lmvc show` says. The only test of its binary: nothing else may allocate beside it.

mod golden_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensorOps;
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use golden_support::compile;
use lmv_compiler::passes::{Passes, count};
use lmv_runtime::layers::Pass;
use lmv_runtime::network::{TapedNetwork, tensor};
use lmv_runtime::parameters::make;
use lmv_runtime::stream::Stream;

/// The system's allocator with a sum of what is alive.
struct Counting;

static ALIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: usize = 4;

/// Bytes that are alive after a forward pass because of it, and bytes that the plan says are kept.
fn kept(program: &str, passes: Passes) -> (f64, f64) {
    let graph = compile(program).graph;
    let plan = passes.plan(&graph);
    let device = Default::default();
    let network = TapedNetwork::<Flex>::new(&plan, &[]).expect("the layers are there");
    let small = |count: usize| (0..count).map(|i| ((i % 7) as f32 - 3.0) / 20.0).collect::<Vec<f32>>();
    let tensors = make::<Flex, Vec<f32>>(&plan, &device, |p| Ok(small(p.shape.count().expect("known") as usize)));
    let tensors = tensors.expect("all sizes are known");
    let trained: Vec<usize> = plan.trained().map(|(index, _)| index).collect();
    let forward = || {
        let dims: Vec<usize> =
            std::iter::once(BATCH).chain(plan.shape(plan.inputs[0].stream).numbers().expect("known")).collect();
        let input = tensor::<Flex>(small(dims.iter().product()), &dims, &device);
        network.forward(vec![Stream::new(input)], &tensors, &trained, &mut Pass::evaluating())
    };
    // First some for threads and buffers that stay. Their backward passes take what they kept.
    for _ in 0..8 {
        let output = forward().outputs.swap_remove(0);
        drop(Autodiff::<Flex>::backward(Autodiff::<Flex>::float_sum(output.into_numbers())));
    }
    let before = ALIVE.load(Ordering::Relaxed);
    let taped = forward();
    let after = ALIVE.load(Ordering::Relaxed);
    drop(taped);
    ((after - before) as f64, count::memory(&plan, None, BATCH).kept)
}

#[test]
fn a_step_keeps_as_much_as_is_told() {
    let vit = "vit(image = 64, patch = 8, d = 48, depth = 2, heads = 3, drop_path = 0.0)";
    let llama = "llm toy = llama(dim = 64, heads = 4, kv_heads = 2, ffn = 160, layers = 1)\n";
    for (program, passes) in [
        (format!("model(image : [3, 64, 64]) {{ image >> {vit} >> head(10) }}"), Passes::ALL),
        (format!("model(image : [3, 64, 64]) {{ image >> frozen(random({vit})) >> head(10) }}"), Passes::ALL),
        (
            format!(
                "{llama}model(image : [3, 64, 64]) {{ image >> {vit} >> linear(48, 64) >> frozen(toy.layer[0]) >> linear(64, 48) >> head(10) }}"
            ),
            Passes { join_linears: false, ..Passes::ALL },
        ),
    ] {
        let (alive, told) = kept(&program, passes);
        println!("{alive} bytes alive, {told} told: {program}");
        // What is small beside streams is not told: nodes of the tape, the output, masks.
        assert!((alive - told).abs() <= 0.03 * told + 12_288.0, "{alive} bytes alive, {told} told: {program}");
    }
}
