//! Stage `sort`: sorts each partition by list, splits lists that are too long, writes all vectors to the file of rows in
//! order of their lists, and moves every centroid to the mean of its vectors: one step of Lloyd's on all data.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use nearline_storage::{DiskFile, FileHeader};
use rayon::prelude::*;

use super::Stage;
use super::assign::load_tree;
use super::partition::{Keys, Reader, Set, Sorted, cut};
use super::plan::Plan;
use super::run::Build;
use super::state::State;
use crate::cluster::{Members, kmeans, mean_of};
use crate::error::Result;
use crate::manifest::FileRole;
use crate::random::Random;
use crate::rows::{RowLayout, RowWriter};
use crate::space::Space;

/// The log of the lists: for each the trained list it comes from (`u32`), its primaries (`u32`) and its centroid.
pub(crate) const LISTS: &str = "build.lists";
/// The file of rows, when the index will not keep it.
pub(crate) const ROWS: &str = "build.rows";
/// Lists that are prepared together.
const TOGETHER: usize = 256;
/// Iterations of a split.
const ITERATIONS: usize = 8;
const LANE_SPLIT: u64 = 5;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    let partitions = build.state.partitions.len();
    let mut sorter = Sorter::open(build)?;
    build.progress.stage(Stage::Sort, u64::from(sorter.state.partitions_sorted), partitions as u64);
    for partition in sorter.state.partitions_sorted as usize..partitions {
        sorter.sort_partition(build, partition)?;
        sorter.checkpoint(build, partition)?;
        build.progress.advance(1);
    }
    sorter.rows.finish()?;
    build.state = State { tail: Vec::new(), ..sorter.state };
    Ok(())
}

/// Bytes of one record of the log.
pub(crate) fn record_bytes(dim: usize) -> usize {
    8 + dim * 4
}

/// The name and the header of the file of rows.
pub(crate) fn rows_file(build: &Build<'_>) -> (String, FileHeader) {
    let name = if build.keeps_rows() { build.name(FileRole::Rows) } else { ROWS.to_owned() };
    (name, build.header(FileRole::Rows))
}

/// A list as it will be written.
struct Piece<'a> {
    trained: u32,
    centroid: Vec<f32>,
    rows: Cow<'a, [u8]>,
    vectors: Cow<'a, [u8]>,
}

struct Sorter {
    space: Space,
    rows: RowWriter,
    log: Arc<dyn DiskFile>,
    state: State,
}

impl Sorter {
    /// Opens the files, cut to what the last checkpoint knows.
    fn open(build: &mut Build<'_>) -> Result<Self> {
        build.note_temp_bytes()?;
        let (space, _) = load_tree(build)?;
        let disk = build.disk.as_ref();
        let (name, header) = rows_file(build);
        let state = build.state.clone();
        if state.slots == 0 {
            build.clear(&name)?;
        }
        if state.partitions_sorted == 0 {
            build.clear(LISTS)?;
        }
        let rows =
            RowWriter::open(disk, &name, header, RowLayout::new(build.shape), state.slots, &state.tail)?;
        let log = if state.partitions_sorted == 0 { disk.create(LISTS)? } else { disk.open_rw(LISTS)? };
        cut(log.as_ref(), u64::from(state.lists) * record_bytes(space.dim()) as u64)?;
        Ok(Self { space, rows, log, state })
    }

    fn sort_partition(&mut self, build: &Build<'_>, partition: usize) -> Result<()> {
        let written = self.state.partitions[partition];
        let set = Set { by: Keys::Lists, keys: self.state.trained_lists };
        let payload = build.shape.row_bytes();
        let reader = Reader::open(build.disk.as_ref(), &build.plan, payload, set, partition, written)?;
        for window in reader.windows()? {
            let sorted = reader.load(&window)?;
            let lists: Vec<usize> = (0..sorted.ranges.len()).collect();
            for lists in lists.chunks(TOGETHER) {
                build.check_cancelled()?;
                let pieces: Vec<Vec<Piece<'_>>> =
                    lists.par_iter().map(|&at| self.pieces(build, &sorted, at)).collect();
                let pieces: Vec<Piece<'_>> = pieces.into_iter().flatten().collect();
                self.write(&pieces)?;
            }
        }
        Ok(())
    }

    /// A list as it is, or split when it is too long; no list when it is empty.
    fn pieces<'s>(&self, build: &Build<'_>, sorted: &'s Sorted, at: usize) -> Vec<Piece<'s>> {
        let row_bytes = build.shape.row_bytes();
        let range = sorted.ranges[at].clone();
        let rows = &sorted.rows[range.start * 4..range.end * 4];
        let vectors = &sorted.payloads[range.start * row_bytes..range.end * row_bytes];
        let trained = sorted.first_key + at as u32;
        if range.is_empty() {
            return Vec::new();
        }
        if range.len() <= build.plan.list_cap {
            let points = self.embed(vectors);
            let mut centroid = vec![0.0; self.space.dim()];
            mean_of(points.chunks_exact(self.space.dim()), &mut centroid);
            return vec![Piece { trained, centroid, rows: rows.into(), vectors: vectors.into() }];
        }
        // A list longer than what is split at once holds nearly the same vectors over and over: cut it anywhere.
        let longest = split_entries(&build.plan);
        let parts = rows.chunks(longest * 4).zip(vectors.chunks(longest * row_bytes));
        parts.flat_map(|(rows, vectors)| self.split_list(build, trained, rows, vectors)).collect()
    }

