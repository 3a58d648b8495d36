//! A split that no library declares: passes put it behind linear layers that they join.

use lmv_compiler::config::Config;
use lmv_compiler::plan::SPLIT;

use super::{argument, forward, layers, take};
use crate::stream::narrow;

struct Split {
    widths: Vec<usize>,
}

layers! {
    SPLIT => |node| {
        let size = |width: &Config| width.int().and_then(|n| usize::try_from(n).ok());
        let widths = match node.arguments.get("widths") {
            Some(Config::List(widths)) => widths.iter().map(size).collect(),
            _ => None,
        };
        Ok(Split { widths: widths.ok_or_else(|| argument(node, "widths", "a list of widths"))? })
    },
}

// [batch, .., d] -> [batch, .., width] for each width
forward!(Split, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let last = x.dims().len() - 1;
    let ends = this.widths.iter().scan(0, |end, width| {
        *end += width;
        Some((*end - width, *end))
    });
    ends.map(|(start, end)| x.with(narrow::<B>(x.numbers(), last, start, end))).collect()
});
