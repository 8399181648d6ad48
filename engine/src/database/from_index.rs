//! A collection made of an index that was built offline.
//!
//! The index's files become the collection's, by links: nothing of vectors and lists is copied. A vector's slot becomes
//! its row. Only ids and payloads are written, sorted by row and by id within a budget of memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearline_index::{Adoption, IndexError, RowId, SlotFile, SourceError, Widen};
use nearline_storage::{Disk, OsDisk, Pair, StorageError};
use roaring::RoaringBitmap;

use super::{Database, Inner, check_name, folder_name, store_id};
use crate::collection::Collection;
use crate::error::OpenError;
use crate::folder;
use crate::manifest::{Manifest, write_dead};
use crate::point_id::PointId;
use crate::record::{Stored, decode_document, encode_document, row_key, row_of};
use crate::schema::{Schema, VectorConfig};
use crate::segment::{SegmentInfo, SegmentWriter, decode_id_row, vectors_name};
use crate::sorter::{Sorted, Sorter};
use crate::value::Payload;
use crate::vector_index::{VectorIndexInfo, listed, prefix};

/// The share of the memory that each of a few sorts gets.
const SORT_SHARE: u64 = 16;
/// The numbers of the files.
const SEGMENT: u64 = 1;
const INDEX: u64 = 2;
const DEAD: u64 = 3;
/// Points between two calls of the progress.
const PROGRESS: u64 = 4096;

/// Ids and payloads, in the order of the vectors in the input of the build.
type Points<'a> = Box<dyn Iterator<Item = Result<(PointId, Payload), OpenError>> + 'a>;

/// An index that was built offline, to be made a collection by [`Database::create_from_index`].
#[must_use]
pub struct FromIndex<'a> {
    folder: PathBuf,
    vectors: String,
    points: Option<Points<'a>>,
    progress: Box<dyn FnMut(u64) + 'a>,
}

impl<'a> FromIndex<'a> {
    /// The index in a folder: points have its ids, one unnamed vector each, and no payload.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_owned();
        Self { folder, vectors: String::new(), points: None, progress: Box::new(|_| ()) }
    }

    /// What the vectors are called.
    pub fn vector_name(mut self, name: impl Into<String>) -> Self {
        self.vectors = name.into();
        self
    }

    /// The id and the payload of each point, in the order of the vectors in the input of the build. Of points with the same id
    /// the last one counts.
    pub fn points<E: Into<SourceError>>(
        mut self,
        points: impl Iterator<Item = Result<(PointId, Payload), E>> + 'a,
    ) -> Self {
        let failed = |error: E| OpenError::Source(Arc::from(error.into()));
        self.points = Some(Box::new(points.map(move |point| point.map_err(failed))));
        self
    }

    /// Is told now and then how many points were taken.
    pub fn progress(mut self, progress: impl FnMut(u64) + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }
}

impl std::fmt::Debug for FromIndex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromIndex").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Database {
    /// Makes a collection of an index that was built offline, which must have its vectors. Nothing of it is copied where the file
    /// system links files, and nothing changed: it can be searched as before, and removed.
    ///
    /// # Errors
    /// When the name is taken or cannot be one, the index is damaged, being built or without vectors, there are not as many points
    /// as vectors, or the disk fails.
    pub fn create_from_index(&self, name: &str, index: FromIndex<'_>) -> Result<Collection, OpenError> {
        check_name("collection", name)?;
        let inner = &self.inner;
        let mut catalog = super::locked(&inner.catalog);
        catalog.check_free(name)?;
        if !index.folder.is_dir() {
            return Err(OpenError::Missing { what: "index", name: index.folder.display().to_string() });
        }
        let disk = OsDisk::new(&index.folder, inner.options.io)?;
        let adoption = Adoption::new(Arc::new(disk), false)?;
        inner.add(&mut catalog, name, |number| inner.fill_from(number, &adoption, index))?;
        drop(catalog);
        self.collection(name)
    }
}

