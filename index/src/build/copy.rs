//! Stage `copy`: writes the router, then finds for every vector the other lists where a copy of it helps.

use nearline_storage::ExtentFile;
use rayon::prelude::*;

use super::Stage;
use super::assign::{breadth, embed_rows, load_tree};
use super::partition::{Keys, Set, Writers};
use super::publish::{create, final_starts, for_each_list};
use super::run::Build;
use super::sort::rows_file;
use crate::assign::{Assigner, Copy};
use crate::centroids;
use crate::error::Result;
use crate::manifest::FileRole;
use crate::panels::Panels;
use crate::router::Router;
use crate::rows::{RowLayout, RowPage};
use crate::space::Space;
use crate::tree::Tree;

/// A copy whose squared distance to its list is more than so many times that to the vector's own list says too little of
/// the vector, and makes the bounds of the whole list wider.
pub(crate) const RATIO_MAX: f32 = 4.0;
/// Blocks between two checkpoints. Work, not time: so the same build goes through the same steps on any machine.
const CHECKPOINT_BLOCKS: usize = 16;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    if build.state.slots_copied == 0 {
        write_centroids(build)?;
    }
    let mut state = build.state.clone();
    let lists = state.lists;
    build.progress.stage(Stage::Copy, state.slots_copied, build.plan.rows);
    let set = Set { by: Keys::Copies, keys: lists };
    let mut writers = Writers::open(build.disk.as_ref(), &build.plan, set, &state.copies)?;
    if build.plan.replicas > 1 && lists > 1 {
        copy_all(build, &mut state, &mut writers)?;
    }
    state.copies = writers.sync()?;
    build.state = state;
    build.note_temp_bytes()
}

/// Writes the file of centroids from the log of lists.
fn write_centroids(build: &mut Build<'_>) -> Result<()> {
    let (space, trained) = load_tree(build)?;
    let starts = final_starts(build, &trained.starts)?;
    drop(trained);
    build.state.nodes = starts.len() as u32 - 1;
    let mut lists = Panels::with_capacity(space.dim(), build.state.lists as usize);
    for_each_list(build, |_, _, centroid| {
        lists.push(centroid);
        Ok(())
    })?;
    let router = Router::of(Tree::new(lists, starts));
    let mut writer = create(build, FileRole::Centroids)?;
    centroids::write(&mut writer, &space.mean, &router)?;
    Ok(writer.sync()?)
}

/// The routing space and the router of the index that is built.
pub(crate) fn open_router(build: &Build<'_>) -> Result<(Space, Router)> {
    let mut space = build.space();
    let name = build.name(FileRole::Centroids);
    let file = ExtentFile::open(build.disk.as_ref(), &name, FileRole::Centroids.kind())?;
    let (nodes, lists) = (build.state.nodes as usize, build.state.lists as usize);
    let (mean, router) = centroids::read(&file, space.dim(), nodes, lists)?;
    space.mean = mean;
    Ok((space, router))
}

/// All centroids as the router knows them, row-major.
pub(crate) fn decode_centroids(router: &Router) -> Vec<f32> {
    let dim = router.nodes.dim();
    let (mut rows, mut node) = (vec![0.0; router.lists() * dim], vec![0.0; dim]);
    for (list, row) in rows.chunks_exact_mut(dim).enumerate() {
        router.centroid(list as u32, &mut node, row);
    }
    rows
}

/// Streams the rows from where the last checkpoint was and writes their copies.
fn copy_all(build: &Build<'_>, state: &mut super::state::State, writers: &mut Writers) -> Result<()> {
    let (space, router) = open_router(build)?;
    let centroids = decode_centroids(&router);
    let Router { starts, .. } = router;
    let tree = Tree::new(Panels::from_rows(space.dim(), &centroids), starts);
    let assigner = Assigner::new(&tree, breadth(tree.nodes.rows()));
    let (most, rule) = (build.plan.replicas - 1, build.options.copy_rule);
    let mut owners = Owners::new(build)?;
    let (mut points, mut blocks) = (Vec::new(), 0);
    let row_bytes = build.shape.row_bytes();
    for_each_slot(build, state.slots_copied, |first, rows, vectors| {
        embed_rows(&space, vectors, &mut points);
        let own: Vec<u32> = (first..).take(rows.len() / 4).map(|slot| owners.list_of(slot)).collect();
        let mut parts = Vec::new();
        let mut rest = points.as_slice();
        for own in own.chunk_by(|a, b| a == b) {
            let (now, later) = rest.split_at(own.len() * space.dim());
            parts.push((own[0], now));
            rest = later;
        }
        let chosen: Vec<Vec<Copy>> = parts
            .par_iter()
            .flat_map_iter(|(own, points)| assigner.copies(points, *own, most, rule))
            .collect();
        let entries = (first..).zip(rows.as_chunks().0).zip(vectors.chunks_exact(row_bytes)).zip(&chosen);
        for (((slot, row), vector), copies) in entries {
            for copy in copies.iter().filter(|copy| copy.ratio <= RATIO_MAX) {
                let (slot, ratio) = ((slot as u32).to_le_bytes(), copy.ratio.to_le_bytes());
                writers.push(copy.list, u32::from_le_bytes(*row), &[&slot, &ratio, vector])?;
            }
        }
        state.slots_copied = first + chosen.len() as u64;
        build.progress.advance(chosen.len() as u64);
        blocks += 1;
        if blocks % CHECKPOINT_BLOCKS == 0 {
            state.copies = writers.sync()?;
            build.disk.sync_dir()?;
            state.save(build.disk.as_ref())?;
        }
        Ok(())
    })
}

