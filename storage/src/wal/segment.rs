//! The files of the log: their names, their first bytes, how a new one comes to be.

use std::sync::Arc;

use crate::atomic::{is_temp_name, replacement_name};
use crate::disk::{Disk, DiskFile, PAGE};
use crate::error::{Result, StorageError};
use crate::sealed::FileHeader;
use crate::wal::planted::{Bug, planted};
use crate::wal::record::{self, HEADER, Head, Key, Kind};

const PREFIX: &str = "wal.";
const FILE_KIND: [u8; 4] = *b"WLOG";
/// Zeros are written in pieces of this size.
const FILL: usize = 1 << 20;

/// Where the start record lies, in every segment.
const START: usize = PAGE;
/// The payload of a start record: the length of the segment (u64).
const START_PAYLOAD: usize = size_of::<u64>();
/// Where the other records begin, in every segment.
pub(super) const RECORDS: usize = START + HEADER + START_PAYLOAD;

/// A segment that has its name. All of it has its place among the others by its lsns alone; numbers only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// The length of the file.
    pub(super) bytes: u64,
    /// The last lsn before it.
    pub(super) after: u64,
    /// The last lsn that was durable when it got its name; those behind `after` are in it.
    pub(super) durable_upto: u64,
}

impl Segment {
    /// The name of its file.
    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{:06}", self.number)
    }

    /// What checksums in it are keyed with.
    pub(super) fn key(&self, store_id: u64) -> Key {
        Key { store_id, segment: self.number }
    }

    /// Its first bytes: a header page and the start record.
    pub(super) fn encode_start(&self, store_id: u64) -> Vec<u8> {
        let payload = self.bytes.to_le_bytes();
        let head = Head { kind: Kind::Start, lsn: self.after, durable_upto: self.durable_upto };
        let start = head.encode(self.key(store_id), START as u64, &[&payload]);
        let mut bytes = FileHeader { kind: FILE_KIND, file_id: store_id }.encode().to_vec();
        bytes.extend_from_slice(&start);
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Reads and checks the first bytes of the segment `number`. They were durable before it had its name, so that
    /// whatever is wrong with them is damage; and so is another length.
    fn read(disk: &dyn Disk, number: u64, store_id: u64) -> Result<Self> {
        let mut segment = Self { number, bytes: 0, after: 0, durable_upto: 0 };
        let file = disk.open(&segment.name())?;
        let corrupt = |what, found, expected| {
            Err(StorageError::corrupt(file.path(), START as u64, what, found, expected))
        };
        let mut bytes = [0; RECORDS];
        file.read_at(0, &mut bytes)?;
        let header = FileHeader::decode_kind(&bytes, file.path(), FILE_KIND)?;
        if header.file_id != store_id {
            return corrupt("id of the store in a log", header.file_id, store_id);
        }
        let start = record::decode(&bytes[START..], segment.key(store_id), START as u64)
            .map_err(|bad| bad.error(file.path(), START as u64))?;
        let Head { kind, lsn, durable_upto } = start.head;
        if kind != Kind::Start {
            return corrupt("kind of a segment's first record", kind as u64, Kind::Start as u64);
        }
        let Ok(payload) = <[u8; START_PAYLOAD]>::try_from(start.payload) else {
            return corrupt("length of a start record", start.payload.len() as u64, START_PAYLOAD as u64);
        };
        // Lsns and numbers have room to grow.
        if !(lsn..u64::MAX / 2).contains(&durable_upto) {
            return corrupt("last durable lsn at a segment's start", durable_upto, lsn);
        }
        (segment.bytes, segment.after, segment.durable_upto) =
            (u64::from_le_bytes(payload), lsn, durable_upto);
        let len = file.len()?;
        if len != segment.bytes {
            return corrupt("length of a segment", len, segment.bytes);
        }
        Ok(segment)
    }
}

/// All segments in order, their first bytes checked; drafts that a crash left are removed.
pub(super) fn find(disk: &dyn Disk, store_id: u64) -> Result<Vec<Segment>> {
    let names = disk.list()?;
    for name in names.iter().filter(|name| is_draft(name)) {
        disk.remove(name)?;
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| Segment::read(disk, number, store_id)).collect()
}

fn is_draft(name: &str) -> bool {
    name.starts_with(PREFIX) && is_temp_name(name)
}

/// The number in a segment's name, if it is one.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let number = digits.parse().ok().filter(|&number| number < u64::MAX / 2)?;
    (Segment { number, bytes: 0, after: 0, durable_upto: 0 }.name() == name).then_some(number)
}

/// A file of zeros that is to become a segment. Its name is used once only, and removed when the log is opened.
#[derive(Debug)]
pub(super) struct Draft {
    name: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) bytes: u64,
}

impl Draft {
    /// Makes a draft whose blocks are allocated and durable, so that overwriting them needs neither space nor changes
    /// of anything but the bytes.
    ///
    /// # Errors
    /// If there is no space, or else. Nothing is left behind then, as far as the disk lets us.
    pub(super) fn create(disk: &dyn Disk, bytes: u64) -> Result<Self> {
        let name = replacement_name("wal");
        let file = disk.create(&name)?;
        let draft = Self { name, file, bytes };
        match draft.fill() {
            Ok(()) => Ok(draft),
            Err(error) => {
                draft.discard(disk);
                Err(error)
            }
        }
    }

    fn fill(&self) -> Result<()> {
        let zeros = vec![0; self.bytes.min(FILL as u64) as usize];
        for at in (0..self.bytes).step_by(FILL) {
            let len = (self.bytes - at).min(FILL as u64) as usize;
            self.file.write_at(at, &zeros[..len])?;
        }
        self.file.sync()
    }

    /// Makes its bytes durable and gives it the name of `segment`.
    ///
    /// # Errors
    /// If a step fails. Whether the segment has its name then, now or after a crash, is told by [`Unnamed`].
    pub(super) fn publish(&self, disk: &dyn Disk, segment: &Segment) -> Result<(), Unnamed> {
        if !planted(Bug::NameFirst) {
            self.file.sync().map_err(Unnamed::Surely)?;
        }
        disk.rename(&self.name, &segment.name()).map_err(|error| match error {
            full if full.is_no_space() => Unnamed::Surely(full),
            other => Unnamed::Perhaps(other),
        })?;
        if !planted(Bug::NoFolderSync) {
            disk.sync_dir().map_err(Unnamed::Perhaps)?;
        }
        Ok(())
    }

    /// Removes the file. Should that fail, it is removed when the log is opened next.
    pub(super) fn discard(&self, disk: &dyn Disk) {
        let _ = disk.remove(&self.name);
    }
}

/// Why a draft did not become a segment.
#[derive(Debug)]
pub(super) enum Unnamed {
    /// It has not got the name and will not get it.
    Surely(StorageError),
    /// It may have the name already, or after a crash.
    Perhaps(StorageError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_others() {
        for (name, number) in [("wal.000001", 1), ("wal.999999", 999_999), ("wal.1000000", 1_000_000)] {
            assert_eq!(number_of(name), Some(number));
        }
        for name in [
            "wal.1",
            "wal.18446744073709551615",
            "wal.0000001",
            "wal.00000a",
            "wal.",
            "wal.+00001",
            "points.000001",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
        assert!(
            is_draft(&replacement_name("wal"))
                && !is_draft("wal.000001")
                && !is_draft(&replacement_name("MANIFEST"))
        );
    }
}
