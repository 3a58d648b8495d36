//! Token ids, and what is made of them.

use burn::tensor::{IntDType, Shape, TensorData, TensorMetadata};

use super::{forward, layers, size, take};
use crate::stream::Stream;

struct Embedding;
struct TokenNumbers {
    from: usize,
}
struct ConstantClass {
    index: usize,
}

layers! {
    "embedding" => |_| Ok(Embedding),
    "token_numbers" => |node| Ok(TokenNumbers { from: size(node, "from")? }),
    "constant_class" => |node| Ok(ConstantClass { index: size(node, "index")? }),
}

// [batch, ..] -> [batch, .., d]
forward!(Embedding, |_this, inputs, weights, _pass| {
    let [x] = take(inputs);
    let table = weights.always("weight");
    let (dims, d) = (x.dims(), table.shape()[1]);
    let ids = B::int_reshape(x.classes(), Shape::from(vec![dims.iter().product::<usize>()]));
    let rows = B::float_select(table, 0, ids);
    vec![x.with(B::float_reshape(rows, Shape::from([&dims[..], &[d]].concat())))]
});

// [batch, T] -> [batch, T]
forward!(TokenNumbers, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let classes = x.classes();
    let (dims, from) = (x.dims(), this.from as i64);
    let real = match x.mask(0) {
        Some(mask) => B::bool_into_int(mask, IntDType::from(classes.dtype())),
        None => B::int_ones(Shape::from(dims), &B::int_device(&classes), IntDType::from(classes.dtype())),
    };
    // 1, 2, 3, … at what is real, and zero elsewhere.
    let counted = B::int_mul(B::int_cumsum(real.clone(), 1), real);
    vec![x.with_classes(B::int_add_scalar(counted, (from - 1).into()))]
});

// [batch, T, d] -> [batch, T]
forward!(ConstantClass, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let (dims, device) = (x.dims(), B::float_device(&x.numbers()));
    let ids = TensorData::new(vec![this.index as i32; dims[0] * dims[1]], [dims[0], dims[1]]);
    vec![Stream::of_classes(B::int_from_data(ids, &device)).masked_like(&x, |dim| (dim == 0).then_some(0))]
});
