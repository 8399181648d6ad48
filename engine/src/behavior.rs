//! Behaviour spaces: what each user did, and what of it collides with a candidate (SDIM).
//!
//! A space is a folder. Its **log** and files have every behaviour as it came; the **tables** that answers come from,
//! sums by bucket, are worked out of them, kept while there is memory, and written for long histories only, to be
//! worked out anew where they are lost. The mathematics are those of
//! [`nearline_index::sdim`].
//!
//! - `epochs` and `build`: how vectors are hashed and summed up, and how another way takes the place of one.
//! - `store` and `handle`: what is open; `write` and `record`: into the log and the state; `moving` and `checkpoint`: from
//!   memory into files.
//! - `history`: what one user did; `kept`: what is kept of what was read.
//! - `read`: questions.

mod build;
mod checkpoint;
mod compact;
mod epochs;
mod error;
mod files;
#[doc(hidden)]
pub mod fuzzed;
mod handle;
mod history;
mod kept;
mod manifest;
mod moving;
mod read;
mod record;
mod snapshot;
mod store;
mod tallied;
mod tally;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nearline_index::sdim::{BucketTable, Normalize, SignFamily, SignShape};

use manifest::Stage;

pub use error::BehaviorError;
pub use read::{BehaviorReader, CANDIDATES_MAX};

pub(crate) use handle::Handle;
pub(crate) use manifest::Epoch;
pub(crate) use store::{Inner, Limits, verify_folder};

/// Bytes of the name of embeddings at most.
const EMBEDDING_VERSION_BYTES_MAX: usize = 255;

/// Where random planes come from.
#[derive(Clone, Debug, PartialEq)]
enum Planes {
    Seed(u64),
    /// `[hash][dimension]`.
    Projections(Vec<f32>),
    /// `[dimension][group][bit]`.
    Rotations(Vec<f32>),
}

/// What the numbers in tables are that are kept and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TableValues {
    /// Exact sums.
    #[default]
    F64,
    /// A quarter of the bytes.
    F16,
}

/// What an epoch of a space is made for. None of it changes later: for another, make a new epoch.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct BehaviorOptions {
    dim: usize,
    groups: usize,
    bits: usize,
    planes: Planes,
    normalize: Normalize,
    ttl_ms: Option<u64>,
    values: TableValues,
    embedding_version: String,
}

impl BehaviorOptions {
    /// A space of vectors of `dim` elements, hashed to 16 groups of 3 bits, sums divided by their length as in the paper.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            groups: 16,
            bits: 3,
            planes: Planes::Seed(0),
            normalize: Normalize::L2,
            ttl_ms: None,
            values: TableValues::F64,
            embedding_version: String::new(),
        }
    }

    /// How many groups of hashes (G), and how many bits each (τ).
    pub fn hashes(mut self, groups: usize, bits: usize) -> Self {
        (self.groups, self.bits) = (groups, bits);
        self
    }

    /// Planes drawn from the normal distribution by a seed; what was drawn is stored.
    pub fn seed(mut self, seed: u64) -> Self {
        self.planes = Planes::Seed(seed);
        self
    }

    /// These planes: `[hash][dimension]`, hash `group * bits + bit`.
    pub fn projections(mut self, projections: impl Into<Vec<f32>>) -> Self {
        self.planes = Planes::Projections(projections.into());
        self
    }

    /// The planes of a model: `[dimension][group][bit]`, as its checkpoint has them.
    pub fn rotations(mut self, rotations: impl Into<Vec<f32>>) -> Self {
        self.planes = Planes::Rotations(rotations.into());
        self
    }

    /// What becomes of the sum of a bucket.
    pub fn normalize(mut self, normalize: Normalize) -> Self {
        self.normalize = normalize;
        self
    }

    /// After how many milliseconds behaviours are not seen any more; 0 for never, as it is unless told otherwise.
    pub fn ttl_ms(mut self, ttl_ms: u64) -> Self {
        self.ttl_ms = Some(ttl_ms).filter(|&ttl| ttl > 0);
        self
    }

    /// What the numbers in tables are.
    pub fn values(mut self, values: TableValues) -> Self {
        self.values = values;
        self
    }

    /// A name for the embeddings that vectors are of. An epoch of the same name as the one that serves counts by its items.
    pub fn embedding_version(mut self, version: impl Into<String>) -> Self {
        self.embedding_version = version.into();
        self
    }

    pub(crate) fn epoch(self, store_id: u64) -> Result<Epoch, BehaviorError> {
        let bytes = self.embedding_version.len();
        if bytes > EMBEDDING_VERSION_BYTES_MAX {
            let expected = format!("at most {EMBEDDING_VERSION_BYTES_MAX}");
            return Err(BehaviorError::bad("embedding version", format!("{bytes} bytes"), expected));
        }
        let bad = |error| match error {
            nearline_index::IndexError::BadOption { option, found, expected } => {
                BehaviorError::bad(option, found, expected)
            }
            other => other.into(),
        };
        let shape = SignShape::new(self.dim, self.groups, self.bits).map_err(bad)?;
        let family = match &self.planes {
            Planes::Seed(seed) => SignFamily::from_seed(shape, *seed),
            Planes::Projections(values) => SignFamily::from_projections(shape, values),
            Planes::Rotations(values) => SignFamily::from_rotations(shape, values),
        };
        Ok(Epoch {
            store_id,
            number: manifest::FIRST,
            of: manifest::FIRST,
            family: family.map_err(bad)?,
            normalize: self.normalize,
            ttl: self.ttl_ms,
            values: self.values,
            embedding_version: self.embedding_version,
        })
    }
}

