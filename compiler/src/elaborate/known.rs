//! What variants have in common is elaborated once.
//!
//! A layer that was put onto streams without a mistake gives the same again wherever it is put onto streams of the same
//! shapes, with the same arguments and under the same words. [`Known`] keeps what it gave, and what the checks behind
//! elaboration ask of the layers in it. A later variant then takes it as a whole: a node for each of its outputs.
//!
//! A graph of wholes is good for these checks alone, and messages want the layers in them. So nothing is taken where
//! the graph is asked for, and a variant in which something is wrong is elaborated again without taking anything.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::frames::DEEPEST;
use super::signature::{Use, streams_in_order};
use super::{Elaborator, Fill, MOST_NESTED, MOST_NODES, Marks};
use crate::graph::{Node, Parameter, ParameterId, Stream, StreamId};
use crate::source::FileId;
use crate::value::{Bound, Data, Definition, ScopeRef, StreamValue, Value};

/// So many uses of one definition are kept; a family of a thousand members may have a thousand that are all different.
const MOST_USES: usize = 64;

/// What is known of a spec's layers, for each of the data that its variants have.
#[derive(Default)]
pub(crate) struct Known(RefCell<Vec<WithData>>);

type WithData = (Option<Rc<Data>>, Rc<Wholes>);

/// The uses of each definition, by its file and item.
pub(super) type Wholes = RefCell<HashMap<(FileId, usize), Vec<Rc<Whole>>>>;

impl Known {
    /// What is known where the data is this.
    fn with(&self, data: Option<&Rc<Data>>) -> Rc<Wholes> {
        let mut all = self.0.borrow_mut();
        let same = |known: &Option<Rc<Data>>| match (known, data) {
            (Some(known), Some(data)) => known.call == data.call && known.fields == data.fields,
            (None, None) => true,
            _ => false,
        };
        if let Some((_, wholes)) = all.iter().find(|(known, _)| same(known)) {
            return wholes.clone();
        }
        let wholes = Rc::<Wholes>::default();
        all.push((data.cloned(), wholes.clone()));
        wholes
    }
}

