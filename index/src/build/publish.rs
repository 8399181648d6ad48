//! Stage `publish`: the last files, and the manifest that makes them an index.

use nearline_storage::{BlobWriter, Checksum, ExtentFileWriter, PAGE, StorageError};

use super::Stage;
use super::encode::PLACES;
use super::partition::Written;
use super::run::{Build, is_temporary};
use super::sort::{LISTS, record_bytes};
use super::state::STATE;
use crate::directory::{self, PLACE_BYTES, Place};
use crate::error::Result;
use crate::manifest::{FileRole, ListedFile, MANIFEST, Manifest};

/// Writes the posting directory from the log of places.
pub(crate) fn write_directory(build: &Build<'_>) -> Result<()> {
    let mut writer = create(build, FileRole::Directory)?;
    let mut blob = BlobWriter::new(&mut writer, directory::EXTENT_KIND);
    let mut end = PAGE as u64;
    let log = Log { name: PLACES, record: PLACE_BYTES, written: build.state.places };
    log.for_each(build, |record| {
        let mut bytes = [0; PLACE_BYTES];
        bytes.copy_from_slice(record);
        let place = Place::decode(bytes);
        // What would not open must not be published.
        check_place(build, place.offset, end)?;
        end = place.range().end();
        Ok(blob.write(&bytes)?)
    })?;
    check_place(build, end, build.state.postings_bytes)?;
    blob.finish()?;
    Ok(writer.sync()?)
}

/// Refuses a list that does not lie where the one before ends.
fn check_place(build: &Build<'_>, found: u64, expected: u64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let path = build.disk.root().join(PLACES);
    Err(StorageError::corrupt(&path, 0, "place of a posting list", found, expected).into())
}

/// Creates a file of the new generation, replacing what an interrupted build left.
pub(crate) fn create(build: &Build<'_>, role: FileRole) -> Result<ExtentFileWriter> {
    let name = build.name(role);
    build.clear(&name)?;
    Ok(ExtentFileWriter::create(build.disk.as_ref(), &name, build.header(role))?)
}

/// The first list of each node, now that lists were split or found empty. Nodes without lists are left out.
pub(crate) fn final_starts(build: &Build<'_>, trained: &[u32]) -> Result<Vec<u32>> {
    let mut starts = vec![0];
    let (mut node, mut list) = (0, 0);
    let lists = trained.last().copied().unwrap_or(0);
    for_each_list(build, |from, _, _| {
        if from >= lists {
            let path = build.disk.root().join(LISTS);
            let offset = u64::from(list) * record_bytes(build.plan.routing_dim) as u64;
            let (found, expected) = (from.into(), u64::from(lists) - 1);
            return Err(StorageError::corrupt(&path, offset, "trained list", found, expected).into());
        }
        while trained[node + 1] <= from {
            node += 1;
            starts.push(list);
        }
        list += 1;
        Ok(())
    })?;
    starts.push(list);
    starts.dedup();
    Ok(starts)
}

/// Streams the log of lists: the trained list each comes from, its primaries, its centroid.
pub(crate) fn for_each_list(
    build: &Build<'_>,
    mut each: impl FnMut(u32, u32, &[f32]) -> Result<()>,
) -> Result<()> {
    let record = record_bytes(build.plan.routing_dim);
    let mut centroid = vec![0.0f32; build.plan.routing_dim];
    Log { name: LISTS, record, written: build.state.log }.for_each(build, |bytes| {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        bytemuck::cast_slice_mut(&mut centroid).copy_from_slice(&bytes[8..]);
        each(word(0), word(4), &centroid)
    })
}

/// A temporary file of records of one length.
struct Log {
    name: &'static str,
    record: usize,
    written: Written,
}

impl Log {
    /// Streams the records.
    fn for_each(&self, build: &Build<'_>, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let file = build.disk.open(self.name)?;
        let chunk = ((1 << 20) / self.record).max(1) * self.record;
        let mut buffer = vec![0; chunk];
        let (mut at, mut checksum) = (0, Checksum::default());
        while at < self.written.bytes {
            let bytes = &mut buffer[..chunk.min((self.written.bytes - at) as usize)];
            file.read_at(at, bytes)?;
            checksum = checksum.update(bytes);
            bytes.chunks_exact(self.record).try_for_each(&mut each)?;
            at += bytes.len() as u64;
        }
        self.written.check(checksum, file.path())
    }
}

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    build.progress.stage(Stage::Publish, 0, 1);
    let manifest = manifest(build)?;
    build.disk.sync_dir()?;
    manifest.publish(build.disk.as_ref())?;
    // From here on the new index is the index; what follows only tidies up.
    for name in build.disk.list()? {
        let listed = manifest.files.iter().any(|file| file.name == name);
        let ours = is_temporary(&name) || FileRole::is_name(&name);
        if ours && !listed && name != MANIFEST && name != STATE {
            build.disk.remove(&name)?;
        }
    }
    // The state goes last: without it nobody would know that there is still something to tidy up.
    build.disk.sync_dir()?;
    build.disk.remove(STATE)?;
    build.disk.sync_dir()?;
    report(build, &manifest)?;
    build.progress.advance(1);
    Ok(())
}

fn manifest(build: &Build<'_>) -> Result<Manifest> {
    let state = &build.state;
    let mut files = Vec::new();
    for role in FileRole::ALL {
        let left_out = match role {
            FileRole::Ids => build.options.ids.is_none(),
            FileRole::Rows => !build.keeps_rows(),
            _ => false,
        };
        if left_out {
            continue;
        }
        let name = build.name(role);
        let bytes = build.disk.open(&name)?.len()?;
        files.push(ListedFile { role, name, file_id: build.header(role).file_id, bytes });
    }
    Ok(Manifest {
        generation: state.generation,
        shape: build.shape,
        metric: build.options.metric,
        codec: build.plan.codec,
        by_slot: false,
        replicas: build.plan.replicas as u32,
        seed: build.options.seed,
        rows: build.plan.rows,
        lists: u64::from(state.lists),
        nodes: u64::from(state.nodes),
        entries: state.entries,
        list_entries_max: state.list_entries_max,
        list_bytes_max: state.list_bytes_max,
        list_entries_weighted: state.squares as f64 / state.entries as f64,
        norm_max: state.norm_max,
        files,
    })
}

fn report(build: &mut Build<'_>, manifest: &Manifest) -> Result<()> {
    let own = build.disk.open(MANIFEST)?.len()?;
    let report = &mut build.report;
    report.lists = manifest.lists;
    report.entries = manifest.entries;
    report.list_entries_weighted = manifest.list_entries_weighted;
    report.disk_bytes = own + manifest.files.iter().map(|file| file.bytes).sum::<u64>();
    report.temp_bytes = build.state.temp_bytes;
    Ok(())
}
