//! What a collection carries beside its points: a payload of its own, for those who keep settings with it.

use std::path::Path;

use nearline_storage::{Decoder, Disk, StorageError, read_record, replace_record};

use super::{Collection, locked};
use crate::error::{OpenError, WriteError};
use crate::value::Payload;

/// Its file, which is there once something was kept.
pub(crate) const METADATA: &str = "METADATA";
const KIND: [u8; 4] = *b"META";

impl Collection {
    /// What was kept with the collection: nothing at first. It means nothing to this library; snapshots have it, too.
    ///
    /// # Errors
    /// When its file is damaged or cannot be read.
    pub fn metadata(&self) -> Result<Payload, OpenError> {
        Ok(read(self.shared.inner.disk.as_ref())?)
    }

    /// Changes what is kept with the collection, in one durable step; what the change is made on is what is there. It waits
    /// for a flush or a merge that is at work.
    ///
    /// ```
    /// use nearline::{Database, Schema};
    ///
    /// # let folder = std::env::temp_dir().join(format!("nearline-doc-metadata-{}", std::process::id()));
    /// let database = Database::builder(&folder).open()?;
    /// let points = database.create_collection("points", Schema::new())?;
    /// points.update_metadata(|metadata| {
    ///     metadata.insert("model", "all-minilm");
    /// })?;
    /// assert_eq!(points.metadata()?.get("model"), Some(&"all-minilm".into()));
    /// # drop((points, database));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When it becomes what no payload may be, or the disk fails; nothing is changed then.
    pub fn update_metadata(&self, change: impl FnOnce(&mut Payload)) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        let _files = locked(&inner.files);
        let mut metadata = read(inner.disk.as_ref())?;
        change(&mut metadata);
        let mut bytes = Vec::new();
        metadata
            .encode(&mut bytes)
            .map_err(|source| WriteError::Payload { id: "metadata".to_owned(), source })?;
        Ok(replace_record(inner.disk.as_ref(), METADATA, KIND, &bytes)?)
    }
}

/// The metadata in a folder.
pub(crate) fn read(disk: &dyn Disk) -> Result<Payload, StorageError> {
    match read_record(disk, METADATA, KIND, |decoder| decode(decoder, disk.root())) {
        Err(StorageError::NotFound { .. }) => Ok(Payload::new()),
        read => read,
    }
}

fn decode(decoder: &mut Decoder<'_>, root: &Path) -> Result<Payload, StorageError> {
    let at = decoder.offset();
    let bytes = decoder.raw(decoder.remaining())?;
    Payload::decode(Decoder::new(bytes, &root.join(METADATA), at))
}
