//! One query under way: which lists it wants, which have come, what was found so far.
//!
//! Lists are scored in order of their distance, whatever the order in which they come from the disk, so that the same
//! query always gets the same answer.

use std::collections::HashSet;
use std::time::Instant;

use nearline_storage::{BatchReader, ReadRange};

use super::block::Block;
use super::context::Context;
use super::open::Inner;
use super::options::{Cost, Probe, Rerank, SearchOptions};
use super::pool::{Candidate, Pool};
use super::rerank::RowReads;
use super::residency::HeldList;
use super::scan::{self, Admit, ScanScratch};
use super::stop::Planes;
use crate::calibration::Residency;
use crate::error::Result;
use crate::metric::Scorer;
use crate::posting::{Body, Codec, Posting};
use crate::quantize::CodedQuery;
use crate::router::{Near, RouteScratch};
use crate::space::norm2;

/// Number of the file of postings, and of rows, among those of a searcher's reader.
pub(super) const POSTINGS: usize = 0;
pub(super) const ROWS: usize = 1;
/// Lists scored between two looks at the estimated recall.
pub(crate) const STOP_STEP: usize = 4;
/// Wanted neighbours for which these steps grow by one more.
const STOP_K: usize = 256;
/// The share of the vectors below which the settings, made for all of them, do not say when to stop.
const FEW_SHARE: f32 = 0.75;
/// There, how much nearer to 1 the estimated recall has to be than for all of them, the more the fewer are allowed.
const SURER: f32 = 0.5;
/// And how many times as many lists may be looked at as would hold as many of them if they lay evenly: the estimate says
/// when to stop.
const FARTHER: f32 = 4.0;
/// Then it is looked at after one more for so many lists: there may be thousands.
const FEW_STEP: usize = 32;
/// Candidates kept when nothing was calibrated: so many times k, and so many more where only signs are known.
const DEPTH: usize = 4;
const SIGNS_DEPTH: usize = 60;
/// Lists a query has in flight ahead of the one it waits for, at least; and out of all it probes.
const AHEAD_MIN: usize = 4;
const AHEAD_SHARE: f32 = 6.0;
/// Out of those scored so far.
const AHEAD_GROWTH: usize = 4;

/// What a query is going to do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Course {
    pub(super) k: usize,
    nprobe: usize,
    stop: f32,
    breadth: usize,
    depth: usize,
    /// Half-widths of the estimates' intervals that are taken for certain; 0: nothing is reranked.
    pub(super) rerank: f32,
    pub(super) exact: bool,
    /// Whether a recall is wanted, not a number of lists.
    is_target: bool,
    /// Whether few vectors are allowed.
    is_few: bool,
    /// Lists submitted ahead of the one that is scored next.
    ahead: usize,
    /// Whether lists come from the disk.
    waits: bool,
    max_bytes: u64,
    max_us: u64,
}

/// Lists in flight ahead of the one that is scored at first, if `lists` are probed on average.
pub(crate) fn ahead_at_first(lists: f32) -> usize {
    AHEAD_MIN.max((lists / AHEAD_SHARE).ceil() as usize)
}

/// The same after so many lists: a query that needs many shall not wait for them a few at a time.
pub(crate) fn ahead(at_first: usize, scored: usize) -> usize {
    at_first.max(scored / AHEAD_GROWTH)
}

impl Course {
    pub(super) fn new(cx: &Context<'_>, options: &SearchOptions) -> Self {
        let index = cx.index;
        let (info, residency) = (&index.info, index.held.residency);
        let (lists, nodes) = (info.lists as usize, info.nodes as usize);
        let mut course = Self {
            k: options.k,
            nprobe: lists,
            stop: f32::INFINITY,
            breadth: nodes,
            depth: options.k.saturating_mul(DEPTH)
                + if residency == Residency::Signs { SIGNS_DEPTH } else { 0 },
            rerank: 1.0,
            exact: options.rerank == Rerank::Exact,
            is_target: matches!(options.probe, Probe::TargetRecall(_)),
            is_few: false,
            ahead: lists,
            waits: residency == Residency::Lists,
            max_bytes: options.max_bytes_read.unwrap_or(u64::MAX),
            max_us: options.max_us.unwrap_or(u64::MAX),
        };
        match options.probe {
            Probe::All => {}
            Probe::Lists(n) => {
                course.nprobe = n.min(lists);
                course.breadth = info.calibration.breadth(n).map_or(nodes, |breadth| breadth as usize);
            }
            Probe::TargetRecall(target) => {
                if let Some(setting) = info.calibration.setting(residency, options.k, target) {
                    course.nprobe = setting.nprobe as usize;
                    course.stop = setting.stop;
                    course.breadth = setting.breadth as usize;
                    course.depth = setting.depth as usize;
                    course.rerank = setting.rerank;
                    course.ahead = setting.ahead as usize;
                }
            }
        }
        if let Probe::TargetRecall(target) = options.probe {
            course.widen(index, cx.widen.of(target));
        }
        if let Some(filter) = cx.filter {
            course.see_share(index, options, filter.share());
        }
        course.finish(cx, options)
    }

