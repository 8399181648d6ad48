//! What a record of a table's log says.

use std::path::Path;

use nearline_storage::{Decoder, Encoder, StorageError};

const PUT: u8 = 1;
const TRAIN: u8 = 2;
const PUT_AT: u8 = 3;
const TRAIN_AT: u8 = 4;
const EXPIRE: u8 = 5;
const LEVELS: u8 = 6;

/// A write. What becomes of it follows from the table before, and from nothing else. `at` is when it was, in seconds, where
/// rows come and go.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// Rows written anew.
    Put { ids: Vec<u64>, values: Vec<f32>, at: Option<u64> },
    /// A step of training.
    Train { ids: Vec<u64>, gradients: Vec<f32>, at: Option<u64> },
    /// What has expired goes.
    Expire,
    /// So many levels are in memory.
    Levels { active: u64 },
}

impl Write {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        let (kind, ids, values, at) = match self {
            Self::Put { ids, values, at: None } => (PUT, ids, values, None),
            Self::Train { ids, gradients, at: None } => (TRAIN, ids, gradients, None),
            Self::Put { ids, values, at } => (PUT_AT, ids, values, *at),
            Self::Train { ids, gradients, at } => (TRAIN_AT, ids, gradients, *at),
            Self::Expire => {
                out.u8(EXPIRE);
                return out.into_bytes();
            }
            Self::Levels { active } => {
                out.u8(LEVELS).u64(*active);
                return out.into_bytes();
            }
        };
        out.u8(kind);
        if let Some(seconds) = at {
            out.u64(seconds);
        }
        out.u32(ids.len() as u32).u32(values.len() as u32);
        for &id in ids {
            out.u64(id);
        }
        for &value in values {
            out.f32(value);
        }
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self, StorageError> {
        let mut decoder = Decoder::new(bytes, path, 0);
        let kind = decoder.u8()?;
        if kind == EXPIRE || kind == LEVELS {
            let write = if kind == EXPIRE { Self::Expire } else { Self::Levels { active: decoder.u64()? } };
            decoder.finish()?;
            return Ok(write);
        }
        if !(PUT..=TRAIN_AT).contains(&kind) {
            return Err(decoder.wrong(0, "kind of a write", u64::from(kind), u64::from(PUT)));
        }
        let at = if kind >= PUT_AT { Some(decoder.u64()?) } else { None };
        let (ids, values) = (decoder.u32()?, decoder.u32()?);
        let ids = (0..ids).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
        let values = (0..values).map(|_| decoder.f32()).collect::<Result<_, _>>()?;
        decoder.finish()?;
        Ok(match kind {
            PUT | PUT_AT => Self::Put { ids, values, at },
            _ => Self::Train { ids, gradients: values, at },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damaged_ones_are_refused() {
        let path = Path::new("wal");
        let (ids, values) = (vec![1, u64::MAX - 1], vec![0.5, -1.0]);
        for at in [None, Some(7)] {
            for write in [
                Write::Put { ids: ids.clone(), values: values.clone(), at },
                Write::Train { ids: ids.clone(), gradients: values.clone(), at },
                Write::Expire,
                Write::Levels { active: 3 },
            ] {
                let bytes = write.encode();
                assert_eq!(Write::decode(&bytes, path).unwrap(), write);
                for length in 0..bytes.len() {
                    assert!(Write::decode(&bytes[..length], path).is_err(), "{write:?} {length}");
                }
                assert!(Write::decode(&[&bytes[..], &[0]].concat(), path).is_err());
            }
        }
        assert!(Write::decode(&[7], path).is_err() && Write::decode(&[0], path).is_err());
    }
}
