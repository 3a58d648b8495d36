//! What is in the picture: parts with streams between them, in parts that are open again a scene.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::graph::{Graph, StreamId};
use crate::passes::count::parameter_counts;
use crate::source::{Origin, Sources};

/// Levels of parts inside one another beyond this stay closed.
const DEEPEST: usize = 6;
/// The longest text that stands as it is written on a part, in characters.
const LONGEST_TITLE: usize = 34;

/// Parts, and the streams between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    /// In an order in which every part comes behind what it needs.
    pub parts: Vec<Part>,
    /// The streams that leave a part.
    pub wires: Vec<Wire>,
}

/// A box of the picture.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Its name, mostly as the spec writes it.
    pub title: String,
    /// More about it, in small letters.
    pub detail: Option<String>,
    /// How often it stands there one after the other.
    pub times: usize,
    /// How many numbers are trained in it.
    pub trained: i64,
    /// How many are frozen.
    pub frozen: i64,
    /// What it is made of, where it is open.
    pub inner: Option<Scene>,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartKind {
    /// An input of the scene.
    Input,
    /// An output of the scene.
    Output,
    /// Layers.
    Layer,
}

/// A stream from the part that makes it to those that take it.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    /// The part.
    pub from: usize,
    /// The parts, each once.
    pub to: Vec<usize>,
    /// Which stream.
    pub stream: StreamId,
    /// Its shape, where that is to be said.
    pub label: String,
}

impl Part {
    fn port(kind: PartKind, title: String) -> Self {
        Self { kind, title, detail: None, times: 1, trained: 0, frozen: 0, inner: None }
    }
}

impl Scene {
    /// How many parts there are, those in open parts counted too.
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| 1 + part.inner.as_ref().map_or(0, Scene::count)).sum()
    }
}

/// The scene of a model.
pub(super) fn scene(graph: &Graph, sources: &Sources, depth: Option<usize>) -> Scene {
    let mut consumers: HashMap<StreamId, Vec<usize>> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|stream| consumers.entry(*stream).or_default().push(index));
    }
    let builder = Builder { graph, sources, depth, consumers };
    let ports = |ports: &[crate::graph::Port]| ports.iter().map(|port| (port.name.clone(), port.stream)).collect();
    let all: Vec<usize> = (0..graph.nodes.len()).collect();
    let top = Level { number: 1, above: 0, written_at: None };
    builder.level(&all, &top, ports(&graph.inputs), ports(&graph.outputs))
}

struct Builder<'g> {
    graph: &'g Graph,
    sources: &'g Sources,
    depth: Option<usize>,
    consumers: HashMap<StreamId, Vec<usize>>,
}

/// Nodes that make up one part.
struct Group {
    /// The path's segments below the level: `blocks`, `small.layer.0`.
    label: String,
    nodes: Vec<usize>,
    /// The nodes of the first round, where it is repeated.
    first: Vec<usize>,
    times: usize,
    /// How many segments of their paths lead to what is inside.
    inside: usize,
}

type NamedStream = (String, StreamId);

/// What the parts of a scene have in common.
struct Level {
    /// From 1, the whole model.
    number: usize,
    /// How many segments their paths agree in.
    above: usize,
    /// The one place of the spec that all of them come from, inside a layer of the library.
    written_at: Option<Place>,
}

/// File, start and end.
type Place = (usize, usize, usize);

