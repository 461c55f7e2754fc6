//! Reads a model in the ORT format.

use std::collections::HashSet;

use super::field;

/// Marks the format.
pub(super) const IDENTIFIER: &[u8] = b"ORTM";

/// Reads what a FlatBuffer's offsets lead to, all of them checked.
pub(super) struct Buffer<'b>(pub(super) &'b [u8]);

impl<'b> Buffer<'b> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.bytes(at)?)).ok()
    }

    /// What the offset at `at` leads to.
    pub(super) fn follow(&self, at: usize) -> Option<usize> {
        at.checked_add(self.u32(at)?)
    }

    pub(super) fn vtable(&self, table: usize) -> Option<usize> {
        let distance = i32::from_le_bytes(self.bytes(table)?);
        usize::try_from(i64::try_from(table).ok()? - i64::from(distance)).ok()
    }

    pub(super) fn slot(&self, vtable: usize, field: usize) -> Option<u16> {
        let place = 4 + 2 * field;
        if usize::from(self.u16(vtable)?) < place + 2 {
            return None;
        }
        self.u16(vtable + place).filter(|offset| *offset != 0)
    }

    /// Where a table's field lies, if it is there.
    pub(super) fn field(&self, table: usize, field: usize) -> Option<usize> {
        let offset = self.slot(self.vtable(table)?, field)?;
        table.checked_add(offset.into())
    }

    /// What a table's field leads to: another table, a vector or a string.
    pub(super) fn child(&self, table: usize, field: usize) -> Option<usize> {
        self.follow(self.field(table, field)?)
    }

    /// The places that a table's vector of offsets leads to; an absent vector is empty.
    pub(super) fn vector(&self, table: usize, field: usize) -> Option<Vec<usize>> {
        let offsets = self.offsets(table, field)?;
        offsets.into_iter().map(|at| self.follow(at)).collect()
    }

    /// Where the offsets of a table's vector of them lie; an absent vector is empty.
    pub(super) fn offsets(&self, table: usize, field: usize) -> Option<Vec<usize>> {
        let Some(place) = self.field(table, field) else {
            return Some(Vec::new());
        };
        let vector = self.follow(place)?;
        let length = self.u32(vector)?;
        // Checked before anything is reserved for so many.
        self.0
            .get(vector.checked_add(4)?..)
            .filter(|rest| rest.len() / 4 >= length)?;
        Some((0..length).map(|i| vector + 4 + 4 * i).collect())
    }

    pub(super) fn string(&self, at: usize) -> Option<&'b [u8]> {
        let (start, length) = (at.checked_add(4)?, self.u32(at)?);
        self.0.get(start..start.checked_add(length)?)
    }

    /// The model's graph and then those within it, the branches of an `If` for example, each once; `None` where this is
    /// no model, or one of nodes with lists of graphs, which none here has.
    pub(super) fn graphs(&self) -> Option<Vec<usize>> {
        if self.0.get(4..8)? != IDENTIFIER {
            return None;
        }
        let session = self.follow(0)?;
        let model = self.child(session, field::SESSION_MODEL)?;
        let mut graphs = vec![self.child(model, field::MODEL_GRAPH)?];
        let mut seen = HashSet::from([graphs[0]]);
        let mut next = 0;
        while let Some(graph) = graphs.get(next) {
            for node in self.vector(*graph, field::GRAPH_NODES)? {
                for attribute in self.vector(node, field::NODE_ATTRIBUTES)? {
                    if !self.offsets(attribute, field::ATTRIBUTE_GRAPHS)?.is_empty() {
                        return None;
                    }
                    let within = self.child(attribute, field::ATTRIBUTE_GRAPH);
                    graphs.extend(within.filter(|within| seen.insert(*within)));
                }
            }
            next += 1;
        }
        Some(graphs)
    }
}
