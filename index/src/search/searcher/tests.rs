//! Counters against the places of the lists that were probed; readers that fail; memory for rows.

use std::sync::Arc;

use nearline_storage::{ReadCounters, ReadRange, SimDisk, StorageError};

use super::*;
use crate::build::{BuildOptions, Silent, build_on};
use crate::calibration::{CALIBRATED_TARGETS, Residency};
use crate::posting::Codec;
use crate::search::{Index, OpenOptions, Pin, Probe, ROWS_AHEAD, Rerank};
use crate::vector::VectorSlice;

/// An index of vectors of no pattern.
fn index_of(values: &[f32], dim: usize, chosen: &BuildOptions<'_>, opened: &OpenOptions) -> Index {
    let disk = Arc::new(SimDisk::new(1));
    let source = VectorSlice::from_f32(dim, values).unwrap();
    build_on(disk.clone(), &source, &BuildOptions { threads: 2, ..*chosen }, &Silent).unwrap();
    Index::open_on(disk, opened).unwrap()
}

fn values(count: u32) -> Vec<f32> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0).collect()
}

#[test]
fn a_cost_is_the_sum_over_the_lists_probed() {
    let values = values(6_000);
    for (codec, rerank) in [(Codec::Raw, true), (Codec::Rabitq { bits: 4 }, false)] {
        let (codec, list_vectors) = (Some(codec), Some(8));
        let chosen = BuildOptions { codec, rerank, list_vectors, ..BuildOptions::default() };
        check(&index_of(&values, 4, &chosen, &OpenOptions::default()), &values);
    }
}

fn check(index: &Index, values: &[f32]) {
    let mut searcher = index.searcher();
    let targets = CALIBRATED_TARGETS.map(Probe::TargetRecall);
    for probe in [Probe::Lists(1), Probe::Lists(13), Probe::All].into_iter().chain(targets) {
        for query in bytemuck::cast_slice::<f32, u8>(values).chunks_exact(16).step_by(100) {
            let asked = SearchOptions { k: 10, probe, rerank: Rerank::Never, ..SearchOptions::default() };
            let cost = searcher.search(query, &asked).unwrap().cost;
            let probes = &searcher.jobs[0].probes[..cost.lists as usize];
            let places: Vec<_> = probes.iter().map(|probe| index.inner.directory.place(probe.at)).collect();
            assert_eq!((cost.lists, cost.reads), (places.len() as u64, places.len() as u64));
            assert_eq!(cost.bytes, places.iter().map(|place| u64::from(place.bytes)).sum::<u64>());
            assert_eq!(cost.entries, places.iter().map(|place| u64::from(place.entries)).sum::<u64>());
            assert!(probes.windows(2).all(|two| two[0] < two[1]), "nearest first, each once");
        }
    }
}

/// A reader that fails to wait and to reset so many times.
struct Failing {
    inner: Box<dyn BatchReader>,
    waits: usize,
    resets: usize,
}

/// Fails as long as a count lasts.
fn fail(left: &mut usize, op: &'static str) -> Result<(), StorageError> {
    let Some(less) = left.checked_sub(1) else { return Ok(()) };
    *left = less;
    Err(StorageError::io("/disk".as_ref(), op, std::io::Error::other("broken")))
}

impl BatchReader for Failing {
    fn has_room(&self, range: ReadRange) -> bool {
        self.inner.has_room(range)
    }

    fn submit(&mut self, tag: u64, file: usize, range: ReadRange) -> Result<(), StorageError> {
        self.inner.submit(tag, file, range)
    }

    fn wait(&mut self) -> Result<Option<Completed<'_>>, StorageError> {
        fail(&mut self.waits, "wait")?;
        self.inner.wait()
    }

    fn poll(&mut self) -> Result<Option<Completed<'_>>, StorageError> {
        self.inner.poll()
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn reset(&mut self) -> Result<(), StorageError> {
        fail(&mut self.resets, "reset")?;
        self.inner.reset()
    }

    fn counters(&self) -> ReadCounters {
        self.inner.counters()
    }
}

#[test]
fn a_searcher_goes_on_after_a_reset_that_failed() {
    let values = values(2_400);
    let (codec, list_vectors) = (Some(Codec::Rabitq { bits: 4 }), Some(8));
    let chosen = BuildOptions { codec, list_vectors, ..BuildOptions::default() };
    let index = index_of(&values, 4, &chosen, &OpenOptions::default());
    let rows: Vec<&[u8]> = bytemuck::cast_slice::<f32, u8>(&values).chunks_exact(16).collect();
    for (probe, together) in [(Probe::Lists(20), 1), (Probe::Lists(20), 3), (Probe::All, 1)] {
        let asked = SearchOptions { probe, rerank: Rerank::Exact, ..SearchOptions::default() };
        let right: Vec<_> = {
            let mut searcher = index.searcher();
            rows[..4].iter().map(|query| searcher.search(query, &asked).unwrap().hits).collect()
        };
        for resets in 0..3 {
            let mut searcher = index.searcher();
            let inner = index.inner.disk.batch_reader(
                &[index.inner.postings.name(), index.inner.rows.as_ref().unwrap().file.name()],
                index.inner.window,
            );
            searcher.reader = Box::new(Failing { inner: inner.unwrap(), waits: 1, resets });
            let error = searcher.search_many(&rows[..4], &asked, together, &mut |_, _| {}).unwrap_err();
            assert!(error.to_string().contains("wait"), "not the first error: {error}");
            assert!(searcher.jobs.iter().all(|job| job.number.is_none()));
            // What still cannot be thrown away is an error as well; after that all is well again.
            for _ in 1..resets {
                let error = searcher.search(rows[0], &asked).unwrap_err();
                assert!(error.to_string().contains("reset"), "{error}");
            }
            for (query, right) in rows.iter().zip(&right) {
                assert_eq!(&searcher.search(query, &asked).unwrap().hits, right, "{probe:?}");
            }
        }
    }
}

#[test]
fn pages_of_rows_are_given_back_when_they_are_needed_no_more() {
    // One row a page, and no lists to read.
    let values = values(700 * 300);
    let (codec, list_vectors) = (Some(Codec::Rabitq { bits: 2 }), Some(40));
    let chosen = BuildOptions { codec, list_vectors, ..BuildOptions::default() };
    let pin = Pin::Residency(Residency::Codes);
    let index = index_of(&values, 700, &chosen, &OpenOptions { pin, ..OpenOptions::default() });
    let mut searcher = index.searcher();
    let asked =
        SearchOptions { k: 60, probe: Probe::Lists(9), rerank: Rerank::Exact, ..SearchOptions::default() };
    let query = bytemuck::cast_slice::<f32, u8>(&values[..700]);
    let cost = searcher.search(query, &asked).unwrap().cost;
    assert_eq!(cost.reads, cost.reranked);
    assert!(cost.reads > 3 * ROWS_AHEAD as u64, "{cost:?}");
    assert!(searcher.scratch.buffers.len() <= ROWS_AHEAD, "{} buffers", searcher.scratch.buffers.len());
}
