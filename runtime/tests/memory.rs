//! What the forward pass of a step keeps for the backward pass, and the most that both hold at one time, counted in bytes as
//! they are allocated, against what `lmvc show` says. The only test of its binary: nothing else may allocate beside it.

mod golden_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensorOps;
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use golden_support::compile;
use lmv_compiler::passes::peak::peak;
use lmv_compiler::passes::{Passes, count};
use lmv_runtime::layers::Pass;
use lmv_runtime::network::{TapedNetwork, tensor};
use lmv_runtime::parameters::make;
use lmv_runtime::stream::Stream;
use lmv_runtime::training::seeds::Seeds;

/// The system's allocator with a sum of what is alive, and the most that it was.
struct Counting;

static ALIVE: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() as isize;
        MOST.fetch_max(ALIVE.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
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

/// Bytes that are alive because of a step: after its forward pass, and at the most; each with what the plan says.
fn held(program: &str, passes: Passes) -> [(f64, f64); 2] {
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
        network.forward(
            vec![Stream::new(input)],
            &tensors,
            &trained,
            &mut Pass::training(Seeds::new(0).stream("drop_path", 0, 0)),
        )
    };
    let backward = |output: Stream<Autodiff<Flex>>| {
        drop(Autodiff::<Flex>::backward(Autodiff::<Flex>::float_sum(output.into_numbers())));
    };
    // First some for threads and buffers that stay. Their backward passes take what they kept.
    (0..8).for_each(|_| backward(forward().outputs.swap_remove(0)));
    let before = ALIVE.load(Ordering::Relaxed);
    let taped = forward();
    let after = ALIVE.load(Ordering::Relaxed);
    drop(taped);
    let begun = ALIVE.load(Ordering::Relaxed);
    MOST.store(begun, Ordering::Relaxed);
    let mut taped = forward();
    backward(taped.outputs.swap_remove(0));
    let most = MOST.load(Ordering::Relaxed);
    let told = (count::memory(&plan, None, BATCH).kept, peak(&plan, None, BATCH).passing);
    [((after - before) as f64, told.0), ((most - begun) as f64, told.1)]
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
        // Of a cloud's neighbourhoods, streams of the same points again and again, most are not kept.
        (
            format!(
                "use points.point_bert {{ point_bert, head }}\n{llama}{}",
                "model(points : [256, 3]) { points >> point_bert(groups = 8, size = 32, d = 48, depth = 2, heads = 3, drop_path = 0.0)
                   >> linear(48, 64) >> frozen(toy.layer[0]) >> linear(64, 48) >> head(10, drop = 0.0) }"
            ),
            Passes { join_linears: false, ..Passes::ALL },
        ),
    ] {
        let [(alive, told), (most, most_told)] = held(&program, passes);
        println!("{alive} bytes alive, {told} told; {most} at the most, {most_told} told: {program}");
        // What is small beside streams is not told: nodes of the tape, the output, masks.
        assert!((alive - told).abs() <= 0.03 * told + 12_288.0, "{alive} bytes alive, {told} told: {program}");
        // Nor is what a layer holds while it runs.
        assert!((most - most_told).abs() <= 0.05 * most_told + 65_536.0, "{most} at most, {most_told} told: {program}");
    }
}
