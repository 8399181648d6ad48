//! The write-ahead log: records that survive a crash once they are synced, in order, without holes.
//!
//! It lies in a folder as segments `wal.NNNNNN`, one writer appends to the newest. Every segment was filled with zeros
//! and synced before it got its name, so that a sync of records has nothing to do but their bytes.
//!
//! # What a crash leaves, and why nothing of it comes back later
//!
//! A crash may leave any part of what was written since the last sync: the *torn tail*. Opening finds the sound records
//! before it (`wal/recover.rs` tells it from damage), and then **never writes into that segment again**: the log goes
//! on in a new one. Its first record names the last lsn before it, and whatever else the old segment holds behind
//! that lsn has no meaning from then on, sound or not. So remains of an old tail cannot be taken for records: nothing
//! new is ever written in front of them. Overwriting them with zeros would do as well, but that would be torn in turn.
//!
//! Not all sound records need be durable. If the process died and the system lived on, or a sync failed, they may be in
//! the system's memory alone, and a sync would not write what the system takes for clean. Those that no `durable_upto`
//! proves are therefore **copied into the new segment** before it gets its name; in the old one they count no more.
//! Writing them again where they are could tear some that had been acknowledged.
//!
//! A segment gets its name by a rename, after all records before it and all bytes in it are durable, and is used once
//! the folder is synced. So a crash at any moment leaves the old end of the log or the new one; and the start of a
//! segment is never torn: if it is bad, it was damaged.

mod planted;
mod record;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

pub use record::MAX_RECORD_BYTES;

use crate::disk::{Disk, PAGE, page_up};
use crate::error::{Result, StorageError};
use planted::{Bug, planted};
use record::{HEADER, Head, Kind};
use recover::{Place, Recovered, recover};
use segment::{Draft, RECORDS, Segment, Unnamed};
use window::FileWindow;
use writer::Writer;

/// The first segment has this many bytes at most, the next ones twice as many as the one before.
const FIRST_SEGMENT: u64 = 1 << 20;
/// The largest that segments may be asked to be, in bytes.
const MAX_SEGMENT: u64 = 1 << 30;

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// How large segments grow, in bytes: 8 KiB to 1 GiB in whole pages, what is beyond is brought into these bounds.
    /// They begin at 1 MiB or less, so that small stores stay small; a record larger than this gets a segment of its
    /// own size.
    pub segment_bytes: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// A write-ahead log, open for one writer. It relies on nobody else having it open: take the folder's lock first.
///
/// The records of a log have lsns, which count from 1 without holes. An error is one of these:
/// - [`StorageError::is_no_space`], or any other from making a new segment: the call did nothing, the log is as
///   before, and the same call may succeed later.
/// - [`StorageError::is_poisoned`]: what reached the disk is unknown. Everything fails from then on; open the log anew.
#[derive(Debug)]
pub struct Wal {
    disk: Arc<dyn Disk>,
    store_id: u64,
    /// Oldest first; the last is the one that is written, if there is a writer.
    segments: Vec<Segment>,
    /// None until something is written.
    writer: Option<Writer>,
    /// The next segment, made ahead.
    spare: Option<Draft>,
    /// Records found that may not be durable. Only without a writer.
    tail: Vec<Place>,
    last_lsn: u64,
    durable_lsn: u64,
    /// Whether something behind the last record says that it is durable.
    sealed: bool,
    /// How large segments are by now; they grow when they fill up.
    usual_bytes: u64,
    max_bytes: u64,
    poison: Option<(PathBuf, String)>,
}

impl Wal {
    /// Opens the log in a folder, or begins one if `after` is 0 and there is none. Hands every record with an lsn above
    /// `after` to `replay`: the lsn and the bytes. A torn tail ends the log; what it held was never acknowledged.
    ///
    /// `store_id` is part of every checksum: files of another store are refused. `after` is the lsn up to which all
    /// records have gone elsewhere, durably. It must have been durable here too ([`Wal::durable_lsn`]) when it was
    /// noted, so that a log that ends before it is known to be damaged.
    ///
    /// Nothing is written unless records were found that may not be durable. If there is no space for them, the log
    /// opens all the same, and the next call that writes tries again.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if a record above `after` is damaged or missing, or a segment is not what was written.
    /// If the disk fails, or `replay` does.
    pub fn open(
        disk: Arc<dyn Disk>,
        store_id: u64,
        options: WalOptions,
        after: u64,
        replay: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let found = recover(&*disk, store_id, after, replay)?;
        if !found.segments.is_empty() {
            // The names that were found may be those of a process that died before it synced the folder.
            disk.sync_dir()?;
        }
        let end = found.end;
        let mut wal = Self::with(disk, store_id, options, found);
        if planted(Bug::ReuseTail) || planted(Bug::TrustTail) {
            wal.believe_tail(end)?;
        } else if !wal.tail.is_empty() {
            wal.switch(0, wal.usual_bytes)
                .or_else(|error| if error.is_no_space() { Ok(()) } else { Err(error) })?;
        }
        Ok(wal)
    }

