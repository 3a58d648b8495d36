//! Where everything stands. Parts and the shapes on streams are put into rows by how far they are from an input; a stream
//! that passes rows gets a narrow place in each, so that it never runs through a part. Within the rows the order is the
//! one with the fewest crossings that is found, and places are moved until streams are as straight as they can be
//! without anything overlapping.

use super::scene::{PartKind, Scene};
use super::svg::{label_width, part_size};

/// Between neighbours of a row.
const GAP: f64 = 26.0;
/// Between a row and the next, at least.
const ROW_GAP: f64 = 13.0;
/// The height of the shape on a stream.
pub(super) const LABEL_HEIGHT: f64 = 17.0;
/// What an open part adds around the scene in it.
pub(super) const MARGIN: f64 = 14.0;
/// The bar with an open part's name.
pub(super) const BAR: f64 = 30.0;
/// Rounds of ordering and of straightening; pictures are small, and more change nothing.
const ORDER_ROUNDS: usize = 12;
const PLACE_ROUNDS: usize = 40;
const STRAIGHT_ROUNDS: usize = 6;

/// A scene with places.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Its width and height.
    pub size: (f64, f64),
    /// Of each part.
    pub parts: Vec<Frame>,
    /// The scenes of the open parts, by part.
    pub inner: Vec<Option<Layout>>,
    /// Of each wire: the middle of its shape.
    pub labels: Vec<(f64, f64)>,
    /// The ways of the wires.
    pub ways: Vec<Way>,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Frame {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A piece of a wire: a line through points, straight down through rows and bent between them.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Straight pieces from top to bottom, each bent into the next.
    pub points: Vec<((f64, f64), (f64, f64))>,
    /// Whether it ends at a part, and has a head.
    pub head: bool,
}

/// What stands in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vertex {
    Part(usize),
    Wire(usize),
    /// A wire passes.
    Pass,
}

struct Graph {
    vertices: Vec<Vertex>,
    widths: Vec<f64>,
    heights: Vec<f64>,
    rank: Vec<usize>,
    /// Between neighbouring rows only.
    below: Vec<Vec<usize>>,
    above: Vec<Vec<usize>>,
    rows: Vec<Vec<usize>>,
    /// For each piece of a wire (the part above or below, the wire), the vertices it goes through.
    chains: Vec<Chain>,
}

struct Chain {
    wire: usize,
    vertices: Vec<usize>,
    /// Whether it ends at a part.
    arrives: bool,
}

/// Lays a scene out, and the scenes in it first.
pub(super) fn layout(scene: &Scene) -> Layout {
    let inner: Vec<Option<Layout>> = scene.parts.iter().map(|part| part.inner.as_ref().map(layout)).collect();
    let sizes: Vec<(f64, f64)> = scene
        .parts
        .iter()
        .zip(&inner)
        .map(|(part, inner)| {
            let (width, height) = part_size(part);
            match inner {
                Some(Layout { size, .. }) => (width.max(size.0 + 2.0 * MARGIN), size.1 + BAR + MARGIN),
                None => (width, height),
            }
        })
        .collect();
    let mut graph = rows(scene, &sizes);
    order(&mut graph);
    let x = places(&graph);
    finish(scene, &graph, &x, inner, &sizes)
}

