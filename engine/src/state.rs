//! What a reader sees: segments, the points that are in memory only, and tombstones. All of it immutable: a write makes
//! a new state, and whoever holds an old one goes on seeing that.

use std::sync::Arc;

use nearline_index::RowId;
use nearline_storage::StorageError;
use roaring::RoaringBitmap;

use crate::error::OpenError;
use crate::field::FieldIndexInfo;
use crate::live_tier::{Covered, Found};
use crate::point_id::PointId;
use crate::record::{Change, Stored};
use crate::segment::Segment;
use crate::vector_index::Listed;

/// Points written since the last flush, some at a time.
#[derive(Debug)]
pub(crate) struct Run {
    /// In order of their rows.
    pub(crate) points: Vec<Arc<Stored>>,
    /// The places of points, in order of their ids.
    by_id: Vec<u32>,
    /// The vectors of each name once more, one after another, to be compared.
    pub(crate) vectors: Vec<Block>,
    pub(crate) bytes: usize,
}

/// Vectors of one name, and the row of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub(crate) rows: Vec<RowId>,
    pub(crate) bytes: Vec<u8>,
}

impl Run {
    /// A run of points in order of their rows, each id once.
    pub(crate) fn new(points: Vec<Arc<Stored>>) -> Self {
        let mut by_id: Vec<u32> = (0..points.len() as u32).collect();
        by_id.sort_unstable_by_key(|&at| points[at as usize].id);
        let vectors = blocks(&points);
        let copied = vectors.iter().map(|block| block.bytes.len() + size_of_val(&block.rows[..]));
        let bytes = points.iter().map(|point| point.ram_bytes()).sum::<usize>() + copied.sum::<usize>();
        Self { points, by_id, vectors, bytes }
    }

    pub(crate) fn find(&self, id: PointId) -> Option<&Arc<Stored>> {
        let at = self.by_id.binary_search_by_key(&id, |&at| self.points[at as usize].id).ok()?;
        self.points.get(self.by_id[at] as usize)
    }

    pub(crate) fn get(&self, row: RowId) -> Option<&Arc<Stored>> {
        let at = self.points.binary_search_by_key(&row, |point| point.row).ok()?;
        self.points.get(at)
    }

    /// Points from a place in the order of ids on.
    pub(crate) fn by_id(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.by_id.iter().map(|&at| &self.points[at as usize])
    }
}

/// The vectors of points, name by name.
fn blocks(points: &[Arc<Stored>]) -> Vec<Block> {
    let names = points.first().map_or(0, |point| point.vectors.len());
    let block = |at: usize| {
        let bytes =
            points.iter().filter_map(|point| point.vectors[at].as_ref()).map(|vector| vector.len()).sum();
        let mut block = Block { rows: Vec::new(), bytes: Vec::with_capacity(bytes) };
        for point in points {
            if let Some(vector) = &point.vectors[at] {
                block.rows.push(point.row);
                block.bytes.extend_from_slice(vector);
            }
        }
        block
    };
    (0..names).map(block).collect()
}

/// All points of a collection at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The last write in it.
    pub(crate) lsn: u64,
    /// The last write that is in the segments.
    pub(crate) flushed_lsn: u64,
    /// Oldest first.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Field indexes; not every segment has a file of each yet.
    pub(crate) fields: Arc<Vec<FieldIndexInfo>>,
    /// The vector index of each name of vectors, in the schema's order; behind its end there are none.
    pub(crate) indexes: Vec<Option<Listed>>,
    /// What the live tier knows of the segments.
    pub(crate) tier: Option<Covered>,
    /// Runs that are being flushed, oldest first. They stay as they are.
    pub(crate) frozen: Vec<Arc<Run>>,
    /// Newer runs, oldest first.
    pub(crate) runs: Vec<Arc<Run>>,
    /// Rows whose points were replaced or deleted.
    pub(crate) dead: Arc<RoaringBitmap>,
    /// Points that are not dead.
    pub(crate) live: u64,
    /// Bytes of the calls that are in the log and not in the segments.
    pub(crate) logged: u64,
}

