//! Points and changes as bytes: in the log, and in the files of points.
//!
//! What the log holds is resolved: rows, ids, whole points. Replaying it asks nothing and depends on nothing.

use std::path::Path;
use std::sync::Arc;

use nearline_index::RowId;
use nearline_storage::{Decoder, Encoder, StorageError};

use crate::point_id::PointId;
use crate::schema::Schema;
use crate::value::Payload;

/// What the allocator adds to a piece of memory, on average.
pub(crate) const PIECE_BYTES: usize = 16;
/// Bytes of an id.
const ID_BYTES: usize = 17;
/// No row.
const NO_ROW: u32 = u32::MAX;

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// The vectors of a point as stored, in the schema's order.
pub(crate) type Vectors = Vec<Option<Box<[u8]>>>;

/// A point as it is kept: at a row, its vectors in the schema's order and as stored.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) row: RowId,
    pub(crate) id: PointId,
    pub(crate) vectors: Vectors,
    pub(crate) payload: Payload,
}

impl Stored {
    /// About how many bytes of memory it takes: each piece of the heap with what the allocator adds to it.
    pub(crate) fn ram_bytes(&self) -> usize {
        let own = size_of::<Self>() + 2 * size_of::<usize>() + PIECE_BYTES;
        let places = size_of_val(&self.vectors[..]) + PIECE_BYTES;
        let vectors: usize = self.vectors.iter().flatten().map(|vector| vector.len() + PIECE_BYTES).sum();
        own + places + vectors + self.payload.ram_bytes()
    }
}

/// One change of a collection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A point appears; if there was one of its id, that one's row dies.
    Put { point: Arc<Stored>, replaced: Option<RowId> },
    /// The point at a row disappears.
    Delete { row: RowId },
}

/// The bytes of changes that take effect together.
pub(crate) fn encode_changes(changes: &[Change]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.varint(changes.len() as u64);
    for change in changes {
        match change {
            Change::Put { point, replaced } => {
                out.u8(PUT).u32(point.row.0).u32(replaced.map_or(NO_ROW, |row| row.0));
                out.raw(&point.id.key());
                for vector in &point.vectors {
                    out.u8(vector.is_some().into());
                    out.raw(vector.as_deref().unwrap_or_default());
                }
                out.bytes(&encode_payload(&point.payload));
            }
            Change::Delete { row } => {
                out.u8(DELETE).u32(row.0);
            }
        }
    }
    out.into_bytes()
}

/// Changes from their bytes; `path` and `at` are where those come from.
pub(crate) fn decode_changes(
    bytes: &[u8],
    schema: &Schema,
    path: &Path,
    at: u64,
) -> Result<Vec<Change>, StorageError> {
    let mut decoder = Decoder::new(bytes, path, at);
    let count = decoder.varint()?;
    let mut changes = Vec::new();
    for _ in 0..count {
        let at = decoder.offset();
        changes.push(match decoder.u8()? {
            PUT => decode_put(&mut decoder, schema, path)?,
            DELETE => Change::Delete { row: RowId(decoder.u32()?) },
            other => return Err(decoder.wrong(at, "kind of change", other.into(), PUT.into())),
        });
    }
    decoder.finish()?;
    Ok(changes)
}

fn decode_put(decoder: &mut Decoder<'_>, schema: &Schema, path: &Path) -> Result<Change, StorageError> {
    let (row, replaced) = (RowId(decoder.u32()?), decoder.u32()?);
    let replaced = (replaced != NO_ROW).then_some(RowId(replaced));
    let id = decode_id(decoder)?;
    let mut vectors = Vec::with_capacity(schema.len());
    for (_, config) in schema.vectors() {
        let at = decoder.offset();
        vectors.push(match decoder.u8()? {
            0 => None,
            1 => Some(decoder.raw(config.shape().row_bytes())?.into()),
            other => return Err(decoder.wrong(at, "mark of a vector", other.into(), 1)),
        });
    }
    let at = decoder.offset();
    let payload = Payload::decode(Decoder::new(decoder.bytes()?, path, at + 4))?;
    Ok(Change::Put { point: Arc::new(Stored { row, id, vectors, payload }), replaced })
}

fn decode_id(decoder: &mut Decoder<'_>) -> Result<PointId, StorageError> {
    let at = decoder.offset();
    let key = decoder.raw(ID_BYTES)?;
    PointId::from_key(key).ok_or_else(|| decoder.wrong(at, "point id", key[0].into(), 0))
}

/// What a file of points has of a point under its row: id and payload.
pub(crate) fn encode_document(id: PointId, payload: &Payload) -> Vec<u8> {
    let mut out = id.key().to_vec();
    out.extend_from_slice(&encode_payload(payload));
    out
}

/// The id and payload of a point from a file of points.
pub(crate) fn decode_document(bytes: &[u8], path: &Path) -> Result<(PointId, Payload), StorageError> {
    let mut decoder = Decoder::new(bytes, path, 0);
    let id = decode_id(&mut decoder)?;
    let rest = decoder.raw(decoder.remaining())?;
    Ok((id, Payload::decode(Decoder::new(rest, path, ID_BYTES as u64))?))
}

fn encode_payload(payload: &Payload) -> Vec<u8> {
    let mut out = Vec::new();
    // Payloads are checked before they come here.
    let encoded = payload.encode(&mut out);
    debug_assert!(encoded.is_ok());
    out
}

/// The key of a row in files that sort by row.
pub(crate) fn row_key(row: RowId) -> [u8; 4] {
    row.0.to_be_bytes()
}

/// The row of such a key.
pub(crate) fn row_of(key: &[u8], path: &Path) -> Result<RowId, StorageError> {
    match key.try_into() {
        Ok(bytes) => Ok(RowId(u32::from_be_bytes(bytes))),
        Err(_) => Err(StorageError::corrupt(path, 0, "bytes of a row number", key.len() as u64, 4)),
    }
}
