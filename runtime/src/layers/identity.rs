//! `identity`: what goes in comes out.

use super::{forward, layers};

struct Identity;

layers! { "identity" => |_| Ok(Identity) }

forward!(Identity, |_this, inputs, _weights, _pass| inputs);