    /// Looks at so many times as many lists as were needed when the index was calibrated, and misses as much less by the
    /// estimate of recall.
    fn widen(&mut self, index: &Inner, factor: f32) {
        if factor <= 1.0 {
            return;
        }
        self.nprobe = ((self.nprobe as f32 * factor).ceil() as usize).min(index.info.lists as usize);
        let breadth = index.info.calibration.breadth(self.nprobe).map_or(index.info.nodes, u64::from);
        self.breadth = self.breadth.max(breadth as usize);
        if self.stop <= 1.0 {
            self.stop = 1.0 - (1.0 - self.stop) / factor;
        }
    }

    /// Looks farther where only a share of the vectors may be answered: the lists that hold as many of them. If few are,
    /// they may lie unevenly: then more, and as few of those as the estimate of recall says.
    fn see_share(&mut self, index: &Inner, options: &SearchOptions, share: f32) {
        let Probe::TargetRecall(target) = options.probe else { return };
        self.is_few = share < FEW_SHARE;
        let farther = if self.is_few { FARTHER } else { 1.0 };
        let scale = |count: usize, most: usize| ((count as f32 * farther / share).ceil() as usize).min(most);
        self.nprobe = scale(self.nprobe, index.info.lists as usize);
        self.breadth = scale(self.breadth, index.info.nodes as usize);
        if self.is_few {
            let surer = (1.0 - self.stop) * SURER * (1.0 - share).powi(2);
            self.stop = if self.stop > 1.0 { target } else { self.stop + surer };
        }
    }

    /// Lists to score before it is looked at again whether they suffice, after so many.
    fn step(&self, scored: usize) -> usize {
        // Of many candidates, the k-th takes longer to find than a few lists take to score.
        STOP_STEP * (1 + self.k / STOP_K) + if self.is_few { scored / FEW_STEP } else { 0 }
    }

    fn finish(mut self, cx: &Context<'_>, options: &SearchOptions) -> Self {
        let index = cx.index;
        if self.exact {
            self.rerank = self.rerank.max(1.0);
        }
        if !cx.rows.are_there() || options.rerank == Rerank::Never {
            self.rerank = 0.0;
        }
        // What was not read back from the file of rows could not even be named.
        if index.held.residency == Residency::Signs {
            self.rerank = self.rerank.max(0.1);
        }
        if index.held.residency != Residency::Lists {
            self.ahead = STOP_STEP;
        }
        // Without a second look there is no use for more than are wanted.
        let depth = if self.rerank == 0.0 { self.k } else { self.depth.max(self.k) };
        self.depth = depth.min(cx.vectors() as usize);
        self
    }
}

/// A list that has come but is not next in line yet.
#[derive(Debug)]
struct Arrived {
    at: usize,
    block: Block,
}

/// Memory shared by the jobs of a searcher.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) route: RouteScratch,
    pub(super) scan: ScanScratch,
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) copy: Vec<u32>,
    pub(super) page: Vec<u8>,
    between: Vec<f32>,
}

/// A query under way.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// The number of the query in its batch, while there is one.
    pub(super) number: Option<usize>,
    pub(super) course: Course,
    pub(super) scorer: Option<Scorer>,
    /// The norm of the query, for inner products.
    pub(super) norm: f64,
    point: Vec<f32>,
    coded: CodedQuery,
    pub(super) probes: Vec<Near>,
    planes: Planes,
    pool: Pool,
    /// Lists that are asked for: read, or found to be held.
    submitted: usize,
    scored: usize,
    /// When so many are, it is looked whether they suffice.
    look_at: usize,
    /// Lists that will be scored.
    end: usize,
    arrived: Vec<Arrived>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) row_reads: RowReads,
    /// Whether the lists are behind it and rows are being read.
    pub(super) reranking: bool,
    pub(super) cost: Cost,
    pub(super) cut: bool,
    pub(super) estimated_recall: Option<f32>,
    pub(super) started: Option<Instant>,
}

