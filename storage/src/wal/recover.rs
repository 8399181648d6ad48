//! Reading the log when it is opened: which records there are, and whether one that should be there is missing.
//!
//! A bad record is either where a crash cut the log off, a *torn tail*, or damage. What tells them apart:
//!
//! - Every record says what was durable when it was written, its `durable_upto`. A bad record at or below what any
//!   sound one behind it says was durable, so it is damage.
//! - A segment gets its name when everything before it is durable. So a bad record below the start of a later segment
//!   is damage.
//! - A seal has no lsn of its own, but nothing is written behind it before it is durable. So if the record with the next
//!   lsn is sound and lies farther behind, a seal was damaged.
//!
//! Any other bad record was never acknowledged, and neither were those behind it, of which a crash may have left some.

use std::path::PathBuf;

use crate::disk::{Disk, PAGE};
use crate::error::{Result, StorageError};
use crate::wal::planted::{Bug, planted};
use crate::wal::record::{self, Bad, HEADER, Head, Key, Kind};
use crate::wal::segment::{self, RECORDS, Segment};
use crate::wal::window::FileWindow;

/// What takes the records, in order: the lsn and the payload.
pub(super) type Replay<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;

/// Where a record is that may not be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lsn: u64,
    pub(super) offset: u64,
    /// The bytes of the record, header and payload.
    pub(super) bytes: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Segment>,
    pub(super) last_lsn: u64,
    /// The last lsn that is known to be durable.
    pub(super) durable_lsn: u64,
    /// The records between the two. All are in the newest segment.
    pub(super) tail: Vec<Place>,
    /// Where the sound records of the newest segment end.
    pub(super) end: u64,
}

/// Reads the log and hands out all records with lsns above `after`, which are durable elsewhere up to that.
///
/// # Errors
/// If reading fails, something is damaged or missing, or `replay` fails.
pub(super) fn recover(
    disk: &dyn Disk,
    store_id: u64,
    after: u64,
    replay: &mut Replay<'_>,
) -> Result<Recovered> {
    let segments = segment::find(disk, store_id)?;
    if segments.is_empty() && after == 0 {
        return Ok(Recovered::default());
    }
    // Segments wholly below `after` may have been removed, all or some of them, and are not read.
    let skipped = segments.windows(2).take_while(|two| two[1].after <= after).count();
    let Some(first) = segments.get(skipped) else {
        let what = "last lsn of a log: there is no segment";
        return Err(StorageError::corrupt(disk.root(), 0, what, 0, after));
    };
    let mut found = Recovered { last_lsn: first.after, ..Recovered::default() };
    if first.after > after && !planted(Bug::NoHoleCheck) {
        return Err(hole(disk, first, after));
    }
    for (i, segment) in segments.iter().enumerate().skip(skipped) {
        if segment.after != found.last_lsn && !planted(Bug::NoHoleCheck) {
            return Err(hole(disk, segment, found.last_lsn));
        }
        let until = segments.get(i + 1).map(|next| next.after);
        let walk = Walk::new(disk, store_id, segment, after)?;
        found =
            walk.run(until, &mut |lsn, payload| if lsn > after { replay(lsn, payload) } else { Ok(()) })?;
    }
    Ok(Recovered { segments, ..found })
}

fn hole(disk: &dyn Disk, segment: &Segment, before: u64) -> StorageError {
    let file = disk.root().join(segment.name());
    let what = "lsn before a segment: the log has a hole; last lsn";
    StorageError::corrupt(&file, RECORDS as u64, what, segment.after, before)
}

/// A walk through the records of one segment.
struct Walk {
    window: FileWindow,
    file: PathBuf,
    key: Key,
    len: u64,
    offset: u64,
    last_lsn: u64,
    durable_lsn: u64,
    /// Sound records that nothing has proved durable so far.
    tail: Vec<Place>,
}

