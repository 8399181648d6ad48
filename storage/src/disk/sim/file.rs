//! Handles on simulated files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::disk::sim::image::Image;
use crate::disk::sim::state::{FileNo, State, Step};
use crate::disk::sim::{Fault, Shared, lock};
use crate::error::{Result, StorageError};

/// An open simulated file.
#[derive(Clone, Debug)]
pub(super) struct SimFile {
    path: PathBuf,
    shared: Shared,
    file: FileNo,
    epoch: u64,
}

impl SimFile {
    pub(super) fn handle(path: PathBuf, shared: &Shared, file: FileNo, epoch: u64) -> Self {
        Self { path, shared: Arc::clone(shared), file, epoch }
    }

    /// Counts an operation; the power must be on, and must not have gone since the file was opened.
    fn step<'a>(&self, state: &'a mut State) -> Option<(&'a mut State, Step)> {
        let step = state.step();
        let alive = state.epoch == self.epoch && !matches!(step, Step::Off);
        alive.then_some((state, step))
    }

    fn image<'a>(&self, state: &'a mut State, op: &'static str) -> Result<&'a mut Image> {
        state.image_mut(self.file).ok_or_else(|| Fault::Io.error(&self.path, op))
    }

    /// Changes the image, all of it or, when it fails, perhaps in part: `change` is told how many of `bytes` to do.
    fn change(&self, op: &'static str, bytes: usize, change: impl FnOnce(&mut Image, usize)) -> Result<()> {
        let mut state = lock(&self.shared);
        let dead = || Fault::Io.error(&self.path, op);
        let (state, step) = self.step(&mut state).ok_or_else(dead)?;
        let (done, fault) = match step {
            Step::Go | Step::Faulty(Fault::FlipBit) => (bytes, None),
            Step::Faulty(fault) => (state.random.below(bytes + 1), Some(fault)),
            Step::Dying { acts } => (if acts { bytes } else { 0 }, Some(Fault::Io)),
            Step::Off => (0, Some(Fault::Io)),
        };
        change(self.image(state, op)?, done);
        fault.map_or(Ok(()), |fault| Err(fault.error(&self.path, op)))
    }

    fn refuse_if_full(&self, op: &'static str, end: u64) -> Result<()> {
        let mut state = lock(&self.shared);
        let left = state.space_left();
        let len = self.image(&mut state, op)?.bytes().len();
        let more = usize::try_from(end).map_or(usize::MAX, |end| end.saturating_sub(len));
        if more > left { Err(Fault::NoSpace.error(&self.path, op)) } else { Ok(()) }
    }
}

impl DiskFile for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        let mut len = 0;
        self.change("read the length", 0, |image, _| len = image.bytes().len() as u64)?;
        Ok(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut state = lock(&self.shared);
        let failed = |fault: Fault| fault.error(&self.path, "read");
        let (state, step) = self.step(&mut state).ok_or_else(|| failed(Fault::Io))?;
        let (flip, cut) = (state.random.below(buf.len() * 8), state.random.below(buf.len()));
        let image = self.image(state, "read")?.bytes();
        let there = usize::try_from(offset).ok().and_then(|offset| image.get(offset..)).unwrap_or_default();
        let got = match step {
            Step::Faulty(Fault::ShortRead) => cut.min(there.len()),
            Step::Go | Step::Faulty(Fault::FlipBit) => there.len().min(buf.len()),
            Step::Faulty(fault) => return Err(failed(fault)),
            Step::Dying { .. } | Step::Off => return Err(failed(Fault::Io)),
        };
        buf[..got].copy_from_slice(&there[..got]);
        if got < buf.len() {
            let (at, wanted) = (offset + got as u64, (buf.len() - got) as u64);
            return Err(StorageError::unexpected_end(&self.path, at, wanted, image.len() as u64));
        }
        if matches!(step, Step::Faulty(Fault::FlipBit)) && !buf.is_empty() {
            buf[flip / 8] ^= 1 << (flip % 8);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.refuse_if_full("write", offset + bytes.len() as u64)?;
        self.change("write", bytes.len(), |image, done| image.write(offset as usize, &bytes[..done]))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.refuse_if_full("set the length", len)?;
        self.change("set the length", 1, |image, done| {
            if done == 1 {
                image.resize(len as usize);
            }
        })
    }

    fn sync(&self) -> Result<()> {
        let mut state = lock(&self.shared);
        let dead = || Fault::Io.error(&self.path, "sync");
        let (state, step) = self.step(&mut state).ok_or_else(dead)?;
        let image = self.image(state, "sync")?;
        match step {
            Step::Go | Step::Faulty(Fault::FlipBit) => {
                image.sync();
                return Ok(());
            }
            Step::Dying { acts: true } => image.sync(),
            Step::Faulty(_) => image.lose(),
            Step::Dying { acts: false } | Step::Off => {}
        }
        Err(dead())
    }

    fn drop_cache(&self) -> Result<()> {
        Ok(())
    }
}
