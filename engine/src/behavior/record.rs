//! What a record of the log says.

use std::path::Path;
use std::sync::Arc;

use nearline_index::IndexError;
use nearline_index::sdim::SignFamily;
use nearline_storage::{Decoder, Encoder, StorageError};

use super::SourceOffset;
use super::epochs::Epochs;
use super::history::{Embedding, Event, History, Inline, decode_vector};
use super::manifest::FIRST;

const APPEND: u8 = 1;
const DELETE: u8 = 2;
const BEFORE: u8 = 3;
const TRUNCATE: u8 = 4;
const ITEMS: u8 = 5;
/// Items of embeddings of a later epoch.
const ITEMS_OF: u8 = 6;

/// A write. What becomes of it follows from what is there, and from nothing else.
#[derive(Debug)]
pub(super) enum Write {
    Append {
        source: Option<SourceOffset>,
        events: Vec<(u64, Event)>,
    },
    Delete {
        user: u64,
        ids: Vec<u64>,
    },
    Before {
        user: u64,
        time: i64,
    },
    Truncate {
        user: u64,
        keep: u64,
    },
    /// Of the embeddings that this epoch was the first of.
    Items(u32, Vec<(u64, Arc<Embedding>)>),
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
            Self::Items(..) => Vec::new(),
        }
    }

    /// Whether applying it needs the stored events of a user of it.
    pub(super) fn asks_stored(&self, user: u64, history: &History) -> bool {
        match self {
            Self::Append { events, .. } => {
                events.iter().any(|(of, event)| *of == user && history.asks_stored(event))
            }
            Self::Delete { .. } | Self::Before { .. } | Self::Truncate { .. } => history.stored.len > 0,
            Self::Items(..) => false,
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
                    encode_inline(&mut out, event.inline.as_ref());
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
            Self::Items(of, items) => {
                match *of {
                    FIRST => out.u8(ITEMS),
                    of => out.u8(ITEMS_OF).u32(of),
                };
                out.u32(items.len() as u32);
                for (item, embedding) in items {
                    out.u64(*item);
                    encode_vector(&mut out, embedding);
                }
            }
        }
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8], path: &Path, epochs: &Epochs) -> Result<Self, StorageError> {
        let mut decoder = Decoder::new(bytes, path, 0);
        let write = match decoder.u8()? {
            APPEND => decode_append(&mut decoder, epochs)?,
            DELETE => {
                let (user, count) = (decoder.u64()?, decoder.u32()?);
                let ids = (0..count).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
                Self::Delete { user, ids }
            }
            BEFORE => Self::Before { user: decoder.u64()?, time: decoder.u64()? as i64 },
            TRUNCATE => Self::Truncate { user: decoder.u64()?, keep: decoder.u64()? },
            kind @ (ITEMS | ITEMS_OF) => {
                let of = if kind == ITEMS { FIRST } else { decoder.u32()? };
                let count = decoder.u32()?;
                let item = |_| Ok((decoder.u64()?, decode_embedding(&mut decoder, epochs, of)?));
                Self::Items(of, (0..count).map(item).collect::<Result<_, StorageError>>()?)
            }
            other => return Err(decoder.wrong(0, "kind of a write", u64::from(other), u64::from(ITEMS_OF))),
        };
        decoder.finish()?;
        Ok(write)
    }
}

fn decode_append(decoder: &mut Decoder<'_>, epochs: &Epochs) -> Result<Write, StorageError> {
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
        let of = match decoder.u8()? {
            0 => None,
            2 => Some(decoder.u32()?),
            _ => Some(FIRST),
        };
        let inline =
            of.map(|of| Ok(Inline { of, embedding: decode_embedding(decoder, epochs, of)? })).transpose()?;
        events.push((user, Event { time, id, item, inline }));
    }
    Ok(Write::Append { source, events })
}

fn encode_inline(out: &mut Encoder, inline: Option<&Inline>) {
    match inline {
        None => out.u8(0),
        Some(Inline { of: FIRST, .. }) => out.u8(1),
        Some(Inline { of, .. }) => out.u8(2).u32(*of),
    };
    inline.iter().for_each(|inline| encode_vector(out, &inline.embedding));
}

fn encode_vector(out: &mut Encoder, embedding: &Arc<Embedding>) {
    for &value in embedding.vector.iter() {
        out.f32(value);
    }
}

fn decode_embedding(
    decoder: &mut Decoder<'_>,
    epochs: &Epochs,
    of: u32,
) -> Result<Arc<Embedding>, StorageError> {
    let at = decoder.offset();
    let unknown = || decoder.wrong(at, "epoch of a vector", u64::from(of), u64::from(FIRST));
    let family = &epochs.signer(of).ok_or_else(unknown)?.family;
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
