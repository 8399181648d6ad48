//! The small file of a table: which of its files is live.

use nearline_storage::{Disk, Encoder, ReadRange, StorageError, read_record, replace_record};

/// What is live.
pub(super) const TABLE: &str = "TABLE";
const KIND: [u8; 4] = *b"ETBL";
const VERSION: u16 = 1;

/// Which file is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) store_id: u64,
    /// The number of the file.
    pub(super) number: u64,
    /// Everything up to this record of the log is in it.
    pub(super) lsn: u64,
    /// Where its directory is.
    pub(super) directory: ReadRange,
}

impl Manifest {
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut out = Encoder::new();
        out.u16(VERSION).u64(self.store_id).u64(self.number).u64(self.lsn);
        out.u64(self.directory.offset).u64(self.directory.bytes as u64);
        replace_record(disk, TABLE, KIND, out.as_bytes())
    }

    pub(super) fn read(disk: &dyn Disk) -> Result<Self, StorageError> {
        let path = disk.root().join(TABLE);
        read_record(disk, TABLE, KIND, |decoder| {
            match decoder.u16()? {
                VERSION => {}
                found => return Err(StorageError::Version { file: path, found, supported: VERSION }),
            }
            let (store_id, number, lsn) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
            let directory = ReadRange { offset: decoder.u64()?, bytes: decoder.u64()? as usize };
            Ok(Self { store_id, number, lsn, directory })
        })
    }

    /// The name of the live file.
    pub(super) fn file_name(&self) -> String {
        file_name(self.number)
    }

    /// What tells it from all others.
    pub(super) fn file_id(&self) -> u64 {
        file_id(self.store_id, self.number)
    }
}

/// The name of a file.
pub(super) fn file_name(number: u64) -> String {
    format!("segments.{number:06}")
}

/// The number of a file.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("segments.")?.parse().ok()
}

/// What tells a file from all others.
pub(super) fn file_id(store_id: u64, number: u64) -> u64 {
    store_id ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
