//! Versions: snapshots that are read where they lie, by the same code as collections.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use nearline_storage::{Disk, OsDisk};

use super::reader::Reader;
use super::recover::open_state;
use super::snapshot::snapshot_folder;
use super::{
    Collection, Facet, FacetHit, FieldIndex, Groups, GroupsAnswer, Handle, Matrix, MatrixAnswer, Page, Query,
    QueryAnswer, Scroll, SnapshotInfo, locked,
};
use crate::error::{OpenError, QueryError};
use crate::filter::Filter;
use crate::manifest::Manifest;
use crate::point::Point;
use crate::point_id::PointId;
use crate::schema::Schema;
use crate::state::State;

/// A collection as a snapshot keeps it, to be read. Clones are handles on the same one; any number of threads may use it.
///
/// It has the field and vector indexes of then. As long as somebody has one, the collection is open, and the files of the
/// snapshot stay, even if it is dropped.
///
/// ```
/// use nearline::{Database, Metric, Payload, Point, Query, Schema};
///
/// # let folder = std::env::temp_dir().join(format!("nearline-doc-version-{}", std::process::id()));
/// let database = Database::builder(&folder).open()?;
/// let prices = database.create_collection("prices", Schema::single(2, Metric::L2))?;
/// prices.upsert([Point::new(1).vector([0.0, 1.0]).payload(Payload::new().with("price", 20))])?;
/// prices.snapshot("monday")?;
/// prices.upsert([Point::new(1).vector([0.0, 1.0]).payload(Payload::new().with("price", 30))])?;
///
/// let monday = prices.as_of("monday")?;
/// let answer = monday.query(&Query::nearest([0.0, 0.0]).with_payload(true))?;
/// assert_eq!(answer.hits[0].payload, Some(Payload::new().with("price", 20)));
/// # drop((monday, prices, database));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Version {
    opened: Arc<Opened>,
}

/// What clones of a version share.
#[derive(Debug)]
pub(super) struct Opened {
    info: SnapshotInfo,
    schema: Schema,
    state: State,
    /// Bytes that its vector indexes keep of what they read, all of them together.
    index_cache: u64,
    /// Who reads a version has the collection open.
    collection: Arc<Handle>,
}

impl Collection {
    /// Opens the version that a snapshot keeps, to be read where it lies. It takes the memory of its segments and vector
    /// indexes; who opens it while somebody has it open shares that.
    ///
    /// A vector index that is damaged is passed over, and all vectors are compared.
    ///
    /// # Errors
    /// When there is no such snapshot, or its files cannot be read.
    pub fn as_of(&self, snapshot: &str) -> Result<Version, OpenError> {
        let inner = &self.shared.inner;
        let mut versions = locked(&inner.versions);
        versions.retain(|_, opened| opened.strong_count() > 0);
        if let Some(opened) = versions.get(snapshot).and_then(Weak::upgrade) {
            return Ok(Version { opened });
        }
        let opened = Arc::new(self.open_version(snapshot)?);
        versions.insert(snapshot.to_owned(), Arc::downgrade(&opened));
        Ok(Version { opened })
    }

    fn open_version(&self, snapshot: &str) -> Result<Opened, OpenError> {
        let inner = &self.shared.inner;
        let info = self.snapshot_info(snapshot)?;
        let folder = snapshot_folder(inner.disk.root(), snapshot)?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(&folder, inner.io)?);
        let manifest = Manifest::read(disk.as_ref())?;
        // Half of what the others leave: all of them together never keep more than an index of the collection may.
        let taken = inner.version_cache.load(Ordering::Acquire);
        let each = inner.limits.index_cache.saturating_sub(taken) / 2 / manifest.indexes.len().max(1) as u64;
        // Files of one number are the same, in the collection and in its snapshots: they share what is cached.
        let state = open_state(&disk, &manifest, each, &inner.cache)?;
        let index_cache = each * manifest.indexes.len() as u64;
        inner.version_cache.fetch_add(index_cache, Ordering::AcqRel);
        let collection = Arc::clone(&self.shared);
        Ok(Opened { info, schema: manifest.schema, state, index_cache, collection })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.collection.inner.version_cache.fetch_sub(self.index_cache, Ordering::AcqRel);
    }
}

impl Version {
    /// The snapshot that keeps it.
    pub fn info(&self) -> &SnapshotInfo {
        &self.opened.info
    }

    /// What vectors its points have.
    pub fn schema(&self) -> &Schema {
        &self.opened.schema
    }

    /// Field indexes of then, as [`Collection::field_indexes`]. Those that were being built are not built any further.
    pub fn field_indexes(&self) -> Vec<FieldIndex> {
        self.reader().field_indexes()
    }

    /// Points by their ids, as [`Collection::get`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn get<I: Into<PointId>>(&self, ids: impl IntoIterator<Item = I>) -> Result<Vec<Point>, QueryError> {
        let ids: Vec<PointId> = ids.into_iter().map(Into::into).collect();
        self.reader().get(&ids, true)
    }

    /// A page of points, as [`Collection::scroll`]. All pages are of the same moment.
    ///
    /// # Errors
    /// When an option is out of range or a file cannot be read.
    pub fn scroll(&self, scroll: &Scroll) -> Result<Page, QueryError> {
        self.reader().scroll(scroll)
    }

    /// The number of points that match, or of all, as [`Collection::count`].
    ///
    /// # Errors
    /// When the filter is wrong or a file cannot be read.
    pub fn count(&self, filter: Option<&Filter>) -> Result<u64, QueryError> {
        self.reader().count(filter)
    }

    /// Finds the nearest points, as [`Collection::query`].
    ///
    /// # Errors
    /// [`QueryError`], saying what of the question is wrong or which file cannot be read.
    pub fn query(&self, query: &Query) -> Result<QueryAnswer, QueryError> {
        self.reader().answer(query)
    }

    /// Answers several questions, in their order, as [`Collection::query_batch`].
    ///
    /// # Errors
    /// That of the first question that cannot be answered.
    pub fn query_batch(&self, queries: &[Query]) -> Result<Vec<QueryAnswer>, QueryError> {
        self.reader().answer_all(queries)
    }

    /// The best points of each value of a field, as [`Collection::query_groups`].
    ///
    /// # Errors
    /// As [`Collection::query_groups`].
    pub fn query_groups(&self, groups: &Groups) -> Result<GroupsAnswer, QueryError> {
        self.reader().groups(groups)
    }

    /// The most frequent values of a field, as [`Collection::facet`].
    ///
    /// # Errors
    /// As [`Collection::facet`].
    pub fn facet(&self, facet: &Facet) -> Result<Vec<FacetHit>, QueryError> {
        self.reader().facet(facet)
    }

    /// Compares some points with each other, as [`Collection::matrix`].
    ///
    /// # Errors
    /// As [`Collection::matrix`].
    pub fn matrix(&self, matrix: &Matrix) -> Result<MatrixAnswer, QueryError> {
        self.reader().matrix(matrix)
    }

    fn reader(&self) -> Reader<'_> {
        Reader { schema: &self.opened.schema, state: &self.opened.state }
    }
}

#[cfg(test)]
impl Version {
    /// Whether it is a handle on the same one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.opened, &other.opened)
    }

    /// What its vector indexes may keep of what they read.
    pub(super) fn index_cache(&self) -> u64 {
        self.opened.index_cache
    }
}