/// Parts and wires in rows.
fn rows(scene: &Scene, sizes: &[(f64, f64)]) -> Graph {
    let parts = scene.parts.len();
    let mut graph = Graph {
        vertices: (0..parts).map(Vertex::Part).chain((0..scene.wires.len()).map(Vertex::Wire)).collect(),
        widths: sizes.iter().map(|size| size.0).collect(),
        heights: sizes.iter().map(|size| size.1).collect(),
        rank: vec![0; parts + scene.wires.len()],
        below: Vec::new(),
        above: Vec::new(),
        rows: Vec::new(),
        chains: Vec::new(),
    };
    for wire in &scene.wires {
        graph.widths.push(label_width(&wire.label));
        graph.heights.push(if wire.label.is_empty() { 0.0 } else { LABEL_HEIGHT });
    }
    // A part stands behind all that it needs; without a way round, so many passes settle it.
    for _ in 0..=parts {
        let mut moved = false;
        for (index, wire) in scene.wires.iter().enumerate() {
            let own = graph.rank[wire.from] + 1;
            moved |= std::mem::replace(&mut graph.rank[parts + index], own) != own;
            for &to in &wire.to {
                if graph.rank[to] <= own {
                    graph.rank[to] = own + 1;
                    moved = true;
                }
            }
        }
        if !moved {
            break;
        }
    }
    let last = graph.rank.iter().copied().max().unwrap_or(0);
    for (index, part) in scene.parts.iter().enumerate() {
        let leaving = scene.wires.iter().enumerate().filter(|(_, wire)| wire.from == index);
        match part.kind {
            // An input stands where it is first used. In an open part it comes from the border.
            PartKind::Input if !part.title.is_empty() => {
                let first = leaving.clone().flat_map(|(_, wire)| &wire.to).map(|&to| graph.rank[to]).min();
                graph.rank[index] = first.map_or(0, |first| first.saturating_sub(2));
                leaving.for_each(|(wire, _)| graph.rank[parts + wire] = graph.rank[index] + 1);
            }
            PartKind::Output => graph.rank[index] = last,
            PartKind::Input | PartKind::Layer => {}
        }
    }
    for (index, wire) in scene.wires.iter().enumerate() {
        let label = parts + index;
        graph.chain(index, wire.from, label, false);
        wire.to.iter().for_each(|&to| graph.chain(index, label, to, true));
    }
    let ranks = graph.rank.iter().copied().max().unwrap_or(0) + 1;
    graph.rows = vec![Vec::new(); ranks];
    for vertex in 0..graph.vertices.len() {
        graph.rows[graph.rank[vertex]].push(vertex);
    }
    graph.above = vec![Vec::new(); graph.vertices.len()];
    graph.below = vec![Vec::new(); graph.vertices.len()];
    for chain in &graph.chains {
        for pair in chain.vertices.windows(2) {
            graph.below[pair[0]].push(pair[1]);
            graph.above[pair[1]].push(pair[0]);
        }
    }
    graph
}

impl Graph {
    /// A piece of a wire, with a place in each row that it passes.
    fn chain(&mut self, wire: usize, from: usize, to: usize, arrives: bool) {
        let mut vertices = vec![from];
        for rank in self.rank[from] + 1..self.rank[to] {
            vertices.push(self.vertices.len());
            self.vertices.push(Vertex::Pass);
            self.widths.push(2.0);
            self.heights.push(0.0);
            self.rank.push(rank);
        }
        vertices.push(to);
        self.chains.push(Chain { wire, vertices, arrives });
    }

    fn crossings(&self) -> usize {
        let position = self.positions();
        let mut count = 0;
        for row in &self.rows {
            let mut edges: Vec<(usize, usize)> = Vec::new();
            for &vertex in row {
                edges.extend(self.below[vertex].iter().map(|&to| (position[vertex], position[to])));
            }
            for (i, a) in edges.iter().enumerate() {
                count += edges[i + 1..].iter().filter(|b| (a.0 < b.0 && a.1 > b.1) || (a.0 > b.0 && a.1 < b.1)).count();
            }
        }
        count
    }

    fn positions(&self) -> Vec<usize> {
        let mut position = vec![0; self.vertices.len()];
        for row in &self.rows {
            row.iter().enumerate().for_each(|(at, &vertex)| position[vertex] = at);
        }
        position
    }
}