impl Builder<'_> {
    /// The scene of some nodes.
    fn level(&self, nodes: &[usize], level: &Level, inputs: Vec<NamedStream>, outputs: Vec<NamedStream>) -> Scene {
        let groups = self.acyclic(self.groups(nodes, level.above), nodes);
        let mut scene = Scene::default();
        if groups.len() > super::MOST_BOXES {
            // Too many to be drawn; their number is all that is asked for.
            let part = || Part::port(PartKind::Layer, String::new());
            scene.parts.extend(groups.iter().map(|_| part()));
            return scene;
        }
        let outer = level.number == 1;
        let mut makers: HashMap<StreamId, usize> = HashMap::new();
        let port = |kind, name: &str| Part::port(kind, if outer { name.to_owned() } else { String::new() });
        for (name, stream) in &inputs {
            makers.insert(*stream, scene.parts.len());
            scene.parts.push(port(PartKind::Input, name));
        }
        for group in &groups {
            for &node in &group.nodes {
                makers.extend(self.graph.nodes[node].outputs.iter().map(|out| (*out, scene.parts.len())));
            }
            scene.parts.push(self.part(group, level));
        }
        // What flows between parts, in the order in which it is made.
        let mut targets: BTreeMap<(usize, StreamId), BTreeSet<usize>> = BTreeMap::new();
        for (part, group) in groups.iter().enumerate().map(|(index, group)| (index + inputs.len(), group)) {
            for stream in group.nodes.iter().flat_map(|&node| &self.graph.nodes[node].inputs) {
                if let Some(&from) = makers.get(stream).filter(|&&from| from != part) {
                    targets.entry((from, *stream)).or_default().insert(part);
                }
            }
        }
        for (name, stream) in &outputs {
            let part = scene.parts.len();
            scene.parts.push(port(PartKind::Output, name));
            if let Some(&from) = makers.get(stream) {
                targets.entry((from, *stream)).or_default().insert(part);
            }
        }
        for ((from, stream), to) in targets {
            let to: Vec<usize> = to.into_iter().collect();
            let through = |part: usize| scene.parts[part].kind != PartKind::Layer;
            // At the border of an open part, its shape is said outside.
            let said = !outer && (through(from) || to.iter().all(|part| through(*part)));
            let label = if said { String::new() } else { self.graph.shape(stream).to_string() };
            scene.wires.push(Wire { from, to, stream, label });
        }
        scene
    }

    fn segments(&self, node: usize, above: usize) -> Vec<&str> {
        self.graph.nodes[node].path.split('.').skip(above).collect()
    }

    fn groups(&self, nodes: &[usize], above: usize) -> Vec<Group> {
        let mut order: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for &node in nodes {
            let key = self.graph.nodes[node].path.split('.').nth(above).unwrap_or_default();
            let at = *known.entry(key).or_insert_with(|| {
                order.push(Vec::new());
                order.len() - 1
            });
            order[at].push(node);
        }
        let mut groups: Vec<Group> = order.into_iter().flat_map(|nodes| self.split(nodes, above)).collect();
        groups.sort_by_key(|group| group.nodes[0]);
        groups
    }

    /// Nodes of one first segment: one group, or, where numbers tell them apart, one for each run of equal rounds.
    fn split(&self, nodes: Vec<usize>, above: usize) -> Vec<Group> {
        let mut depth = 1;
        let numeric = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        loop {
            let next: BTreeSet<Option<&str>> =
                nodes.iter().map(|&node| self.segments(node, above).get(depth).copied()).collect();
            let numbered = next.iter().all(|segment| segment.is_some_and(numeric));
            if numbered && next.len() > 1 {
                break;
            }
            let longer = nodes.iter().all(|&node| self.segments(node, above).len() > depth + 1);
            if next.len() == 1 && (longer || numbered) {
                depth += 1;
                continue;
            }
            let label = self.segments(nodes[0], above)[..depth].join(".");
            return vec![Group { label, first: nodes.clone(), nodes, times: 1, inside: above + depth }];
        }
        // By rounds, in the order in which they run.
        let mut rounds: Vec<(String, Vec<usize>)> = Vec::new();
        for &node in &nodes {
            let number = self.segments(node, above)[depth].to_owned();
            match rounds.iter_mut().find(|(n, _)| *n == number) {
                Some((_, round)) => round.push(node),
                None => rounds.push((number, vec![node])),
            }
        }
        let stem = self.segments(nodes[0], above)[..depth].join(".");
        let mut groups: Vec<(String, String, u64, Group)> = Vec::new();
        for (number, round) in rounds {
            let print = self.fingerprint(&round, above + depth + 1);
            let last = groups.last_mut().filter(|(.., p, group)| *p == print && self.follows(&group.nodes, &round));
            match last {
                Some((_, end, _, group)) => {
                    group.nodes.extend(round);
                    group.times += 1;
                    *end = number;
                }
                None => {
                    let first = round.clone();
                    let group =
                        Group { label: String::new(), nodes: round, first, times: 1, inside: above + depth + 1 };
                    groups.push((number.clone(), number, print, group));
                }
            }
        }
        let whole = groups.len() == 1;
        let named = groups.into_iter().map(|(start, end, _, mut group)| {
            group.label = match (whole, start == end) {
                (true, _) => stem.clone(),
                (false, true) => format!("{stem}.{start}"),
                (false, false) => format!("{stem}.{start} to {end}"),
            };
            group
        });
        named.collect()
    }

    /// Whether a round takes what the nodes before it give.
    fn follows(&self, before: &[usize], round: &[usize]) -> bool {
        let made: BTreeSet<StreamId> =
            before.iter().flat_map(|&n| self.graph.nodes[n].outputs.iter().copied()).collect();
        round.iter().flat_map(|&node| &self.graph.nodes[node].inputs).any(|stream| made.contains(stream))
    }

    /// Equal for rounds of the same structure.
    fn fingerprint(&self, nodes: &[usize], above: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        for &index in nodes {
            let node = &self.graph.nodes[index];
            (self.segments(index, above), &node.layer).hash(&mut hasher);
            for out in &node.outputs {
                self.graph.shape(*out).to_string().hash(&mut hasher);
            }
            for (name, id) in &node.parameters {
                let parameter = &self.graph.parameters[id.0];
                (name, parameter.frozen, parameter.shape.to_string()).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// The groups; those that a stream leaves and comes back to are cut where it leaves.
    fn acyclic(&self, groups: Vec<Group>, nodes: &[usize]) -> Vec<Group> {
        let owner: HashMap<usize, usize> =
            groups.iter().enumerate().flat_map(|(index, group)| group.nodes.iter().map(move |&n| (n, index))).collect();
        let mut needs = vec![0usize; groups.len()];
        let mut feeds: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); groups.len()];
        for &node in nodes {
            for stream in &self.graph.nodes[node].outputs {
                for consumer in self.consumers.get(stream).into_iter().flatten() {
                    if let (Some(&from), Some(&to)) = (owner.get(&node), owner.get(consumer))
                        && from != to
                        && feeds[from].insert(to)
                    {
                        needs[to] += 1;
                    }
                }
            }
        }
        let mut ready: Vec<usize> = (0..groups.len()).filter(|&group| needs[group] == 0).collect();
        let mut free = BTreeSet::new();
        while let Some(group) = ready.pop() {
            free.insert(group);
            for &to in &feeds[group] {
                needs[to] -= 1;
                if needs[to] == 0 {
                    ready.push(to);
                }
            }
        }
        if free.len() == groups.len() {
            return groups;
        }
        // Pieces without a foreign node in between run one after the other, and cannot go round.
        let mut cut: Vec<Group> = Vec::new();
        let place: HashMap<usize, usize> = nodes.iter().enumerate().map(|(at, &node)| (node, at)).collect();
        for (index, group) in groups.into_iter().enumerate() {
            if free.contains(&index) {
                cut.push(group);
                continue;
            }
            let mut pieces: Vec<Vec<usize>> = Vec::new();
            for node in group.nodes {
                match pieces.last_mut() {
                    Some(piece) if piece.last().is_some_and(|last| place[last] + 1 == place[&node]) => piece.push(node),
                    _ => pieces.push(vec![node]),
                }
            }
            let (label, inside) = (group.label, group.inside);
            cut.extend(pieces.into_iter().map(|nodes| Group {
                label: label.clone(),
                first: nodes.clone(),
                nodes,
                times: 1,
                inside,
            }));
        }
        cut.sort_by_key(|group| group.nodes[0]);
        cut
    }

    fn part(&self, group: &Group, level: &Level) -> Part {
        let mut parameters: BTreeSet<usize> = BTreeSet::new();
        for &node in &group.nodes {
            parameters.extend(self.graph.nodes[node].parameters.iter().map(|(_, id)| id.0));
        }
        let (trained, frozen) = parameter_counts(parameters.into_iter().map(|id| &self.graph.parameters[id]));
        let origins: BTreeSet<Place> = group.first.iter().map(|&node| place(self.graph.nodes[node].origin)).collect();
        let many = group.first.len() > 1;
        let open = match self.depth {
            Some(depth) => many && level.number < depth,
            // What the spec writes out itself stands at places of its own.
            None => many && origins.len() > 1 && level.number < DEEPEST,
        };
        let inner = open.then(|| self.inner(group, level, &origins));
        let (title, detail) = self.title(group, level, &origins);
        Part { kind: PartKind::Layer, title, detail, times: group.times, trained, frozen, inner }
    }

    fn inner(&self, group: &Group, level: &Level, origins: &BTreeSet<Place>) -> Scene {
        let inside: BTreeSet<usize> = group.first.iter().copied().collect();
        let made: BTreeSet<StreamId> =
            inside.iter().flat_map(|&node| self.graph.nodes[node].outputs.iter().copied()).collect();
        let mut inputs: Vec<NamedStream> = Vec::new();
        for stream in inside.iter().flat_map(|&node| &self.graph.nodes[node].inputs) {
            if !made.contains(stream) && !inputs.iter().any(|(_, known)| known == stream) {
                inputs.push((String::new(), *stream));
            }
        }
        let leaves = |stream: &StreamId| {
            let used = self.consumers.get(stream).into_iter().flatten().any(|node| !inside.contains(node));
            used || self.graph.outputs.iter().any(|port| port.stream == *stream)
        };
        let outputs = made.iter().filter(|stream| leaves(stream)).map(|stream| (String::new(), *stream)).collect();
        let written_at = origins.first().copied().filter(|_| origins.len() == 1);
        let level = Level { number: level.number + 1, above: group.inside, written_at };
        self.level(&group.first, &level, inputs, outputs)
    }

    /// What stands on a part: what the spec writes there, where that is short and means this part alone.
    fn title(&self, group: &Group, level: &Level, origins: &BTreeSet<Place>) -> (String, Option<String>) {
        let last = group.label.split('.').rfind(|s| !s.bytes().all(|b| b.is_ascii_digit())).unwrap_or(&group.label);
        let origin = self.graph.nodes[group.first[0]].origin;
        let (file, start, end) = place(origin);
        // `residual(linear(8, 8))` is not what the addition behind it should be called.
        let alone = !self.graph.nodes.iter().any(|node| {
            let (f, s, e) = place(node.origin);
            f == file && start <= s && e <= end && (s, e) != (start, end)
        });
        // A block of a language model is more than a layer.
        let name = match group.label.rsplit('.').collect::<Vec<_>>().as_slice() {
            [index, "layer", llm, ..] if index.bytes().all(|b| b.is_ascii_digit()) => format!("{llm}.layer[{index}]"),
            _ => plain(last).to_owned(),
        };
        if origins.len() > 1 || !alone || level.written_at == Some(place(origin)) {
            let layer = match group.first.as_slice() {
                [node] => Some(&self.graph.nodes[*node].layer).filter(|layer| **layer != name),
                _ => None,
            };
            return (name, layer.cloned());
        }
        let written = self.sources.text(origin).split_whitespace().collect::<Vec<_>>().join(" ");
        let (written, filled) = unmarked(&written);
        let filled = filled.map(|name| format!("filled by {name}"));
        let called = written.split(['(', '[', '.']).next().unwrap_or_default().to_owned();
        let named = name != called && !group.label.starts_with(&called);
        match (named, written.chars().count() <= LONGEST_TITLE) {
            // `linear(8, 8) as proj`: the name first.
            (true, _) => (name, Some(filled.unwrap_or_else(|| shortened(written)))),
            (false, true) => (written.to_owned(), filled),
            (false, false) => match written.split_once('(') {
                Some((callee, arguments)) => {
                    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
                    (callee.to_owned(), Some(filled.unwrap_or_else(|| shortened(arguments))))
                }
                None => (shortened(written), filled),
            },
        }
    }
}

