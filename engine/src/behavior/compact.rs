//! Many files into one: which, and what of them is left out.

use std::path::PathBuf;
use std::sync::Arc;

use nearline_storage::{Merge, Pair, StorageError, Table, merge};

use super::files::{CHUNK_BYTES, Key, decode_head, joined};

/// Files of one kind from which on all but the oldest become one.
const FILES_MERGED: usize = 8;
/// The oldest file is read anew when the others have one byte in so many of its own; files that have so many bytes in all
/// for each byte that is of no use are worn.
const SHARE: u64 = 4;
/// Bytes of an event without a vector.
const EVENT_BYTES: u64 = 25;

pub(super) type Pairs<'a> = Box<dyn Iterator<Item = Result<Pair, StorageError>> + 'a>;

/// How many of the newest files, oldest first, are to become one with what is to be written.
pub(super) fn merges(files: &[Arc<Table>], is_worn: bool) -> usize {
    let Some((oldest, newer)) = files.split_first() else { return 0 };
    let newer: u64 = newer.iter().map(|table| table.summary().bytes).sum();
    if is_worn || (newer > 0 && newer >= oldest.summary().bytes / SHARE) {
        return files.len();
    }
    if files.len() >= FILES_MERGED { files.len() - 1 } else { 0 }
}

/// Whether so many events that are of no use are much in files of so many bytes.
pub(super) fn is_worn(dead: u64, bytes: u64) -> bool {
    dead > 0 && dead * EVENT_BYTES >= bytes / SHARE
}

/// What is new and then files, oldest first, as one.
pub(super) fn merged<'a, F: FnMut(&[u8], &[u8]) -> bool>(
    new: Pairs<'a>,
    files: &'a [Arc<Table>],
    keep: F,
) -> Merge<Pairs<'a>, F> {
    let files = files.iter().rev().map(|table| Box::new(table.scan()) as Pairs<'a>);
    merge(std::iter::once(new).chain(files), keep)
}

/// What can be read of a file from its beginning on: the rest is lost, where it is derived.
pub(super) fn intact(table: &Table) -> Pairs<'_> {
    Box::new(table.scan().take_while(Result::is_ok))
}

/// What is kept of histories: the newest head of each user and the chunks of its shape. Where all files become one, users
/// without behaviours are left out.
pub(super) fn newest(path: PathBuf, is_all: bool) -> impl FnMut(&[u8], &[u8]) -> bool {
    let mut head = None;
    move |key, value| match Key::decode(key, &path) {
        Ok(Key::Head { user }) => {
            head = decode_head(value, &path).ok().map(|head| (user, head));
            !is_all || head.as_ref().is_none_or(|(_, head)| head.len() > 0)
        }
        Ok(Key::Chunk { user, reshaped, .. }) => {
            head.as_ref().is_none_or(|(of, head)| *of != user || head.reshaped == reshaped)
        }
        // Nothing is lost by keeping it.
        Err(_) => true,
    }
}

/// The same entries, chunks that follow each other joined as long as they are small.
pub(super) fn join_chunks(
    mut pairs: impl Iterator<Item = Result<Pair, StorageError>>,
    path: PathBuf,
) -> impl Iterator<Item = Result<Pair, StorageError>> {
    let mut waiting: Option<Pair> = None;
    std::iter::from_fn(move || {
        loop {
            let next = match pairs.next() {
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(pair)) => pair,
                None => return waiting.take().map(Ok),
            };
            let Some((key, value)) = waiting.take() else {
                waiting = Some(next);
                continue;
            };
            match join(&key, &value, &next, &path) {
                Some(joined) => waiting = Some((key, joined)),
                None => {
                    waiting = Some(next);
                    return Some(Ok((key, value)));
                }
            }
        }
    })
}

/// Two entries as one, if they are chunks of which the second goes on where the first ends.
fn join(key: &[u8], value: &[u8], next: &Pair, path: &std::path::Path) -> Option<Vec<u8>> {
    let (Ok(Key::Chunk { user, reshaped, first }), Ok(behind)) =
        (Key::decode(key, path), Key::decode(&next.0, path))
    else {
        return None;
    };
    let (count, events) = value.split_first_chunk::<4>()?;
    let (more, more_events) = next.1.split_first_chunk::<4>()?;
    let (count, more) = (u32::from_le_bytes(*count), u32::from_le_bytes(*more));
    let goes_on = behind == Key::Chunk { user, reshaped, first: first + u64::from(count) };
    let is_small = events.len() + more_events.len() <= CHUNK_BYTES;
    (goes_on && is_small).then(|| joined(count + more, &[events, more_events].concat()))
}
