//! Field indexes of a collection: created and dropped while it is used.
//!
//! What is decided is in the manifest at once; files follow. Queries use the files that are there and ask payloads
//! elsewhere.

use std::sync::Arc;

use super::flush::remove_orphans;
use super::maintain::{Job, View, choose};
use super::{Collection, Files, Inner, Reader, locked};
use crate::error::WriteError;
use crate::field::{FIELD_INDEXES_MAX, FieldFile, FieldFileInfo, FieldIndexInfo, FieldType, FieldWriter};
use crate::filter::{Checked, Filter, FilterError, TextOptions};
use crate::manifest::Manifest;
use crate::path::FieldPath;
use crate::segment::Segment;

/// Points of a long job after which it looks whether something else is to be done.
const LOOK_UP: usize = 512;

/// A field index, and how far it is built.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldIndex {
    /// The path of its values.
    pub path: String,
    /// What values it finds.
    pub field_type: FieldType,
    /// Whether there are segments that have no file of it yet. Of their points payloads are asked, as of points in memory.
    pub building: bool,
    /// Points in segments that have a file of it.
    pub points: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Collection {
    /// Creates a field index, so that filters on the values at a path need not ask every payload. It returns when the
    /// decision is durable; the files are built in the background ([`Collection::wait_idle`]). What is there already
    /// stays. It waits for a flush or a merge that is at work.
    ///
    /// The path is that of the conditions: an index on `tags` serves conditions on `tags`, not on `tags[]`. Conditions
    /// inside of [`Condition::nested`](crate::Condition::nested) are narrowed by an index on the whole path. The options of a
    /// text index also say how texts of this field are taken apart, in payloads and conditions, from then on.
    ///
    /// ```
    /// use nearline::{Condition, Database, FieldType, Filter, Metric, Payload, Point, Schema};
    ///
    /// # let folder = std::env::temp_dir().join(format!("nearline-doc-fields-{}", std::process::id()));
    /// let database = Database::builder(&folder).open()?;
    /// let places = database.create_collection("places", Schema::single(2, Metric::L2))?;
    /// places.create_field_index("city", FieldType::Keyword)?;
    /// places.upsert([Point::new(1).payload(Payload::new().with("city", "Paris"))])?;
    /// places.wait_idle()?;
    /// assert_eq!(places.count(Some(&Filter::must([Condition::matches("city", "Paris")])))?, 1);
    /// assert!(!places.field_indexes()[0].building);
    /// assert!(places.drop_field_index("city")?);
    /// # drop((places, database));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError::FieldPath`] if it is no path, [`WriteError::FieldType`] if there is an index of another type on it,
    /// [`WriteError::FieldIndexes`] if there are [`FIELD_INDEXES_MAX`]; when the disk fails or is full.
    pub fn create_field_index(&self, path: &str, field_type: FieldType) -> Result<(), WriteError> {
        let path: FieldPath = path.parse()?;
        self.shared.inner.create_field(path, field_type)
    }

    /// Drops the field index on a path, and says whether there was one. Its files are removed.
    ///
    /// # Errors
    /// [`WriteError::FieldPath`] if it is no path; when the disk fails or is full.
    pub fn drop_field_index(&self, path: &str) -> Result<bool, WriteError> {
        let path: FieldPath = path.parse()?;
        self.shared.inner.drop_field(&path)
    }

    /// All field indexes, in the order in which they were created.
    pub fn field_indexes(&self) -> Vec<FieldIndex> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).field_indexes()
    }

    /// Builds the files of all field indexes anew from the payloads, for when [`Collection::verify`] or a query says that
    /// one of them is damaged. They are derived: nothing is lost. Queries ask payloads meanwhile.
    ///
    /// # Errors
    /// When the disk fails or is full, or payloads cannot be read.
    pub fn rebuild_field_indexes(&self) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        inner.forget_fields(|_| true, |_| {})?;
        inner.build_all_fields()
    }
}

