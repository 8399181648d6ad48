//! A filter as sets of rows: what field indexes say about conditions, put together as the filter does.
//!
//! Every part answers with rows that may match and, among them, rows that do. Whatever no index answers is "may".

use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::Found;
use crate::error::QueryError;
use crate::field::{FieldFile, FieldIndexInfo, KeyQuery, plan};
use crate::filter::{Group, Node, Test};
use crate::path::FieldPath;
use crate::point_id::PointId;
use crate::schema::Schema;
use crate::segment::Segment;
use crate::state::State;

/// Bitmaps of a `min_should` that are put together at most; payloads are asked beyond.
const THRESHOLD_MAX: usize = 1 << 12;
/// Ids are looked up as long as there are not so many times as many of them as rows that could have them.
const IDS_SHARE: u64 = 8;
/// What a condition costs that no index answers.
const NO_INDEX: u64 = u64::MAX;

/// Asks the indexes of a state.
pub(super) struct Tree<'a> {
    pub(super) schema: &'a Schema,
    pub(super) state: &'a State,
}

impl Tree<'_> {
    /// Those of some rows, none of them dead, for which a group holds.
    pub(super) fn group(&self, group: &Group, among: &RoaringBitmap) -> Result<Found, QueryError> {
        let mut found = Found::exactly(among.clone());
        // The cheapest first: the others are asked about fewer rows then.
        for node in self.by_cost(&group.must)? {
            self.narrow(&mut found, node)?;
        }
        if !group.should.is_empty() {
            let any = self.any(&group.should, &found.rows)?;
            found.rows &= any.rows;
            found.certain &= any.certain;
        }
        let none = self.any(&group.must_not, &found.rows)?;
        found.rows -= none.certain;
        found.certain -= none.rows;
        if let Some((count, nodes)) = &group.min_should {
            let some = self.at_least(*count, nodes, &found.rows)?;
            found.rows &= some.rows;
            found.certain &= some.certain;
        }
        Ok(found)
    }

    fn narrow(&self, found: &mut Found, node: &Node) -> Result<(), QueryError> {
        if !found.rows.is_empty() {
            let both = self.node(node, &found.rows)?;
            found.rows &= both.rows;
            found.certain &= both.certain;
        }
        Ok(())
    }

    fn any(&self, nodes: &[Node], among: &RoaringBitmap) -> Result<Found, QueryError> {
        let mut any = Found::default();
        for node in nodes {
            let found = self.node(node, among)?;
            any.rows |= found.rows;
            any.certain |= found.certain;
        }
        Ok(any)
    }

    /// Rows for which so many of the conditions hold.
    fn at_least(&self, count: usize, nodes: &[Node], among: &RoaringBitmap) -> Result<Found, QueryError> {
        if count > nodes.len() {
            return Ok(Found::default());
        }
        if count * nodes.len() > THRESHOLD_MAX {
            return Ok(Found::perhaps(among.clone()));
        }
        let (mut rows, mut certain) = (vec![RoaringBitmap::new(); count], vec![RoaringBitmap::new(); count]);
        for node in nodes {
            let found = self.node(node, among)?;
            count_in(&mut rows, &found.rows);
            count_in(&mut certain, &found.certain);
        }
        let last = |mut counts: Vec<RoaringBitmap>| counts.pop().unwrap_or_default();
        Ok(Found { rows: last(rows), certain: last(certain) })
    }

    fn node(&self, node: &Node, among: &RoaringBitmap) -> Result<Found, QueryError> {
        match node {
            Node::Field { path, test } => self.field(path, test, among),
            Node::HasId(ids) => self.ids(ids, among),
            Node::HasVector(name) => Ok(self.has_vector(name, among)),
            Node::Slice { .. } => Ok(Found::perhaps(among.clone())),
            Node::Nested { path, group } => self.nested(path, group, among).map(Found::perhaps),
            Node::Group(group) => self.group(group, among),
        }
    }

    fn field(&self, path: &FieldPath, test: &Test, among: &RoaringBitmap) -> Result<Found, QueryError> {
        let Some((index, query)) = self.planned(path, test) else { return Ok(Found::perhaps(among.clone())) };
        let mut found = Found::default();
        for segment in &self.state.segments {
            let part = part_of(segment, among);
            let file = segment.field(index.number).filter(|_| !part.is_empty());
            let Some(file) = file.filter(|file| pays(file, &query, segment, &part)) else {
                found.rows |= part;
                continue;
            };
            let rows = file.select(&query.rows)? & &part;
            found.certain |= match query.is_exact() || rows.is_empty() {
                true => rows.clone(),
                false => &rows - &file.select(&query.recheck)?,
            };
            found.rows |= rows;
        }
        Ok(found)
    }

    fn planned(&self, path: &FieldPath, test: &Test) -> Option<(&FieldIndexInfo, KeyQuery)> {
        let index = self.state.fields.iter().find(|index| index.path == *path)?;
        Some((index, plan(test, index.field_type)?))
    }

    fn ids(&self, ids: &BTreeSet<PointId>, among: &RoaringBitmap) -> Result<Found, QueryError> {
        if ids.len() as u64 > among.len().saturating_mul(IDS_SHARE) {
            return Ok(Found::perhaps(among.clone()));
        }
        let mut rows = RoaringBitmap::new();
        for &id in ids {
            rows.extend(self.state.find(id)?.map(|row| row.0));
        }
        Ok(Found::exactly(rows & among))
    }

    fn has_vector(&self, name: &str, among: &RoaringBitmap) -> Found {
        let Some((at, _)) = self.schema.find(name) else { return Found::default() };
        let mut found = Found::default();
        for segment in &self.state.segments {
            let Some(vectors) = &segment.vectors[at] else { continue };
            let part = part_of(segment, among);
            if vectors.rows() == segment.info.points {
                found.certain |= &part;
            }
            found.rows |= part;
        }
        found
    }

    /// Rows for which a nested condition may hold: those for which, each somewhere among the elements, the conditions
    /// hold that ask for a value.
    fn nested(
        &self,
        outer: &FieldPath,
        group: &Group,
        among: &RoaringBitmap,
    ) -> Result<RoaringBitmap, QueryError> {
        let mut rows = among.clone();
        for node in &group.must {
            if rows.is_empty() {
                break;
            }
            match node {
                Node::Field { path, test } if asks_for_a_value(test) => {
                    rows &= self.field(&outer.of_element(path), test, &rows)?.rows;
                }
                Node::Nested { path, group } => rows = self.nested(&outer.of_element(path), group, &rows)?,
                Node::Group(group) => rows = self.nested(outer, group, &rows)?,
                _ => {}
            }
        }
        Ok(rows)
    }

    fn by_cost<'a>(&self, nodes: &'a [Node]) -> Result<Vec<&'a Node>, QueryError> {
        if nodes.len() < 2 {
            return Ok(nodes.iter().collect());
        }
        let mut all = Vec::with_capacity(nodes.len());
        for node in nodes {
            all.push((self.cost(node)?, node));
        }
        all.sort_by_key(|(cost, _)| *cost);
        Ok(all.into_iter().map(|(_, node)| node).collect())
    }

    /// About how many pages the indexes of a condition read.
    fn cost(&self, node: &Node) -> Result<u64, QueryError> {
        let (path, test) = match node {
            Node::Field { path, test } => (path, test),
            Node::HasId(ids) => return Ok(ids.len() as u64),
            Node::HasVector(_) => return Ok(0),
            Node::Slice { .. } | Node::Nested { .. } | Node::Group(_) => return Ok(NO_INDEX),
        };
        let Some((index, query)) = self.planned(path, test) else { return Ok(NO_INDEX) };
        let mut pages = 0_u64;
        for file in self.state.segments.iter().filter_map(|segment| segment.field(index.number)) {
            pages = pages.saturating_add(file.pages(&query)?);
        }
        Ok(pages)
    }
}

/// Whether reading an index costs less than asking the payloads of some rows. If it cannot be told, reading says why.
fn pays(file: &FieldFile, query: &KeyQuery, segment: &Segment, rows: &RoaringBitmap) -> bool {
    file.pages(query).map_or(true, |pages| pages <= segment.payload_pages(rows.len()))
}

/// Whether a test holds for a field as soon as it holds for one element of it.
fn asks_for_a_value(test: &Test) -> bool {
    !matches!(test, Test::IsEmpty | Test::Count(_))
}

/// The rows that may be in a segment.
pub(in crate::collection) fn part_of(segment: &Segment, rows: &RoaringBitmap) -> RoaringBitmap {
    let mut part = RoaringBitmap::new();
    part.insert_range(segment.info.first.0..=segment.info.last.0);
    part & rows
}

/// Counts sets in: of each row `counts[i]` tells whether it was in more than `i` of them.
fn count_in(counts: &mut [RoaringBitmap], rows: &RoaringBitmap) {
    for at in (1..counts.len()).rev() {
        let (fewer, more) = counts.split_at_mut(at);
        more[0] |= &fewer[at - 1] & rows;
    }
    if let Some(first) = counts.first_mut() {
        *first |= rows;
    }
}