/// What an elaborator does with what is known.
#[derive(Clone, Copy)]
pub(crate) enum Knowledge<'k> {
    /// Neither takes nor gives.
    None,
    /// Gives to it; for where the graph is asked for.
    Given(&'k Known),
    /// Takes from it as well; for where only mistakes are.
    Taken(&'k Known),
}

/// A layer on its streams as one, and all that it depends on.
pub(super) struct Whole {
    arguments: Vec<Value>,
    takes: Vec<Stream>,
    words: Words,
    /// What it gives, with the streams of its first use.
    gives: Value,
    outputs: Vec<Output>,
    cost: Cost,
}

/// The words about freezing and filling, as far as anything can be wrong with them.
#[derive(PartialEq)]
struct Words {
    frozen: Option<bool>,
    filled: Option<std::mem::Discriminant<Fill>>,
}

impl From<&Marks> for Words {
    fn from(marks: &Marks) -> Self {
        Self { frozen: marks.frozen.map(|(frozen, _)| frozen), filled: marks.fill.as_ref().map(std::mem::discriminant) }
    }
}

/// A stream that a whole gives.
struct Output {
    stream: Stream,
    /// Which of the streams that the whole takes it depends on.
    needs: Vec<usize>,
    /// A parameter that it depends on and that is trained, if there is one.
    trained: Option<Parameter>,
}

/// What counts against the bounds of elaboration.
#[derive(Clone, Copy, Default)]
struct Cost {
    steps: usize,
    nodes: usize,
    /// Values and layers inside one another.
    nested: usize,
    /// Definitions inside one another.
    depth: usize,
}

/// An elaborator where a layer begins.
pub(super) struct Begun {
    wholes: Rc<Wholes>,
    takes: Vec<StreamId>,
    first_node: usize,
    singular: usize,
    before: Cost,
}

impl Elaborator<'_> {
    /// Begins to use what is known; the data must have been settled.
    pub(crate) fn use_knowledge(&mut self) {
        self.wholes = match self.knowledge {
            Knowledge::None => None,
            Knowledge::Given(known) | Knowledge::Taken(known) => Some(known.with(self.data.as_ref())),
        };
    }

    /// What a layer gives, if that is known already.
    pub(super) fn known(&mut self, layer: &Use<'_>, input: &Value, scope: &ScopeRef) -> Option<Value> {
        let Knowledge::Taken(_) = self.knowledge else { return None };
        let (wholes, takes) = self.comparable(layer.definition, input)?;
        let uses = wholes.borrow();
        let whole = uses.get(&key(layer.definition))?.iter().find(|whole| self.is_one(whole, layer.bound, &takes))?;
        let whole = whole.clone();
        drop(uses);
        let Cost { steps, nodes, nested, depth } = whole.cost;
        let too_much =
            self.nested + nested > MOST_NESTED || self.depth + depth > DEEPEST || self.nodes() + nodes > MOST_NODES;
        if too_much || !self.spend(steps, layer.at) {
            return None;
        }
        self.most_nested = self.most_nested.max(self.nested + nested);
        self.most_depth = self.most_depth.max(self.depth + depth);
        self.nodes_in_wholes += nodes.saturating_sub(whole.outputs.len());
        let mut outputs = whole.outputs.iter();
        self.given_again(&whole.gives, &mut outputs, &takes, layer, scope)
    }

    /// Before a layer is put onto its streams: what [`Elaborator::remember`] needs.
    pub(super) fn begun(&mut self, layer: &Use<'_>, input: &Value) -> Option<Begun> {
        let (wholes, takes) = self.comparable(layer.definition, input)?;
        let before = Cost { steps: self.steps, nodes: self.nodes(), nested: self.most_nested, depth: self.most_depth };
        (self.most_nested, self.most_depth) = (self.nested, self.depth);
        Some(Begun { wholes, takes, first_node: self.graph.nodes.len(), singular: self.singular, before })
    }

    /// Keeps what a layer gave.
    pub(super) fn remember(&mut self, begun: Begun, layer: &Use<'_>, output: &Value) {
        let Begun { wholes, takes, first_node, singular, before } = begun;
        let cost = Cost {
            steps: self.steps - before.steps,
            nodes: self.nodes() - before.nodes,
            nested: self.most_nested - self.nested,
            depth: self.most_depth - self.depth,
        };
        self.most_nested = self.most_nested.max(before.nested);
        self.most_depth = self.most_depth.max(before.depth);
        // A mistake that was reported is not reported again at its place, whatever comes of it here.
        if !self.diagnostics.is_empty() || self.singular != singular {
            return;
        }
        // Of one stream that is taken twice it could not be told which of the two is needed.
        if takes.iter().collect::<HashSet<_>>().len() < takes.len() {
            return;
        }
        let mut uses = wholes.borrow_mut();
        let uses = uses.entry(key(layer.definition)).or_default();
        if uses.len() >= MOST_USES || uses.iter().any(|whole| self.is_one(whole, layer.bound, &takes)) {
            return;
        }
        let Some(outputs) = self.outputs_of(first_node, &takes, output) else { return };
        uses.push(Rc::new(Whole {
            arguments: layer.bound.iter().map(|bound| bound.value.clone()).collect(),
            takes: takes.iter().map(|stream| self.graph.streams[stream.0].clone()).collect(),
            words: Words::from(&self.marks),
            gives: output.clone(),
            outputs,
            cost,
        }));
    }

    /// How many layers there are, those in wholes included.
    pub(super) fn nodes(&self) -> usize {
        self.graph.nodes.len() + self.nodes_in_wholes
    }

    /// What is known, and the streams that a layer takes, where its uses can be told apart by what they are given.
    fn comparable(&self, definition: &Definition, input: &Value) -> Option<(Rc<Wholes>, Vec<StreamId>)> {
        let wholes = self.wholes.as_ref().filter(|_| !self.symbolic && self.shared.is_none())?;
        let pattern = definition.signature()?.input.as_ref()?;
        Some((wholes.clone(), streams_in_order(Some(pattern), input)?))
    }

    fn is_one(&self, whole: &Whole, bound: &[Bound], takes: &[StreamId]) -> bool {
        whole.words == Words::from(&self.marks)
            && whole.takes.len() == takes.len()
            && whole.takes.iter().zip(takes).all(|(known, stream)| *known == self.graph.streams[stream.0])
            && whole.arguments.iter().zip(bound).all(|(known, bound)| same(known, &bound.value))
    }

    /// What the streams of `output` depend on among the nodes from `first` on. `None` where something is trained that
    /// none of them depends on: that is a mistake, which is found among the layers themselves.
    fn outputs_of(&self, first: usize, takes: &[StreamId], output: &Value) -> Option<Vec<Output>> {
        let nodes = &self.graph.nodes[first..];
        let trained_in = |node: &Node| {
            let trained = |id: &ParameterId| self.graph.parameters[id.0].is_trained();
            node.parameters.iter().map(|(_, id)| *id).find(trained)
        };
        let mut reached = vec![false; nodes.len()];
        let mut outputs = Vec::new();
        for stream in streams(output)? {
            let mut wanted = HashSet::from([stream]);
            let mut trained = None;
            for (node, reached) in nodes.iter().zip(&mut reached).rev() {
                if node.outputs.iter().any(|stream| wanted.contains(stream)) {
                    *reached = true;
                    wanted.extend(&node.inputs);
                    trained = trained.or_else(|| trained_in(node));
                }
            }
            outputs.push(Output {
                stream: self.graph.streams[stream.0].clone(),
                needs: (0..takes.len()).filter(|index| wanted.contains(&takes[*index])).collect(),
                trained: trained.map(|id| self.graph.parameters[id.0].clone()),
            });
        }
        let lost = nodes.iter().zip(&reached).any(|(node, reached)| !reached && trained_in(node).is_some());
        (!lost).then_some(outputs)
    }

    /// Fresh streams in place of those of the first use, each from a node that stands for the whole.
    fn given_again<'o>(
        &mut self,
        value: &Value,
        outputs: &mut impl Iterator<Item = &'o Output>,
        takes: &[StreamId],
        layer: &Use<'_>,
        scope: &ScopeRef,
    ) -> Option<Value> {
        match value {
            Value::Stream(stream) => {
                let Output { stream: Stream { shape, classes }, needs, trained } = outputs.next()?;
                let id = self.stream(shape.clone(), classes.clone());
                let parameters = trained.iter().map(|parameter| {
                    self.graph.parameters.push(parameter.clone());
                    (parameter.path.clone(), ParameterId(self.graph.parameters.len() - 1))
                });
                let node = Node {
                    layer: layer.definition.name.clone(),
                    path: scope.path.clone(),
                    arguments: Default::default(),
                    inputs: needs.iter().map(|index| takes[*index]).collect(),
                    outputs: vec![id],
                    parameters: parameters.collect(),
                    flops: None,
                    origin: self.user_place(layer.at),
                };
                self.graph.nodes.push(node);
                Some(Value::Stream(StreamValue { id, made: stream.made.clone() }))
            }
            Value::Tuple(items) => {
                let items = items.iter().map(|item| self.given_again(item, outputs, takes, layer, scope));
                items.collect::<Option<_>>().map(Value::Tuple)
            }
            Value::Record(fields) => {
                let again = |(name, field): &(String, Value)| {
                    Some((name.clone(), self.given_again(field, outputs, takes, layer, scope)?))
                };
                fields.iter().map(again).collect::<Option<_>>().map(Value::Record)
            }
            _ => None,
        }
    }
}

fn key(definition: &Definition) -> (FileId, usize) {
    (definition.file, definition.item)
}

/// Whether two arguments are the same for certain. Layers are not compared: they keep the places where they were
/// written.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Config(one), Value::Config(other)) => one == other,
        (Value::Dim(one), Value::Dim(other)) => one == other,
        (Value::Definition(one), Value::Definition(other)) => key(one) == key(other),
        _ => false,
    }
}

/// The streams of a value in its order; `None` where it holds anything else.
fn streams(value: &Value) -> Option<Vec<StreamId>> {
    let of_all = |values: &mut dyn Iterator<Item = &Value>| {
        values.map(streams).collect::<Option<Vec<_>>>().map(|streams| streams.concat())
    };
    match value {
        Value::Stream(stream) => Some(vec![stream.id]),
        Value::Tuple(items) => of_all(&mut items.iter()),
        Value::Record(fields) => of_all(&mut fields.iter().map(|(_, field)| field)),
        _ => None,
    }
}