/// Orders the rows: each vertex near the middle of its neighbours, the best of several rounds.
fn order(graph: &mut Graph) {
    let mut best = (graph.crossings(), graph.rows.clone());
    for round in 0..ORDER_ROUNDS {
        let down = round % 2 == 0;
        let rows: Vec<usize> =
            if down { (0..graph.rows.len()).collect() } else { (0..graph.rows.len()).rev().collect() };
        for row in rows {
            let position = graph.positions();
            let neighbours = if down { &graph.above } else { &graph.below };
            let mut keyed: Vec<(f64, usize)> = graph.rows[row]
                .iter()
                .map(|&vertex| {
                    let near = &neighbours[vertex];
                    let sum: f64 = near.iter().map(|&n| relative(graph, &position, n)).sum();
                    let here = relative(graph, &position, vertex);
                    (if near.is_empty() { here } else { sum / near.len() as f64 }, vertex)
                })
                .collect();
            // Stable: what is alike keeps its order.
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            graph.rows[row] = keyed.into_iter().map(|(_, vertex)| vertex).collect();
        }
        let crossings = graph.crossings();
        if crossings < best.0 {
            best = (crossings, graph.rows.clone());
        }
    }
    graph.rows = best.1;
}

/// A vertex's place in its row, from 0 to 1.
fn relative(graph: &Graph, position: &[usize], vertex: usize) -> f64 {
    let row = graph.rows[graph.rank[vertex]].len();
    (position[vertex] as f64 + 0.5) / row as f64
}

/// The middle of each vertex, from left to right.
fn places(graph: &Graph) -> Vec<f64> {
    let mut x = vec![0.0; graph.vertices.len()];
    for row in &graph.rows {
        let total: f64 = row.iter().map(|&v| graph.widths[v] + GAP).sum();
        let mut left = -total / 2.0;
        for &vertex in row {
            x[vertex] = left + (graph.widths[vertex] + GAP) / 2.0;
            left += graph.widths[vertex] + GAP;
        }
    }
    for round in 0..PLACE_ROUNDS {
        let down = round % 2 == 0;
        let rows: Vec<usize> =
            if down { (0..graph.rows.len()).collect() } else { (0..graph.rows.len()).rev().collect() };
        for row in rows {
            let wanted: Vec<(f64, f64)> = graph.rows[row]
                .iter()
                .map(|&vertex| {
                    let near: Vec<usize> = match round + 6 > PLACE_ROUNDS {
                        // At the end both sides count, so that nothing leans to one of them.
                        true => graph.above[vertex].iter().chain(&graph.below[vertex]).copied().collect(),
                        false if down => graph.above[vertex].clone(),
                        false => graph.below[vertex].clone(),
                    };
                    let mean = near.iter().map(|&n| x[n]).sum::<f64>() / near.len() as f64;
                    let weight = match graph.vertices[vertex] {
                        _ if near.is_empty() => 0.05,
                        Vertex::Pass => 6.0,
                        Vertex::Wire(_) => 2.0,
                        Vertex::Part(_) => 1.0,
                    };
                    (if near.is_empty() { x[vertex] } else { mean }, weight)
                })
                .collect();
            place_row(&graph.rows[row], &graph.widths, &wanted, &mut x);
        }
    }
    (0..STRAIGHT_ROUNDS).for_each(|_| straighten(graph, &mut x));
    x
}

/// Lines that go from one vertex to the next without a fork are put straight, as far as their neighbours leave room.
fn straighten(graph: &Graph, x: &mut [f64]) {
    let position = graph.positions();
    let only = |a: usize, b: usize| graph.below[a] == [b] && graph.above[b] == [a];
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for vertex in 0..graph.vertices.len() {
        let begins = !graph.above[vertex].first().is_some_and(|&above| only(above, vertex));
        if !begins {
            continue;
        }
        let mut run = vec![vertex];
        while let Some(&next) = run.last().and_then(|&last| graph.below[last].first().filter(|&&next| only(last, next)))
        {
            run.push(next);
        }
        if run.len() > 1 {
            runs.push(run);
        }
    }
    // What passes the most rows is seen the most.
    runs.sort_by_key(|run| std::cmp::Reverse(run.len()));
    for run in runs {
        // From left and right, how far each vertex of it may go.
        let room = |vertex: usize, x: &[f64]| {
            let row = &graph.rows[graph.rank[vertex]];
            let at = position[vertex];
            let apart = |other: usize| (graph.widths[other] + graph.widths[vertex]) / 2.0 + GAP * 0.6;
            let least = at.checked_sub(1).map_or(f64::NEG_INFINITY, |left| x[row[left]] + apart(row[left]));
            let most = row.get(at + 1).map_or(f64::INFINITY, |&right| x[right] - apart(right));
            (least, most)
        };
        // Where its ends lead to; and where it is, with the weight of a part.
        let (first, last) = (run[0], run[run.len() - 1]);
        let ends: Vec<f64> = graph.above[first].iter().chain(&graph.below[last]).map(|&end| x[end]).collect();
        let mean = run.iter().map(|&v| x[v]).sum::<f64>() / run.len() as f64;
        let wanted = (ends.iter().sum::<f64>() + mean * 2.0) / (ends.len() as f64 + 2.0);
        let mut from = 0;
        while from < run.len() {
            let (mut least, mut most) = room(run[from], x);
            let mut upto = from + 1;
            while let Some(&next) = run.get(upto) {
                let (l, m) = room(next, x);
                if least.max(l) > most.min(m) {
                    break;
                }
                (least, most) = (least.max(l), most.min(m));
                upto += 1;
            }
            if least <= most {
                run[from..upto].iter().for_each(|&vertex| x[vertex] = wanted.clamp(least, most));
            }
            from = upto;
        }
    }
}

