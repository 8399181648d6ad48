//! What a record of a table's log says.

use std::path::Path;

use nearline_storage::{Decoder, Encoder, StorageError};

const PUT: u8 = 1;
const TRAIN: u8 = 2;

/// A write. What becomes of it follows from the table before, and from nothing else.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// Rows written anew.
    Put { ids: Vec<u64>, values: Vec<f32> },
    /// A step of training.
    Train { ids: Vec<u64>, gradients: Vec<f32> },
}

impl Write {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        let (kind, ids, values) = match self {
            Self::Put { ids, values } => (PUT, ids, values),
            Self::Train { ids, gradients } => (TRAIN, ids, gradients),
        };
        out.u8(kind).u32(ids.len() as u32).u32(values.len() as u32);
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
        let (kind, ids, values) = (decoder.u8()?, decoder.u32()?, decoder.u32()?);
        let ids = (0..ids).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
        let values = (0..values).map(|_| decoder.f32()).collect::<Result<_, _>>()?;
        let write = match kind {
            PUT => Self::Put { ids, values },
            TRAIN => Self::Train { ids, gradients: values },
            other => return Err(decoder.wrong(0, "kind of a write", u64::from(other), u64::from(PUT))),
        };
        decoder.finish()?;
        Ok(write)
    }
}
