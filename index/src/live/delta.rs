//! What was added to the lists of an index since it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entries::Entries;
use super::place::Placer;
use crate::metric::Metric;
use crate::posting::{ListLayout, Posting};
use crate::search::{Index, Inner};
use crate::space::norm2;
use crate::vector::RowId;

/// Entries added to the lists of an index. It does not change: growing it makes another, which shares what stayed.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    lists: Vec<Option<Arc<DeltaList>>>,
    rows: u64,
    bytes: u64,
}

/// What was added to one list.
#[derive(Debug, Clone)]
pub(crate) struct DeltaList {
    pub(crate) entries: Entries,
    /// Whether each is a copy of a vector whose nearest list is another.
    pub(crate) is_copy: Vec<bool>,
}

impl DeltaList {
    pub(crate) fn posting(&self, layout: ListLayout) -> Posting<'_> {
        self.entries.posting(layout)
    }

    fn bytes(&self) -> u64 {
        (self.entries.bytes() + self.is_copy.capacity() + size_of::<Self>()) as u64
    }
}

/// What became of an attempt to add vectors.
#[derive(Debug)]
pub enum Grown {
    /// They are in these lists.
    Added(Delta),
    /// The index cannot hold them: it is for inner products, and one is longer than any it was built for.
    Outgrown,
}

/// A vector on its way into lists.
struct Added<'a> {
    row: u32,
    is_copy: bool,
    vector: &'a [u8],
    point: &'a [f32],
}

impl Delta {
    /// Vectors in it.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> u64 {
        self.bytes + (self.lists.len() * size_of::<Option<Arc<DeltaList>>>()) as u64
    }

    /// What was added to a list.
    pub(crate) fn list(&self, list: u32) -> Option<&DeltaList> {
        self.lists.get(list as usize)?.as_deref()
    }

    /// With these vectors besides, which the index does not have yet: their rows, and their bytes one after another.
    ///
    /// # Panics
    /// When there are not as many vectors as rows.
    pub fn grow(&self, index: &Index, rows: &[RowId], vectors: &[u8]) -> Grown {
        let index = &*index.inner;
        let (dim, row_bytes) = (index.space.dim(), index.space.shape.row_bytes());
        assert_eq!(vectors.len(), rows.len() * row_bytes);
        if is_outgrown(index, vectors) {
            return Grown::Outgrown;
        }
        let mut points = vec![0.0; rows.len() * dim];
        let (mut placer, mut lists) = (Placer::default(), Vec::new());
        let mut added: BTreeMap<u32, Vec<Added<'_>>> = BTreeMap::new();
        for (point, vector) in points.chunks_exact_mut(dim).zip(vectors.chunks_exact(row_bytes)) {
            index.space.embed(vector, point);
        }
        let all = rows.iter().zip(vectors.chunks_exact(row_bytes)).zip(points.chunks_exact(dim));
        for ((row, vector), point) in all {
            placer.place(&index.router, point, index.info.replicas.saturating_sub(1), &mut lists);
            for (number, &list) in lists.iter().enumerate() {
                added.entry(list).or_default().push(Added { row: row.0, is_copy: number > 0, vector, point });
            }
        }
        let mut next = self.clone();
        next.lists.resize(index.router.lists(), None);
        next.rows += rows.len() as u64;
        for (list, added) in added {
            next.add(index, list, &added);
        }
        Grown::Added(next)
    }

    fn add(&mut self, index: &Inner, list: u32, added: &[Added<'_>]) {
        let (mut node, mut centroid) = (vec![0.0; index.space.dim()], vec![0.0; index.space.dim()]);
        index.router.centroid(list, &mut node, &mut centroid);
        let rows: Vec<u32> = added.iter().map(|added| added.row).collect();
        let vectors: Vec<u8> = added.iter().flat_map(|added| added.vector).copied().collect();
        let points: Vec<f32> = added.iter().flat_map(|added| added.point).copied().collect();
        let fresh = Entries::encode(index.layout, &centroid, &rows, &vectors, &points);
        let fresh = DeltaList { entries: fresh, is_copy: added.iter().map(|added| added.is_copy).collect() };
        let slot = &mut self.lists[list as usize];
        let next = match slot.take() {
            None => fresh,
            Some(old) => {
                self.bytes -= old.bytes();
                let mut next = DeltaList::clone(&old);
                next.entries.take_all(index.layout, &fresh.entries);
                next.is_copy.extend_from_slice(&fresh.is_copy);
                next
            }
        };
        self.bytes += next.bytes();
        *slot = Some(Arc::new(next));
    }
}

/// Whether a vector is longer than the routing space of inner products reaches.
fn is_outgrown(index: &Inner, vectors: &[u8]) -> bool {
    let shape = index.space.shape;
    if index.info.metric != Metric::InnerProduct {
        return false;
    }
    let mut values = vec![0.0; shape.dim];
    vectors.chunks_exact(shape.row_bytes()).any(|vector| {
        shape.widen(vector, &mut values);
        norm2(&values).sqrt() > index.space.norm_max
    })
}
