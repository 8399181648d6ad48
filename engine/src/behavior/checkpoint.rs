//! From memory into files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nearline_storage::{Encoder, Pair, StorageError, TableOptions, TableWriter, merge};

use super::BehaviorError;
use super::compact::{Pairs, intact, is_worn, join_chunks, merged, merges, newest};
use super::files::{Files, Key, chunks};
use super::history::{Embedding, History};
use super::manifest::{Kind, Manifest};
use super::store::{Inner, header, locked, open_table};
use super::write::Writer;

/// Blocks of heads and chunks. Items are small and asked for one by one: theirs are pages.
const BLOCK_BYTES: usize = 16_384;

/// What becomes of the changes: the same as in memory, in order.
struct Changes {
    histories: BTreeMap<u64, Arc<History>>,
    items: BTreeMap<u64, Arc<Embedding>>,
    /// Of users whose tables are in files, how many events are in them.
    tallied: HashMap<u64, u64>,
}

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
        let (lsn, dead, marks, files) = {
            let state = self.state();
            (state.lsn - writer.manifest.base, state.dead, state.marks.clone(), Arc::clone(&state.files))
        };
        if lsn == writer.manifest.lsn {
            return Ok(());
        }
        writer.wal.rotate().map_err(|error| writer.refused(error, false))?;
        let mut next = Manifest { lsn, dead, marks, ..writer.manifest.clone() };
        let mut live = Files { generation: files.generation + 1, ..(*files).clone() };
        let written = self.write_files(&files, &mut next, &mut live);
        // Whatever becomes of it, a number is used once.
        let first = std::mem::replace(&mut writer.manifest.next_number, next.next_number);
        let heads = written.inspect_err(|_| {
            for number in first..next.next_number {
                Kind::ALL.into_iter().for_each(|kind| drop(self.disk.remove(&kind.name(number))));
            }
        })?;
        next.write(&*self.disk)?;
        let old = std::mem::replace(&mut writer.manifest, next);
        {
            let mut state = self.state_mut();
            state.files = Arc::new(live);
            state.dirty_bytes = 0;
            state.dead = writer.manifest.dead;
            state.new_items.clear();
            state.dirty.clear();
            self.keep_heads(heads);
        }
        // What cannot be removed now is, when the space opens.
        let _ = writer.wal.trim(lsn);
        let kept: Vec<String> = writer.manifest.names().collect();
        old.names().filter(|name| !kept.contains(name)).for_each(|name| drop(self.disk.remove(&name)));
        Ok(())
    }

    /// Writes the files, and says what the heads of histories are then.
    fn write_files(
        &self,
        old: &Files,
        next: &mut Manifest,
        live: &mut Files,
    ) -> Result<Vec<(u64, Arc<History>)>, StorageError> {
        let mut changes = {
            let state = self.state();
            Changes {
                histories: state.dirty.iter().map(|(&user, history)| (user, Arc::clone(history))).collect(),
                items: state.new_items.iter().map(|(&item, one)| (item, Arc::clone(one))).collect(),
                tallied: HashMap::new(),
            }
        };
        self.write_tables(&mut changes, old, next, live)?;
        let heads = self.write_histories(&changes, next, live)?;
        self.write_items(&changes, next, live)?;
        // The manifest must not be found without the files it names.
        self.disk.sync_dir()?;
        Ok(heads)
    }

    /// Writes tables of buckets of histories that have grown. Those that are out of date are hidden by nothing.
    fn write_tables(
        &self,
        changes: &mut Changes,
        old: &Files,
        next: &mut Manifest,
        live: &mut Files,
    ) -> Result<(), StorageError> {
        let Changes { histories, tallied, .. } = changes;
        let due: Vec<(u64, Arc<History>)> = histories
            .iter()
            .filter(|(_, history)| self.is_due(history) || (history.has_table && history.stored.tallied == 0))
            .map(|(&user, history)| (user, Arc::clone(history)))
            .collect();
        tallied.extend(histories.iter().map(|(&user, history)| (user, history.stored.tallied)));
        let new = due.into_iter().map(|(user, history)| {
            let table = if self.is_due(&history) { self.tally_last(user, &history, old) } else { None };
            tallied.insert(user, table.as_ref().map_or(0, |table| table.end as u64));
            Ok((user.to_be_bytes().to_vec(), table.map_or_else(Vec::new, |table| table.encode())))
        });
        let mut new = new.peekable();
        let count = merges(&live.tables, false);
        let is_all = count == live.tables.len();
        let gone = live.tables.split_off(live.tables.len() - count);
        if new.peek().is_none() && gone.is_empty() {
            return Ok(());
        }
        let old = gone.iter().rev().map(|table| intact(table));
        let sources = std::iter::once(Box::new(new) as Pairs<'_>).chain(old);
        let pairs = merge(sources, move |_, value| !is_all || !value.is_empty());
        self.write_file(Kind::Tables, next, live, count, pairs)
    }

    /// Whether a table of buckets of a history belongs into a file: there is none of most of it, and summing up its events
    /// whenever it is asked for costs more than reading one.
    fn is_due(&self, history: &History) -> bool {
        let shape = self.epoch.family.shape();
        let rows = (shape.groups() * shape.buckets()) as u64;
        let missing = history.len() - history.stored.tallied;
        history.len() >= rows && (history.stored.tallied == 0 || missing >= 2 * rows)
    }

    fn write_histories(
        &self,
        changes: &Changes,
        next: &mut Manifest,
        live: &mut Files,
    ) -> Result<Vec<(u64, Arc<History>)>, StorageError> {
        let heads: Vec<(u64, Arc<History>)> = changes
            .histories
            .iter()
            .map(|(&user, history)| (user, Arc::new(history.settled(changes.tallied[&user]))))
            .collect();
        let bytes = live.histories.iter().map(|table| table.summary().bytes).sum();
        let count = merges(&live.histories, is_worn(next.dead, bytes));
        let is_all = count == live.histories.len();
        if is_all {
            next.dead = 0;
        }
        let gone = live.histories.split_off(live.histories.len() - count);
        if heads.is_empty() && gone.is_empty() {
            return Ok(heads);
        }
        let new = heads.iter().zip(changes.histories.values()).flat_map(|((user, head), history)| {
            // A user without behaviours hides those in older files, and is none where there are no older ones.
            let head = (Key::Head { user: *user }.encode(), head.encode());
            std::iter::once(head).chain(chunks(*user, history)).map(Ok)
        });
        let path = self.disk.root().to_owned();
        let pairs = join_chunks(merged(Box::new(new), &gone, newest(path.clone(), is_all)), path);
        self.write_file(Kind::Histories, next, live, count, pairs)?;
        Ok(heads)
    }

    fn write_items(
        &self,
        changes: &Changes,
        next: &mut Manifest,
        live: &mut Files,
    ) -> Result<(), StorageError> {
        let new = changes.items.iter().map(|(item, embedding)| {
            let mut out = Encoder::new();
            embedding.encode(&mut out);
            Ok((item.to_be_bytes().to_vec(), out.into_bytes()))
        });
        let count = merges(&live.items, false);
        let gone = live.items.split_off(live.items.len() - count);
        if changes.items.is_empty() && gone.is_empty() {
            return Ok(());
        }
        self.write_file(Kind::Items, next, live, count, merged(Box::new(new), &gone, |_, _| true))
    }

    /// Writes a file in place of the last `count` of its kind, which are not live any more.
    fn write_file(
        &self,
        kind: Kind,
        next: &mut Manifest,
        live: &mut Files,
        count: usize,
        mut pairs: impl Iterator<Item = Result<Pair, StorageError>>,
    ) -> Result<(), StorageError> {
        let number = next.next_number;
        next.next_number += 1;
        let block_bytes = if kind == Kind::Items { TableOptions::default().block_bytes } else { BLOCK_BYTES };
        let options = TableOptions { block_bytes, ..TableOptions::default() };
        let header = header(self.epoch.store_id, kind, number);
        let mut file = TableWriter::create(&*self.disk, &kind.name(number), header, options)?;
        pairs.try_for_each(|pair| {
            let (key, value) = pair?;
            file.push(&key, &value)
        })?;
        file.finish()?;
        let numbers = &mut next.files[kind as usize];
        numbers.truncate(numbers.len() - count);
        numbers.push(number);
        let table = open_table(&self.disk, &self.epoch, &self.cache, kind, number)?;
        live.of(kind).push(table);
        Ok(())
    }
}