/// Puts a row as near to where its vertices want to be as their widths allow: least squares over an ordered row, by
/// pooling neighbours that would get into each other's way.
fn place_row(row: &[usize], widths: &[f64], wanted: &[(f64, f64)], x: &mut [f64]) {
    // Less the room of all to its left, every vertex only has to be right of the one before.
    let mut offsets = Vec::with_capacity(row.len());
    let mut offset = 0.0;
    for (at, &vertex) in row.iter().enumerate() {
        if at > 0 {
            offset += (widths[row[at - 1]] + widths[vertex]) / 2.0 + GAP;
        }
        offsets.push(offset);
    }
    // Pools: their weighted mean, their weight, how many.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (at, (want, weight)) in wanted.iter().enumerate() {
        pools.push((want - offsets[at], *weight, 1));
        while let [.., before, last] = pools.as_slice()
            && before.0 > last.0
        {
            let (a, b) = (*before, *last);
            let weight = a.1 + b.1;
            pools.truncate(pools.len() - 2);
            pools.push(((a.0 * a.1 + b.0 * b.1) / weight, weight, a.2 + b.2));
        }
    }
    let mut at = 0;
    for (value, _, count) in pools {
        for _ in 0..count {
            x[row[at]] = value + offsets[at];
            at += 1;
        }
    }
}

