//! What an interrupted build has done: one small file, replaced after each durable step.

use nearline_storage::{Checksum, Decoder, Disk, Encoder, StorageError, read_record, replace_record};

use super::Stage;
use super::partition::Written;
use crate::error::Result;

/// The state's file name.
pub(crate) const STATE: &str = "build.state";
const KIND: [u8; 4] = *b"STAT";

/// Everything a resumed build must know that its files do not say.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct State {
    /// A hash of the options and the shape of the input: it names the files.
    pub(crate) identity: u64,
    /// A hash of what must not change between a build and its continuation.
    pub(crate) fingerprint: u64,
    /// The generation that is being built.
    pub(crate) generation: u64,
    /// Stages that are done.
    pub(crate) done: u8,
    /// The largest norm in the input (from `sample`).
    pub(crate) norm_max: f64,
    /// Nodes and lists that were trained (from `cluster`).
    pub(crate) trained_nodes: u32,
    pub(crate) trained_lists: u32,
    /// Rows in the file of the sample (from `sample`): the plan may be another by the time it is read.
    pub(crate) sample_rows: u64,
    /// What lists will hold: the codec's code plus one (from `sample`).
    pub(crate) codec: u8,
    /// What each partition of vectors by node holds (from `cluster`).
    pub(crate) by_nodes: Vec<Written>,
    /// Partitions of those that are assigned (during `assign`).
    pub(crate) nodes_assigned: u32,
    /// Rows whose entries are in the partitions (during `assign`).
    pub(crate) rows_assigned: u64,
    /// What each partition holds (during `assign`).
    pub(crate) partitions: Vec<Written>,
    /// Partitions whose rows are in the file of rows (during `sort`).
    pub(crate) partitions_sorted: u32,
    /// Rows in that file (during `sort`).
    pub(crate) slots: u64,
    /// The last of them, as far as they are not in the file yet (during `sort`).
    pub(crate) tail: Vec<u8>,
    /// Lists with rows (during `sort`).
    pub(crate) lists: u32,
    /// What the log of lists holds (during `sort`).
    pub(crate) log: Written,
    /// Nodes with lists (from `copy`).
    pub(crate) nodes: u32,
    /// Rows whose copies are in the partitions (during `copy`).
    pub(crate) slots_copied: u64,
    /// What each partition of copies holds (during `copy`).
    pub(crate) copies: Vec<Written>,
    /// Partitions whose lists are written (during `encode`).
    pub(crate) partitions_encoded: u32,
    /// Bytes of the file of postings (during `encode`).
    pub(crate) postings_bytes: u64,
    /// What the log of places holds (during `encode`).
    pub(crate) places: Written,
    /// Entries written (during `encode`).
    pub(crate) entries: u64,
    /// Σc² over the lists written (during `encode`).
    pub(crate) squares: u64,
    /// Entries of the longest list so far (during `encode`).
    pub(crate) list_entries_max: u32,
    /// Bytes of the longest list's extent so far (during `encode`).
    pub(crate) list_bytes_max: u32,
    /// Largest number of bytes of temporary files so far.
    pub(crate) temp_bytes: u64,
}

impl State {
    /// Whether a stage is done.
    pub(crate) fn is_done(&self, stage: Stage) -> bool {
        usize::from(self.done) > stage as usize
    }

    /// Makes the state survive a crash.
    pub(crate) fn save(&self, disk: &dyn Disk) -> Result<()> {
        let mut out = Encoder::new();
        out.u64(self.identity).u64(self.fingerprint).u64(self.generation).u8(self.done).f64(self.norm_max);
        out.u32(self.trained_nodes)
            .u32(self.trained_lists)
            .u64(self.sample_rows)
            .u8(self.codec)
            .u32(self.nodes);
        out.u32(self.nodes_assigned)
            .u64(self.rows_assigned)
            .u32(self.partitions_sorted)
            .u64(self.slots)
            .u32(self.lists);
        out.u64(self.slots_copied).u32(self.partitions_encoded).u64(self.postings_bytes);
        out.u64(self.entries).u64(self.squares).u32(self.list_entries_max).u32(self.list_bytes_max);
        out.u64(self.temp_bytes);
        for one in [self.log, self.places] {
            out.u64(one.bytes).u32(one.checksum.value());
        }
        for many in [&self.by_nodes, &self.partitions, &self.copies] {
            out.u32(many.len() as u32);
            for one in many {
                out.u64(one.bytes).u32(one.checksum.value());
            }
        }
        out.u32(self.tail.len() as u32).raw(&self.tail);
        Ok(replace_record(disk, STATE, KIND, out.as_bytes())?)
    }

    /// Reads the state of an interrupted build.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Self> {
        Ok(read_record(disk, STATE, KIND, Self::decode)?)
    }

    fn decode(body: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let mut state = Self {
            identity: body.u64()?,
            fingerprint: body.u64()?,
            generation: body.u64()?,
            done: body.u8()?,
            norm_max: body.f64()?,
            trained_nodes: body.u32()?,
            trained_lists: body.u32()?,
            sample_rows: body.u64()?,
            codec: body.u8()?,
            nodes: body.u32()?,
            nodes_assigned: body.u32()?,
            rows_assigned: body.u64()?,
            partitions_sorted: body.u32()?,
            slots: body.u64()?,
            lists: body.u32()?,
            slots_copied: body.u64()?,
            partitions_encoded: body.u32()?,
            postings_bytes: body.u64()?,
            entries: body.u64()?,
            squares: body.u64()?,
            list_entries_max: body.u32()?,
            list_bytes_max: body.u32()?,
            temp_bytes: body.u64()?,
            ..Self::default()
        };
        state.log = written(body)?;
        state.places = written(body)?;
        for many in [&mut state.by_nodes, &mut state.partitions, &mut state.copies] {
            for _ in 0..body.u32()? {
                many.push(written(body)?);
            }
        }
        let tail = body.u32()?;
        state.tail = body.raw(tail as usize)?.to_vec();
        Ok(state)
    }
}

fn written(body: &mut Decoder<'_>) -> Result<Written, StorageError> {
    Ok(Written { bytes: body.u64()?, checksum: Checksum::from_value(body.u32()?) })
}
