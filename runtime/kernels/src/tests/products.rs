//! Products on a GPU: by each kernel that one may run on, and by the one that is picked.

use std::marker::PhantomData;

use burn_cubecl::element::BoolElement;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{CubeBackend, CubeRuntime};
use burn_fusion::Fusion;

use super::gpu::{Gpu, Operation, agrees, gpu};
use super::*;
use crate::gpu::product::{multiply, plain_one, tensor_cores, units};

/// Sizes on both sides of whole stages, of odd and even numbers of them: m, k and n.
const SIZES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [5, 8, 3],
    [300, 600, 3],
    [3, 600, 300],
    [40, 24, 64],
    [64, 96, 17],
    [33, 192, 70],
    [65, 197, 64],
    [16, 384, 130],
];

/// Each kernel gives the right product of every type that the GPU computes with, or says that it does not run there.
fn by_every_kernel<R: CubeRuntime, BT: BoolElement>(
    _: PhantomData<Fusion<CubeBackend<R, f32, i32, BT>>>,
    device: &R::Device,
) {
    type Inner<R, BT> = CubeBackend<R, f32, i32, BT>;
    let there = |t: &Tensor<Flex, 3>, dtype: DType, turned: bool| {
        let data = if turned { t.clone().swap_dims(1, 2) } else { t.clone() }.into_data();
        let t = Inner::<R, BT>::float_from_data(data.convert_dtype(dtype), device);
        if turned { Inner::<R, BT>::float_swap_dims(t, 1, 2) } else { t }
    };
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        if !Inner::<R, BT>::supports_dtype(device, dtype) {
            eprintln!("skipped: this GPU does not compute in {dtype:?}");
            continue;
        }
        let cores = if dtype == DType::F32 { Vec::new() } else { tensor_cores() };
        for (name, strategy) in std::iter::once(plain_one()).chain(units()).chain(cores) {
            let mut ran = 0;
            for [m, k, n] in SIZES {
                for turned in [(false, false), (true, false), (false, true)] {
                    let (lhs, rhs) = (values::<3>([2, m, k], 1), values::<3>([2, k, n], 2));
                    let (a, b) = (there(&lhs, dtype, turned.0), there(&rhs, dtype, turned.1));
                    let (client, on) = (a.client.clone(), a.device.clone());
                    let out = empty_device_contiguous_dtype(client, on, [2, m, n].into(), dtype);
                    if multiply::<R>(&strategy, a, b, out.clone()).is_err() {
                        continue;
                    }
                    ran += 1;
                    let tolerance = if dtype == DType::F32 { 2e-5 } else { 1e-2 };
                    let what = format!("{name}: {m} x {k} x {n} of {dtype:?}, turned {turned:?}");
                    let got = vec_of(cooked::<Inner<R, BT>, 3>(out));
                    assert_near(&got, &vec_of(lhs.matmul(rhs)), tolerance, &what);
                }
            }
            match ran {
                0 => eprintln!("skipped: this GPU has no {name} of {dtype:?}"),
                _ => eprintln!("{name} of {dtype:?}: {ran} products"),
            }
            // These run on any.
            assert!(ran == 3 * SIZES.len() || !name.starts_with("naive"), "{name}: {ran}");
        }
    }
}

#[test]
fn by_every_kernel_that_may_be_picked() {
    let Some(device) = gpu() else { return };
    by_every_kernel(PhantomData::<Gpu>, device);
}

#[test]
fn as_they_are_picked() {
    for [m, k, n] in SIZES {
        agrees(Operation::Product, &[&[2, m, k], &[2, k, n]]);
        agrees(Operation::Product, &[&[1, m, k], &[3, k, n]]);
    }
}
