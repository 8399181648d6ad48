//! From memory into files, and many files into one.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearline_storage::{Encoder, Pair, StorageError, Table, TableOptions, TableWriter, merge};

use super::BehaviorError;
use super::history::History;
use super::manifest::{Manifest, histories_name, items_name};
use super::store::{Files, HISTORIES_KIND, ITEMS_KIND, Inner, header, locked, open_table};
use super::write::Writer;

/// Files of one kind from which on they become one.
const FILES_MERGED: usize = 8;
/// Values are large: more of them fit a block.
const BLOCK_BYTES: usize = 16_384;

type Pairs<'a> = Box<dyn Iterator<Item = Result<Pair, StorageError>> + 'a>;

impl Inner {
    /// Whether it is time to write files.
    pub(super) fn is_time(&self, writer: &Writer) -> bool {
        self.state().dirty_bytes > self.limits.dirty || writer.wal.bytes() > self.limits.log
    }

    /// Moves all changes into files.
    pub(super) fn flush(&self) -> Result<(), BehaviorError> {
        let mut writer = locked(&self.writer);
        let done = self.checkpoint(&mut writer);
        writer.checkpoint_error = done.as_ref().err().map(ToString::to_string);
        done
    }

    /// Writes what changed into new files, names them in the manifest, then forgets the log of it. Readers go on; when it
    /// fails nothing has changed but the numbers of files.
    pub(super) fn checkpoint(&self, writer: &mut Writer) -> Result<(), BehaviorError> {
        let (lsn, marks, files) = {
            let state = self.state();
            (state.lsn, state.marks.clone(), Arc::clone(&state.files))
        };
        if lsn == writer.manifest.lsn {
            return Ok(());
        }
        writer.wal.rotate().map_err(|error| writer.refused(error, false))?;
        let mut next = Manifest { lsn, marks, ..writer.manifest.clone() };
        let mut live = Files {
            generation: files.generation + 1,
            histories: files.histories.clone(),
            items: files.items.clone(),
        };
        let written = self.write_files(&mut next, &mut live);
        // Whatever becomes of it, a number is used once.
        let first = std::mem::replace(&mut writer.manifest.next_number, next.next_number);
        if written.is_err() {
            let names =
                (first..next.next_number).flat_map(|number| [histories_name(number), items_name(number)]);
            names.for_each(|name| drop(self.disk.remove(&name)));
        }
        written?;
        next.write(&*self.disk)?;
        let old = std::mem::replace(&mut writer.manifest, next);
        {
            let mut state = self.state_mut();
            state.files = Arc::new(live);
            state.dirty_bytes = 0;
            state.new_items.clear();
            self.keep_clean(std::mem::take(&mut state.dirty));
        }
        // What cannot be removed now is, when the space opens.
        let _ = writer.wal.trim(lsn);
        self.remove_old(&old, &writer.manifest);
        Ok(())
    }

    fn write_files(&self, next: &mut Manifest, live: &mut Files) -> Result<(), StorageError> {
        let state = self.state();
        let histories: BTreeMap<u64, Arc<History>> =
            state.dirty.iter().map(|(&user, history)| (user, Arc::clone(history))).collect();
        let items: BTreeMap<u64, _> =
            state.new_items.iter().map(|(&item, embedding)| (item, Arc::clone(embedding))).collect();
        // Readers and whoever waits to write go on.
        drop(state);
        let merges = live.histories.len() >= FILES_MERGED;
        let changed = histories.iter().map(|(user, history)| {
            // A user without behaviours hides those in older files, and is none where there are no older ones.
            Ok((user.to_be_bytes().to_vec(), history.encode()))
        });
        let is_some = |bytes: &[u8]| bytes.get(16..20).is_some_and(|count| count != [0; 4]);
        if merges {
            let old = std::mem::take(&mut live.histories);
            let pairs = merge(sources(Box::new(changed), &old), |_, value| is_some(value));
            next.histories.clear();
            self.write_file(HISTORIES_KIND, next, live, pairs)?;
        } else if !histories.is_empty() {
            self.write_file(HISTORIES_KIND, next, live, changed)?;
        }
        let new = items.iter().map(|(item, embedding)| {
            let mut out = Encoder::new();
            embedding.encode(&mut out);
            Ok((item.to_be_bytes().to_vec(), out.into_bytes()))
        });
        if live.items.len() >= FILES_MERGED {
            let old = std::mem::take(&mut live.items);
            let pairs = merge(sources(Box::new(new), &old), |_, _| true);
            next.items.clear();
            self.write_file(ITEMS_KIND, next, live, pairs)?;
        } else if !items.is_empty() {
            self.write_file(ITEMS_KIND, next, live, new)?;
        }
        // The manifest must not be found without the files it names.
        self.disk.sync_dir()
    }

    fn write_file(
        &self,
        kind: [u8; 4],
        next: &mut Manifest,
        live: &mut Files,
        mut pairs: impl Iterator<Item = Result<Pair, StorageError>>,
    ) -> Result<(), StorageError> {
        let number = next.next_number;
        next.next_number += 1;
        let is_items = kind == ITEMS_KIND;
        let name = if is_items { items_name(number) } else { histories_name(number) };
        let options = TableOptions { block_bytes: BLOCK_BYTES, ..TableOptions::default() };
        let header = header(self.epoch.store_id, kind, number);
        let mut file = TableWriter::create(&*self.disk, &name, header, options)?;
        pairs.try_for_each(|pair| {
            let (key, value) = pair?;
            file.push(&key, &value)
        })?;
        file.finish()?;
        let table = open_table(&self.disk, &self.epoch, &self.cache, kind, number)?;
        let (numbers, tables) = if is_items {
            (&mut next.items, &mut live.items)
        } else {
            (&mut next.histories, &mut live.histories)
        };
        numbers.push(number);
        tables.push(table);
        Ok(())
    }

    fn remove_old(&self, old: &Manifest, new: &Manifest) {
        let gone = |old: &[u64], new: &[u64]| -> Vec<u64> {
            old.iter().copied().filter(|number| !new.contains(number)).collect()
        };
        let histories = gone(&old.histories, &new.histories).into_iter().map(histories_name);
        let items = gone(&old.items, &new.items).into_iter().map(items_name);
        histories.chain(items).for_each(|name| {
            let _ = self.disk.remove(&name);
        });
    }
}

/// What changed and then all files, the newest first.
fn sources<'a>(changed: Pairs<'a>, tables: &'a [Arc<Table>]) -> Vec<Pairs<'a>> {
    let tables = tables.iter().rev().map(|table| Box::new(table.scan()) as Pairs<'a>);
    std::iter::once(changed).chain(tables).collect()
}
