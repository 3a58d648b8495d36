//! Products of matrices. Their kernels are CubeK's, as those of Burn's own products are; which of them may run is ours.
//!
//! Burn 0.21 looks for the quickest of some thirty kernels, and some of these are wrong for some sizes:
//! - those that load one stage while they compute another run an even number of stages, and where the terms of a sum make an odd
//!   number of whole ones, the last lies behind them and is not held against their end (burn issue 5626; seen here for sums of
//!   600 terms; mended upstream by CubeK's pull request 441, in versions that Burn 0.21 does not take);
//! - a kernel for a vector times a matrix is given a matrix times a vector, where the product is fused with what comes behind it
//!   (burn issue 5122).
//!
//! In `f32` some round operands to 19 bits besides (TF32). So the kernels are named here: those of one stage at a time, on
//! tensor cores in half precision and without them in `f32`. `tests/products.rs` multiplies by all of them that the GPU has, at
//! sizes on both sides of every stage.

use burn::tensor::{DType, calculate_matmul_output};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeRuntime, CubeTuneId};
use cubecl::tune::{LocalTuner, Tunable, TunableSet, local_tuner};
use cubek::matmul::components::tile::TileMatmulKind;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek::matmul::launch::{MatmulAutotuneKey, Strategy, launch_ref};
use cubek::matmul::routines::simple::SimpleArgs;
use cubek::matmul::routines::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routines::{BlueprintStrategy, TileSizeSelection};
use cubek::std::InputBinding;

use super::submit::Launch;
use super::tensors::empty;

/// Inputs: matrices `[.., m, k]` and `[.., k, n]` of one type, however they lie. Output: `[.., m, n]`, of their type; sums are in
/// `f32`.
#[derive(Debug)]
pub(super) struct Product;

impl Launch for Product {
    const NAME: &'static str = "lmv product";
    const CONTIGUOUS: bool = false;

    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let [lhs, rhs] = inputs.try_into().unwrap_or_else(|_| panic!("two matrices"));
        let shape = calculate_matmul_output(lhs.meta.shape(), rhs.meta.shape())
            .unwrap_or_else(|error| unreachable!("the shapes fitted when the product was asked for: {error:?}"));
        let out = empty(&lhs, shape, lhs.dtype);
        if out.meta.shape().num_elements() > 0 {
            quickest(lhs, rhs, out.clone());
        }
        vec![out]
    }
}

/// A choice of kernel by its name in the cache.
pub(crate) type Kernel = (&'static str, Strategy);

/// The kernel that needs nothing of its operands.
pub(crate) fn plain_one() -> Kernel {
    ("naive", Strategy::Naive)
}

/// Without tensor cores, which round no operand.
pub(crate) fn units() -> Vec<Kernel> {
    let unit = |tile_size| Strategy::SimpleUnit(BlueprintStrategy::Inferred(SimpleUnitSelectionArgs { tile_size }));
    vec![
        ("units, large tiles", unit(TileSizeSelection::MaxTileSize)),
        ("units, small tiles", unit(TileSizeSelection::MinTileSize)),
    ]
}

/// On tensor cores, by either of the two instructions for them.
pub(crate) fn tensor_cores() -> Vec<Kernel> {
    let args = |multi_rows, tile_matmul| BlueprintStrategy::Inferred(SimpleArgs { multi_rows, tile_matmul });
    vec![
        ("cmma", Strategy::SimpleCyclicCmma(args(false, TileMatmulKind::Cmma))),
        ("cmma, several rows", Strategy::SimpleCyclicCmma(args(true, TileMatmulKind::Cmma))),
        ("mma", Strategy::SimpleCyclicMma(args(false, TileMatmulKind::Mma))),
        ("mma, several rows", Strategy::SimpleCyclicMma(args(true, TileMatmulKind::Mma))),
    ]
}

/// Runs one.
#[allow(clippy::result_large_err)]
pub(crate) fn multiply<R: CubeRuntime>(
    strategy: &Strategy,
    lhs: CubeTensor<R>,
    rhs: CubeTensor<R>,
    out: CubeTensor<R>,
) -> Result<(), MatmulSetupError> {
    let [of_lhs, of_rhs, of_out] = [&lhs, &rhs, &out].map(|t| t.dtype.into());
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems { lhs: of_lhs, rhs: of_rhs, out: of_out });
    let client = out.client.clone();
    let [lhs, rhs] = [(lhs, of_lhs), (rhs, of_rhs)].map(|(t, dtype)| InputBinding::new(t.binding(), dtype));
    launch_ref(strategy, &client, lhs, rhs, out.binding(), &mut types)
}

type Operands<R> = (CubeTensor<R>, CubeTensor<R>, CubeTensor<R>);

/// Runs the kernel that was the quickest when a product of about this size was first asked for.
fn quickest<R: CubeRuntime>(lhs: CubeTensor<R>, rhs: CubeTensor<R>, out: CubeTensor<R>) {
    static IN_F32: LocalTuner<MatmulAutotuneKey, CubeTuneId> = local_tuner!("lmv-product-f32");
    static IN_HALVES: LocalTuner<MatmulAutotuneKey, CubeTuneId> = local_tuner!("lmv-product-halves");
    let (tuner, kernels): (_, fn() -> Vec<Kernel>) = match lhs.dtype {
        DType::F16 | DType::BF16 => (&IN_HALVES, || [tensor_cores(), units()].concat()),
        _ => (&IN_F32, units),
    };
    let choices = tuner.init(move || {
        let first = TunableSet::new(key::<R>, |_: &MatmulAutotuneKey, (lhs, rhs, out): &Operands<R>| {
            (lhs.clone(), rhs.clone(), out.copy())
        });
        std::iter::once(plain_one()).chain(kernels()).fold(first, |set, (name, strategy)| {
            set.with(Tunable::new(name, move |(lhs, rhs, out): Operands<R>| {
                // Sizes that are nearly the same share what was found for one of them, and another may be refused.
                multiply(&strategy, lhs.clone(), rhs.clone(), out.clone())
                    .or_else(|_| multiply(&plain_one().1, lhs, rhs, out))
                    .map_err(|error| format!("{error:?}"))
            }))
        })
    });
    let client = out.client.clone();
    tuner.execute(&CubeTuneId::new(&client, &out.device), &client, choices, (lhs, rhs, out));
}

/// What products share that are taken for one size.
fn key<R: CubeRuntime>((lhs, rhs, out): &Operands<R>) -> MatmulAutotuneKey {
    MatmulAutotuneKey::generate(
        &lhs.client,
        lhs.meta.shape(),
        rhs.meta.shape(),
        lhs.meta.strides(),
        rhs.meta.strides(),
        lhs.dtype.into(),
        rhs.dtype.into(),
        out.dtype.into(),
        None,
        None,
    )
}
