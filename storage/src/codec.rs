//! Checked little-endian values: what is written with an [`Encoder`] is read back with a [`Decoder`], which
//! answers bad bytes with an error that names file and offset.

use std::path::Path;

use crate::error::{Result, StorageError};

/// Appends little-endian values to a byte vector. Every method returns the encoder, so that calls can be chained.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// An encoder without any bytes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends the four bytes of a float, NaN payloads included.
    pub fn f32(&mut self, value: f32) -> &mut Self {
        self.u32(value.to_bits())
    }

    /// Appends the eight bytes of a float, NaN payloads included.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.u64(value.to_bits())
    }

    /// Appends a number as a varint: seven bits a byte, lowest first; the high bit says that more follow.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8)
    }

    /// Appends a `u32` length and then the bytes.
    ///
    /// # Panics
    /// If there are 4 GiB of them or more; large sections are blobs.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let len = u32::try_from(value.len()).expect("a length-prefixed field stays under 4 GiB");
        self.u32(len).raw(value)
    }

    /// Appends a `u32` length in bytes and then the text.
    ///
    /// # Panics
    /// As [`Encoder::bytes`].
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// Appends bytes as they are, without a length.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, at the end.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Takes little-endian values from a section of a file.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    file: &'a Path,
    base: u64,
}

impl<'a> Decoder<'a> {
    /// Decodes `bytes`, which lie at `base_offset` of the file at `path`; both only appear in errors.
    pub fn new(bytes: &'a [u8], path: &'a Path, base_offset: u64) -> Self {
        Self { bytes, at: 0, file: path, base: base_offset }
    }

    /// Takes a byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Takes two bytes.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Takes four bytes.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Takes eight bytes.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Takes a float of four bytes. Any bit pattern passes, NaN and infinities too.
    pub fn f32(&mut self) -> Result<f32> {
        Ok(f32::from_bits(self.u32()?))
    }

    /// Takes a float of eight bytes. Any bit pattern passes, NaN and infinities too.
    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// Takes a varint: at most ten bytes, and no more bits than a `u64` has.
    pub fn varint(&mut self) -> Result<u64> {
        let start = self.offset();
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong(start, "last byte of a varint", u64::from(self.bytes[self.at - 1]), 1))
    }

    /// Takes a `u32` length and that many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()?;
        self.raw(len as usize)
    }

    /// Takes a `u32` length and that many bytes of UTF-8.
    pub fn str(&mut self) -> Result<&'a str> {
        let bytes = self.bytes()?;
        let start = self.offset() - bytes.len() as u64;
        std::str::from_utf8(bytes).map_err(|error| {
            let valid = error.valid_up_to() as u64;
            self.wrong(start, "number of leading UTF-8 bytes", valid, bytes.len() as u64)
        })
    }

    /// Takes `len` bytes as they are.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            let end = self.base + self.bytes.len() as u64;
            return Err(StorageError::unexpected_end(self.file, self.offset(), len as u64, end));
        };
        self.at += len;
        Ok(taken)
    }

    /// Where in the file the next value lies.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// How many bytes are left: the bound for any count that is about to size an allocation.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// An error saying that the value that was just decoded, at `offset`, is wrong.
    pub fn wrong(&self, offset: u64, what: &'static str, found: u64, expected: u64) -> StorageError {
        StorageError::corrupt(self.file, offset, what, found, expected)
    }

    /// Ends decoding; bytes that are left over are an error.
    pub fn finish(self) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.wrong(self.offset(), "number of trailing bytes", left as u64, 0)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.u8(1).u16(2).u32(3).u64(4).f32(-0.5).f64(1e300).bytes(b"abc").str("grün");
        encoder.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<()> {
        let mut decoder = Decoder::new(bytes, Path::new("f"), 4096);
        assert_eq!(decoder.u8()?, 1);
        assert_eq!(decoder.u16()?, 2);
        assert_eq!(decoder.u32()?, 3);
        assert_eq!(decoder.u64()?, 4);
        assert_eq!(decoder.f32()?, -0.5);
        assert_eq!(decoder.f64()?, 1e300);
        assert_eq!(decoder.bytes()?, b"abc");
        assert_eq!(decoder.str()?, "grün");
        decoder.finish()
    }

    #[test]
    fn what_goes_in_comes_out() {
        decode(&sample()).unwrap();
    }

    #[test]
    fn every_truncation_and_every_extra_byte_is_refused() {
        let good = sample();
        for len in 0..good.len() {
            let error = decode(&good[..len]).unwrap_err();
            let StorageError::UnexpectedEnd { len: end, .. } = error else { panic!("{len}: {error}") };
            assert_eq!(end, 4096 + len as u64);
        }
        let long = [good, vec![0]].concat();
        assert!(matches!(decode(&long), Err(StorageError::Corrupt { found: 1, expected: 0, .. })));
    }

    #[test]
    fn varints_of_every_length_come_back_and_longer_ones_are_refused() {
        let ends = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, u64::MAX >> bit]);
        for value in ends {
            let mut encoder = Encoder::new();
            let bytes = encoder.varint(value).as_bytes();
            assert_eq!(bytes.len(), (64 - value.leading_zeros()).div_ceil(7).max(1) as usize);
            let mut decoder = Decoder::new(bytes, Path::new("f"), 0);
            assert_eq!((decoder.varint().unwrap(), decoder.remaining()), (value, 0));
            for cut in 0..bytes.len() {
                assert!(Decoder::new(&bytes[..cut], Path::new("f"), 0).varint().is_err());
            }
        }
        for last in [2, 0x80, 0xff] {
            let bytes = [[0xff; 9].as_slice(), &[last, 0]].concat();
            let error = Decoder::new(&bytes, Path::new("f"), 7).varint().unwrap_err();
            assert!(matches!(error, StorageError::Corrupt { offset: 7, .. }), "{error}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let mut encoder = Encoder::new();
        encoder.bytes(&[b'a', 0xff]);
        let bytes = encoder.into_bytes();
        let error = Decoder::new(&bytes, Path::new("f"), 100).str().unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { offset: 104, found: 1, expected: 2, .. }), "{error}");
    }
}