impl Inner {
    fn create_field(&self, path: FieldPath, field_type: FieldType) -> Result<(), WriteError> {
        let mut files = locked(&self.files);
        let fields = &files.manifest.fields;
        if let Some(there) = fields.iter().find(|index| index.path == path) {
            let found = there.field_type;
            let wrong = || WriteError::FieldType { path: path.to_string(), found, wanted: field_type };
            return if found == field_type { Ok(()) } else { Err(wrong()) };
        }
        if fields.len() >= FIELD_INDEXES_MAX {
            return Err(WriteError::FieldIndexes { path: path.to_string(), max: FIELD_INDEXES_MAX });
        }
        let number = files.take_number();
        let mut next = files.manifest.clone();
        next.fields.push(FieldIndexInfo { number, path, field_type });
        self.tidying(&mut files, |files| self.adopt(files, next))?;
        let fields = Arc::new(files.manifest.fields.clone());
        self.change(|state| state.fields = fields);
        drop(files);
        self.wake();
        Ok(())
    }

    fn drop_field(&self, path: &FieldPath) -> Result<bool, WriteError> {
        let of_path = |index: &FieldIndexInfo| index.path == *path;
        self.forget_fields(of_path, |manifest| manifest.fields.retain(|index| !of_path(index)))
    }