impl Job {
    /// Starts a query: chooses its lists.
    pub(super) fn start(
        &mut self,
        number: usize,
        index: &Inner,
        query: &[u8],
        course: Course,
        scratch: &mut Scratch,
    ) {
        let started = Instant::now();
        self.number = Some(number);
        self.started = Some(started);
        self.course = course;
        (self.cost, self.cut, self.estimated_recall) = (Cost::default(), false, None);
        (self.submitted, self.scored, self.reranking) = (0, 0, false);
        self.look_at = course.step(0);
        self.arrived.clear();
        self.pool.reset(course.depth);
        self.scorer = (course.rerank > 0.0 || index.info.codec == Codec::Raw)
            .then(|| Scorer::new(index.info.metric, index.space.shape, query));
        self.point.resize(index.space.dim(), 0.0);
        index.space.shape.widen(query, &mut self.point);
        self.norm = norm2(&self.point[..index.space.shape.dim]).sqrt();
        index.space.embed_query(query, &mut self.point);
        if let Some(shape) = index.layout.code() {
            self.coded.set(shape, &self.point);
        }
        let near = index.router.route(&self.point, course.breadth, course.nprobe, &mut scratch.route);
        self.probes.clear();
        self.probes.extend_from_slice(near);
        self.end = self.probes.len();
        self.see_planes(index, scratch);
        self.cost.route_us = micros(started);
    }

    /// Finds the planes between the nearest list and the others, if probing may stop early.
    fn see_planes(&mut self, index: &Inner, scratch: &mut Scratch) {
        self.planes.clear();
        let Some(nearest) = self.probes.first().filter(|_| self.course.stop <= 1.0) else { return };
        index.router.between(nearest.at, &self.probes, &mut scratch.route, &mut scratch.between);
        for (list, &between) in self.probes.iter().zip(&scratch.between) {
            self.planes.push(list.distance, nearest.distance, between);
        }
    }

    /// Goes on with the lists as far as it is possible without waiting. Says whether all are scored.
    pub(super) fn advance_lists(
        &mut self,
        cx: &Context<'_>,
        reader: &mut dyn BatchReader,
        slot: usize,
        scratch: &mut Scratch,
    ) -> Result<bool> {
        loop {
            let before = self.scored;
            self.score_ready(cx, scratch)?;
            if self.scored == self.end && !self.look_farther(cx, scratch) {
                self.cost.lists = self.scored as u64;
                return Ok(true);
            }
            let submitted = self.submitted;
            self.submit(cx.index, reader, slot)?;
            if self.scored == before && self.submitted == submitted {
                return Ok(false);
            }
        }
    }

    /// Goes on to all other lists, if a filter has left too few. Says whether there are any.
    fn look_farther(&mut self, cx: &Context<'_>, scratch: &mut Scratch) -> bool {
        let index = cx.index;
        let (lists, nodes) = (index.info.lists as usize, index.info.nodes as usize);
        let has_enough = self.pool.len() >= self.course.k || self.scored == lists;
        if cx.filter.is_none() || !self.course.is_target || self.cut || has_enough {
            return false;
        }
        let scored: HashSet<u32> = self.probes[..self.scored].iter().map(|near| near.at).collect();
        let all = index.router.route(&self.point, nodes, lists, &mut scratch.route);
        self.probes.truncate(self.scored);
        self.probes.extend(all.iter().filter(|near| !scored.contains(&near.at)));
        (self.course.nprobe, self.course.stop) = (lists, f32::INFINITY);
        self.submitted = self.scored;
        self.arrived.clear();
        self.end = self.probes.len();
        self.scored < self.end
    }

    /// Scores the lists that are next in line and at hand.
    fn score_ready(&mut self, cx: &Context<'_>, scratch: &mut Scratch) -> Result<()> {
        let index = cx.index;
        if self.scored == self.submitted {
            return Ok(());
        }
        let start = Instant::now();
        while self.scored < self.submitted.min(self.end) {
            let near = self.probes[self.scored];
            let place = index.directory.place(near.at);
            if index.held.has(near.at) {
                if let Some(next) = self.probes.get(self.scored + 1) {
                    index.held.prefetch(next.at, index.directory.place(next.at));
                }
                if let Some(list) = index.held.posting(near.at, place) {
                    self.cost.lists_held += 1;
                    self.score(cx, &list, near.distance, scratch);
                }
            } else {
                let Some(found) = self.arrived.iter().position(|read| read.at == self.scored) else { break };
                let read = self.arrived.swap_remove(found);
                let postings = &index.postings;
                let (key, path) = (postings.key(place.offset), postings.file().path());
                let posting = Posting::decode(&read.block, key, path, near.at, index.layout)?;
                place.check(place.range(), &posting, path)?;
                self.score(cx, &HeldList { posting, all_bits: true }, near.distance, scratch);
                read.block.keep(index.cache.as_ref(), postings, place.offset);
                read.block.recycle(&mut scratch.buffers);
            }
            if let Some(added) = cx.delta.and_then(|delta| delta.list(near.at)) {
                let list = HeldList { posting: added.posting(index.layout), all_bits: true };
                self.score(cx, &list, near.distance, scratch);
            }
            self.scored += 1;
            self.consider_stopping(index);
        }
        self.cost.scan_us += micros(start);
        Ok(())
    }

