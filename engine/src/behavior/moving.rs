//! From memory into files, while others write: what is to go is set apart, written, and then counts as files.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearline_storage::StorageError;

use super::BehaviorError;
use super::files::Files;
use super::history::{Embedding, History};
use super::manifest::{Kind, Manifest};
use super::store::{ENTRY_BYTES, Inner, State, locked};
use super::write::Writer;

/// Changes on their way into files.
#[derive(Debug, Default)]
pub(super) struct Moving {
    pub(super) histories: HashMap<u64, Going>,
    /// By the first epoch of their embeddings, and item.
    pub(super) items: HashMap<(u32, u64), Arc<Embedding>>,
    /// Bytes of both, and of the heads.
    pub(super) bytes: usize,
}

/// A history on its way.
#[derive(Debug)]
pub(super) struct Going {
    /// As it was in memory.
    pub(super) whole: Arc<History>,
    /// What later writes are made behind, and questions find: as if its events were in files.
    pub(super) head: Arc<History>,
}

/// Heads of histories as they are in files, by user.
pub(super) type Heads = Vec<(u64, Arc<History>)>;

/// A move of all changes up to a record of the log.
pub(super) struct Move {
    pub(super) changes: Arc<Moving>,
    /// What is live before it.
    pub(super) old: Arc<Files>,
    /// What will be named, and live, after it.
    pub(super) next: Manifest,
    pub(super) live: Files,
    /// Events in files that were of no more use when it began.
    dead: u64,
}

fn bytes(history: &History) -> usize {
    history.ram_bytes() + ENTRY_BYTES
}

impl Inner {
    /// Whether it is time to write files.
    pub(super) fn is_time(&self, writer: &Writer) -> bool {
        let state = self.state();
        let is_moving = state.files.moving.is_some();
        !is_moving && (state.dirty_bytes > self.limits.dirty / 2 || writer.wal.bytes() > self.limits.log)
    }

    /// Whether there is no room for what comes while changes are on their way into files.
    pub(super) fn is_behind(&self) -> bool {
        let state = self.state();
        state.files.moving.is_some() && state.dirty_bytes > self.limits.dirty / 2
    }

    /// Moves all changes into files. Others write and read meanwhile.
    pub(super) fn flush(&self) -> Result<(), BehaviorError> {
        let _alone = locked(&self.filing);
        let begun = self.begin(&mut locked(&self.writer))?;
        let Some(mut begun) = begun else { return Ok(()) };
        let written = self.write(&mut begun);
        self.end(&mut locked(&self.writer), begun, written)
    }

    /// Moves all changes into files, while nobody writes. The caller holds the lock of files, too.
    pub(super) fn checkpoint(&self, writer: &mut Writer) -> Result<(), BehaviorError> {
        let Some(mut begun) = self.begin(writer)? else { return Ok(()) };
        let written = self.write(&mut begun);
        self.end(writer, begun, written)
    }

    /// Sets apart what is to go into files, if there is anything. Whoever begins must end.
    pub(super) fn begin(&self, writer: &mut Writer) -> Result<Option<Move>, BehaviorError> {
        let (mut changes, lsn, dead, marks, old) = {
            let state = self.state();
            let going = |(&user, whole): (&u64, &Arc<History>)| {
                (user, Going { whole: Arc::clone(whole), head: Arc::new(whole.going()) })
            };
            let histories: HashMap<u64, Going> = state.dirty.iter().map(going).collect();
            let heads = histories.len() * (size_of::<History>() + ENTRY_BYTES);
            let changes = Moving { histories, items: HashMap::new(), bytes: state.dirty_bytes + heads };
            let lsn = state.lsn - writer.manifest.base;
            (changes, lsn, state.dead, state.marks.clone(), Arc::clone(&state.files))
        };
        self.is_due.store(false, Ordering::Relaxed);
        if lsn == writer.manifest.lsn {
            return Ok(None);
        }
        if let Err(error) = writer.wal.rotate() {
            let error = writer.refused(error, false);
            writer.checkpoint_error = Some(error.to_string());
            return Err(error);
        }
        let changes = {
            let mut state = self.state_mut();
            changes.items = std::mem::take(&mut state.new_items);
            let changes = Arc::new(changes);
            state.dirty = HashMap::new();
            state.dirty_bytes = 0;
            let moving = Some(Arc::clone(&changes));
            state.files = Arc::new(Files { generation: old.generation + 1, moving, ..(*old).clone() });
            changes
        };
        let next = Manifest { lsn, dead, marks, ..writer.manifest.clone() };
        let live = Files { generation: old.generation + 2, ..(*old).clone() };
        Ok(Some(Move { changes, old, next, live, dead }))
    }