fn finish(scene: &Scene, graph: &Graph, x: &[f64], inner: Vec<Option<Layout>>, sizes: &[(f64, f64)]) -> Layout {
    let left = graph.rows.iter().flatten().map(|&v| x[v] - graph.widths[v] / 2.0).fold(f64::INFINITY, f64::min);
    let right = graph.rows.iter().flatten().map(|&v| x[v] + graph.widths[v] / 2.0).fold(f64::NEG_INFINITY, f64::max);
    let x: Vec<f64> = x.iter().map(|x| x - left).collect();
    let width = (right - left).max(0.0);
    // Rows from top to bottom; where streams go far to the side, there is more room for the bend.
    let mut tops = Vec::with_capacity(graph.rows.len());
    let mut y = 0.0;
    for (rank, row) in graph.rows.iter().enumerate() {
        if rank > 0 {
            let far = graph.rows[rank - 1]
                .iter()
                .flat_map(|&v| graph.below[v].iter().map(move |&to| (v, to)))
                .map(|(v, to)| (x[v] - x[to]).abs())
                .fold(0.0, f64::max);
            y += ROW_GAP + (far * 0.09).min(34.0);
        }
        let height = row.iter().map(|&v| graph.heights[v]).fold(0.0, f64::max);
        tops.push((y, height));
        y += height;
    }
    let middle = |vertex: usize| {
        let (top, height) = tops[graph.rank[vertex]];
        top + height / 2.0
    };
    let frame = |vertex: usize| Frame {
        x: x[vertex] - graph.widths[vertex] / 2.0,
        y: middle(vertex) - graph.heights[vertex] / 2.0,
        width: graph.widths[vertex],
        height: graph.heights[vertex],
    };
    let parts: Vec<Frame> = (0..scene.parts.len()).map(frame).collect();
    let inner_left = |part: usize, layout: &Layout| (sizes[part].0 - layout.size.0) / 2.0;
    // Where each chain leaves or enters its parts: side by side, in the order of the other ends.
    let port = |part: usize, chain: usize, entering: bool| -> f64 {
        let own = &graph.chains[chain];
        let port_kind = if entering { PartKind::Input } else { PartKind::Output };
        if let Some(layout) = &inner[part]
            && let Some(within) = scene.parts[part].inner.as_ref()
        {
            // An open part is entered where the stream goes on inside, one of the same border's ports after the other.
            let stream = scene.wires[own.wire].stream;
            let ports: Vec<usize> = (0..within.parts.len()).filter(|&p| within.parts[p].kind == port_kind).collect();
            let of_stream = ports.iter().copied().find(|&p| {
                within.wires.iter().any(|wire| wire.stream == stream && (wire.from == p || wire.to.contains(&p)))
            });
            let rank = siblings(graph, part, entering, &x).iter().position(|&c| c == chain).unwrap_or(0);
            if let Some(port) = of_stream.or_else(|| ports.get(rank.min(ports.len().saturating_sub(1))).copied()) {
                let at = layout.parts[port];
                return parts[part].x + inner_left(part, layout) + at.x + at.width / 2.0;
            }
        }
        let siblings = siblings(graph, part, entering, &x);
        let at = siblings.iter().position(|&c| c == chain).unwrap_or(0) as f64 + 1.0;
        parts[part].x + parts[part].width * at / (siblings.len() as f64 + 1.0)
    };
    let mut ways = Vec::new();
    for (index, chain) in graph.chains.iter().enumerate() {
        let mut points = Vec::new();
        for (at, &vertex) in chain.vertices.iter().enumerate() {
            let (top, height) = tops[graph.rank[vertex]];
            let ends = at + 1 == chain.vertices.len();
            points.push(match graph.vertices[vertex] {
                Vertex::Part(part) if ends => {
                    let x = port(part, index, true);
                    ((x, top), (x, parts[part].y))
                }
                Vertex::Part(part) => {
                    let x = port(part, index, false);
                    ((x, parts[part].y + parts[part].height), (x, top + height))
                }
                // Through the shape; it is drawn over the line.
                Vertex::Wire(_) if ends => ((x[vertex], top), (x[vertex], middle(vertex))),
                Vertex::Wire(_) => ((x[vertex], middle(vertex)), (x[vertex], top + height)),
                Vertex::Pass => ((x[vertex], top), (x[vertex], top + height)),
            });
        }
        let to_border = chain.vertices.last().is_some_and(|&end| match graph.vertices[end] {
            Vertex::Part(part) => scene.parts[part].kind == PartKind::Output && scene.parts[part].title.is_empty(),
            _ => false,
        });
        ways.push(Way { points, head: chain.arrives && !to_border });
    }
    let labels = (0..scene.wires.len())
        .map(|wire| {
            let vertex = scene.parts.len() + wire;
            (x[vertex], middle(vertex))
        })
        .collect();
    Layout { size: (width, y), parts, inner, labels, ways }
}