/// Something a user did with an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// Who.
    pub user: u64,
    /// The event's number: of those of a user that are there, each is there once.
    pub event: u64,
    /// When, in milliseconds on whatever clock; in any order.
    pub time: i64,
    /// With what.
    pub item: u64,
    /// The vector it is counted by, or `None` for the item's.
    pub vector: Option<Vec<f32>>,
}

impl Behavior {
    /// A behaviour that is counted by its item's vector.
    pub fn new(user: u64, event: u64, time: i64, item: u64) -> Self {
        Self { user, event, time, item, vector: None }
    }

    /// The same, counted by a vector of its own.
    #[must_use]
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.vector = Some(vector.into());
        self
    }
}

/// How far a partition of a source was read: a write that carries it takes effect once, however often it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOffset {
    /// The source, such as the name of a topic.
    pub source: String,
    /// Its partition.
    pub partition: u32,
    /// The offset of the last event of the write. Writes with this offset or a lower one are passed over from then on.
    pub offset: u64,
}

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteReport {
    /// Behaviours that came.
    pub appended: usize,
    /// Behaviours passed over, because the user has an event of this number.
    pub duplicates: usize,
    /// Behaviours that went.
    pub deleted: usize,
    /// Items that came.
    pub items: usize,
    /// Whether all of it was passed over, because the source had been read as far.
    pub is_repeated: bool,
}

/// What is to be compared with a history.
#[derive(Clone, Copy, Debug)]
pub enum Candidates<'a> {
    /// Items of the space.
    Items(&'a [u64]),
    /// Vectors, back to back.
    Vectors(&'a [f32]),
}

/// Which behaviours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last so many.
    Last(usize),
    /// Those from a time on and before another.
    Between {
        /// The first time.
        from: i64,
        /// The first time that is too late.
        to: i64,
    },
}

/// Interest of several users, each in candidates of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Interests {
    /// How many candidates each user had.
    pub lengths: Vec<usize>,
    /// All values, back to back: `dim` for each candidate.
    pub values: Vec<f32>,
}

/// A behaviour and in how many bits its signature differs from a candidate's.
#[derive(Clone, Debug, PartialEq)]
pub struct SimilarBehavior {
    /// The behaviour.
    pub behavior: Behavior,
    /// Bits that differ.
    pub distance: u32,
}

/// The table of a user.
#[derive(Clone, Debug)]
pub struct UserTable {
    /// Whose.
    pub user: u64,
    /// Changes whenever behaviours of the user do, but for those that expire; 0 for nobody.
    pub version: u64,
    /// Sums and numbers of behaviours by bucket.
    pub table: BucketTable,
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpochStage {
    /// It takes items, and waits to be built.
    Filling,
    /// It is being built.
    Building {
        /// All users before this one have been read.
        next_user: u64,
    },
    /// It answers unless another is asked for.
    Serving,
    /// It answers when it is asked for.
    Kept,
}

/// What an epoch is, and how far.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EpochInfo {
    /// Its number.
    pub number: u32,
    /// How far it is.
    pub stage: EpochStage,
    /// How vectors are hashed.
    pub shape: SignShape,
    /// What becomes of the sum of a bucket.
    pub normalize: Normalize,
    /// After how many milliseconds behaviours are not seen any more.
    pub ttl_ms: Option<u64>,
    /// What the numbers in tables are.
    pub values: TableValues,
    /// The name of the embeddings.
    pub embedding_version: String,
    /// Why it was not built the last time, if it is in the making.
    pub failure: Option<String>,
}