    /// Splits entries of a list into pieces with centroids of their own.
    fn split_list(
        &self,
        build: &Build<'_>,
        trained: u32,
        rows: &[u8],
        vectors: &[u8],
    ) -> Vec<Piece<'static>> {
        let (dim, row_bytes) = (self.space.dim(), build.shape.row_bytes());
        let random = Random::new(build.options.seed, LANE_SPLIT + (u64::from(trained) << 8));
        let points = self.embed(vectors);
        let members: Vec<u32> = (0..(rows.len() / 4) as u32).collect();
        split(&points, dim, members, build.plan.list_cap, random)
            .into_iter()
            .map(|members| {
                let mut centroid = vec![0.0; dim];
                mean_of(members.iter().map(|&i| &points[i as usize * dim..][..dim]), &mut centroid);
                let rows: Vec<u8> = gather(rows, 4, &members);
                let vectors = gather(vectors, row_bytes, &members);
                Piece { trained, centroid, rows: rows.into(), vectors: vectors.into() }
            })
            .collect()
    }

    fn embed(&self, vectors: &[u8]) -> Vec<f32> {
        let (dim, row_bytes) = (self.space.dim(), self.space.shape.row_bytes());
        let mut points = vec![0.0; vectors.len() / row_bytes * dim];
        for (point, row) in points.chunks_exact_mut(dim).zip(vectors.chunks_exact(row_bytes)) {
            self.space.embed(row, point);
        }
        points
    }

    /// Appends lists to the file of rows and to the log.
    fn write(&mut self, pieces: &[Piece<'_>]) -> Result<()> {
        let mut out = Vec::with_capacity(pieces.len() * record_bytes(self.space.dim()));
        for piece in pieces {
            self.rows.push(&piece.rows, &piece.vectors)?;
            out.extend_from_slice(&piece.trained.to_le_bytes());
            out.extend_from_slice(&((piece.rows.len() / 4) as u32).to_le_bytes());
            out.extend_from_slice(bytemuck::cast_slice(&piece.centroid));
        }
        self.log.write_at(self.state.log.bytes, &out)?;
        self.state.log.add(&out);
        self.state.lists += pieces.len() as u32;
        Ok(())
    }

    /// Makes a partition's lists survive a crash; only then its file goes.
    fn checkpoint(&mut self, build: &Build<'_>, partition: usize) -> Result<()> {
        self.rows.sync()?;
        self.log.sync()?;
        build.disk.sync_dir()?;
        self.state.partitions_sorted = partition as u32 + 1;
        (self.state.slots, self.state.tail) = (self.rows.slots(), self.rows.tail());
        self.state.save(build.disk.as_ref())?;
        Ok(build.disk.remove(&Keys::Lists.name(partition))?)
    }
}

/// Entries that are split at once: so few that they fit the memory in the routing space, too. Each thread holds
/// them twice.
fn split_entries(plan: &Plan) -> usize {
    const TOGETHER: usize = 16;
    let fit = plan.window_bytes as usize / (TOGETHER * plan.routing_dim * 4);
    fit.max(2 * plan.list_cap)
}

/// Splits members into groups of at most `cap`, each near its own mean.
fn split(points: &[f32], dim: usize, members: Vec<u32>, cap: usize, random: Random) -> Vec<Vec<u32>> {
    if members.len() <= cap {
        return vec![members];
    }
    let own: Vec<f32> = members.iter().flat_map(|&i| &points[i as usize * dim..][..dim]).copied().collect();
    let k = (members.len() * 4).div_ceil(cap * 3).max(2);
    let clustering = kmeans(&own, dim, k, ITERATIONS, random);
    let groups = Members::new(&clustering.assignment, k);
    let mut out = Vec::new();
    for (number, range) in groups.ranges.iter().enumerate().filter(|(_, range)| !range.is_empty()) {
        let group: Vec<u32> = groups.points[range.clone()].iter().map(|&at| members[at as usize]).collect();
        if group.len() <= cap {
            out.push(group);
        } else if group.len() == members.len() {
            // The same vector over and over: any cut is as good as another.
            out.extend(group.chunks(cap).map(<[u32]>::to_vec));
        } else {
            out.extend(split(points, dim, group, cap, Random::new(random.at(number as u64), 0)));
        }
    }
    out
}

fn gather(items: &[u8], bytes: usize, members: &[u32]) -> Vec<u8> {
    members.iter().flat_map(|&i| &items[i as usize * bytes..][..bytes]).copied().collect()
}