impl Inner {
    /// Fills the folder of a collection that the catalog does not name yet.
    pub(super) fn fill_from(
        &self,
        number: u64,
        adoption: &Adoption,
        index: FromIndex<'_>,
    ) -> Result<(), OpenError> {
        let folder = self.disk.root().join(folder_name(number));
        fs::create_dir(&folder).map_err(|error| StorageError::io(&folder, "make a folder", error))?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(&folder, self.options.io)?);
        let shape = adoption.shape();
        let config = VectorConfig::new(shape.dim, adoption.metric()).element(shape.element);
        let schema = Schema::new().vector(&*index.vectors, config);
        schema.check()?;
        let making =
            Making { disk, schema, store_id: store_id(number), adoption, from: index.folder.clone(), folder };
        making.write((self.options.memory_bytes / SORT_SHARE) as usize, index)?;
        Ok(self.disk.sync_dir()?)
    }
}

/// What a file of an index is called as one of the collection's.
pub(super) fn file_in_collection(adoption: &Adoption, name: &str) -> String {
    match adoption.slot_file() {
        Some(file) if file.name == name => vectors_name(SEGMENT, 0),
        _ => format!("{}{name}", prefix(INDEX, 0)),
    }
}

/// The key of the id in a key that goes on with the row.
fn id_of(key: &[u8]) -> &[u8] {
    key.split_at(key.len().saturating_sub(size_of::<u32>())).0
}

/// A collection that is being made.
struct Making<'a> {
    disk: Arc<dyn Disk>,
    schema: Schema,
    store_id: u64,
    adoption: &'a Adoption,
    from: PathBuf,
    folder: PathBuf,
}

