//! GPUs, of whichever make Burn's CubeCL has a runtime for. Kernels of our own, written once for all of them, do what Burn does
//! not fuse by itself: what goes through rows more than once, or wants its tensors changed in place. Chains of element-wise
//! operations are left to Burn, which makes one kernel of them. Products run on kernels that [`product`] picks.

mod adamw;
mod kept;
mod norms;
mod points;
pub(super) mod product;
mod rows;
mod softmax;
mod submit;
mod tensors;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor, FloatTensorOps, IntTensor, IntTensorOps};
use burn::tensor::{DType, Device, FloatDType, Shape, TensorData, TensorMetadata, calculate_matmul_output};
use burn_cubecl::element::BoolElement;
use burn_cubecl::{CubeBackend, CubeRuntime};
use burn_fusion::Fusion;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use self::kept::Kept;
use self::norms::{Kind, Norm, NormBackward, VectorsBackward};
use self::points::{Around, Farthest, Grouped};
use self::product::Product;
use self::softmax::{Probabilities, ScoresBackward};
use self::submit::{Queued, submit};
use super::{AdamW, Heads, Kernels, plain};

/// A GPU's backend.
type Gpu<R, BT> = Fusion<CubeBackend<R, f32, i32, BT>>;

impl<R: CubeRuntime, BT: BoolElement> Kernels for Gpu<R, BT> {
    /// Where the device computes with both kinds. In `f32` such a weight is widened in front of each product, and the wide one
    /// is gone behind it; in half precision it is read as it is.
    fn takes_halves(device: &Device<Self>) -> bool {
        [DType::F16, DType::BF16].iter().all(|&half| Self::supports_dtype(device, half))
    }

    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: Option<FloatTensor<Self>>,
        bias: Option<FloatTensor<Self>>,
        eps: f64,
    ) -> FloatTensor<Self> {
        norm::<R, BT>(x, weight, bias, eps, true)
    }

    fn fused_layer_norm_backward(
        x: FloatTensor<Self>,
        weight: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        eps: f64,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        norm_backward::<R, BT>(x, weight, grad, eps, true, wanted)
    }

    fn fused_rms_norm(x: FloatTensor<Self>, weight: Option<FloatTensor<Self>>, eps: f64) -> FloatTensor<Self> {
        norm::<R, BT>(x, weight, None, eps, false)
    }

    fn fused_rms_norm_backward(
        x: FloatTensor<Self>,
        weight: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        eps: f64,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        let [dx, dw, _] = norm_backward::<R, BT>(x, weight, grad, eps, false, [wanted[0], wanted[1], false]);
        [dx, dw]
    }

    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = calculate_matmul_output(&lhs.shape(), &rhs.shape())
            .unwrap_or_else(|error| panic!("matrices that can be multiplied: {error:?}"));
        let output = (shape, lhs.dtype());
        let [out] = submit::<_, R, BT, 1>(Product, vec![lhs, rhs], [output]);
        out
    }

    fn fused_probabilities(
        scores: FloatTensor<Self>,
        heads: Heads,
        key_mask: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        if !fits(&scores) {
            return plain::probabilities::<Self>(scores, heads, key_mask);
        }
        let queries = scores.shape()[2];
        let kernel = Probabilities {
            rows_of_sample: heads.query * queries,
            queries,
            scale: heads.scale as f32,
            causal: heads.causal,
            masked: key_mask.is_some(),
        };
        let output = (scores.shape(), scores.dtype());
        let inputs = std::iter::once(scores).chain(key_mask).collect();
        let [probabilities] = submit::<_, R, BT, 1>(kernel, inputs, [output]);
        probabilities
    }

    fn fused_scores_backward(
        probabilities: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        if !fits(&grad) {
            return plain::scores_backward::<Self>(probabilities, grad, scale);
        }
        let output = (grad.shape(), grad.dtype());
        let kernel = ScoresBackward { scale: scale as f32 };
        let [scores] = submit::<_, R, BT, 1>(kernel, vec![grad, probabilities], [output]);
        scores
    }

    fn fused_adamw_step(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: u32,
        settings: AdamW,
    ) -> [FloatTensor<Self>; 3] {
        let all = [param, grad, m, v];
        if all.iter().any(|t| t.dtype() != DType::F32 || !fits(t)) {
            return plain::adamw_step::<Self>(all, step, settings);
        }
        let outputs = [(); 3].map(|()| (all[0].shape(), DType::F32));
        submit::<_, R, BT, 3>(adamw::Step { step, settings }, all.into(), outputs)
    }

    fn farthest_points(points: FloatTensor<Self>, count: usize, near_origin: f64) -> IntTensor<Self> {
        let output = ([points.shape()[0], count].into(), DType::I32);
        let [taken] = submit::<_, R, BT, 1>(Farthest { count, near_origin }, vec![single::<R, BT>(points)], [output]);
        taken
    }

    fn ball_query(points: FloatTensor<Self>, centres: FloatTensor<Self>, radius: f64, count: usize) -> IntTensor<Self> {
        grouped::<R, BT>(points, centres, Around::Within(radius), count)
    }

    fn nearest_points(points: FloatTensor<Self>, centres: FloatTensor<Self>, count: usize) -> IntTensor<Self> {
        if count > points::NEAREST {
            return super::points::nearest::<Self>(points, centres, count);
        }
        grouped::<R, BT>(points, centres, Around::Nearest, count)
    }

    fn kept(dims: &[usize], keep: f64, rng: &mut ChaCha8Rng, device: &Device<Self>) -> FloatTensor<Self> {
        let seed: u64 = rng.random();
        let halves = TensorData::new(vec![seed as u32 as i32, (seed >> 32) as u32 as i32], [2]);
        let kernel = Kept { dims: dims.to_vec(), keep };
        let output = (Shape::from(dims), DType::F32);
        let [kept] = submit::<_, R, BT, 1>(kernel, vec![Self::int_from_data(halves, device)], [output]);
        kept
    }
}