/// What is within the words about freezing and filling, and the name of the weights that fill it. The picture shows by
/// colours what the others say.
fn unmarked(written: &str) -> (&str, Option<&str>) {
    let (mut inner, mut filled) = (written, None);
    while let Some(rest) = inner.strip_suffix(')') {
        let marks = ["frozen(", "trainable(", "random("];
        if let Some(within) = marks.iter().find_map(|mark| rest.strip_prefix(mark)) {
            inner = within.trim();
        } else if let Some((name, within)) = rest.strip_prefix("pretrained(").and_then(|rest| rest.split_once(',')) {
            (inner, filled) = (within.trim(), Some(name.trim()));
        } else {
            break;
        }
    }
    (inner, filled)
}

/// A name without the number that tells it apart from others: `linear_2` is `linear`.
fn plain(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((stem, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => name,
    }
}

fn place(origin: Origin) -> Place {
    (origin.file.0, origin.span.start, origin.span.end)
}

/// At most so many characters that fit below a title.
fn shortened(text: &str) -> String {
    let most = LONGEST_TITLE + 6;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most).collect();
    let end = cut.rfind(',').or(cut.rfind(' ')).filter(|end| *end > most / 3).unwrap_or(cut.len());
    format!("{}, …", cut[..end].trim_end_matches([',', ' ']))
}
