//! The files that changes go into.

use std::collections::HashMap;
use std::sync::Arc;

use nearline_storage::{Encoder, Pair, StorageError, Table, TableOptions, TableWriter, merge};

use super::compact::{Pairs, intact, is_worn, join_chunks, merged, merges, newest};
use super::files::{Files, Key, chunks};
use super::history::History;
use super::manifest::{Epoch, Kind, Manifest};
use super::moving::{Heads, Move, Moving};
use super::store::{Inner, header, open_table};

/// Blocks of heads and chunks. Items are small and asked for one by one: theirs are pages.
const BLOCK_BYTES: usize = 16_384;

/// A user and the history that is to go into files.
type Changed<'a> = (u64, &'a Arc<History>);
/// Of users whose tables are in files, how many events are in them.
type Counted = HashMap<u64, u64>;

impl Inner {
    /// Removes the files that one manifest names and another does not. What cannot be removed now is, when the space opens.
    pub(super) fn remove_old(&self, old: &Manifest, new: &Manifest) {
        let kept: Vec<String> = new.names().collect();
        old.names().filter(|name| !kept.contains(name)).for_each(|name| drop(self.disk.remove(&name)));
    }

    /// Writes what changed into new files, and says what the heads of histories are then.
    pub(super) fn write_files(&self, begun: &mut Move) -> Result<Heads, StorageError> {
        let changes = Arc::clone(&begun.changes);
        let mut histories: Vec<Changed<'_>> =
            changes.histories.iter().map(|(&user, going)| (user, &going.whole)).collect();
        histories.sort_unstable_by_key(|(user, _)| *user);
        let counted = self.write_tables(&histories, begun)?;
        let heads = self.write_histories(&histories, &counted, begun)?;
        self.write_items(&changes, begun)?;
        // The manifest must not be found without the files it names.
        self.disk.sync_dir()?;
        Ok(heads)
    }