impl Making<'_> {
    fn write(&self, budget: usize, index: FromIndex<'_>) -> Result<(), OpenError> {
        let points = match index.points {
            Some(points) => points,
            None => self.own_points()?,
        };
        let (documents, ids) = self.sort(budget, points, index.progress)?;
        let dead = self.dead(&ids)?;
        let segment = self.segment(&documents, &ids, &dead)?;
        let indexes = self.lists()?;
        if !dead.is_empty() {
            write_dead(self.disk.as_ref(), self.store_id, DEAD, &dead)?;
        }
        let names = self.disk.list()?;
        for run in names.iter().filter(|name| name.starts_with("sort.")) {
            self.disk.remove(run)?;
        }
        self.disk.sync_dir()?;
        let rows = self.adoption.rows();
        let manifest = Manifest {
            store_id: self.store_id,
            schema: self.schema.clone(),
            next_number: DEAD + 1,
            next_row: RowId(rows as u32),
            flushed_lsn: 0,
            live: rows - dead.len(),
            dead: (!dead.is_empty()).then_some(DEAD),
            segments: vec![segment],
            fields: Vec::new(),
            questions: Vec::new(),
            indexes,
        };
        Ok(manifest.write(self.disk.as_ref())?)
    }

    /// The points of an index nobody says more about.
    fn own_points(&self) -> Result<Points<'_>, OpenError> {
        let point = |id: u64| (PointId::from(id), Payload::new());
        Ok(match self.adoption.ids()? {
            Some(ids) => Box::new(ids.map(move |id| Ok(point(id?)))),
            None => Box::new((0..self.adoption.rows()).map(move |row| Ok(point(row)))),
        })
    }

    /// Sorts documents by row, and rows by id and the order of the input.
    fn sort(
        &self,
        budget: usize,
        mut points: Points<'_>,
        mut progress: Box<dyn FnMut(u64) + '_>,
    ) -> Result<(Sorted, Sorted), OpenError> {
        let sorter = |name| Sorter::new(&self.disk, name, budget);
        let mut slots = sorter("sort.slots");
        self.adoption.for_each_slot(|slot, row| {
            Ok::<_, OpenError>(slots.push(row_key(row).to_vec(), row_key(slot).to_vec())?)
        })?;
        let (mut documents, mut ids) = (sorter("sort.points"), sorter("sort.ids"));
        let (slots, mut taken) = (slots.finish()?, 0);
        for pair in slots.pairs() {
            let (row, slot) = pair?;
            let Some(point) = points.next() else { break };
            let (id, payload) = point?;
            payload.check().map_err(|error| self.wrong(format!("point {id}: {error}"), "a payload"))?;
            ids.push([&id.key()[..], &row].concat(), slot.clone())?;
            documents.push(slot, encode_document(id, &payload))?;
            taken += 1;
            if taken % PROGRESS == 0 {
                progress(taken);
            }
        }
        let rows = self.adoption.rows();
        if taken < rows || points.next().is_some() {
            let found =
                if taken < rows { format!("{taken} points") } else { format!("more than {rows} points") };
            return Err(self.wrong(found, format!("as many as there are vectors: {rows}")));
        }
        progress(taken);
        Ok((documents.finish()?, ids.finish()?))
    }

    fn wrong(&self, found: String, expected: impl Into<String>) -> OpenError {
        let name = format!("the points of {}", self.from.display());
        IndexError::BadInput { name, found, expected: expected.into() }.into()
    }

    /// The rows of points that come again later.
    fn dead(&self, ids: &Sorted) -> Result<RoaringBitmap, OpenError> {
        let (mut dead, mut before) = (RoaringBitmap::new(), None::<(Vec<u8>, RowId)>);
        for pair in ids.pairs() {
            let (key, slot) = pair?;
            let id = id_of(&key).to_vec();
            if let Some((_, row)) = before.take_if(|(last, _)| *last == id) {
                dead.insert(row.0);
            }
            before = Some((id, row_of(&slot, &self.folder)?));
        }
        Ok(dead)
    }

    /// Writes the segment of all points that are not dead.
    fn segment(
        &self,
        documents: &Sorted,
        ids: &Sorted,
        dead: &RoaringBitmap,
    ) -> Result<SegmentInfo, OpenError> {
        let disk = self.disk.as_ref();
        let mut writer = SegmentWriter::create(disk, self.store_id, &self.schema, SEGMENT, Vec::new())?;
        let mut documents = documents.pairs();
        let mut push = |slot: RowId, vector: Option<&[u8]>| -> Result<(), OpenError> {
            let Some((_, document)) = documents.next().transpose()? else { return Ok(()) };
            if dead.contains(slot.0) {
                return Ok(());
            }
            let (id, payload) = decode_document(&document, &self.folder)?;
            writer.push(&Stored { row: slot, id, vectors: vec![vector.map(Into::into)], payload })
        };
        let (rows, slot_file) = (self.adoption.rows(), self.adoption.slot_file());
        match &slot_file {
            Some(_) => (0..rows as u32).try_for_each(|slot| push(RowId(slot), None))?,
            None => self.adoption.for_each_vector(|slot, vector| push(slot, Some(vector)))?,
        }
        let row = |pair: Result<Pair, StorageError>| {
            let (key, slot) = pair?;
            decode_id_row(id_of(&key), &slot, &self.folder)
        };
        let is_live =
            |pair: &Result<(PointId, RowId), _>| pair.as_ref().map_or(true, |(_, row)| !dead.contains(row.0));
        let mut info = writer.finish(ids.pairs().map(row).filter(is_live))?;
        if let Some(SlotFile { name, file_id, bytes }) = slot_file {
            self.link(&name)?;
            (info.first, info.last) = (RowId(0), RowId(rows as u32 - 1));
            (info.vectors[0], info.by_slot) = (rows, Some(file_id));
            info.bytes += bytes;
        }
        Ok(info)
    }

    /// Takes the lists over, if they are of any use without the vectors in them.
    fn lists(&self) -> Result<Vec<VectorIndexInfo>, OpenError> {
        if self.adoption.slot_file().is_none() {
            return Ok(Vec::new());
        }
        for name in self.adoption.list_files() {
            self.link(name)?;
        }
        self.adoption.publish(&crate::vector_index::part(&self.disk, INDEX, 0))?;
        let rows = self.adoption.rows();
        let info = VectorIndexInfo {
            number: INDEX,
            at: 0,
            rows,
            last: RowId(rows as u32 - 1),
            built_rows: rows,
            measured_rows: rows,
            widen: Widen::NONE,
            built_widen: Widen::NONE,
            bytes: 0,
            names: Vec::new(),
        };
        Ok(vec![listed(&self.disk, info)?])
    }

    fn link(&self, name: &str) -> Result<(), OpenError> {
        let to = self.folder.join(file_in_collection(self.adoption, name));
        Ok(folder::link(&self.from.join(name), &to)?)
    }
}
