//! Stage `encode`: sorts each partition by list, splits lists that are too long, and writes the posting lists.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use nearline_storage::{DiskFile, ExtentFileWriter, ExtentKey};
use rayon::prelude::*;

use super::Stage;
use super::assign::load_tree;
use super::partition::{Keys, Reader, Set, Sorted, cut};
use super::plan::Plan;
use super::run::Build;
use super::state::State;
use crate::cluster::{Members, kmeans, mean_of};
use crate::directory::{PLACE_BYTES, Place};
use crate::error::Result;
use crate::manifest::FileRole;
use crate::panels::Panels;
use crate::posting;
use crate::random::Random;
use crate::space::Space;

/// The log of the lists written: for each the trained list it comes from (`u32`), its place and its centroid.
pub(crate) const LISTS: &str = "build.lists";
/// Iterations of a split.
const ITERATIONS: usize = 8;
const LANE_SPLIT: u64 = 5;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    let partitions = build.state.partitions.len();
    let mut encoder = Encoder::open(build)?;
    build.progress.stage(Stage::Encode, u64::from(encoder.state.partitions_encoded), partitions as u64);
    for partition in encoder.state.partitions_encoded as usize..partitions {
        encoder.encode_partition(build, partition)?;
        encoder.checkpoint(build, partition)?;
        build.progress.advance(1);
    }
    build.state = encoder.state;
    super::publish::write_centroids(build)?;
    super::publish::write_directory(build)
}

/// Bytes of one record of the log.
pub(crate) fn record_bytes(dim: usize) -> usize {
    4 + PLACE_BYTES + dim * 4
}

/// A list as it will be written.
struct Piece<'a> {
    trained: u32,
    centroid: Vec<f32>,
    rows: Cow<'a, [u8]>,
    vectors: Cow<'a, [u8]>,
}

struct Encoder {
    space: Space,
    trained: Panels,
    postings: ExtentFileWriter,
    log: Arc<dyn DiskFile>,
    state: State,
}

impl Encoder {
    /// Opens the files, cut to what the last checkpoint knows.
    fn open(build: &mut Build<'_>) -> Result<Self> {
        build.note_temp_bytes()?;
        let (space, tree) = load_tree(build)?;
        let disk = build.disk.as_ref();
        let (name, header) = (build.name(FileRole::Postings), build.header(FileRole::Postings));
        let state = build.state.clone();
        if state.partitions_encoded == 0 {
            build.clear(&name)?;
            build.clear(LISTS)?;
            let postings = ExtentFileWriter::create(disk, &name, header)?;
            return Ok(Self { space, trained: tree.lists, postings, log: disk.create(LISTS)?, state });
        }
        let postings = ExtentFileWriter::resume(disk, &name, header, state.postings_bytes)?;
        let log = disk.open_rw(LISTS)?;
        cut(log.as_ref(), u64::from(state.lists) * record_bytes(space.dim()) as u64)?;
        Ok(Self { space, trained: tree.lists, postings, log, state })
    }

    fn encode_partition(&mut self, build: &Build<'_>, partition: usize) -> Result<()> {
        let (disk, plan) = (build.disk.as_ref(), &build.plan);
        let written = self.state.partitions[partition];
        let set = Set { by: Keys::Lists, keys: self.state.trained_lists };
        let reader = Reader::open(disk, plan, build.shape, set, partition, written)?;
        let longest = posting::extent_bytes(build.options.codec, build.shape, plan.list_cap);
        let batch = (plan.window_bytes as usize / 8 / longest).clamp(1, 256);
        for window in reader.windows()? {
            let sorted = reader.load(&window)?;
            let lists: Vec<usize> = (0..sorted.ranges.len()).collect();
            for lists in lists.chunks(batch) {
                build.check_cancelled()?;
                let pieces: Vec<Vec<Piece<'_>>> =
                    lists.par_iter().map(|&at| self.pieces(build, &sorted, at)).collect();
                let pieces: Vec<Piece<'_>> = pieces.into_iter().flatten().collect();
                self.write(&pieces, build.shape.row_bytes())?;
            }
        }
        Ok(())
    }

    /// A list as it is, or split when it is too long; no list when it is empty.
    fn pieces<'s>(&self, build: &Build<'_>, sorted: &'s Sorted, at: usize) -> Vec<Piece<'s>> {
        let row_bytes = build.shape.row_bytes();
        let range = sorted.ranges[at].clone();
        let rows = &sorted.rows[range.start * 4..range.end * 4];
        let vectors = &sorted.vectors[range.start * row_bytes..range.end * row_bytes];
        let trained = sorted.first_key + at as u32;
        if range.is_empty() {
            return Vec::new();
        }
        if range.len() <= build.plan.list_cap {
            let mut centroid = vec![0.0; self.space.dim()];
            self.trained.row(trained as usize, &mut centroid);
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
        let mut points = vec![0.0; rows.len() / 4 * dim];
        for (point, row) in points.chunks_exact_mut(dim).zip(vectors.chunks_exact(row_bytes)) {
            self.space.embed(row, point);
        }
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

    /// Appends lists to the file of postings and to the log.
    fn write(&mut self, pieces: &[Piece<'_>], row_bytes: usize) -> Result<()> {
        let first = self.state.lists;
        let mut key = self.postings.next_key();
        let mut places = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let entries = piece.rows.len() / 4;
            let bytes = nearline_storage::extent_bytes(&[entries * 4, entries * row_bytes]) as u32;
            places.push(Place { offset: key.offset, bytes, entries: entries as u32 });
            key.offset += u64::from(bytes);
        }
        let encoded: Vec<Vec<u8>> = pieces
            .par_iter()
            .zip(&places)
            .enumerate()
            .map(|(i, (piece, place))| {
                let mut out = Vec::with_capacity(place.bytes as usize);
                let key = ExtentKey { file_id: key.file_id, offset: place.offset };
                posting::encode(first + i as u32, &piece.rows, &piece.vectors, key, &mut out);
                out
            })
            .collect();
        for bytes in &encoded {
            self.postings.append_raw(bytes)?;
        }
        self.log_lists(pieces, &places)
    }

    fn log_lists(&mut self, pieces: &[Piece<'_>], places: &[Place]) -> Result<()> {
        let record = record_bytes(self.space.dim());
        let mut out = Vec::with_capacity(pieces.len() * record);
        for (piece, place) in pieces.iter().zip(places) {
            out.extend_from_slice(&piece.trained.to_le_bytes());
            out.extend_from_slice(&place.encode());
            out.extend_from_slice(bytemuck::cast_slice(&piece.centroid));
            let state = &mut self.state;
            state.entries += u64::from(place.entries);
            state.squares += u64::from(place.entries) * u64::from(place.entries);
            state.list_entries_max = state.list_entries_max.max(place.entries);
            state.list_bytes_max = state.list_bytes_max.max(place.bytes);
        }
        self.log.write_at(self.state.log.bytes, &out)?;
        self.state.log.add(&out);
        self.state.lists += pieces.len() as u32;
        Ok(())
    }

    /// Makes a partition's lists survive a crash; only then its file goes.
    fn checkpoint(&mut self, build: &Build<'_>, partition: usize) -> Result<()> {
        self.postings.sync()?;
        self.log.sync()?;
        build.disk.sync_dir()?;
        self.state.partitions_encoded = partition as u32 + 1;
        self.state.postings_bytes = self.postings.position();
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