    /// Writes tables of buckets of histories that have grown. Those that are out of date are hidden by nothing.
    fn write_tables(&self, histories: &[Changed<'_>], begun: &mut Move) -> Result<Counted, StorageError> {
        let epoch = Arc::clone(self.state().epochs.serving());
        let Move { old, next, live, .. } = begun;
        let (mut counted, mut due) = (Counted::new(), Vec::new());
        for &(user, history) in histories {
            let (has_table, there) = stored_table(user, history, old, &epoch);
            counted.insert(user, there);
            let is_due = is_due(history, &epoch, there);
            if is_due || (has_table && there == 0) {
                due.push((user, history, is_due));
            }
        }
        let new = due.into_iter().map(|(user, history, is_due)| {
            let table = if is_due { self.tally_last(user, history, old, &epoch) } else { None };
            counted.insert(user, table.as_ref().map_or(0, |table| table.end as u64));
            Ok((user.to_be_bytes().to_vec(), table.map_or_else(Vec::new, |table| table.encode())))
        });
        let mut new = new.peekable();
        let files = live.of(Kind::Tables, epoch.number);
        let gone = files.split_off(files.len() - merges(files, false));
        if new.peek().is_some() || !gone.is_empty() {
            let is_all = files.is_empty();
            let pairs = with_older(Box::new(new), &gone, is_all);
            self.write_file((Kind::Tables, epoch.number), next, live, gone.len(), pairs)?;
        }
        Ok(counted)
    }

    fn write_histories(
        &self,
        histories: &[Changed<'_>],
        counted: &Counted,
        begun: &mut Move,
    ) -> Result<Heads, StorageError> {
        let serving = self.state().epochs.serving().number;
        let Move { next, live, .. } = begun;
        let heads: Heads = histories
            .iter()
            .map(|(user, history)| (*user, Arc::new(history.settled(counted[user], serving))))
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
        let new = heads.iter().zip(histories).flat_map(|((user, head), (_, history))| {
            // A user without behaviours hides those in older files, and is none where there are no older ones.
            let head = (Key::Head { user: *user }.encode(), head.encode());
            std::iter::once(head).chain(chunks(*user, history)).map(Ok)
        });
        let path = self.disk.root().to_owned();
        let pairs = join_chunks(merged(Box::new(new), &gone, newest(path.clone(), is_all)), path);
        self.write_file((Kind::Histories, serving), next, live, count, pairs)?;
        Ok(heads)
    }

    fn write_items(&self, changes: &Moving, begun: &mut Move) -> Result<(), StorageError> {
        let Move { next, live, .. } = begun;
        let mut items: Vec<_> = changes.items.iter().collect();
        items.sort_unstable_by_key(|(item, _)| **item);
        let all: Vec<u32> = next.epochs.iter().map(|made| made.number).collect();
        for of in all {
            let own = items.iter().filter(|((its, _), _)| *its == of);
            let new = own.map(|((_, item), embedding)| {
                let mut out = Encoder::new();
                embedding.encode(&mut out);
                Ok((item.to_be_bytes().to_vec(), out.into_bytes()))
            });
            let mut new = new.peekable();
            let files = live.of(Kind::Items, of);
            let gone = files.split_off(files.len() - merges(files, false));
            if new.peek().is_some() || !gone.is_empty() {
                let pairs = merged(Box::new(new), &gone, |_, _| true);
                self.write_file((Kind::Items, of), next, live, gone.len(), pairs)?;
            }
        }
        Ok(())
    }

    /// Writes a file of a kind and an epoch in place of the last `count`, which are not live any more.
    fn write_file(
        &self,
        (kind, epoch): (Kind, u32),
        next: &mut Manifest,
        live: &mut Files,
        count: usize,
        pairs: impl Iterator<Item = Result<Pair, StorageError>>,
    ) -> Result<(), StorageError> {
        let number = next.next_number;
        next.next_number += 1;
        let table = self.write_table(kind, number, pairs)?;
        // A file is of an epoch that the manifest names.
        if let Some(numbers) = next.numbers_mut(kind, epoch) {
            numbers.truncate(numbers.len() - count);
            numbers.push(number);
        }
        live.of(kind, epoch).push(table);
        Ok(())
    }

    /// Writes a file of this number.
    pub(super) fn write_table(
        &self,
        kind: Kind,
        number: u64,
        mut pairs: impl Iterator<Item = Result<Pair, StorageError>>,
    ) -> Result<Arc<Table>, StorageError> {
        let block_bytes = if kind == Kind::Items { TableOptions::default().block_bytes } else { BLOCK_BYTES };
        let options = TableOptions { block_bytes, ..TableOptions::default() };
        let header = header(self.store_id, kind, number);
        let mut file = TableWriter::create(&*self.disk, &kind.name(number), header, options)?;
        pairs.try_for_each(|pair| {
            let (key, value) = pair?;
            file.push(&key, &value)
        })?;
        file.finish()?;
        open_table(&self.disk, self.store_id, &self.cache, kind, number)
    }
}

/// Whether a file of an epoch has a table of a user, be it out of date, and how many events are in it if it is not.
fn stored_table(user: u64, history: &History, files: &Files, epoch: &Epoch) -> (bool, u64) {
    // Who was in no file has none in another.
    if history.tallied_of == epoch.number || history.tallied_of == 0 {
        return (history.has_table, history.stored.tallied);
    }
    let has_table = files.any_table(user, epoch).is_some();
    (has_table, files.table(user, history, epoch).map_or(0, |table| table.end as u64))
}

/// Whether a table of buckets of a history belongs into a file: there is none of most of it, and summing up its events
/// whenever it is asked for costs more than reading one. `there` is how many events are in the one there is.
pub(super) fn is_due(history: &History, epoch: &Epoch, there: u64) -> bool {
    let rows = (epoch.shape().groups() * epoch.shape().buckets()) as u64;
    history.len() >= rows && (there == 0 || history.len() - there >= 2 * rows)
}

/// New tables of buckets and those of older files, which are to go. Where these are all files, users without are left out.
pub(super) fn with_older<'a>(
    new: Pairs<'a>,
    gone: &'a [Arc<Table>],
    is_all: bool,
) -> impl Iterator<Item = Result<Pair, StorageError>> {
    let old = gone.iter().rev().map(|table| intact(table));
    merge(std::iter::once(new).chain(old), move |_, value| !is_all || !value.is_empty())
}