/// The chains that enter or leave a part, in the order of where they come from or go to.
fn siblings(graph: &Graph, part: usize, entering: bool, x: &[f64]) -> Vec<usize> {
    let next = |chain: &Chain| {
        let vertices = &chain.vertices;
        if entering { vertices[vertices.len() - 2] } else { vertices[1] }
    };
    let mut found: Vec<(f64, usize)> = graph
        .chains
        .iter()
        .enumerate()
        .filter(|(_, chain)| {
            let end = if entering { chain.vertices.last() } else { chain.vertices.first() };
            end == Some(&part)
        })
        .map(|(index, chain)| (x[next(chain)], index))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.into_iter().map(|(_, chain)| chain).collect()
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Part, Wire};
    use super::*;
    use crate::graph::StreamId;

    /// Numbers that look random, the same every time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) as usize) % n
        }
    }

    /// A scene of so many layers, each fed by up to three parts before it.
    fn scene(layers: usize, seed: u64) -> Scene {
        let mut dice = Dice(seed);
        let part =
            |kind, title: String, frozen| Part { kind, title, detail: None, times: 1, trained: 0, frozen, inner: None };
        let mut scene = Scene::default();
        for input in 0..1 + dice.below(3) {
            scene.parts.push(part(PartKind::Input, format!("x{input}"), 0));
        }
        let inputs = scene.parts.len();
        for layer in 0..layers {
            let title = "layer".repeat(1 + dice.below(4));
            scene.parts.push(part(PartKind::Layer, title, dice.below(2) as i64));
            for _ in 0..1 + dice.below(3) {
                let from = dice.below(inputs + layer);
                let stream = StreamId(from);
                match scene.wires.iter_mut().find(|wire| wire.from == from) {
                    Some(wire) if wire.to.contains(&(inputs + layer)) => {}
                    Some(wire) => wire.to.push(inputs + layer),
                    None => {
                        let label = format!("[{}]", "9".repeat(1 + dice.below(14)));
                        scene.wires.push(Wire { from, to: vec![inputs + layer], stream, label });
                    }
                }
            }
        }
        let last = scene.parts.len();
        scene.parts.push(part(PartKind::Output, "output".into(), 0));
        let stream = StreamId(last);
        match scene.wires.iter_mut().find(|wire| wire.from == last - 1) {
            Some(wire) => wire.to.push(last),
            None => scene.wires.push(Wire { from: last - 1, to: vec![last], stream, label: "[1]".into() }),
        }
        scene
    }

    fn apart(a: Frame, b: Frame) -> bool {
        let slack = 0.01;
        a.x + a.width <= b.x + slack
            || b.x + b.width <= a.x + slack
            || a.y + a.height <= b.y + slack
            || b.y + b.height <= a.y + slack
    }

    /// Every part and every shape of a layout.
    fn frames(scene: &Scene, layout: &Layout) -> Vec<Frame> {
        let labels = scene.wires.iter().zip(&layout.labels).filter(|(wire, _)| !wire.label.is_empty());
        let labels = labels.map(|(wire, (x, y))| {
            let width = label_width(&wire.label);
            Frame { x: x - width / 2.0, y: y - LABEL_HEIGHT / 2.0, width, height: LABEL_HEIGHT }
        });
        layout.parts.iter().copied().chain(labels).collect()
    }

    #[test]
    fn nothing_overlaps_and_everything_lies_inside() {
        for seed in 0..60 {
            let scene = scene(1 + (seed as usize % 17), seed);
            let layout = layout(&scene);
            let frames = frames(&scene, &layout);
            for (index, a) in frames.iter().enumerate() {
                assert!(a.x >= -0.01 && a.x + a.width <= layout.size.0 + 0.01, "scene {seed}: {a:?} sticks out");
                assert!(a.y >= -0.01 && a.y + a.height <= layout.size.1 + 0.01, "scene {seed}: {a:?} sticks out");
                for b in &frames[index + 1..] {
                    assert!(apart(*a, *b), "scene {seed}: {a:?} and {b:?}");
                }
            }
        }
    }

    #[test]
    fn streams_flow_down_and_run_through_no_part() {
        for seed in 0..60 {
            let scene = scene(1 + (seed as usize % 17), seed);
            let layout = layout(&scene);
            for way in &layout.ways {
                let mut y = f64::NEG_INFINITY;
                for ((x0, y0), (x1, y1)) in &way.points {
                    assert!(y <= y0 + 0.01 && *y0 <= y1 + 0.01 && x0 == x1, "scene {seed}: {:?}", way.points);
                    y = *y1;
                    let line = Frame { x: *x0, y: *y0, width: 0.0, height: y1 - y0 };
                    for part in &layout.parts {
                        assert!(apart(line, *part), "scene {seed}: {line:?} through {part:?}");
                    }
                }
            }
        }
    }
}
