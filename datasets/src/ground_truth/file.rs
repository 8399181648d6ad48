//! Ground truth on disk.

use std::path::Path;

use super::GroundTruth;
use crate::output::Output;
use crate::stream::{ByteStream, plain_len};
use crate::{DatasetError, Result, bin, format};

/// Bytes of an id and its distance.
const ENTRY: u64 = 8;
/// Words read at once, so that a header that lies cannot ask for much memory.
const STEP: usize = 1 << 18;

impl GroundTruth {
    /// Reads a file (any name; `.gz` at its end is undone) and checks its length.
    ///
    /// # Errors
    /// No queries, k = 0, a length other than the header's, a corrupt gzip stream, an I/O error.
    pub fn read(path: &Path) -> Result<GroundTruth> {
        let (_, gz) = format::extension(path);
        let mut stream = ByteStream::open(path, gz)?;
        let (queries, k) = bin::read_header(&mut stream)?;
        if queries == 0 || k == 0 {
            let found = format!("{queries} queries x {k}");
            return Err(DatasetError::header(path, "ground truth shape", found, "at least 1 x 1"));
        }
        let shape = || format!("ground truth of {queries} queries x {k}");
        let entries = u64::from(queries) * u64::from(k);
        let expected = entries.checked_mul(ENTRY).and_then(|bytes| bytes.checked_add(bin::HEADER as u64));
        let expected =
            expected.ok_or_else(|| DatasetError::header(path, "shape", shape(), "fewer than 2^64 bytes"))?;
        if !gz && plain_len(path)? != expected {
            return Err(stream.wrong_size(plain_len(path)?, expected, shape()));
        }
        let mut truth =
            GroundTruth { queries: queries as usize, k: k as usize, ids: Vec::new(), distances: Vec::new() };
        let complete = words(&mut stream, entries, |word| truth.ids.push(u32::from_le_bytes(word)))?
            && words(&mut stream, entries, |word| truth.distances.push(f32::from_le_bytes(word)))?;
        if !complete {
            return Err(stream.wrong_size(stream.position(), expected, shape()));
        }
        stream.expect_end(shape)?;
        Ok(truth)
    }

    /// Writes a plain file; it appears whole or not at all.
    ///
    /// # Errors
    /// Fields that contradict each other, a name ending in `.gz`, an I/O error.
    pub fn write(&self, path: &Path) -> Result<()> {
        let entries = self.queries.checked_mul(self.k).filter(|&n| n > 0);
        let (Ok(queries), Ok(k), true, false) = (
            u32::try_from(self.queries),
            u32::try_from(self.k),
            entries == Some(self.ids.len()) && entries == Some(self.distances.len()),
            format::extension(path).1,
        ) else {
            let found = format!(
                "{} x {} with {} ids and {} distances",
                self.queries,
                self.k,
                self.ids.len(),
                self.distances.len()
            );
            let what = format!("{}: ground truth to write", path.display());
            return Err(DatasetError::argument(what, found, "one id and distance each, in a plain file"));
        };
        let mut output = Output::create(path)?;
        let header = bin::header(queries, k);
        output.write(&header)?;
        for id in &self.ids {
            output.write(&id.to_le_bytes())?;
        }
        for distance in &self.distances {
            output.write(&distance.to_le_bytes())?;
        }
        output.finish(&header)
    }
}

/// Hands out `count` words; false if the stream ends before.
fn words(stream: &mut ByteStream, count: u64, mut take: impl FnMut([u8; 4])) -> Result<bool> {
    let mut buffer = vec![0; count.min(STEP as u64) as usize * 4];
    let mut left = count;
    while left > 0 {
        let step = left.min(STEP as u64);
        let filled = stream.fill(&mut buffer[..step as usize * 4])?;
        buffer[..filled].as_chunks::<4>().0.iter().for_each(|&word| take(word));
        if (filled as u64) < step * 4 {
            return Ok(false);
        }
        left -= step;
    }
    Ok(true)
}