    /// Removes the files of field indexes; `change` may do more to the manifest. Says whether there were such indexes.
    fn forget_fields(
        &self,
        which: impl Fn(&FieldIndexInfo) -> bool,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<bool, WriteError> {
        let mut files = locked(&self.files);
        let indexes: Vec<u64> =
            files.manifest.fields.iter().filter(|index| which(index)).map(|index| index.number).collect();
        if indexes.is_empty() {
            return Ok(false);
        }
        let mut next = files.manifest.clone();
        change(&mut next);
        for segment in &mut next.segments {
            segment.fields.retain(|file| !indexes.contains(&file.index));
        }
        let before = files.manifest.files();
        self.tidying(&mut files, |files| self.adopt(files, next))?;
        let fields = Arc::new(files.manifest.fields.clone());
        self.change(|state| {
            state.fields = fields;
            for segment in &mut state.segments {
                let less =
                    indexes.iter().fold((**segment).clone(), |segment, &index| segment.without_field(index));
                *segment = Arc::new(less);
            }
        });
        let after = files.manifest.files();
        let gone: Vec<String> = before.into_iter().filter(|name| !after.contains(name)).collect();
        self.remove(&mut files, &gone);
        Ok(true)
    }

    /// Builds all files that are missing.
    pub(super) fn build_all_fields(&self) -> Result<(), WriteError> {
        while let Some(segment) = self.view().unindexed {
            self.build_fields(segment)?;
        }
        Ok(())
    }

    /// Builds the files of field indexes that a segment lacks, in one pass over its payloads. Files may be flushed and
    /// merged meanwhile, and indexes dropped: what nobody needs at the end is removed.
    pub(super) fn build_fields(&self, at: usize) -> Result<(), WriteError> {
        let Some((segment, writers)) = self.begin_build(at) else { return Ok(()) };
        let numbers: Vec<u64> = writers.iter().map(FieldWriter::number).collect();
        let written = self.write_fields(&segment, writers);
        let mut files = locked(&self.files);
        files.building.retain(|number| !numbers.contains(number));
        // What is not adopted has no name now, and goes.
        self.tidying(&mut files, |files| {
            let Some(built) = written? else {
                self.tidy(files);
                return Ok(());
            };
            self.adopt_fields(files, segment.info.number, built)
        })
    }

    /// The segment at a place and writers of the files it lacks, which nobody takes for left over from now on.
    fn begin_build(&self, at: usize) -> Option<(Arc<Segment>, Vec<FieldWriter>)> {
        let mut files = locked(&self.files);
        let state = self.state();
        let segment = state.segments.get(at)?;
        let missing = state.missing_fields(segment);
        let writers = self.field_writers(&mut files, missing);
        files.building.extend(writers.iter().map(FieldWriter::number));
        (!writers.is_empty()).then(|| (Arc::clone(segment), writers))
    }

    /// Writes files; `None` if the collection is being closed.
    fn write_fields(
        &self,
        segment: &Segment,
        mut writers: Vec<FieldWriter>,
    ) -> Result<Option<Vec<FieldFileInfo>>, WriteError> {
        for (count, point) in segment.scan().enumerate() {
            let (row, _, payload) = point?;
            writers.iter_mut().try_for_each(|writer| writer.push(row, &payload))?;
            if count % LOOK_UP == LOOK_UP - 1 && !self.has_time()? {
                return Ok(None);
            }
        }
        let built = writers.into_iter().map(FieldWriter::finish).collect::<Result<_, _>>()?;
        Ok(Some(built))
    }

    /// Whether a long job may go on. Points in memory are flushed if it is time: the background is busy with the job.
    pub(super) fn has_time(&self) -> Result<bool, WriteError> {
        if self.has_background {
            // Codes can wait.
            if choose(&View { uncoded: None, ..self.view() }) == Some(Job::Flush) {
                self.flush()?;
                self.changed.notify_all();
            }
            return Ok(!locked(&self.background).stopping);
        }
        Ok(true)
    }

    /// Gives files to a segment, those it still needs.
    fn adopt_fields(
        &self,
        files: &mut Files,
        segment: u64,
        mut built: Vec<FieldFileInfo>,
    ) -> Result<(), WriteError> {
        let mut next = files.manifest.clone();
        let place = next.segments.iter_mut().find(|info| info.number == segment);
        let has = |of: &[FieldFileInfo], file: &FieldFileInfo| of.iter().any(|has| has.index == file.index);
        match &place {
            Some(info) => built.retain(|file| {
                next.fields.iter().any(|index| index.number == file.index) && !has(&info.fields, file)
            }),
            None => built.clear(),
        }
        if let Some(info) = place.filter(|_| !built.is_empty()) {
            info.fields.extend(&built);
            let store_id = next.store_id;
            self.adopt(files, next)?;
            let open =
                |info: FieldFileInfo| Arc::new(FieldFile::new(&self.disk, store_id, info, &self.cache));
            let opened: Vec<Arc<FieldFile>> = built.into_iter().map(open).collect();
            self.change(|state| {
                for there in state.segments.iter_mut().filter(|there| there.info.number == segment) {
                    *there = Arc::new(there.with_fields(opened.clone()));
                }
            });
        }
        // Those it did not need.
        files.untidy |= remove_orphans(self.disk.as_ref(), &files.manifest, &files.building).is_err();
        Ok(())
    }

    /// Writers for the files of a segment, which share the memory there is.
    pub(super) fn field_writers(&self, files: &mut Files, indexes: Vec<FieldIndexInfo>) -> Vec<FieldWriter> {
        let budget = self.limits.key_bytes / indexes.len().max(1);
        let store_id = files.manifest.store_id;
        let writer = |index| FieldWriter::new(&self.disk, store_id, files.take_number(), index, budget);
        indexes.into_iter().map(writer).collect()
    }
}

impl Reader<'_> {
    pub(super) fn field_indexes(&self) -> Vec<FieldIndex> {
        let segments = &self.state.segments;
        let describe = |index: &FieldIndexInfo| {
            let with = || segments.iter().filter_map(|segment| Some((segment, segment.field(index.number)?)));
            FieldIndex {
                path: index.path.to_string(),
                field_type: index.field_type,
                building: with().count() < segments.len(),
                points: with().map(|(segment, _)| segment.info.points).sum(),
                bytes: with().map(|(_, file)| file.info.bytes).sum(),
            }
        };
        self.state.fields.iter().map(describe).collect()
    }

    /// Checks a filter; texts are taken apart as the field indexes say.
    pub(super) fn check(&self, filter: &Filter) -> Result<Checked, FilterError> {
        filter.check_with(|path| {
            let index = self.state.fields.iter().find(|index| index.path == *path);
            match index.map(|index| index.field_type) {
                Some(FieldType::Text(options)) => options,
                _ => TextOptions::default(),
            }
        })
    }
}
