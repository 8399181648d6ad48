//! Answering queries: one at a time, or several with their waits overlapped.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use nearline_storage::{BatchReader, Completed};

use super::context::{Context, RowsAt};
use super::job::{Course, Job, POSTINGS, ROWS, Scratch, micros, tag};
use super::open::{Inner, RowFile};
use super::options::{Answer, Cost, Filter, Hit, Probe, Rerank, SearchOptions};
use super::rerank::name;
use super::scan::aligned;
use crate::calibration::Residency;
use crate::error::{IndexError, Result};
use crate::live::{Live, RowFiles, Widen};
use crate::metric::{Metric, Scorer};
use crate::posting::Codec;
use crate::rows::RowPage;
use crate::topk::{Candidate, TopK};
use crate::vector::RowId;

/// Searches an index. Make one for each thread and keep it: it owns its buffers.
pub struct Searcher {
    index: Arc<Inner>,
    reader: Box<dyn BatchReader>,
    outside: Option<Outside>,
    jobs: Vec<Job>,
    scratch: Scratch,
}

/// Files of rows that are not the index's own, and their reader.
struct Outside {
    files: Arc<RowFiles>,
    reader: Box<dyn BatchReader>,
}

/// What is asked of all queries of a call.
#[derive(Clone, Copy)]
struct Ask<'a> {
    queries: &'a [&'a [u8]],
    options: &'a SearchOptions,
    filter: Option<Filter<'a>>,
    live: Option<&'a Live>,
    overlap: usize,
}

impl std::fmt::Debug for Searcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Searcher").finish_non_exhaustive()
    }
}

impl Searcher {
    pub(super) fn new(index: Arc<Inner>) -> Self {
        let reader = index.batch.reader(index.window);
        Self { index, reader, outside: None, jobs: vec![Job::default()], scratch: Scratch::default() }
    }

    /// Finds the nearest vectors to `query`, a row of the index's type and length, little-endian.
    ///
    /// # Errors
    /// When the query or an option does not fit, or a list cannot be read. The searcher can be used again.
    pub fn search(&mut self, query: &[u8], options: &SearchOptions) -> Result<Answer> {
        let mut found = None;
        self.search_many(&[query], options, 1, &mut |_, answer| found = Some(answer))?;
        found.ok_or_else(|| IndexError::input("query", "no answer", "one for each query"))
    }

    /// Searches for many queries, `overlap` of them at the same time, so that one computes while others wait for the
    /// disk. `keep` gets each query's number and answer, in no order. The answers are those of [`Searcher::search`].
    ///
    /// # Errors
    /// As [`Searcher::search`]; before the first query is searched for if one of them does not fit.
    pub fn search_many(
        &mut self,
        queries: &[&[u8]],
        options: &SearchOptions,
        overlap: usize,
        keep: &mut dyn FnMut(usize, Answer),
    ) -> Result<()> {
        self.run(&Ask { queries, options, filter: None, live: None, overlap }, keep)
    }

    /// The nearest vectors to `query` among those that `filter` allows: as many as are wanted, if there are so many, unless the
    /// number of lists is given or a budget is spent.
    ///
    /// # Errors
    /// As [`Searcher::search`], and when only signs of the lists are held: what row an entry has is not known then.
    pub fn search_where(
        &mut self,
        query: &[u8],
        options: &SearchOptions,
        filter: Filter<'_>,
    ) -> Result<Answer> {
        self.run_one(&Ask { queries: &[query], options, filter: Some(filter), live: None, overlap: 1 })
    }

    /// As [`Searcher::search_where`], with what was added to the lists since the index was written, and with vectors that
    /// it does not keep itself.
    ///
    /// # Errors
    /// As [`Searcher::search_where`].
    pub fn search_live(
        &mut self,
        query: &[u8],
        options: &SearchOptions,
        filter: Filter<'_>,
        live: &Live,
    ) -> Result<Answer> {
        if self.outside.as_ref().is_none_or(|outside| !Arc::ptr_eq(&outside.files, &live.rows)) {
            let reader = live.rows.reader(self.index.window);
            self.outside = Some(Outside { files: Arc::clone(&live.rows), reader });
        }
        self.run_one(&Ask { queries: &[query], options, filter: Some(filter), live: Some(live), overlap: 1 })
    }

    /// Whether it has no files of rows open but these.
    pub fn is_over(&self, rows: &Arc<RowFiles>) -> bool {
        self.outside.as_ref().is_none_or(|outside| Arc::ptr_eq(&outside.files, rows))
    }

