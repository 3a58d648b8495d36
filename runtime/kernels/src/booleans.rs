//! True and false on a device, in the type that the device has for them: a CPU a byte that is a Rust `bool`, a GPU a whole
//! number. Burn's backends refuse those of the others.

use burn::tensor::backend::Backend;
use burn::tensor::ops::BoolTensor;
use burn::tensor::{BoolDType, Shape, TensorData, get_device_settings};

/// The type that a device has for them.
pub fn bool_dtype<B: Backend>(device: &B::Device) -> BoolDType {
    get_device_settings::<B>(device).bool_dtype
}

/// A tensor of them, in the order of the shape.
pub fn booleans<B: Backend>(values: Vec<bool>, shape: impl Into<Shape>, device: &B::Device) -> BoolTensor<B> {
    let data = TensorData::new(values, shape.into());
    B::bool_from_data(data.convert_dtype(bool_dtype::<B>(device).into()), device)
}