impl Walk {
    fn new(disk: &dyn Disk, store_id: u64, segment: &Segment, after: u64) -> Result<Self> {
        let file = disk.open(&segment.name())?;
        Ok(Self {
            file: file.path().to_path_buf(),
            window: FileWindow::new(file, segment.bytes),
            key: segment.key(store_id),
            len: segment.bytes,
            offset: RECORDS as u64,
            last_lsn: segment.after,
            durable_lsn: segment.durable_upto.max(after),
            tail: Vec::new(),
        })
    }

    /// Hands out the records up to the lsn `until`, where the next segment begins; whatever else is in this one is of
    /// no meaning. In the newest segment, hands out all there are.
    fn run(mut self, until: Option<u64>, replay: &mut Replay<'_>) -> Result<Recovered> {
        while until.is_none_or(|until| self.last_lsn < until) {
            if let Err(bad) = self.step(replay)? {
                self.end_here(bad, until)?;
                break;
            }
        }
        let Self { last_lsn, tail, offset: end, .. } = self;
        let durable_lsn = tail.first().map_or(last_lsn, |first| first.lsn - 1);
        Ok(Recovered { segments: Vec::new(), last_lsn, durable_lsn, tail, end })
    }

    /// Takes one record, or says why there is none.
    fn step(&mut self, replay: &mut Replay<'_>) -> Result<Result<(), Bad>> {
        let offset = self.offset;
        let record = match self.window.record(self.key, offset)? {
            Ok(record) => record,
            Err(bad) => return Ok(Err(bad)),
        };
        check_order(record.head, self.last_lsn).map_err(|(what, found, expected)| {
            StorageError::corrupt(&self.file, offset, what, found, expected)
        })?;
        let (Head { kind, lsn, durable_upto }, bytes) = (record.head, record.bytes());
        if kind == Kind::Data {
            replay(lsn, record.payload)?;
            self.last_lsn = lsn;
            if lsn > self.durable_lsn {
                self.tail.push(Place { lsn, offset, bytes });
            }
        }
        if durable_upto > self.durable_lsn {
            self.durable_lsn = durable_upto;
            self.tail.retain(|place| place.lsn > durable_upto);
        }
        self.offset += bytes as u64;
        Ok(Ok(()))
    }

    /// Accepts a bad record as the end of the log, unless it is damage.
    fn end_here(&mut self, bad: Bad, until: Option<u64>) -> Result<()> {
        if planted(Bug::EveryTailTorn) {
            return Ok(());
        }
        // What follows a segment was written when all of it was durable.
        if until.is_some() || self.durable_lsn > self.last_lsn || self.something_follows()? {
            return Err(bad.error(&self.file, self.offset));
        }
        Ok(())
    }

    /// Whether a sound record behind a bad one proves that the bad one was durable.
    fn something_follows(&mut self) -> Result<bool> {
        let next = self.last_lsn + 1;
        let mut at = self.offset + 1;
        loop {
            if at.is_multiple_of(PAGE as u64) {
                at = self.window.skip_zeros(at)?;
            }
            let Some(header) = self.window.get(at, HEADER)?.first_chunk::<HEADER>() else {
                return Ok(false);
            };
            // Few bytes are worth a checksum.
            let possible = record::raw_lsn(header).checked_sub(next).is_some_and(|ahead| ahead < self.len);
            if possible && let Ok(record) = self.window.record(self.key, at)? {
                let Head { kind, lsn, durable_upto } = record.head;
                if durable_upto >= next || (kind == Kind::Data && lsn == next) {
                    return Ok(true);
                }
            }
            at += 1;
        }
    }
}

/// Whether a sound record may come after the lsn `last`; if not, what is wrong, found and expected.
fn check_order(head: Head, last: u64) -> Result<(), (&'static str, u64, u64)> {
    let Head { kind, lsn, durable_upto } = head;
    let (next, durable) = match kind {
        Kind::Start => return Err(("kind of a log record", kind as u64, Kind::Data as u64)),
        Kind::Data => (last + 1, durable_upto.min(last)),
        Kind::Seal => (last, last),
    };
    if lsn != next {
        return Err(("lsn of a log record", lsn, next));
    }
    if durable_upto != durable {
        return Err(("last durable lsn in a log record", durable_upto, durable));
    }
    Ok(())
}