/// The list of each slot, for slots in ascending order.
struct Owners {
    /// The slot behind the last primary of each list.
    ends: Vec<u64>,
    list: usize,
}

impl Owners {
    fn new(build: &Build<'_>) -> Result<Self> {
        let (mut ends, mut end) = (Vec::with_capacity(build.state.lists as usize), 0);
        for_each_list(build, |_, primaries, _| {
            end += u64::from(primaries);
            ends.push(end);
            Ok(())
        })?;
        Ok(Self { ends, list: 0 })
    }

    fn list_of(&mut self, slot: u64) -> u32 {
        while self.ends[self.list] <= slot {
            self.list += 1;
        }
        self.list as u32
    }
}

/// Streams the file of rows from a slot on: the first slot, row numbers, vectors of each block.
pub(crate) fn for_each_slot(
    build: &Build<'_>,
    from: u64,
    mut each: impl FnMut(u64, &[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let reader = RowReader::open(build)?;
    let (mut rows, mut vectors, mut slot) = (Vec::new(), Vec::new(), from);
    while slot < build.plan.rows {
        build.check_cancelled()?;
        let end = (slot + build.plan.block_rows as u64).min(build.plan.rows);
        reader.read(slot, end, &mut rows, &mut vectors)?;
        each(slot, &rows, &vectors)?;
        slot = end;
    }
    Ok(())
}

/// Reads runs of rows out of the file of rows.
pub(crate) struct RowReader {
    file: ExtentFile,
    layout: RowLayout,
    total: u64,
}

impl RowReader {
    pub(crate) fn open(build: &Build<'_>) -> Result<Self> {
        let (name, header) = rows_file(build);
        let file = ExtentFile::open(build.disk.as_ref(), &name, header.kind)?;
        Ok(Self { file, layout: RowLayout::new(build.shape), total: build.plan.rows })
    }

    /// Reads the rows of `from..to`: numbers and vectors, in place of what the buffers held.
    pub(crate) fn read(&self, from: u64, to: u64, rows: &mut Vec<u8>, vectors: &mut Vec<u8>) -> Result<()> {
        rows.clear();
        vectors.clear();
        let row_bytes = self.layout.shape.row_bytes();
        let (mut slot, mut bytes) = (from, Vec::new());
        while slot < to {
            // About a megabyte at a time.
            let extents = ((1 << 20) / self.layout.bytes).max(1) as u64;
            let last = (slot / self.layout.rows as u64 + extents) * self.layout.rows as u64 - 1;
            let last = last.min(to - 1);
            let start = self.layout.place(slot as u32, self.total).0.offset;
            let end = self.layout.place(last as u32, self.total).0.end();
            bytes.resize((end - start) as usize, 0);
            self.file.file().read_at(start, &mut bytes)?;
            while slot <= last {
                let (range, at) = self.layout.place(slot as u32, self.total);
                let extent = &bytes[(range.offset - start) as usize..][..range.bytes];
                let key = self.file.key(range.offset);
                let page = RowPage::decode(extent, key, self.file.file().path(), self.layout, self.total)?;
                let take = (page.len() - at).min((to - slot) as usize);
                rows.extend_from_slice(&page.rows()[at * 4..(at + take) * 4]);
                vectors.extend_from_slice(&page.vectors()[at * row_bytes..(at + take) * row_bytes]);
                slot += take as u64;
            }
        }
        Ok(())
    }
}