    fn run_one(&mut self, ask: &Ask<'_>) -> Result<Answer> {
        if self.index.held.residency == Residency::Signs {
            return Err(IndexError::option("residency for a filter", "signs", "lists or codes"));
        }
        let mut found = None;
        self.run(ask, &mut |_, answer| found = Some(answer))?;
        found.ok_or_else(|| IndexError::input("query", "no answer", "one for each query"))
    }

    fn run(&mut self, ask: &Ask<'_>, keep: &mut dyn FnMut(usize, Answer)) -> Result<()> {
        let Ask { queries, options, filter, live, .. } = *ask;
        options.check(self.index.info.rows + live.map_or(0, |live| live.delta.rows()))?;
        queries.iter().try_for_each(|query| self.check(query))?;
        self.reset()?;
        let done = match self.index.rows.is_some() && self.wants_all(options) {
            true => self.search_rows(queries, options, filter, keep),
            false => self.search_lists(ask, keep),
        };
        if done.is_err() {
            self.jobs.iter_mut().for_each(|job| job.number = None);
            // What went wrong first is told. If this fails as well, the next search tries again.
            let _ = self.reset();
        }
        done
    }

    /// Forgets the reads that a search that failed has left behind.
    fn reset(&mut self) -> Result<()> {
        if self.reader.in_flight() > 0 {
            self.reader.reset()?;
        }
        if let Some(outside) = self.outside.as_mut().filter(|outside| outside.reader.in_flight() > 0) {
            outside.reader.reset()?;
        }
        Ok(())
    }

    /// Whether every vector is to be compared: if it is asked for, or if nothing less is known to reach the recall.
    fn wants_all(&self, options: &SearchOptions) -> bool {
        let calibration = &self.index.info.calibration;
        let is_known = |target| calibration.setting(self.index.held.residency, options.k, target).is_some();
        match options.probe {
            Probe::TargetRecall(1.0) => true,
            Probe::TargetRecall(target) => options.rerank != Rerank::Never && !is_known(target),
            probe => probe == Probe::All,
        }
    }

    fn check(&self, query: &[u8]) -> Result<()> {
        let shape = self.index.space.shape;
        if query.len() != shape.row_bytes() {
            let expected = format!("{} ({} x {})", shape.row_bytes(), shape.element, shape.dim);
            return Err(IndexError::input("query", format!("{} bytes", query.len()), expected));
        }
        shape.check_rows(query, 0, self.index.info.metric != Metric::Cosine, "query")
    }

    fn search_lists(&mut self, ask: &Ask<'_>, keep: &mut dyn FnMut(usize, Answer)) -> Result<()> {
        let Ask { queries, options, filter, live, overlap } = *ask;
        let index = Arc::clone(&self.index);
        let rows = match (live, &index.rows) {
            (Some(live), _) if index.info.codec != Codec::Raw => RowsAt::Outside(&live.rows),
            (None, Some(rows)) => RowsAt::Own(rows),
            _ => RowsAt::Nowhere,
        };
        let delta = live.map(|live| &*live.delta);
        let widen = live.map_or(Widen::NONE, |live| live.widen);
        let cx = Context { index: &index, filter, rows, delta, widen };
        let course = Course::new(&cx, options);
        let width = overlap.clamp(1, queries.len().max(1));
        self.jobs.resize_with(width.max(self.jobs.len()), Job::default);
        let (mut next, mut open) = (0, 0);
        loop {
            for job in &mut self.jobs[..width] {
                if job.number.is_none() && next < queries.len() {
                    job.start(next, &index, queries[next], course, &mut self.scratch);
                    job.cost.enters = self.reader.counters().enters;
                    (next, open) = (next + 1, open + 1);
                }
            }
            if open == 0 {
                return Ok(());
            }
            let mut finished = 0;
            for slot in 0..width {
                if let Some((number, answer)) = self.advance(slot, &cx)? {
                    keep(number, answer);
                    finished += 1;
                }
            }
            open -= finished;
            if finished == 0 {
                self.wait()?;
            }
        }
    }

    /// Goes on with a job as far as it is possible without waiting; its answer, if that is to the end.
    fn advance(&mut self, slot: usize, cx: &Context<'_>) -> Result<Option<(usize, Answer)>> {
        let (index, scratch) = (cx.index, &mut self.scratch);
        let job = &mut self.jobs[slot];
        let (Some(number), Some(started)) = (job.number, job.started) else { return Ok(None) };
        let is_new = !job.reranking;
        if is_new && !job.advance_lists(cx, &mut *self.reader, slot, scratch)? {
            return Ok(None);
        }
        let has_none = is_new && job.start_rerank(cx);
        let reader = match (&mut self.outside, cx.rows) {
            (Some(outside), RowsAt::Outside(_)) => &mut *outside.reader,
            _ => &mut *self.reader,
        };
        if !has_none && !job.advance_rows(cx, reader, slot, scratch)? {
            return Ok(None);
        }
        let hits = job.hits(cx, scratch)?;
        job.number = None;
        job.cost.enters = self.reader.counters().enters - job.cost.enters;
        job.cost.total_us = micros(started);
        let (cost, cut) = (job.cost, job.cut);
        let (residency, estimated_recall) = (index.held.residency, job.estimated_recall);
        Ok(Some((number, Answer { hits, cost, residency, cut, estimated_recall })))
    }

