//! The one checksum of the format: CRC-32C, keyed by where the bytes belong.

/// A CRC-32C over some bytes. Keyed with [`Checksum::keyed`] it also covers the place they were written to, so
/// that good bytes read from the wrong place do not pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum(u32);

impl Checksum {
    /// The checksum of `bytes`, wherever they are.
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc32c::crc32c(bytes))
    }

    /// The start of a checksum over bytes that belong at `offset` of the file `file_id`.
    pub fn keyed(file_id: u64, offset: u64) -> Self {
        Self::of(&file_id.to_le_bytes()).update(&offset.to_le_bytes())
    }

    /// A checksum that was stored, to go on with.
    pub fn from_value(value: u32) -> Self {
        Self(value)
    }

    /// Goes on over more bytes.
    #[must_use]
    pub fn update(self, bytes: &[u8]) -> Self {
        Self(crc32c::crc32c_append(self.0, bytes))
    }

    /// The value as it is stored.
    pub fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_the_standard_one() {
        assert_eq!(Checksum::of(b"123456789").value(), 0xe306_9283);
        assert_eq!(Checksum::of(b"1234").update(b"56789"), Checksum::of(b"123456789"));
    }

    #[test]
    fn the_place_is_part_of_it() {
        let here = Checksum::keyed(7, 4096).update(b"x");
        assert_ne!(here, Checksum::keyed(7, 8192).update(b"x"));
        assert_ne!(here, Checksum::keyed(8, 4096).update(b"x"));
    }
}