/// Whether our kernels, which count values in 32 bits, can go through a tensor. One of 16 GiB is left to Burn.
fn fits<R: CubeRuntime>(t: &Queued<R>) -> bool {
    u32::try_from(t.shape().num_elements()).is_ok()
}

/// Numbers as f32, which points are compared in.
fn single<R: CubeRuntime, BT: BoolElement>(t: Queued<R>) -> Queued<R> {
    if t.dtype() == DType::F32 { t } else { Gpu::<R, BT>::float_cast(t, FloatDType::F32) }
}

fn grouped<R: CubeRuntime, BT: BoolElement>(
    points: Queued<R>,
    centres: Queued<R>,
    around: Around,
    count: usize,
) -> Queued<R> {
    let output = ([points.shape()[0], centres.shape()[1], count].into(), DType::I32);
    let inputs = [points, centres].map(single::<R, BT>).into();
    let [found] = submit::<_, R, BT, 1>(Grouped { around, count }, inputs, [output]);
    found
}

fn norm<R: CubeRuntime, BT: BoolElement>(
    x: Queued<R>,
    weight: Option<Queued<R>>,
    bias: Option<Queued<R>>,
    eps: f64,
    centred: bool,
) -> Queued<R> {
    if !fits(&x) {
        return plain::norm::<Gpu<R, BT>>(x, weight, bias, eps, centred);
    }
    let kind = Kind { centred, weight: weight.is_some(), bias: bias.is_some() };
    let output = (x.shape(), x.dtype());
    let inputs = std::iter::once(x).chain(weight).chain(bias).collect();
    let [out] = submit::<_, R, BT, 1>(Norm { kind, eps: eps as f32 }, inputs, [output]);
    out
}

fn norm_backward<R: CubeRuntime, BT: BoolElement>(
    x: Queued<R>,
    weight: Option<Queued<R>>,
    grad: Queued<R>,
    eps: f64,
    centred: bool,
    wanted: [bool; 3],
) -> [Option<Queued<R>>; 3] {
    if !fits(&x) {
        return plain::norm_backward::<Gpu<R, BT>>(x, weight, grad, eps, centred, wanted);
    }
    let (shape, dtype, vectors) = (x.shape(), x.dtype(), wanted[1] || wanted[2]);
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width.max(1);
    let kind = Kind { centred, weight: weight.is_some(), bias: false };
    let held = vectors.then(|| [x.clone(), grad.clone()]);
    let inputs = [x, grad].into_iter().chain(weight).collect();
    let outputs = [(shape, dtype), ([rows, 2].into(), DType::F32)];
    let [dx, found] = submit::<_, R, BT, 2>(NormBackward { kind, eps: eps as f32 }, inputs, outputs);
    let [dw, db] = match held {
        Some([x, grad]) => {
            let output = || ([norms::parts(rows), width].into(), DType::F32);
            let sums = submit::<_, R, BT, 2>(VectorsBackward, vec![x, grad, found], [output(), output()]);
            sums.map(|parts| plain::to_dtype::<Gpu<R, BT>>(plain::sum_rows::<Gpu<R, BT>>(parts), dtype)).map(Some)
        }
        None => [None, None],
    };
    [wanted[0].then_some(dx), dw.filter(|_| wanted[1]), db.filter(|_| wanted[2])]
}