impl State {
    /// Runs from the newest to the oldest.
    pub(crate) fn newest_runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter().rev().chain(self.frozen.iter().rev())
    }

    pub(crate) fn is_dead(&self, row: RowId) -> bool {
        self.dead.contains(row.0)
    }

    /// The row of a point that is not dead.
    pub(crate) fn find(&self, id: PointId) -> Result<Option<RowId>, StorageError> {
        let row = match self.newest_runs().find_map(|run| run.find(id)) {
            Some(point) => Some(point.row),
            None => self.find_flushed(id)?,
        };
        Ok(row.filter(|&row| !self.is_dead(row)))
    }

    /// The newest row of an id in the segments.
    fn find_flushed(&self, id: PointId) -> Result<Option<RowId>, StorageError> {
        // The live tier is asked once, when its first segment comes.
        let mut found = None;
        for segment in self.segments.iter().rev() {
            if let Some(tier) = self.tier.as_ref().filter(|tier| tier.has(&segment.info)) {
                match *found.get_or_insert_with(|| tier.find(id)) {
                    Found::Row(row) if self.is_flushed_and_lives(row) => return Ok(Some(row)),
                    Found::Nothing => continue,
                    Found::Row(_) | Found::Unknown => {}
                }
            }
            if let Some(row) = segment.find(id)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Whether a row that was given to a point still has it, in a segment. Rows that a segment spans and lacks are dead.
    fn is_flushed_and_lives(&self, row: RowId) -> bool {
        let at = self.segments.partition_point(|segment| segment.info.last < row);
        self.segments.get(at).is_some_and(|segment| segment.covers(row)) && !self.is_dead(row)
    }

    /// A point in memory, by its row.
    pub(crate) fn in_memory(&self, row: RowId) -> Option<&Arc<Stored>> {
        self.newest_runs().find_map(|run| run.get(row))
    }

    /// A whole point, by its row.
    pub(crate) fn stored(&self, row: RowId) -> Result<Option<Arc<Stored>>, OpenError> {
        if let Some(point) = self.in_memory(row) {
            return Ok(Some(Arc::clone(point)));
        }
        for segment in self.segments.iter().filter(|segment| segment.covers(row)) {
            if let Some(point) = segment.stored(row)? {
                return Ok(Some(Arc::new(point)));
            }
        }
        Ok(None)
    }

    /// Points in memory, those that died since among them.
    pub(crate) fn in_memory_len(&self) -> usize {
        self.frozen.iter().chain(&self.runs).map(|run| run.points.len()).sum()
    }

    /// Points in memory that are not dead.
    pub(crate) fn live_in_memory(&self) -> impl Iterator<Item = &Arc<Stored>> {
        let runs = self.frozen.iter().chain(&self.runs);
        runs.flat_map(|run| &run.points).filter(|point| !self.is_dead(point.row))
    }

    /// The field indexes of which a segment has no file.
    pub(crate) fn missing_fields(&self, segment: &Segment) -> Vec<FieldIndexInfo> {
        self.fields.iter().filter(|index| segment.field(index.number).is_none()).cloned().collect()
    }

    /// Bytes of the points in memory.
    pub(crate) fn delta_bytes(&self) -> usize {
        self.frozen.iter().chain(&self.runs).map(|run| run.bytes).sum()
    }

    /// Takes in changes. Nothing here can fail: they are in the log already, as so many bytes.
    pub(crate) fn apply(&mut self, changes: &[Change], lsn: u64, bytes: usize) {
        self.logged += bytes as u64;
        let mut points = Vec::new();
        for change in changes {
            let died = match change {
                Change::Put { point, replaced } => {
                    points.push(Arc::clone(point));
                    self.live += 1;
                    *replaced
                }
                Change::Delete { row } => Some(*row),
            };
            if let Some(row) = died
                && Arc::make_mut(&mut self.dead).insert(row.0)
            {
                self.live -= 1;
            }
        }
        self.lsn = lsn;
        // Of an id that was written twice, the last counts.
        points.retain(|point| !self.dead.contains(point.row.0));
        if !points.is_empty() {
            self.runs.push(Arc::new(Run::new(points)));
        }
        self.merge_runs();
    }

    /// Makes one run of two while the older is less than twice as long: so there are only about as many as a number of
    /// points has binary digits, and each point is moved as often.
    fn merge_runs(&mut self) {
        while let [.., older, newer] = &self.runs[..]
            && older.points.len() < 2 * newer.points.len()
        {
            let both = older.points.iter().chain(&newer.points);
            let points = both.filter(|point| !self.dead.contains(point.row.0)).cloned().collect();
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(Arc::new(Run::new(points)));
        }
    }
}
