//! A kernel of our own as an operation of Burn's stream: it runs when its turn comes, on the tensors as they then are, and what
//! Burn fuses before and behind it stays fused.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::tensor::{DType, Shape};
use burn_cubecl::element::BoolElement;
use burn_cubecl::fusion::FusionCubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeRuntime};
use burn_fusion::FusionTensor;
use burn_fusion::stream::{Operation, OperationStreams};
use burn_ir::{CustomOpIr, HandleContainer, OperationIr, TensorIr};

/// A tensor in Burn's stream.
pub(super) type Queued<R> = FusionTensor<FusionCubeRuntime<R>>;

/// A kernel with all that it is told but its tensors.
pub(super) trait Launch: Debug + Send + Sync + 'static {
    /// Its name in the stream. Operations of one name have inputs and outputs of the same kinds.
    const NAME: &'static str;

    /// Whether it wants its inputs one value behind the other; where it does not, they may be views.
    const CONTIGUOUS: bool = true;

    /// Runs it. The inputs are those of [`submit`]; one that nothing else holds may be written to. Gives the
    /// outputs that [`submit`] was told of.
    fn launch<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>>;
}

/// A kernel in the stream.
#[derive(Debug)]
struct Submitted<L, R, BT> {
    tensors: CustomOpIr,
    launch: L,
    backend: PhantomData<fn() -> (R, BT)>,
}

impl<L: Launch, R: CubeRuntime, BT: BoolElement> Operation<FusionCubeRuntime<R>> for Submitted<L, R, BT> {
    fn execute(
        &self,
        handles: &mut HandleContainer<<FusionCubeRuntime<R> as burn_fusion::FusionRuntime>::FusionHandle>,
    ) {
        let take = |tensor: &TensorIr| handles.get_float_tensor::<CubeBackend<R, f32, i32, BT>>(tensor);
        let taken = self.tensors.inputs.iter().map(take);
        let inputs = match L::CONTIGUOUS {
            true => taken.map(burn_cubecl::kernel::into_contiguous).collect(),
            false => taken.collect(),
        };
        for (output, tensor) in self.tensors.outputs.iter().zip(self.launch.launch(inputs)) {
            debug_assert!(tensor.is_contiguous(), "{}: outputs are laid out one value behind the other", L::NAME);
            handles.register_float_tensor::<CubeBackend<R, f32, i32, BT>>(&output.id, tensor);
        }
    }
}

/// Puts a kernel into the stream. `outputs` are the shapes and types of what it gives.
pub(super) fn submit<L: Launch, R: CubeRuntime, BT: BoolElement, const N: usize>(
    launch: L,
    inputs: Vec<Queued<R>>,
    outputs: [(Shape, DType); N],
) -> [Queued<R>; N] {
    let streams = OperationStreams::with_inputs(inputs.iter());
    let client = inputs[0].client.clone();
    let inputs: Vec<TensorIr> = inputs.into_iter().map(FusionTensor::into_ir).collect();
    let outputs = outputs.map(|(shape, dtype)| TensorIr::uninit(client.create_empty_handle(), shape, dtype));
    let tensors = CustomOpIr::new(L::NAME, &inputs, &outputs);
    let operation = Submitted::<L, R, BT> { tensors: tensors.clone(), launch, backend: PhantomData };
    let made = client.register(streams, OperationIr::Custom(tensors), operation);
    made.try_into().unwrap_or_else(|_| unreachable!("as many outputs as the operation has"))
}