    /// Writes new files and then the manifest, by which they count. A panic is an error: whoever began must end.
    pub(super) fn write(&self, begun: &mut Move) -> Result<Heads, BehaviorError> {
        let written = catch_unwind(AssertUnwindSafe(|| self.write_all(begun)));
        written.unwrap_or_else(|_| {
            let error = std::io::Error::other("a panic, which is a mistake of this program");
            Err(StorageError::io(self.disk.root(), "write files", error).into())
        })
    }

    fn write_all(&self, begun: &mut Move) -> Result<Heads, BehaviorError> {
        let first = begun.next.next_number;
        let remove = |next: &Manifest| {
            for number in first..next.next_number {
                Kind::ALL.into_iter().for_each(|kind| drop(self.disk.remove(&kind.name(number))));
            }
        };
        let heads = self.write_files(begun).inspect_err(|_| remove(&begun.next))?;
        begun.next.write(&*self.disk).inspect_err(|_| {
            // It may have got there all the same: then what it names must stay.
            if Manifest::read(&*self.disk).is_ok_and(|there| there.lsn != begun.next.lsn) {
                remove(&begun.next);
            }
        })?;
        Ok(heads)
    }

    /// Ends a move: what was written is live, or all is in memory again. Then the log is forgotten as far as it is in files.
    pub(super) fn end(
        &self,
        writer: &mut Writer,
        begun: Move,
        written: Result<Heads, BehaviorError>,
    ) -> Result<(), BehaviorError> {
        writer.checkpoint_error = written.as_ref().err().map(ToString::to_string);
        let heads = match written {
            Ok(heads) => heads,
            Err(error) => {
                // Whatever became of it, a number is used once.
                writer.manifest.next_number = begun.next.next_number;
                // Nobody else changes the state meanwhile, and readers need not wait.
                let back = self.state().turned_back(&begun);
                *self.state_mut() = back;
                // The next write has it tried again.
                self.is_due.store(self.is_time(writer), Ordering::Relaxed);
                return Err(error);
            }
        };
        let lsn = begun.next.lsn;
        let old = std::mem::replace(&mut writer.manifest, begun.next);
        // As if they had been read. Nobody asks for them before the state says that they arrived.
        self.keep_heads(heads.clone());
        {
            let mut state = self.state_mut();
            state.files = Arc::new(begun.live);
            state.dead = writer.manifest.dead + (state.dead - begun.dead);
            for (user, head) in &heads {
                if let Some(history) = state.dirty.get_mut(user) {
                    Arc::make_mut(history).arrive(head);
                }
            }
        }
        // What cannot be removed now is, when the space opens.
        let _ = writer.wal.trim(lsn);
        self.remove_old(&old, &writer.manifest);
        self.is_due.store(self.is_time(writer), Ordering::Relaxed);
        Ok(())
    }
}

impl State {
    /// Bytes of changes, those on their way into files too.
    pub(super) fn bytes(&self) -> usize {
        self.dirty_bytes + self.files.moving.as_ref().map_or(0, |moving| moving.bytes)
    }

    /// The same with all changes in memory again that did not arrive.
    fn turned_back(&self, begun: &Move) -> Self {
        let files = Files { generation: begun.live.generation, ..(*begun.old).clone() };
        let mut back = Self {
            lsn: self.lsn,
            dirty: self.dirty.clone(),
            new_items: self.new_items.clone(),
            dirty_bytes: self.dirty_bytes,
            dead: self.dead,
            marks: self.marks.clone(),
            files: Arc::new(files),
            epochs: Arc::clone(&self.epochs),
        };
        for (&user, Going { whole, head }) in &begun.changes.histories {
            let Some(later) = back.dirty.get_mut(&user) else {
                back.dirty_bytes += bytes(whole);
                back.dirty.insert(user, Arc::clone(whole));
                continue;
            };
            if later.reshaped != head.reshaped {
                // These counted as in files when they became of no use.
                back.dead = back.dead.saturating_sub(head.stored.len - whole.stored.len);
            }
            back.dirty_bytes -= bytes(later);
            *later = Arc::new(later.turned_back(whole));
            back.dirty_bytes += bytes(later);
        }
        for (item, embedding) in &begun.changes.items {
            back.dirty_bytes += embedding.ram_bytes() + ENTRY_BYTES;
            back.new_items.insert(*item, Arc::clone(embedding));
        }
        back
    }
}
