//! Which points match a filter: by field indexes as far as there are some, by asking payloads for the rest.
//!
//! Indexes say of most rows whether they match; payloads decide about those that are left.

mod ask;
mod tree;

use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::Reader;
use crate::error::QueryError;
use crate::field::plan;
use crate::filter::{Checked, Group, Node};
use crate::path::FieldPath;
use crate::state::State;
use tree::Tree;
pub(super) use tree::part_of;

/// Payloads are asked a few at a time as long as they are not more than one in so many of those in doubt.
pub(super) const LAZY_SHARE: u64 = 16;

/// What finding the points of a filter took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterReport {
    /// Paths that the filter asks about and no field index answers: of an index on each, or one of another type, such
    /// filters get faster.
    pub unindexed: Vec<String>,
    /// Payloads of points in segments that were read and asked. Points in memory are always asked; they cost no read.
    pub payloads_asked: u64,
}

/// Rows of which some match.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// All rows that match, and perhaps more.
    pub(super) rows: RoaringBitmap,
    /// Those that match for certain.
    pub(super) certain: RoaringBitmap,
}

impl Found {
    /// Rows that all match.
    fn exactly(rows: RoaringBitmap) -> Self {
        Self { certain: rows.clone(), rows }
    }

    /// Rows of which nothing is known.
    fn perhaps(rows: RoaringBitmap) -> Self {
        Self { rows, certain: RoaringBitmap::new() }
    }
}

/// The points of a filter, as far as they are known: what indexes leave open is asked when somebody needs to know.
pub(super) struct Doubt<'a> {
    reader: Reader<'a>,
    filter: &'a Checked,
    /// Rows that match.
    pub(super) certain: RoaringBitmap,
    /// Rows in segments that may match.
    pub(super) unsure: RoaringBitmap,
    /// Rows that were unsure at first.
    doubts: u64,
    asked: u64,
}

impl Doubt<'_> {
    /// Finds out about some rows; about all, once many were asked: a few at a time they cost more.
    pub(super) fn settle(&mut self, some: &RoaringBitmap) -> Result<(), QueryError> {
        if (self.asked + some.intersection_len(&self.unsure)) * LAZY_SHARE > self.doubts {
            return self.settle_all();
        }
        self.settle_these(some & &self.unsure)
    }

    /// Finds out about all rows.
    pub(super) fn settle_all(&mut self) -> Result<(), QueryError> {
        self.settle_these(self.unsure.clone())
    }

    fn settle_these(&mut self, rows: RoaringBitmap) -> Result<(), QueryError> {
        let (asked, matching) = self.reader.ask(self.filter, &rows)?;
        self.asked += asked;
        self.unsure -= rows;
        self.certain |= matching;
        Ok(())
    }

    /// What it took so far.
    pub(super) fn report(&self) -> FilterReport {
        FilterReport { unindexed: unindexed(self.reader.state, self.filter), payloads_asked: self.asked }
    }
}

impl<'a> Reader<'a> {
    /// The rows of all points that are not dead and match.
    pub(super) fn matching(&self, filter: &Checked) -> Result<(RoaringBitmap, FilterReport), QueryError> {
        let mut doubt = self.doubt(filter)?;
        doubt.settle_all()?;
        let report = doubt.report();
        Ok((doubt.certain, report))
    }

    /// What can be said of a filter without reading a payload.
    pub(super) fn doubt(&self, filter: &'a Checked) -> Result<Doubt<'a>, QueryError> {
        let Found { rows, certain } = self.narrow(filter)?;
        let unsure = rows - &certain;
        let certain = certain | self.matching_in_memory(filter);
        Ok(Doubt { reader: *self, filter, certain, doubts: unsure.len(), unsure, asked: 0 })
    }

    /// What the field indexes know of the points in segments.
    pub(super) fn narrow(&self, filter: &Checked) -> Result<Found, QueryError> {
        let Self { schema, state } = *self;
        let mut all = RoaringBitmap::new();
        for segment in &state.segments {
            all.insert_range(segment.info.first.0..=segment.info.last.0);
        }
        // Rows of a segment that are not in it are dead.
        all -= &*state.dead;
        Tree { schema, state }.group(&filter.root, &all)
    }

    /// The rows of points in memory that match.
    pub(super) fn matching_in_memory(&self, filter: &Checked) -> RoaringBitmap {
        let matches = |point: &&std::sync::Arc<crate::record::Stored>| {
            let has_vector =
                |name: &str| self.schema.find(name).is_some_and(|(at, _)| point.vectors[at].is_some());
            filter.matches(point.id, &point.payload, has_vector)
        };
        self.state.live_in_memory().filter(matches).map(|point| point.row.0).collect()
    }
}

/// The paths of a filter that no field index answers, sorted.
pub(super) fn unindexed(state: &State, filter: &Checked) -> Vec<String> {
    let mut paths = BTreeSet::new();
    collect_unindexed(state, &filter.root, None, &mut paths);
    paths.into_iter().collect()
}

fn collect_unindexed(state: &State, group: &Group, outer: Option<&FieldPath>, paths: &mut BTreeSet<String>) {
    let min_should = group.min_should.iter().flat_map(|(_, nodes)| nodes);
    let nodes = group.must.iter().chain(&group.should).chain(&group.must_not).chain(min_should);
    let whole = |path: &FieldPath| outer.map_or_else(|| path.clone(), |outer| outer.of_element(path));
    for node in nodes {
        match node {
            Node::Field { path, test } => {
                let path = whole(path);
                let index = state.fields.iter().find(|index| index.path == path);
                if index.and_then(|index| plan(test, index.field_type)).is_none() {
                    paths.insert(path.to_string());
                }
            }
            Node::Nested { path, group } => collect_unindexed(state, group, Some(&whole(path)), paths),
            Node::Group(group) => collect_unindexed(state, group, outer, paths),
            Node::HasId(_) | Node::HasVector(_) | Node::Slice { .. } => {}
        }
    }
}
