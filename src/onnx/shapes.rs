//! Takes the shapes of a graph's values out of a model in the ORT format, but for its weights.
//!
//! Where shapes are known, ONNX Runtime looks for a freed buffer of the same one for each value, among all that are free:
//! on Piper's 2,755 nodes that is 0.35 s of the 0.55 s that its session takes to make, and saves no memory, since the
//! allocator beneath reuses buffers anyway (measured with 1.23.2: the same time and peak for a sentence). Without a shape
//! it does not look. Inputs have to lose theirs too: the runtime would infer all others from them again.
//!
//! The format is a FlatBuffer (`onnxruntime/core/flatbuffers/schema/ort.fbs`). A table begins with the distance to its
//! vtable, which tells where each field lies, 0 for one that is absent. So a field is taken out without moving anything:
//! the table gets another vtable, appended at the end.

use std::collections::{HashMap, HashSet};

use crate::models::Image;

/// The fields of the schema's tables that are used here, by their number.
mod field {
    pub(super) const SESSION_MODEL: usize = 1;
    pub(super) const MODEL_GRAPH: usize = 7;
    pub(super) const GRAPH_INITIALIZERS: usize = 0;
    pub(super) const GRAPH_NODE_ARGS: usize = 1;
    pub(super) const GRAPH_NODES: usize = 2;
    pub(super) const NODE_ATTRIBUTES: usize = 10;
    pub(super) const ATTRIBUTE_GRAPH: usize = 7;
    pub(super) const TENSOR_NAME: usize = 0;
    pub(super) const VALUE_NAME: usize = 0;
    pub(super) const VALUE_TYPE: usize = 2;
    pub(super) const TYPE_KIND: usize = 1;
    pub(super) const TYPE_VALUE: usize = 2;
    pub(super) const TENSOR_TYPE_ELEMENT: usize = 0;
    pub(super) const TENSOR_TYPE_SHAPE: usize = 1;
}
const IDENTIFIER: &[u8] = b"ORTM";
/// A branch within a branch within a loop is three.
const DEPTH_MAX: u8 = 8;
/// `TypeInfoValue.tensor_type`.
const KIND_TENSOR: u8 = 1;

/// Takes them out and says how many there were; `None`, with nothing changed, where `model` is not laid out as the schema
/// has it.
pub(crate) fn take_out(model: &mut Image) -> Option<usize> {
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
        patches.push((table, distance));
    }
    if !model.append(&appended) {
        return None;
    }
    let count = patches.len();
    for (table, distance) in patches {
        model
            .get_mut(table..table + 4)?
            .copy_from_slice(&distance.to_le_bytes());
    }
    Some(count)
}

/// Where the types with a shape lie, those of weights left out.
fn tensor_types(buffer: &Buffer<'_>) -> Option<Vec<usize>> {
    if buffer.0.get(4..8)? != IDENTIFIER {
        return None;
    }
    let session = buffer.follow(0)?;
    let model = buffer.child(session, field::SESSION_MODEL)?;
    let mut found = Vec::new();
    collect(
        buffer,
        buffer.child(model, field::MODEL_GRAPH)?,
        DEPTH_MAX,
        &mut found,
    )?;
    // A table that is there twice would be given two vtables.
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Those of a graph and of the graphs within it, the branches of an `If` for example.
fn collect(buffer: &Buffer<'_>, graph: usize, depth: u8, found: &mut Vec<usize>) -> Option<()> {
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
    for node in buffer.vector(graph, field::GRAPH_NODES)? {
        for attribute in buffer.vector(node, field::NODE_ATTRIBUTES)? {
            if let Some(within) = buffer.child(attribute, field::ATTRIBUTE_GRAPH) {
                collect(buffer, within, depth.checked_sub(1)?, found)?;
            }
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

/// Reads what a FlatBuffer's offsets lead to, all of them checked.
struct Buffer<'b>(&'b [u8]);

impl<'b> Buffer<'b> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.bytes(at)?)).ok()
    }

    /// What the offset at `at` leads to.
    fn follow(&self, at: usize) -> Option<usize> {
        at.checked_add(self.u32(at)?)
    }

    fn vtable(&self, table: usize) -> Option<usize> {
        let distance = i32::from_le_bytes(self.bytes(table)?);
        usize::try_from(i64::try_from(table).ok()? - i64::from(distance)).ok()
    }

    fn slot(&self, vtable: usize, field: usize) -> Option<u16> {
        let place = 4 + 2 * field;
        if usize::from(self.u16(vtable)?) < place + 2 {
            return None;
        }
        self.u16(vtable + place).filter(|offset| *offset != 0)
    }

    /// Where a table's field lies, if it is there.
    fn field(&self, table: usize, field: usize) -> Option<usize> {
        let offset = self.slot(self.vtable(table)?, field)?;
        table.checked_add(offset.into())
    }

    /// What a table's field leads to: another table, a vector or a string.
    fn child(&self, table: usize, field: usize) -> Option<usize> {
        self.follow(self.field(table, field)?)
    }

    /// The places that a table's vector of offsets leads to; an absent vector is empty.
    fn vector(&self, table: usize, field: usize) -> Option<Vec<usize>> {
        let Some(place) = self.field(table, field) else {
            return Some(Vec::new());
        };
        let vector = self.follow(place)?;
        let length = self.u32(vector)?;
        // Checked before anything is reserved for so many.
        self.0
            .get(vector.checked_add(4)?..)
            .filter(|rest| rest.len() / 4 >= length)?;
        (0..length)
            .map(|i| self.follow(vector + 4 + 4 * i))
            .collect()
    }

    fn string(&self, at: usize) -> Option<&'b [u8]> {
        let (start, length) = (at.checked_add(4)?, self.u32(at)?);
        self.0.get(start..start.checked_add(length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_model_in_this_format_stays_as_it_is() {
        for bytes in [
            &b""[..],
            b"ORTM",
            b"\x08\0\0\0ORTM",
            b"\xff\xff\xff\xffORTM\0\0\0\0",
        ] {
            let mut model = Image::of(bytes).unwrap();
            assert_eq!(take_out(&mut model), None);
            assert_eq!(model[..], *bytes);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(rest in prop::collection::vec(any::<u8>(), 0..200), root in 0_u32..64) {
            let mut model = root.to_le_bytes().to_vec();
            model.extend(IDENTIFIER);
            model.extend(rest);
            let _ = take_out(&mut Image::of(&model).unwrap());
        }
    }
}
