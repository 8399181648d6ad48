//! What a record of the log says.

use std::path::Path;
use std::sync::Arc;

use nearline_index::IndexError;
use nearline_index::sdim::SignFamily;
use nearline_storage::{Decoder, Encoder, StorageError};

use super::SourceOffset;
use super::history::{Embedding, Event, History, decode_vector};

const APPEND: u8 = 1;
const DELETE: u8 = 2;
const BEFORE: u8 = 3;
const TRUNCATE: u8 = 4;
const ITEMS: u8 = 5;

/// A write. What becomes of it follows from what is there, and from nothing else.
#[derive(Debug)]
pub(super) enum Write {
    Append { source: Option<SourceOffset>, events: Vec<(u64, Event)> },
    Delete { user: u64, ids: Vec<u64> },
    Before { user: u64, time: i64 },
    Truncate { user: u64, keep: u64 },
    Items(Vec<(u64, Arc<Embedding>)>),
}

impl Write {
    /// All users it is about.
    pub(super) fn users(&self) -> Vec<u64> {
        match self {
            Self::Append { events, .. } => {
                let mut users: Vec<u64> = events.iter().map(|(user, _)| *user).collect();
                users.sort_unstable();
                users.dedup();
                users
            }
            Self::Delete { user, .. } | Self::Before { user, .. } | Self::Truncate { user, .. } => {
                vec![*user]
            }
            Self::Items(_) => Vec::new(),
        }
    }

    /// Whether applying it needs the stored events of a user of it.
    pub(super) fn asks_stored(&self, user: u64, history: &History) -> bool {
        match self {
            Self::Append { events, .. } => {
                events.iter().any(|(of, event)| *of == user && history.asks_stored(event))
            }
            Self::Delete { .. } | Self::Before { .. } | Self::Truncate { .. } => history.stored.len > 0,
            Self::Items(_) => false,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        match self {
            Self::Append { source, events } => {
                out.u8(APPEND).u8(u8::from(source.is_some()));
                if let Some(source) = source {
                    out.str(&source.source).u32(source.partition).u64(source.offset);
                }
                out.u32(events.len() as u32);
                for (user, event) in events {
                    out.u64(*user).u64(event.time as u64).u64(event.id).u64(event.item);
                    out.u8(u8::from(event.inline.is_some()));
                    event.inline.iter().for_each(|inline| encode_vector(&mut out, inline));
                }
            }
            Self::Delete { user, ids } => {
                out.u8(DELETE).u64(*user).u32(ids.len() as u32);
                for &id in ids.iter() {
                    out.u64(id);
                }
            }
            Self::Before { user, time } => {
                out.u8(BEFORE).u64(*user).u64(*time as u64);
            }
            Self::Truncate { user, keep } => {
                out.u8(TRUNCATE).u64(*user).u64(*keep);
            }
            Self::Items(items) => {
                out.u8(ITEMS).u32(items.len() as u32);
                for (item, embedding) in items {
                    out.u64(*item);
                    encode_vector(&mut out, embedding);
                }
            }
        }
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8], path: &Path, family: &SignFamily) -> Result<Self, StorageError> {
        let mut decoder = Decoder::new(bytes, path, 0);
        let write = match decoder.u8()? {
            APPEND => decode_append(&mut decoder, family)?,
            DELETE => {
                let (user, count) = (decoder.u64()?, decoder.u32()?);
                let ids = (0..count).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
                Self::Delete { user, ids }
            }
            BEFORE => Self::Before { user: decoder.u64()?, time: decoder.u64()? as i64 },
            TRUNCATE => Self::Truncate { user: decoder.u64()?, keep: decoder.u64()? },
            ITEMS => {
                let count = decoder.u32()?;
                let item = |_| Ok((decoder.u64()?, decode_embedding(&mut decoder, family)?));
                Self::Items((0..count).map(item).collect::<Result<_, StorageError>>()?)
            }
            other => return Err(decoder.wrong(0, "kind of a write", u64::from(other), u64::from(ITEMS))),
        };
        decoder.finish()?;
        Ok(write)
    }
}

fn decode_append(decoder: &mut Decoder<'_>, family: &SignFamily) -> Result<Write, StorageError> {
    let source = match decoder.u8()? {
        0 => None,
        _ => Some(SourceOffset {
            source: decoder.str()?.to_owned(),
            partition: decoder.u32()?,
            offset: decoder.u64()?,
        }),
    };
    let count = decoder.u32()?;
    let mut events = Vec::new();
    for _ in 0..count {
        let (user, time) = (decoder.u64()?, decoder.u64()? as i64);
        let (id, item) = (decoder.u64()?, decoder.u64()?);
        let inline = match decoder.u8()? {
            0 => None,
            _ => Some(decode_embedding(decoder, family)?),
        };
        events.push((user, Event { time, id, item, inline }));
    }
    Ok(Write::Append { source, events })
}

fn encode_vector(out: &mut Encoder, embedding: &Arc<Embedding>) {
    for &value in embedding.vector.iter() {
        out.f32(value);
    }
}

fn decode_embedding(decoder: &mut Decoder<'_>, family: &SignFamily) -> Result<Arc<Embedding>, StorageError> {
    let at = decoder.offset();
    let vector = decode_vector(decoder, family.shape().dim())?;
    // The checksum was right: who wrote it had hashed it.
    let signature = family.signatures(&vector).map_err(|_| decoder.wrong(at, "finite values", 0, 1))?;
    Ok(Arc::new(Embedding { vector, signature: signature.into() }))
}

/// Hashes vectors, back to back.
pub(super) fn embed(family: &SignFamily, vectors: &[f32]) -> Result<Vec<Arc<Embedding>>, IndexError> {
    let shape = family.shape();
    let signatures = family.signatures(vectors)?;
    let pairs = vectors.chunks_exact(shape.dim()).zip(signatures.chunks_exact(shape.words()));
    Ok(pairs
        .map(|(vector, signature)| Arc::new(Embedding { vector: vector.into(), signature: signature.into() }))
        .collect())
}
