//! Changing parts of points that are there: their payloads, their vectors.

use std::collections::BTreeMap;

use super::{Durability, NewPoint, Request, Selector, WriteReport, check_payload};
use crate::collection::Collection;
use crate::error::WriteError;
use crate::filter::Filter;
use crate::path::FieldPath;
use crate::point::Vector;
use crate::point_id::PointId;
use crate::record::Stored;
use crate::value::Payload;

/// What happens to points that are there.
#[derive(Debug)]
pub(super) enum Edit {
    /// Members are added to the payload.
    SetPayload(Payload),
    /// Members are added to the objects at a path of the payload.
    SetPayloadAt(FieldPath, Payload),
    /// The payload becomes this one.
    OverwritePayload(Payload),
    /// Members are removed from the payload.
    DeletePayload(Vec<String>),
    /// What lies at these paths of the payload is removed.
    DeletePayloadAt(Vec<FieldPath>),
    /// Vectors are replaced or removed, by their places in the schema.
    Vectors(Vec<(usize, Option<Box<[u8]>>)>),
}

impl Collection {
    /// Adds members to the payloads of points, in place of those of the same keys.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn set_payload(
        &self,
        points: impl Into<Selector>,
        payload: Payload,
    ) -> Result<WriteReport, WriteError> {
        check_payload("to set", &payload)?;
        self.edit(points.into(), Edit::SetPayload(payload))
    }

    /// Adds members to the objects at a path of the payloads of points. What is no object there becomes one, and what is
    /// missing on the way is made; positions that an array does not have are passed over.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn set_payload_at(
        &self,
        points: impl Into<Selector>,
        path: &str,
        payload: Payload,
    ) -> Result<WriteReport, WriteError> {
        check_payload("to set", &payload)?;
        let path = path.parse().map_err(WriteError::PayloadPath)?;
        self.edit(points.into(), Edit::SetPayloadAt(path, payload))
    }

    /// Gives points another payload.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn overwrite_payload(
        &self,
        points: impl Into<Selector>,
        payload: Payload,
    ) -> Result<WriteReport, WriteError> {
        check_payload("to set", &payload)?;
        self.edit(points.into(), Edit::OverwritePayload(payload))
    }

    /// Removes members from the payloads of points.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_payload<K: Into<String>>(
        &self,
        points: impl Into<Selector>,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<WriteReport, WriteError> {
        let keys = keys.into_iter().map(Into::into).collect();
        self.edit(points.into(), Edit::DeletePayload(keys))
    }

    /// Removes what lies at paths of the payloads of points: members, elements, or with `[]` at the end all elements.
    ///
    /// ```
    /// use nearline::{Database, Payload, Point, Schema, Value};
    ///
    /// # let folder = std::env::temp_dir().join(format!("nearline-doc-edit-{}", std::process::id()));
    /// let database = Database::builder(&folder).open()?;
    /// let flats = database.create_collection("flats", Schema::new())?;
    /// flats.upsert([Point::new(1).payload(Payload::new().with("beds", 2))])?;
    /// flats.set_payload_at([1], "address", Payload::new().with("city", "Lyon").with("street", "Rue Royale"))?;
    /// flats.delete_payload_at([1], ["address.street", "beds"])?;
    /// let address = Value::from(Payload::new().with("city", "Lyon"));
    /// assert_eq!(flats.get([1])?[0].payload, Payload::new().with("address", address));
    /// # drop((flats, database));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_payload_at<P: AsRef<str>>(
        &self,
        points: impl Into<Selector>,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<WriteReport, WriteError> {
        let paths = paths.into_iter().map(|path| path.as_ref().parse().map_err(WriteError::PayloadPath));
        self.edit(points.into(), Edit::DeletePayloadAt(paths.collect::<Result<_, _>>()?))
    }

    /// Removes the payloads of points.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn clear_payload(&self, points: impl Into<Selector>) -> Result<WriteReport, WriteError> {
        self.edit(points.into(), Edit::OverwritePayload(Payload::new()))
    }

    /// Replaces vectors of points, by name, or removes them (`None`). Other vectors and the payload stay.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn update_vectors<N: AsRef<str>>(
        &self,
        points: impl Into<Selector>,
        vectors: impl IntoIterator<Item = (N, Option<Vector>)>,
    ) -> Result<WriteReport, WriteError> {
        let edit = self.vectors_edit("of the call", vectors)?;
        self.edit(points.into(), edit)
    }

    /// As [`Collection::update_vectors`], for each point vectors of its own, all of them or none. Of what an id says about the
    /// same vector twice, the last counts; points that are not there are passed over.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    pub fn update_vectors_each<V, N: AsRef<str>>(
        &self,
        points: impl IntoIterator<Item = (PointId, V)>,
    ) -> Result<WriteReport, WriteError>
    where
        V: IntoIterator<Item = (N, Option<Vector>)>,
    {
        self.update_vectors_if(points, None)
    }

    /// As [`Collection::update_vectors_each`], of those points that match. Whether they do is decided at the moment of the write,
    /// whoever else writes.
    ///
    /// # Errors
    /// As [`Collection::update_vectors_each`].
    pub fn update_vectors_if<V, N: AsRef<str>>(
        &self,
        points: impl IntoIterator<Item = (PointId, V)>,
        filter: Option<&Filter>,
    ) -> Result<WriteReport, WriteError>
    where
        V: IntoIterator<Item = (N, Option<Vector>)>,
    {
        let inner = &self.shared.inner;
        let filter = filter.map(|filter| inner.reader(&inner.state()).check(filter)).transpose()?;
        let mut edits: BTreeMap<PointId, Vec<Edit>> = BTreeMap::new();
        for (id, vectors) in points {
            edits.entry(id).or_default().push(self.vectors_edit(&id.to_string(), vectors)?);
        }
        self.submit(Request::EditEach(edits, filter), Durability::Synced)
    }

    fn vectors_edit<N: AsRef<str>>(
        &self,
        id: &str,
        vectors: impl IntoIterator<Item = (N, Option<Vector>)>,
    ) -> Result<Edit, WriteError> {
        let encode = |(name, vector): (N, Option<Vector>)| {
            let at = self.find_vector(id, name.as_ref())?;
            let bytes = vector.map(|vector| self.encode_vector(id, name.as_ref(), &vector));
            Ok((at, bytes.transpose()?))
        };
        vectors.into_iter().map(encode).collect::<Result<_, _>>().map(Edit::Vectors)
    }

    fn edit(&self, points: Selector, edit: Edit) -> Result<WriteReport, WriteError> {
        self.submit(Request::Edit(self.check_selector(points)?, edit), Durability::Synced)
    }
}

/// A point after some edits.
pub(super) fn edited(old: &Stored, edits: &[Edit]) -> Result<NewPoint, WriteError> {
    let (mut vectors, mut payload) = (old.vectors.clone(), old.payload.clone());
    for edit in edits {
        match edit {
            Edit::SetPayload(new) => new.iter().for_each(|(key, value)| {
                payload.insert(key, value.clone());
            }),
            Edit::SetPayloadAt(path, new) => path.set_members(payload.as_object_mut(), new.as_object()),
            Edit::OverwritePayload(new) => payload = new.clone(),
            Edit::DeletePayload(keys) => keys.iter().for_each(|key| {
                payload.remove(key);
            }),
            Edit::DeletePayloadAt(paths) => {
                paths.iter().for_each(|path| path.remove(payload.as_object_mut()));
            }
            Edit::Vectors(new) => new.iter().for_each(|(at, vector)| vectors[*at].clone_from(vector)),
        }
    }
    check_payload(old.id, &payload)?;
    Ok(NewPoint { id: old.id, vectors, payload })
}
