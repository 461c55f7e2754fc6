//! Takes out of a model in the ORT format what costs time when it is loaded and is of no use: the shapes of its values,
//! long names.
//!
//! The format is a FlatBuffer (`onnxruntime/core/flatbuffers/schema/ort.fbs`). A table begins with the distance to its
//! vtable, which tells where each field lies, 0 for one that is absent; strings and vectors are where an offset leads,
//! which is always further on. So nothing has to be moved: a table gets another vtable and an offset leads to another
//! string, appended at the end.

mod buffer;
mod names;
mod shapes;
#[cfg(test)]
mod tests;

use crate::models::Image;

/// Which form comes out of this; to be counted up with each change of what comes out.
pub(super) const FORM: u32 = 2;

/// The fields of the schema's tables that are used here, by their number.
mod field {
    pub(super) const SESSION_MODEL: usize = 1;
    pub(super) const MODEL_GRAPH: usize = 7;
    pub(super) const GRAPH_INITIALIZERS: usize = 0;
    pub(super) const GRAPH_NODE_ARGS: usize = 1;
    pub(super) const GRAPH_NODES: usize = 2;
    pub(super) const GRAPH_INPUTS: usize = 5;
    pub(super) const GRAPH_OUTPUTS: usize = 6;
    pub(super) const GRAPH_SPARSE_INITIALIZERS: usize = 7;
    pub(super) const NODE_NAME: usize = 0;
    pub(super) const NODE_INPUTS: usize = 8;
    pub(super) const NODE_OUTPUTS: usize = 9;
    pub(super) const NODE_ATTRIBUTES: usize = 10;
    pub(super) const NODE_IMPLICIT_INPUTS: usize = 12;
    pub(super) const ATTRIBUTE_GRAPH: usize = 7;
    pub(super) const ATTRIBUTE_GRAPHS: usize = 12;
    pub(super) const TENSOR_NAME: usize = 0;
    pub(super) const VALUE_NAME: usize = 0;
    pub(super) const VALUE_TYPE: usize = 2;
    pub(super) const TYPE_KIND: usize = 1;
    pub(super) const TYPE_VALUE: usize = 2;
    pub(super) const TENSOR_TYPE_ELEMENT: usize = 0;
    pub(super) const TENSOR_TYPE_SHAPE: usize = 1;
}

/// What was done to a model; nothing where it is not laid out as we know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lean {
    /// Values that lost their shapes.
    pub shapes: Option<usize>,
    /// Names that were made short.
    pub names: Option<usize>,
}

/// Makes a model in the ORT format load faster, where it is laid out as the schema has it; what is not stays as it is,
/// loads as well, and later. What it computes and what its inputs and outputs are called stays the same.
pub fn make_lean(model: &mut Image) -> Lean {
    let lean = Lean {
        shapes: shapes::take_out(model),
        names: names::shorten(model),
    };
    if lean.shapes.is_none() || lean.names.is_none() {
        tracing::debug!("a model loads slower than it could, its layout is not known: {lean:?}");
    }
    lean
}

/// Writes numbers over others, all of which are within the model.
fn patch(model: &mut Image, patches: Vec<(usize, u32)>) {
    for (place, number) in patches {
        if let Some(old) = model.get_mut(place..place + 4) {
            old.copy_from_slice(&number.to_le_bytes());
        }
    }
}
