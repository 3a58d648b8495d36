//! The names that a pickle of tensors holds.

use super::super::dtype::Dtype;

/// What a name in a pickle stands for.
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
    /// (function, type, arguments, state) → what the function would give.
    Subclass,
    /// A tensor of a kind that is not read: its name among the texts.
    Foreign(usize),
    /// numpy's array as it begins: what is in it comes afterwards.
    Array,
    /// (bytes, type, shape, order) → numpy's array.
    ArrayOfBytes,
    /// numpy's type of numbers.
    Numbers,
    /// numpy's class of arrays.
    ArrayClass,
    /// (text, "latin1") → bytes, a character each.
    BytesOfText,
    /// Anything else. What is made of it does nothing.
    Unknown,
}

/// Every name that means something here: module, name, meaning. None of them is ever called.
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
    ("torch.nn.parameter", "Parameter", Global::Parameter),
    ("torch._tensor", "_rebuild_from_type_v2", Global::Subclass),
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
];

/// numpy's names, in all of its versions, and what Python 3 writes bytes by in protocols that have none (0 to 2).
pub(super) const NUMPY: &[(&str, &str, Global)] = &[
    ("numpy", "ndarray", Global::ArrayClass),
    ("numpy", "dtype", Global::Numbers),
    ("numpy.core.multiarray", "_reconstruct", Global::Array),
    ("numpy._core.multiarray", "_reconstruct", Global::Array),
    ("numpy.core.numeric", "_frombuffer", Global::ArrayOfBytes),
    ("numpy._core.numeric", "_frombuffer", Global::ArrayOfBytes),
    ("_codecs", "encode", Global::BytesOfText),
];

/// Names that run code in Python's hands. Nothing here would run it either way, and this list is not what keeps a reader
/// safe: it says of a file that it attacks whoever opens it, which those who give it to `lmvc` will want to know.
const ATTACKS: &[(&str, &str)] = &[
    ("os", "*"),
    ("posix", "*"),
    ("nt", "*"),
    ("subprocess", "*"),
    ("sys", "*"),
    ("runpy", "*"),
    ("socket", "*"),
    ("shutil", "*"),
    ("importlib", "*"),
    ("ctypes", "*"),
    ("pty", "*"),
    ("webbrowser", "*"),
    ("pickle", "*"),
    ("torch", "load"),
    ("torch.serialization", "load"),
    ("torch.hub", "*"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "compile"),
    ("builtins", "open"),
    ("builtins", "__import__"),
    ("__builtin__", "eval"),
    ("__builtin__", "exec"),
    ("__builtin__", "execfile"),
    ("__builtin__", "compile"),
    ("__builtin__", "open"),
    ("__builtin__", "__import__"),
];

/// Whether a checkpoint has no business with `module.name`.
pub(super) fn attacks(module: &str, name: &str) -> bool {
    ATTACKS.iter().any(|(m, n)| {
        let inside = module.strip_prefix(m).is_some_and(|rest| rest.is_empty() || *n == "*" && rest.starts_with('.'));
        inside && (*n == "*" || *n == name)
    })
}