    fn with(disk: Arc<dyn Disk>, store_id: u64, options: WalOptions, found: Recovered) -> Self {
        let max_bytes = options.segment_bytes.clamp(2 * PAGE as u64, MAX_SEGMENT) / PAGE as u64 * PAGE as u64;
        let Recovered { segments, last_lsn, durable_lsn, tail, end: _ } = found;
        Self {
            disk,
            store_id,
            segments,
            writer: None,
            spare: None,
            sealed: tail.is_empty(),
            tail,
            last_lsn,
            durable_lsn,
            usual_bytes: FIRST_SEGMENT.min(max_bytes),
            max_bytes,
            poison: None,
        }
    }

    /// Appends a record whose bytes are the parts, one after the other, and returns its lsn. It is durable after the
    /// next [`Wal::sync`].
    ///
    /// # Errors
    /// [`StorageError::RecordTooLarge`] above [`MAX_RECORD_BYTES`]. Without a new segment where one is needed; the record
    /// is then refused, nothing else is lost. If the log is poisoned, or is now.
    pub fn append(&mut self, parts: &[&[u8]]) -> Result<u64> {
        self.check()?;
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if bytes > MAX_RECORD_BYTES {
            let (dir, bytes, max) = (self.disk.root().to_path_buf(), bytes as u64, MAX_RECORD_BYTES as u64);
            return Err(StorageError::RecordTooLarge { dir, bytes, max });
        }
        let bytes = (HEADER + bytes) as u64;
        if !self.writer.as_ref().is_some_and(|writer| writer.has_room(bytes)) {
            let full = self.writer.is_some();
            self.switch(bytes, if full { self.larger() } else { self.usual_bytes })?;
        }
        let lsn = self.last_lsn + 1;
        let head = Head { kind: Kind::Data, lsn, durable_upto: self.durable_lsn };
        self.write(|writer| writer.put(head, parts))?;
        self.last_lsn = lsn;
        self.sealed = false;
        Ok(lsn)
    }

    /// Hands everything appended so far to the system: it then survives the end of this process, but no crash.
    ///
    /// # Errors
    /// If it fails the log is poisoned.
    pub fn flush(&mut self) -> Result<()> {
        self.check()?;
        self.write(Writer::flush)
    }

    /// Makes everything appended so far survive a crash, and returns the last lsn. Without anything new it does nothing.
    ///
    /// # Errors
    /// If it fails the log is poisoned, unless it found records when it was opened for which there still is no space.
    pub fn sync(&mut self) -> Result<u64> {
        self.check()?;
        if !self.tail.is_empty() {
            self.switch(0, self.usual_bytes)?;
        }
        self.sync_writer()?;
        Ok(self.durable_lsn)
    }

    /// Syncs, and writes behind the last record that it is durable, so that damage to the last group of records is not
    /// taken for a torn tail. Worth it whenever there is nothing to do for a moment. Does nothing the second time.
    ///
    /// # Errors
    /// As [`Wal::sync`].
    pub fn seal(&mut self) -> Result<()> {
        self.sync()?;
        if !self.sealed {
            let head = Head { kind: Kind::Seal, lsn: self.last_lsn, durable_upto: self.durable_lsn };
            self.write(|writer| writer.put(head, &[]).and_then(|()| writer.sync()))?;
            self.sealed = true;
        }
        Ok(())
    }

    /// Syncs and goes on in a new segment, so that [`Wal::trim`] can remove all records so far. Does nothing if the
    /// newest segment has none.
    ///
    /// # Errors
    /// If there is no space for a segment; the log then goes on in the old one. If the log is poisoned, or is now.
    pub fn rotate(&mut self) -> Result<()> {
        self.sync()?;
        let begun = self.segments.last().map_or(0, |newest| newest.after);
        if self.last_lsn == begun { Ok(()) } else { self.switch(0, self.usual_bytes) }
    }

    /// Makes the next segment ahead if the newest is more than half full, so that no append has to wait until it is
    /// filled with zeros. Worth calling whenever there is nothing to do for a moment.
    ///
    /// # Errors
    /// If the segment cannot be made; nothing is lost then. If the log is poisoned.
    pub fn prepare(&mut self) -> Result<()> {
        self.check()?;
        if self.spare.is_none() && self.writer.as_ref().is_some_and(Writer::is_half_full) {
            self.spare = Some(Draft::create(&*self.disk, self.larger())?);
        }
        Ok(())
    }

    /// Removes the segments all of whose records have lsns up to `upto`, oldest first, but never the newest. Call it when
    /// `upto` is durably noted elsewhere, as what the log is opened after. Segments that a crash brings back are removed
    /// the next time.
    ///
    /// # Errors
    /// If a file cannot be removed. If the log is poisoned.
    pub fn trim(&mut self, upto: u64) -> Result<()> {
        self.check()?;
        while let [oldest, next, ..] = &self.segments[..]
            && next.after <= upto
        {
            self.disk.remove(&oldest.name())?;
            self.segments.remove(0);
        }
        Ok(())
    }

    /// Seals the log and removes what was only there for the next append.
    ///
    /// # Errors
    /// As [`Wal::seal`].
    pub fn close(mut self) -> Result<()> {
        self.seal()?;
        if let Some(spare) = self.spare.take() {
            spare.discard(&*self.disk);
        }
        Ok(())
    }