    /// Waits for a read, and takes in whatever else has come by then.
    fn wait(&mut self) -> Result<()> {
        let Self { reader, outside, jobs, scratch, .. } = self;
        let mut deliver = |read: Completed<'_>| {
            let mut bytes = scratch.buffers.pop().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(read.bytes);
            let (slot, at) = ((read.tag >> 32) as usize, read.tag as u32 as usize);
            if let Some(job) = jobs.get_mut(slot) {
                job.deliver(at, bytes);
            }
        };
        let readers = [Some(reader), outside.as_mut().map(|outside| &mut outside.reader)];
        let mut has_waited = false;
        for reader in readers.into_iter().flatten().filter(|reader| reader.in_flight() > 0) {
            if !has_waited && let Some(read) = reader.wait()? {
                deliver(read);
                has_waited = true;
            }
            while let Some(read) = reader.poll()? {
                deliver(read);
            }
        }
        Ok(())
    }

    /// Compares every query with all rows, as they lie in their file.
    fn search_rows(
        &mut self,
        queries: &[&[u8]],
        options: &SearchOptions,
        filter: Option<Filter<'_>>,
        keep: &mut dyn FnMut(usize, Answer),
    ) -> Result<()> {
        for (number, query) in queries.iter().enumerate() {
            let started = Instant::now();
            let mut cost = Cost::default();
            let (found, cut) = self.scan_rows(query, options, filter, &mut cost)?;
            let hit = |near: Candidate| Hit { id: 0, row: near.row, distance: near.distance, exact: true };
            let mut hits: Vec<Hit> = found.into_iter().map(hit).collect();
            name(&mut hits, &self.index, &mut self.scratch.page)?;
            cost.lists = self.index.info.lists;
            cost.total_us = micros(started);
            let residency = self.index.held.residency;
            keep(number, Answer { hits, cost, residency, cut, estimated_recall: None });
        }
        Ok(())
    }

    /// The nearest rows, and whether a budget cut the search short.
    fn scan_rows(
        &mut self,
        query: &[u8],
        options: &SearchOptions,
        filter: Option<Filter<'_>>,
        cost: &mut Cost,
    ) -> Result<(Vec<Candidate>, bool)> {
        let Some(RowFile { file, layout, .. }) = &self.index.rows else { return Ok((Vec::new(), false)) };
        let started = Instant::now();
        let is_over = |bytes: u64| {
            options.max_bytes_read.is_some_and(|most| bytes > most)
                || options.max_us.is_some_and(|most| started.elapsed().as_micros() > most.into())
        };
        let total = self.index.info.rows;
        let scorer = Scorer::new(self.index.info.metric, layout.shape, query);
        let mut best = TopK::default();
        best.reset(options.k, 1);
        let before = self.reader.counters();
        let (mut next, mut bytes, mut cut, mut distances) = (0u64, 0, false, Vec::new());
        loop {
            while next < total && !cut {
                let (range, _) = layout.place(next as u32, total);
                if !self.reader.has_room(range) {
                    break;
                }
                bytes += range.bytes as u64;
                if is_over(bytes) {
                    cut = true;
                    break;
                }
                self.reader.submit(tag(0, next as usize), ROWS, range)?;
                next += layout.rows as u64;
            }
            let Some(read) = self.reader.wait()? else { break };
            let (range, _) = layout.place(read.tag as u32, total);
            let key = file.key(range.offset);
            let page = RowPage::decode(read.bytes, key, file.file().path(), *layout, total)?;
            distances.resize(page.len(), 0.0);
            scorer.distances(aligned(page.vectors(), &mut self.scratch.copy), &mut distances);
            for (row, &distance) in page.rows().as_chunks().0.iter().zip(&distances) {
                let row = RowId(u32::from_le_bytes(*row));
                if filter.is_none_or(|filter| (filter.allows)(row)) {
                    best.push(Candidate { distance, row });
                }
            }
            cost.reranked += page.len() as u64;
        }
        let after = self.reader.counters();
        cost.reads = after.reads - before.reads;
        cost.bytes = after.bytes - before.bytes;
        cost.enters = after.enters - before.enters;
        Ok((best.take(), cut))
    }
}

// The reader's files are numbered in the order in which they were opened.
const _: () = assert!(POSTINGS == 0 && ROWS == 1);