/// What a space is and has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BehaviorStats {
    /// The number of the epoch that serves; what follows up to the name of the embeddings is its own.
    pub epoch: u32,
    /// How vectors are hashed.
    pub shape: SignShape,
    /// What becomes of the sum of a bucket.
    pub normalize: Normalize,
    /// After how many milliseconds behaviours are not seen any more.
    pub ttl_ms: Option<u64>,
    /// The name of the embeddings.
    pub embedding_version: String,
    /// The number of the last write.
    pub lsn: u64,
    /// Users whose changes are in memory and the log only; one that changed while it went into files counts twice.
    pub users_in_memory: usize,
    /// Bytes of these, and of items that are in no file yet.
    pub memory_bytes: usize,
    /// Bytes kept of tables that were worked out, of histories read, of items read.
    pub kept_bytes: [usize; 3],
    /// Files of histories, items and tables.
    pub files: usize,
    /// Their bytes.
    pub file_bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Partitions of sources that are known.
    pub sources: usize,
    /// Why changes could not be written to files the last time, if they could not.
    pub checkpoint_error: Option<String>,
}

/// An open space of behaviours. Clones are handles on the same one; any number of threads may use it.
#[derive(Clone, Debug)]
pub struct BehaviorSpace {
    pub(crate) inner: Arc<Handle>,
}

impl BehaviorSpace {
    /// Gives items vectors of the epoch that serves, back to back. An item keeps the vector it has: the same again changes nothing.
    ///
    /// # Errors
    /// [`BehaviorError::ItemChanged`] when an item has another vector; when vectors are of another length or not finite;
    /// when the disk fails. Nothing is written then.
    pub fn put_items(&self, items: &[u64], vectors: &[f32]) -> Result<WriteReport, BehaviorError> {
        self.inner.put_items(None, items, vectors)
    }

    /// The same for an epoch that does not serve yet, before it is built or meanwhile.
    ///
    /// # Errors
    /// As [`BehaviorSpace::put_items`], and when the epoch takes no items.
    pub fn put_items_of(
        &self,
        epoch: u32,
        items: &[u64],
        vectors: &[f32],
    ) -> Result<WriteReport, BehaviorError> {
        self.inner.put_items(Some(epoch), items, vectors)
    }

    /// Makes another epoch, and says its number. It takes items ([`BehaviorSpace::put_items_of`]) until it is built
    /// ([`BehaviorSpace::build_epoch`]); if its embeddings are called as those of the one that serves, it counts by the same
    /// items, and none need to be put. There is one in the making at a time.
    ///
    /// Behaviours with vectors of their own are counted by these where the embeddings are the same, and by their items in
    /// others. `keeps` says whether the epoch that serves is kept when this one takes its place: then it answers when it is
    /// asked for, and behaviours whose items have no vectors in it do not count there.
    ///
    /// # Errors
    /// When another is in the making, the options are wrong, or the disk fails.
    pub fn create_epoch(&self, options: BehaviorOptions, keeps: bool) -> Result<u32, BehaviorError> {
        self.inner.create_epoch(options, keeps)
    }

    /// Builds an epoch in the background, while the one that serves goes on; then it serves. From now on behaviours need an
    /// item with a vector in both. When the space is closed or crashes, it goes on when that opens. When an item of a history
    /// has no vector in it, it ends, [`BehaviorSpace::epochs`] says why, and the epoch takes items again.
    ///
    /// # Errors
    /// When there is no such epoch in the making, or the disk fails.
    pub fn build_epoch(&self, epoch: u32) -> Result<(), BehaviorError> {
        self.inner.begin_build(epoch)?;
        Ok(self.inner.start()?)
    }

    /// Does what is left of the build of an epoch now.
    ///
    /// # Errors
    /// When an item of a history has no vector in it, or the disk fails.
    pub fn finish_build(&self) -> Result<(), BehaviorError> {
        while self.inner.build_step()? {}
        Ok(())
    }

    /// Drops an epoch that does not serve, be it kept or in the making, with its tables, and its items if no other counts by
    /// them.
    ///
    /// # Errors
    /// When it serves or is not there, or the disk fails.
    pub fn drop_epoch(&self, epoch: u32) -> Result<(), BehaviorError> {
        self.inner.drop_epoch(epoch)
    }

    /// All epochs, in order of their numbers.
    pub fn epochs(&self) -> Vec<EpochInfo> {
        let failure = store::locked(&self.inner.build_error).clone();
        let epochs = Arc::clone(&self.inner.state().epochs);
        let info = |(epoch, stage): &(Arc<Epoch>, Stage)| {
            let stage = match *stage {
                Stage::Filling => EpochStage::Filling,
                Stage::Building { from } => EpochStage::Building { next_user: from },
                Stage::Serving => EpochStage::Serving,
                Stage::Kept => EpochStage::Kept,
                Stage::Gone => return None,
            };
            let is_made = matches!(stage, EpochStage::Filling | EpochStage::Building { .. });
            Some(EpochInfo {
                number: epoch.number,
                stage,
                shape: epoch.shape(),
                normalize: epoch.normalize,
                ttl_ms: epoch.ttl,
                values: epoch.values,
                embedding_version: epoch.embedding_version.clone(),
                failure: failure.clone().filter(|_| is_made),
            })
        };
        epochs.all.iter().filter_map(info).collect()
    }

