//! The file of codes: one section with what they were made with, and the codes. They can be made again from the vectors.

use std::path::Path;
use std::sync::Arc;

use nearline_storage::{
    BlobReader, BlobWriter, Decoder, Disk, Encoder, ExtentFile, ExtentFileWriter, FileHeader, PAGE,
    ReadRange, StorageError,
};

use super::super::Flat;
use super::{Errors, RowCodes, plane_bytes};
use crate::error::Result;
use crate::metric::Metric;
use crate::space::{Space, dim_of};

/// The kind of the file, and of its extents.
const FILE_KIND: [u8; 4] = *b"CODE";
const EXTENT_KIND: u16 = 40;
/// Bits, seed, largest norm, errors, vectors.
const HEAD: usize = 1 + 8 + 8 + 2 * 4 + 8;

impl RowCodes {
    /// Writes the codes into a new file and makes its bytes survive a crash. Says how many they are.
    ///
    /// # Errors
    /// When there is a file of this name, or it cannot be written.
    pub fn write(&self, disk: &dyn Disk, name: &str, file_id: u64) -> Result<u64> {
        let mut head = Encoder::new();
        head.u8(self.bits()).u64(self.seed).f64(self.space.norm_max);
        let Errors { signs, all_bits } = self.errors;
        head.f32(signs).f32(all_bits).u64(self.rows as u64);
        head.raw(bytemuck::cast_slice(&self.space.mean));
        let mut writer = ExtentFileWriter::create(disk, name, FileHeader { kind: FILE_KIND, file_id })?;
        let mut blob = BlobWriter::new(&mut writer, EXTENT_KIND);
        blob.write(head.as_bytes())?;
        blob.write(&self.signs)?;
        blob.write(&self.planes)?;
        let range = blob.finish()?;
        writer.sync()?;
        Ok(range.end())
    }

    /// Reads the codes of the vectors of a file.
    ///
    /// # Errors
    /// When there is no such file, it is another one, it is damaged, or has codes of other vectors than these.
    pub fn read(disk: &dyn Disk, name: &str, file_id: u64, metric: Metric, flat: &Flat) -> Result<Self> {
        let file = ExtentFile::open(disk, name, FILE_KIND)?;
        let path = file.file().path();
        if file.file_id() != file_id {
            let found = file.file_id();
            return Err(StorageError::corrupt(path, 0, "identity of the file", found, file_id).into());
        }
        let range = ReadRange { offset: PAGE as u64, bytes: file.len().saturating_sub(PAGE as u64) as usize };
        let mut blob = BlobReader::new(&file, EXTENT_KIND, range)?;
        let dim = dim_of(metric, flat.layout.shape);
        let mut head = vec![0; HEAD + dim * 4];
        blob.read(&mut head)?;
        let mut codes = Self::from_head(&head, path, metric, flat)?;
        let mut signs = vec![0; codes.shape.blocks(codes.rows) * codes.shape.block_bytes()];
        blob.read(&mut signs)?;
        codes.signs = Arc::new(signs);
        blob.read(&mut codes.planes)?;
        blob.finish()?;
        Ok(codes)
    }

    /// Codes that are still zero.
    fn from_head(head: &[u8], path: &Path, metric: Metric, flat: &Flat) -> Result<Self> {
        let mut head = Decoder::new(head, path, PAGE as u64);
        let at = head.offset();
        let bits = head.u8()?;
        if !Self::BITS.contains(&bits) {
            return Err(head.wrong(at, "bits of codes", bits.into(), Self::BITS[0].into()).into());
        }
        let seed = head.u64()?;
        let at = head.offset();
        let norm_max = head.f64()?;
        let errors = Errors { signs: head.f32()?, all_bits: head.f32()? };
        if !(norm_max.is_finite() && errors.signs >= 0.0 && errors.all_bits >= 0.0) {
            return Err(head.wrong(at, "norm or errors of codes", norm_max.to_bits(), 0).into());
        }
        let at = head.offset();
        let vectors = head.u64()?;
        if vectors != flat.rows() {
            return Err(head.wrong(at, "vectors that have codes", vectors, flat.rows()).into());
        }
        let mut space = Space::new(metric, flat.layout.shape, norm_max, seed);
        for mean in &mut space.mean {
            *mean = head.f32()?;
        }
        head.finish()?;
        let mut codes = Self::empty(space, seed, bits, vectors as usize);
        codes.planes.resize(vectors as usize * plane_bytes(codes.shape), 0);
        Ok(Self { errors, ..codes })
    }
}
