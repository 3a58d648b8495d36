//! `token`: one token of the stream.

use super::{forward, layers, size, take};
use crate::stream::{Stream, narrow, reshape};

struct Token {
    index: usize,
}

layers! { "token" => |node| Ok(Token { index: size(node, "index")? }) }

// [batch, tokens, d] -> [batch, d]
forward!(Token, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let one = narrow::<B>(x.tensor, 1, this.index, this.index + 1);
    vec![Stream::new(reshape::<B>(one, &[dims[0], dims[2]]))]
});
