//! The names that a pickle of tensors may hold.

use super::super::dtype::Dtype;

/// What a name that a pickle may hold stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// A dict that keeps its order.
    OrderedDict,
    /// A class of storages.
    Storage(Dtype),
    /// `torch.float8_e4m3fn` and its like.
    Dtype(Dtype),
    /// (storage, offset, shape, stride, …) → tensor; with `true`, a type stands before the last argument.
    Tensor { typed: bool },
    /// (tensor, …) → that tensor.
    Parameter,
    /// (tuple) → that tuple.
    Size,
    /// Something whose value nobody here needs.
    Opaque,
}

/// Every name that a pickle may hold: module, name, meaning. None of them is ever called.
pub(super) const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch", "DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch", "FloatStorage", Global::Storage(Dtype::F32)),
    ("torch", "HalfStorage", Global::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Dtype::BF16)),
    ("torch", "LongStorage", Global::Storage(Dtype::I64)),
    ("torch", "IntStorage", Global::Storage(Dtype::I32)),
    ("torch", "ShortStorage", Global::Storage(Dtype::I16)),
    ("torch", "CharStorage", Global::Storage(Dtype::I8)),
    ("torch", "ByteStorage", Global::Storage(Dtype::U8)),
    ("torch", "BoolStorage", Global::Storage(Dtype::Bool)),
    ("torch", "ComplexFloatStorage", Global::Storage(Dtype::Other("C64", 64))),
    // Counts its bytes; the type comes with `_rebuild_tensor_v3`.
    ("torch.storage", "UntypedStorage", Global::Storage(Dtype::U8)),
    ("torch._utils", "_rebuild_tensor", Global::Tensor { typed: false }),
    ("torch._utils", "_rebuild_tensor_v2", Global::Tensor { typed: false }),
    ("torch._utils", "_rebuild_tensor_v3", Global::Tensor { typed: true }),
    ("torch._utils", "_rebuild_parameter", Global::Parameter),
    ("torch._utils", "_rebuild_parameter_with_state", Global::Parameter),
    ("torch", "Size", Global::Size),
    ("torch", "float64", Global::Dtype(Dtype::F64)),
    ("torch", "float32", Global::Dtype(Dtype::F32)),
    ("torch", "float16", Global::Dtype(Dtype::F16)),
    ("torch", "bfloat16", Global::Dtype(Dtype::BF16)),
    ("torch", "int64", Global::Dtype(Dtype::I64)),
    ("torch", "int32", Global::Dtype(Dtype::I32)),
    ("torch", "int16", Global::Dtype(Dtype::I16)),
    ("torch", "int8", Global::Dtype(Dtype::I8)),
    ("torch", "uint64", Global::Dtype(Dtype::U64)),
    ("torch", "uint32", Global::Dtype(Dtype::U32)),
    ("torch", "uint16", Global::Dtype(Dtype::U16)),
    ("torch", "uint8", Global::Dtype(Dtype::U8)),
    ("torch", "bool", Global::Dtype(Dtype::Bool)),
    ("torch", "float8_e4m3fn", Global::Dtype(Dtype::Other("F8_E4M3", 8))),
    ("torch", "float8_e5m2", Global::Dtype(Dtype::Other("F8_E5M2", 8))),
    // What trainers keep beside the tensors: the command line they were started with, counters, random states.
    ("argparse", "Namespace", Global::Opaque),
    ("types", "SimpleNamespace", Global::Opaque),
    ("collections", "defaultdict", Global::Opaque),
    ("collections", "Counter", Global::Opaque),
    ("builtins", "set", Global::Opaque),
    ("builtins", "dict", Global::Opaque),
    ("builtins", "list", Global::Opaque),
    ("builtins", "int", Global::Opaque),
    ("builtins", "float", Global::Opaque),
    ("builtins", "bytearray", Global::Opaque),
    ("builtins", "slice", Global::Opaque),
    ("__builtin__", "set", Global::Opaque),
    ("__builtin__", "dict", Global::Opaque),
    ("__builtin__", "list", Global::Opaque),
    ("__builtin__", "int", Global::Opaque),
    ("__builtin__", "float", Global::Opaque),
    ("__builtin__", "bytearray", Global::Opaque),
    ("_codecs", "encode", Global::Opaque),
    ("pathlib", "PosixPath", Global::Opaque),
    ("pathlib", "WindowsPath", Global::Opaque),
    ("torch", "device", Global::Opaque),
    ("numpy", "dtype", Global::Opaque),
    ("numpy", "ndarray", Global::Opaque),
    ("numpy.core.multiarray", "scalar", Global::Opaque),
    ("numpy.core.multiarray", "_reconstruct", Global::Opaque),
    ("numpy._core.multiarray", "scalar", Global::Opaque),
    ("numpy._core.multiarray", "_reconstruct", Global::Opaque),
    // METER's released checkpoints are Lightning's, which name their callbacks and hyper-parameters (paper.md §7).
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", Global::Opaque),
    ("pytorch_lightning.callbacks.lr_monitor", "LearningRateMonitor", Global::Opaque),
    ("pytorch_lightning.utilities.parsing", "AttributeDict", Global::Opaque),
];
