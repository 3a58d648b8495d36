//! A model as a picture: an SVG file that reads well on light and dark pages.
//!
//! 1. `scene` groups the graph's nodes into boxes, as the spec's author wrote them: a `repeat` is one box, a layer of
//!    the library is closed, one that the spec wrote out is open and holds a scene of its own.
//! 2. `layout` puts the boxes into rows, in an order with few crossings, and bends the streams around what is in between.
//! 3. `svg` writes boxes and streams down.

mod layout;
mod scene;
mod svg;

use crate::Compiled;
use crate::graph::Graph;

/// More boxes than this are no picture any more.
pub const MOST_BOXES: usize = 400;

/// What is drawn, and how far it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options<'t> {
    /// What stands above the picture.
    pub title: &'t str,
    /// How many levels of layers within layers are shown; `None` opens what the spec itself writes out.
    pub depth: Option<usize>,
}

/// The picture of a compilation's `graph`. A model of more than [`MOST_BOXES`] boxes is none: its number is the error.
pub fn draw(graph: &Graph, compiled: &Compiled, options: &Options<'_>) -> Result<String, usize> {
    let scene = scene::scene(graph, &compiled.sources, options.depth);
    let boxes = scene.count();
    if boxes > MOST_BOXES {
        return Err(boxes);
    }
    Ok(svg::write(&scene, graph, options.title))
}
