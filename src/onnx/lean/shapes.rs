//! Takes the shapes of a graph's values out of a model in the ORT format, but for its weights.
//!
//! Where shapes are known, ONNX Runtime looks for a freed buffer of the same one for each value, among all that are free:
//! on Piper's 2,755 nodes that is 0.35 s of the 0.55 s that its session takes to make, and saves no memory, since the
//! allocator beneath reuses buffers anyway (measured with 1.23.2: the same time and peak for a sentence). Without a shape
//! it does not look. Inputs have to lose theirs too: the runtime would infer all others from them again. It still infers
//! some, 722 of Piper's 3,095, from what operators do alone.

use std::collections::{HashMap, HashSet};

use super::buffer::Buffer;
use super::{field, patch};
use crate::models::Image;

/// `TypeInfoValue.tensor_type`.
const KIND_TENSOR: u8 = 1;

/// Takes them out and says how many there were; `None`, with nothing changed, where `model` is not laid out as the schema
/// has it.
pub(super) fn take_out(model: &mut Image) -> Option<usize> {
    let tables = tensor_types(&Buffer(model))?;
    let mut vtables = HashMap::new();
    let mut patches = Vec::with_capacity(tables.len());
    // FlatBuffers are read at even addresses at least.
    let mut appended = vec![0; model.len() % 2];
    for table in tables {
        let layout = Layout::of(&Buffer(model), table)?;
        let vtable = *vtables.entry(layout).or_insert_with(|| {
            let at = model.len() + appended.len();
            appended.extend(layout.without_shape());
            at
        });
        let distance = i32::try_from(table as i64 - vtable as i64).ok()?;
        patches.push((table, distance.cast_unsigned()));
    }
    if !model.append(&appended) {
        return None;
    }
    let count = patches.len();
    patch(model, patches);
    Some(count)
}

/// Where the types with a shape lie, those of weights left out.
fn tensor_types(buffer: &Buffer<'_>) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for graph in buffer.graphs()? {
        collect(buffer, graph, &mut found)?;
    }
    // A table that is there twice would be given two vtables.
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Those of one graph.
fn collect(buffer: &Buffer<'_>, graph: usize, found: &mut Vec<usize>) -> Option<()> {
    let mut weights = HashSet::new();
    for tensor in buffer.vector(graph, field::GRAPH_INITIALIZERS)? {
        weights.insert(buffer.string(buffer.child(tensor, field::TENSOR_NAME)?)?);
    }
    for value in buffer.vector(graph, field::GRAPH_NODE_ARGS)? {
        let name = buffer.string(buffer.child(value, field::VALUE_NAME)?)?;
        // A value without a type is an input that was left out.
        let Some(kind) = buffer.child(value, field::VALUE_TYPE) else {
            continue;
        };
        let is_tensor = buffer
            .field(kind, field::TYPE_KIND)
            .is_some_and(|at| buffer.0.get(at) == Some(&KIND_TENSOR));
        if weights.contains(name) || !is_tensor {
            continue;
        }
        let tensor_type = buffer.child(kind, field::TYPE_VALUE)?;
        if buffer
            .field(tensor_type, field::TENSOR_TYPE_SHAPE)
            .is_some()
        {
            found.push(tensor_type);
        }
    }
    Some(())
}

/// How a tensor type's table is laid out; few layouts occur, so that few vtables are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Layout {
    table_bytes: u16,
    element: u16,
}

impl Layout {
    fn of(buffer: &Buffer<'_>, table: usize) -> Option<Self> {
        let vtable = buffer.vtable(table)?;
        Some(Self {
            table_bytes: buffer.u16(vtable + 2)?,
            element: buffer.slot(vtable, field::TENSOR_TYPE_ELEMENT).unwrap_or(0),
        })
    }

    /// A vtable: its own size, the table's, and its two fields.
    fn without_shape(self) -> impl Iterator<Item = u8> {
        [8, self.table_bytes, self.element, 0]
            .into_iter()
            .flat_map(u16::to_le_bytes)
    }
}