    /// The bytes of all files of the log, zeros included.
    pub fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        segments + self.spare.as_ref().map_or(0, |spare| spare.bytes)
    }

    /// The lsn of the last record, or 0 if there never was one.
    pub fn last_lsn(&self) -> u64 {
        self.last_lsn
    }

    /// The lsn up to which records survive a crash.
    pub fn durable_lsn(&self) -> u64 {
        self.durable_lsn
    }

    /// The size of a segment after one that filled up.
    fn larger(&self) -> u64 {
        (self.usual_bytes * 2).min(self.max_bytes)
    }

    /// Goes on in a new segment of `bytes` bytes, or more so that records of `record_bytes` fit. When this fails without
    /// poisoning, nothing has changed.
    fn switch(&mut self, record_bytes: u64, bytes: u64) -> Result<()> {
        if planted(Bug::NoSyncBeforeSwitch) {
            self.write(Writer::flush)?;
            self.durable_lsn = self.last_lsn;
        }
        self.sync_writer()?;
        let copied: u64 = self.tail.iter().map(|place| place.bytes as u64).sum();
        let needed = RECORDS as u64 + copied + record_bytes + HEADER as u64;
        let draft = self.draft(needed, bytes)?;
        let segment = Segment {
            number: self.segments.last().map_or(1, |newest| newest.number + 1),
            bytes: draft.bytes,
            after: self.durable_lsn,
            durable_upto: self.last_lsn,
        };
        let filled = draft.file.write_at(0, &segment.encode_start(self.store_id));
        let mut writer =
            Writer::new(Arc::clone(&draft.file), segment.key(self.store_id), segment.bytes, RECORDS as u64);
        let filled = filled.and_then(|()| self.copy_tail(&mut writer)).map_err(Unnamed::Surely);
        match filled.and_then(|()| draft.publish(&*self.disk, &segment)) {
            Ok(()) => writer.rename(self.disk.open_rw(&segment.name())),
            Err(Unnamed::Surely(error)) => {
                draft.discard(&*self.disk);
                return Err(error);
            }
            // If it is found after a crash, records written to the old segment from now on would not count.
            Err(Unnamed::Perhaps(error)) => {
                return Err(self.poison(self.disk.root().join(segment.name()), &error));
            }
        }
        self.segments.push(segment);
        self.writer = Some(writer);
        self.usual_bytes = bytes;
        self.tail.clear();
        self.durable_lsn = self.last_lsn;
        self.sealed = true;
        Ok(())
    }

    /// Zeros to become a segment of `bytes` bytes, or more if more are `needed`: the spare one, if it is large enough.
    fn draft(&mut self, needed: u64, bytes: u64) -> Result<Draft> {
        match self.spare.take() {
            Some(spare) if spare.bytes >= needed => return Ok(spare),
            Some(small) => small.discard(&*self.disk),
            None => {}
        }
        Draft::create(&*self.disk, bytes.max(page_up(needed as usize) as u64))
    }

    /// Copies the records that may not be durable from the newest segment.
    fn copy_tail(&self, writer: &mut Writer) -> Result<()> {
        let (Some(newest), false) = (self.segments.last(), self.tail.is_empty()) else { return Ok(()) };
        let file = self.disk.open(&newest.name())?;
        let path = file.path().to_path_buf();
        let mut window = FileWindow::new(file, newest.bytes);
        for place in &self.tail {
            let record = window.record(newest.key(self.store_id), place.offset)?;
            let record = record.map_err(|bad| bad.error(&path, place.offset))?;
            writer.put(record.head, &[record.payload])?;
        }
        writer.flush()
    }

    /// The mistakes that this module's documentation warns of; see [`planted`].
    fn believe_tail(&mut self, end: u64) -> Result<()> {
        self.durable_lsn = self.last_lsn;
        self.tail.clear();
        if let Some(newest) = self.segments.last().filter(|_| planted(Bug::ReuseTail)) {
            let file = self.disk.open_rw(&newest.name())?;
            self.writer = Some(Writer::new(file, newest.key(self.store_id), newest.bytes, end));
        }
        Ok(())
    }

    fn sync_writer(&mut self) -> Result<()> {
        if self.durable_lsn < self.last_lsn && self.writer.is_some() {
            self.write(Writer::sync)?;
            self.durable_lsn = self.last_lsn;
        }
        Ok(())
    }

    /// Does something to the newest segment. If that fails, nobody knows what is in it.
    fn write(&mut self, act: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let Err(error) = act(writer) else { return Ok(()) };
        let file = writer.path().to_path_buf();
        Err(self.poison(file, &error))
    }

    fn poison(&mut self, file: PathBuf, error: &StorageError) -> StorageError {
        let why = error.to_string();
        self.poison = Some((file.clone(), why.clone()));
        StorageError::Poisoned { file, why }
    }

    fn check(&self) -> Result<()> {
        match &self.poison {
            Some((file, why)) => Err(StorageError::Poisoned { file: file.clone(), why: why.clone() }),
            None => Ok(()),
        }
    }
}