    /// Adds behaviours of any users, in any order of time: durably, all of them or none. Events whose numbers are among
    /// the user's are passed over.
    ///
    /// # Errors
    /// [`BehaviorError`]; nothing is written then, unless [`BehaviorError::is_in_doubt`].
    pub fn append(
        &self,
        behaviors: impl IntoIterator<Item = Behavior>,
    ) -> Result<WriteReport, BehaviorError> {
        self.inner.append(behaviors.into_iter().collect(), None)
    }

    /// As [`BehaviorSpace::append`], exactly once: in one step with the behaviours it is noted how far their source was
    /// read, and what is not beyond that is passed over.
    ///
    /// # Errors
    /// As [`BehaviorSpace::append`].
    pub fn append_from(
        &self,
        source: SourceOffset,
        behaviors: impl IntoIterator<Item = Behavior>,
    ) -> Result<WriteReport, BehaviorError> {
        self.inner.append(behaviors.into_iter().collect(), Some(source))
    }

    /// How far partitions of sources were read: source, partition, offset.
    pub fn sources(&self) -> Vec<SourceOffset> {
        let state = self.inner.state();
        let marks = state.marks.iter();
        marks
            .map(|((source, partition), &offset)| SourceOffset {
                source: source.clone(),
                partition: *partition,
                offset,
            })
            .collect()
    }

    /// Users who have behaviours, expired ones too, from a number on, in order; at most `limit`.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn users(&self, from: u64, limit: usize) -> Result<Vec<u64>, BehaviorError> {
        self.inner.users(from, limit)
    }

    /// Deletes events of a user. Those that are not there are passed over.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn delete_events(&self, user: u64, events: &[u64]) -> Result<WriteReport, BehaviorError> {
        self.inner.submit(record::Write::Delete { user, ids: events.to_vec() })
    }

    /// Deletes the behaviours of a user before a time.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn delete_before(&self, user: u64, time: i64) -> Result<WriteReport, BehaviorError> {
        self.inner.submit(record::Write::Before { user, time })
    }

    /// Deletes all behaviours of a user but the last `keep`; with 0, all of them.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate(&self, user: u64, keep: u64) -> Result<WriteReport, BehaviorError> {
        self.inner.submit(record::Write::Truncate { user, keep })
    }

    /// The space as it is now by the system's clock: times are milliseconds since 1970 then.
    pub fn now(&self) -> BehaviorReader<'_> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.at(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// The space as it is when it is `now` on the clock of the events' times. Only what expires depends on it.
    pub fn at(&self, now: i64) -> BehaviorReader<'_> {
        let epoch = Arc::clone(self.inner.state().epochs.serving());
        BehaviorReader { inner: &self.inner, epoch, is_chosen: false, now }
    }

    /// Moves all changes from memory into files, and forgets the log of them. Nobody needs to call it.
    ///
    /// # Errors
    /// When the disk fails or is full. Nothing is lost then.
    pub fn flush(&self) -> Result<(), BehaviorError> {
        self.inner.flush()
    }

    /// How vectors are hashed in the epoch that serves.
    pub fn shape(&self) -> SignShape {
        self.inner.state().epochs.serving().shape()
    }

    /// Its random planes: `[hash][dimension]`.
    pub fn projections(&self) -> Vec<f32> {
        self.inner.state().epochs.serving().family.projections().to_vec()
    }

    /// What the space is and has.
    pub fn stats(&self) -> BehaviorStats {
        let (log_bytes, checkpoint_error) = {
            let writer = store::locked(&self.inner.writer);
            (writer.wal.bytes(), writer.checkpoint_error.clone())
        };
        let state = self.inner.state();
        let epoch = state.epochs.serving();
        let tables = || state.files.all();
        let moving = state.files.moving.as_ref();
        BehaviorStats {
            epoch: epoch.number,
            shape: epoch.family.shape(),
            normalize: epoch.normalize,
            ttl_ms: epoch.ttl,
            embedding_version: epoch.embedding_version.clone(),
            lsn: state.lsn,
            users_in_memory: state.dirty.len() + moving.map_or(0, |moving| moving.histories.len()),
            memory_bytes: state.bytes(),
            kept_bytes: self.inner.kept_bytes(),
            files: tables().count(),
            file_bytes: tables().map(|table| table.summary().bytes).sum(),
            log_bytes,
            sources: state.marks.len(),
            checkpoint_error,
        }
    }
}
