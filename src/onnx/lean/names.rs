//! Gives the values of a model in the ORT format short names, and its nodes none.
//!
//! ONNX Runtime finds values by their names, again and again while it makes a session: Piper's are like
//! `/enc_p/encoder/attn_layers.0/Concat_23_output_0`, to be hashed, compared and copied to the heap each time. With names
//! of five letters its session takes four fifths of the time to make. What a session's inputs and outputs are called is its
//! interface and stays.

use std::collections::{HashMap, HashSet};

use super::buffer::Buffer;
use super::{field, patch};
use crate::models::Image;

/// Shortens them and says how many there were; `None`, with nothing changed, where `model` is not laid out as the schema
/// has it, has sparse weights, or has no room behind it.
pub(super) fn shorten(model: &mut Image) -> Option<usize> {
    let Appended {
        bytes,
        patches,
        count,
    } = plan(&Buffer(model))?;
    if !model.append(&bytes) {
        return None;
    }
    patch(model, patches);
    Some(count)
}

/// What comes behind the model, and which offsets lead there.
struct Appended {
    bytes: Vec<u8>,
    patches: Vec<(usize, u32)>,
    count: usize,
}

fn plan(buffer: &Buffer<'_>) -> Option<Appended> {
    let graphs = buffer.graphs()?;
    let mut found = Found::default();
    for graph in &graphs {
        found.collect(buffer, *graph)?;
    }
    let mut kept = HashSet::new();
    for field in [field::GRAPH_INPUTS, field::GRAPH_OUTPUTS] {
        for string in buffer.vector(*graphs.first()?, field)? {
            kept.insert(buffer.string(string)?);
        }
    }
    // The length of a string is read at multiples of four.
    let padding = buffer.0.len().next_multiple_of(4) - buffer.0.len();
    let mut bytes = vec![0; padding];
    let mut patches = Vec::with_capacity(found.values.len() + found.nodes.len());
    let nothing = append_string(buffer, &mut bytes, "");
    for place in found.nodes {
        buffer.u32(place)?;
        patches.push((place, distance(place, nothing)?));
    }
    // One name for one name, in all graphs: those within others see the values around them by name.
    let mut short = HashMap::new();
    let mut letters = (0_u32..).map(|number| format!("#{number:x}"));
    for place in found.values {
        let name = buffer.string(buffer.follow(place)?)?;
        // A value without a name is an input that was left out.
        if name.is_empty() || kept.contains(name) {
            continue;
        }
        let at = match short.get(name) {
            Some(at) => *at,
            None => {
                let new = letters.find(|new| !kept.contains(new.as_bytes()))?;
                let at = append_string(buffer, &mut bytes, &new);
                short.insert(name, at);
                at
            }
        };
        patches.push((place, distance(place, at)?));
    }
    let count = short.len();
    Some(Appended {
        bytes,
        patches,
        count,
    })
}

/// Puts a string behind what is there and says where it will lie.
fn append_string(buffer: &Buffer<'_>, bytes: &mut Vec<u8>, text: &str) -> usize {
    let at = buffer.0.len() + bytes.len();
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    // The zero that ends it, and more up to the next one's place.
    bytes.resize(bytes.len() + 4 - text.len() % 4, 0);
    at
}

fn distance(from: usize, to: usize) -> Option<u32> {
    to.checked_sub(from)?.try_into().ok()
}

/// Where the offsets lie that lead to names.
#[derive(Default)]
struct Found {
    values: Vec<usize>,
    nodes: Vec<usize>,
}

impl Found {
    /// Those of one graph.
    fn collect(&mut self, buffer: &Buffer<'_>, graph: usize) -> Option<()> {
        if !buffer
            .offsets(graph, field::GRAPH_SPARSE_INITIALIZERS)?
            .is_empty()
        {
            return None;
        }
        for (list, name) in [
            (field::GRAPH_INITIALIZERS, field::TENSOR_NAME),
            (field::GRAPH_NODE_ARGS, field::VALUE_NAME),
        ] {
            for table in buffer.vector(graph, list)? {
                self.values.extend(buffer.field(table, name));
            }
        }
        for list in [field::GRAPH_INPUTS, field::GRAPH_OUTPUTS] {
            self.values.extend(buffer.offsets(graph, list)?);
        }
        for node in buffer.vector(graph, field::GRAPH_NODES)? {
            self.nodes.extend(buffer.field(node, field::NODE_NAME));
            for list in [
                field::NODE_INPUTS,
                field::NODE_OUTPUTS,
                field::NODE_IMPLICIT_INPUTS,
            ] {
                self.values.extend(buffer.offsets(node, list)?);
            }
        }
        Some(())
    }
}