    fn score(&mut self, cx: &Context<'_>, list: &HeldList<'_>, squared: f32, scratch: &mut Scratch) {
        self.pool.enter(self.scored);
        self.cost.entries += list.posting.entries as u64;
        match (list.posting.body, &self.scorer) {
            (Body::Coded(codes), _) => {
                let to = (&mut scratch.scan, &mut self.pool, &mut self.cost);
                let admit = Admit { filter: cx.filter, by_row: !cx.rows.have_slots() };
                scan::coded(&self.coded, list, &codes, squared, admit, to);
            }
            (Body::Raw { vectors, .. }, Some(scorer)) => {
                scan::raw(scorer, &list.posting, vectors, cx.filter, &mut scratch.scan, &mut self.pool);
            }
            (Body::Raw { .. }, None) => {}
        }
    }

    /// Ends with what is in flight when the estimated recall is high enough.
    fn consider_stopping(&mut self, index: &Inner) {
        let in_flight = self.scored - 1 + self.ahead();
        let due = self.scored >= self.look_at && in_flight < self.end;
        if self.course.stop > 1.0 || !due {
            return;
        }
        self.look_at = self.scored + self.course.step(self.scored);
        let kth = self.pool.kth(self.course.k);
        let (radius, k, pool) = (self.radius(index, kth), self.course.k, &self.pool);
        let recall = if self.course.is_few {
            let since = |list| pool.found_since(list, kth);
            self.planes.recall_of_some(&index.caps, self.scored, radius, (k, since))
        } else {
            self.planes.recall(&index.caps, self.scored, self.probes.len(), radius)
        };
        if recall >= self.course.stop {
            // Whether they are in flight already or not: what is answered must not depend on the disk.
            self.end = in_flight;
            self.estimated_recall = Some(recall);
        }
    }

    /// How far the k-th candidate is in the routing space, if its distance is `kth`.
    fn radius(&self, index: &Inner, kth: f32) -> f32 {
        let squared = match index.info.codec {
            Codec::Raw => index.space.routing_distance(kth, self.norm),
            Codec::Rabitq { .. } => kth,
        };
        squared.max(0.0).sqrt()
    }

    /// Lists that are in flight ahead of the one that is scored next. With lists in RAM there is nothing to wait for.
    fn ahead(&self) -> usize {
        if self.course.waits { ahead(self.course.ahead, self.scored) } else { self.course.ahead }
    }

    /// Asks for lists, so many ahead of the one that is scored next.
    fn submit(&mut self, index: &Inner, reader: &mut dyn BatchReader, slot: usize) -> Result<()> {
        let until = self.end.min(self.scored + self.ahead());
        while self.submitted < until {
            let list = self.probes[self.submitted].at;
            if !index.held.has(list) {
                let range = index.directory.place(list).range();
                if let Some(block) = Block::find(index.cache.as_ref(), &index.postings, range.offset) {
                    self.cost.cached += 1;
                    self.arrived.push(Arrived { at: self.submitted, block });
                    self.submitted += 1;
                    continue;
                }
                if self.is_over_budget(range) {
                    (self.cut, self.end) = (true, self.submitted);
                    return Ok(());
                }
                if !reader.has_room(range) {
                    return Ok(());
                }
                reader.submit(tag(slot, self.submitted), POSTINGS, range)?;
                self.count(range);
            }
            self.submitted += 1;
        }
        Ok(())
    }

    /// Whether a read would take more than the query may.
    pub(super) fn is_over_budget(&self, range: ReadRange) -> bool {
        let late = self.course.max_us != u64::MAX
            && self.started.is_some_and(|started| started.elapsed().as_micros() as u64 > self.course.max_us);
        late || self.cost.bytes + range.bytes as u64 > self.course.max_bytes
    }

    pub(super) fn count(&mut self, range: ReadRange) {
        self.cost.reads += 1;
        self.cost.bytes += range.bytes as u64;
    }

    /// Takes in a read that is done.
    pub(super) fn deliver(&mut self, at: usize, bytes: Vec<u8>) {
        if self.reranking {
            self.row_reads.deliver(at, bytes);
        } else {
            self.arrived.push(Arrived { at, block: Block::Read(bytes) });
        }
    }

    /// Hands over the candidates, nearest first.
    pub(super) fn take_candidates(&mut self) {
        self.pool.take(&mut self.candidates);
    }
}

/// A read's tag: the job's place and the read's number in it.
pub(super) fn tag(slot: usize, at: usize) -> u64 {
    (slot as u64) << 32 | at as u64
}

pub(super) fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
