//! Many sorted sources as one: for compaction, and for reading through all generations at once.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::error::Result;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Goes through sorted `sources`, the newest first, as one. Of equal keys the newest source's entry counts, and of
/// those only what `keep`, given key and value, wants.
///
/// Sources are ascending by key, as [`crate::Table::scan`] is. Memory: one entry of each.
pub fn merge<I, F>(sources: impl IntoIterator<Item = I>, keep: F) -> Merge<I, F>
where
    I: Iterator<Item = Result<Pair>>,
    F: FnMut(&[u8], &[u8]) -> bool,
{
    let sources: Vec<I> = sources.into_iter().collect();
    let behind = (0..sources.len()).collect();
    Merge { sources, heads: BinaryHeap::new(), behind, keep, done: false }
}

/// The iterator of [`merge`]. After an error it ends.
#[derive(Debug)]
pub struct Merge<I, F> {
    sources: Vec<I>,
    /// The next entry of each source that has one; the smallest key on top, of equal ones the newest.
    heads: BinaryHeap<Reverse<Head>>,
    /// Sources whose next entry has yet to be fetched.
    behind: Vec<usize>,
    keep: F,
    done: bool,
}

#[derive(Debug)]
struct Head {
    pair: Pair,
    source: usize,
}

impl<I, F> Merge<I, F>
where
    I: Iterator<Item = Result<Pair>>,
    F: FnMut(&[u8], &[u8]) -> bool,
{
    fn step(&mut self) -> Result<Option<Pair>> {
        loop {
            self.catch_up()?;
            let Some(Reverse(Head { pair, source })) = self.heads.pop() else { return Ok(None) };
            self.behind.push(source);
            while self.heads.peek().is_some_and(|Reverse(older)| older.pair.0 == pair.0) {
                self.behind.extend(self.heads.pop().map(|Reverse(older)| older.source));
            }
            if (self.keep)(&pair.0, &pair.1) {
                return Ok(Some(pair));
            }
        }
    }

    fn catch_up(&mut self) -> Result<()> {
        while let Some(source) = self.behind.pop() {
            if let Some(pair) = self.sources[source].next().transpose()? {
                self.heads.push(Reverse(Head { pair, source }));
            }
        }
        Ok(())
    }
}

impl<I, F> Iterator for Merge<I, F>
where
    I: Iterator<Item = Result<Pair>>,
    F: FnMut(&[u8], &[u8]) -> bool,
{
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.step();
        self.done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl Head {
    fn order(&self) -> (&[u8], usize) {
        (&self.pair.0, self.source)
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Head {}
