//! A log in use while the power fails and the disk does, and what must be true of it at every start.

use super::{open, payload};
use crate::disk::sim::{Faults, SimDisk};
use crate::error::{Result, StorageError};
use crate::wal::Wal;

/// Chance by seed: SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What must not happen, in words.
pub(super) type Wrong = String;

/// The log, and what its user knows.
pub(super) struct History {
    pub(super) disk: SimDisk,
    wal: Option<Wal>,
    /// All records, by lsn from 1; those behind `acked` are in doubt.
    written: Vec<Vec<u8>>,
    acked: u64,
    /// What is durable elsewhere.
    after: u64,
    script: Random,
    marks: u64,
    /// Appends and syncs only, of records of equal length, so that what is left of one may follow another.
    plain: bool,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let (disk, script) = (SimDisk::new(seed), Random::new(seed));
        Self { disk, wal: None, written: Vec::new(), acked: 0, after: 0, script, marks: 0, plain: false }
    }

    /// Appends and syncs only, of records of equal length.
    pub(super) fn plain(seed: u64) -> Self {
        Self { plain: true, ..Self::new(seed) }
    }

    /// Ends the process, if there is one, and starts another, which must find what is known.
    pub(super) fn start(&mut self) -> Result<Result<(), Wrong>> {
        self.wal = None;
        let (wal, records) = open(&self.disk, self.after)?;
        let last = wal.last_lsn();
        let wrong = |why: &str| {
            let (after, acked, written) = (self.after, self.acked, self.written.len());
            Ok(Err(format!("{why}: found up to {last}; after {after}, acked {acked}, written {written}")))
        };
        if last < self.acked || last < self.after {
            return wrong("acknowledged records are lost");
        }
        if last > self.written.len() as u64 {
            return wrong("there are records that nobody wrote");
        }
        let expected = (self.after + 1..=last).map(|lsn| (lsn, self.written[lsn as usize - 1].as_slice()));
        if !records.iter().map(|(lsn, bytes)| (*lsn, bytes.as_slice())).eq(expected) {
            return wrong("records are not those that were written");
        }
        self.written.truncate(last as usize);
        self.acked = self.acked.max(wal.durable_lsn());
        self.wal = Some(wal);
        Ok(Ok(()))
    }

    /// Starts until it works; the power may fail at any of the first operations of a start, as `cut` says.
    pub(super) fn recover(&mut self, luck: &mut Random, cut: bool) -> Result<(), Wrong> {
        for attempt in 0..4 {
            if cut && attempt < 3 && luck.below(3) > 0 {
                self.disk.crash_at(self.disk.operations() + 1 + luck.below(24));
            }
            let started = self.start();
            let off = matches!(&started, Err(StorageError::Io { .. } | StorageError::Poisoned { .. }));
            match started {
                Ok(checked) => {
                    checked?;
                    // A pending power cut comes later, or it is over.
                    return Ok(());
                }
                Err(_) if off && cut && attempt < 3 => self.disk.crash(luck.next()),
                Err(error) => return Err(format!("the log does not open: {error}")),
            }
        }
        Err("the log does not open".to_owned())
    }

    /// One thing that its user does, by chance. `Err` is for the caller to judge.
    pub(super) fn step(&mut self) -> Result<(), StorageError> {
        let Some(wal) = &mut self.wal else { return Ok(()) };
        match self.script.below(if self.plain { 60 } else { 100 }) {
            0..50 => {
                let len = match self.script.below(4) {
                    _ if self.plain => 200,
                    0 => self.script.below(60),
                    1 => self.script.below(700),
                    2 => self.script.below(1500),
                    _ => self.script.below(5000),
                };
                self.marks += 1;
                let bytes = payload(self.marks, len as usize);
                let (one, two) = bytes.split_at(bytes.len() / 3);
                // In doubt from now on, unless it is refused.
                self.written.push(bytes.clone());
                match wal.append(&[one, two]) {
                    Ok(lsn) => assert_eq!(lsn, self.written.len() as u64),
                    Err(error) => {
                        if !error.is_poisoned() {
                            self.written.pop();
                        }
                        return Err(error);
                    }
                }
            }
            50..75 => self.acked = self.acked.max(wal.sync()?),
            75..80 => wal.seal()?,
            80..84 => wal.rotate()?,
            84..88 => wal.prepare()?,
            88..94 => {
                let durable = wal.sync()?;
                (self.acked, self.after) = (self.acked.max(durable), self.after.max(durable));
                if self.script.below(2) == 0 {
                    wal.rotate()?;
                }
                wal.trim(self.after)?;
            }
            // The process ends, one way or the other.
            94..97 => {
                if let Some(wal) = self.wal.take() {
                    let last = wal.last_lsn();
                    wal.close()?;
                    self.acked = last;
                }
            }
            _ => self.wal = None,
        }
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        self.wal.is_some()
    }

    /// Ends the process.
    pub(super) fn end(&mut self) {
        self.wal = None;
    }

    /// Cuts the power.
    pub(super) fn crash(&mut self, luck: &mut Random) {
        self.wal = None;
        self.disk.set_faults(Faults::default());
        self.disk.crash(luck.next());
    }

    /// Lets its user work until the power fails. It comes back at the next start.
    pub(super) fn until_the_power_fails(&mut self, luck: &mut Random) -> Result<(), Wrong> {
        for _ in 0..2_000 {
            if !self.is_running() {
                match self.start() {
                    Ok(checked) => checked?,
                    Err(StorageError::Io { .. } | StorageError::Poisoned { .. }) => break,
                    Err(error) => return Err(format!("the log does not open: {error}")),
                }
            }
            if let Err(error) = self.step() {
                if !matches!(error, StorageError::Io { .. } | StorageError::Poisoned { .. }) {
                    return Err(format!("a step fails: {error}"));
                }
                break;
            }
        }
        self.crash(luck);
        Ok(())
    }
}
