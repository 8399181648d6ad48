//! The slots of a list's entries: their vectors' places in the order of nearest lists.

/// The slots of the entries of a list: those of primaries follow from the first, those of copies are listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots<'a> {
    /// Of the first primary.
    pub(crate) first: u32,
    pub(crate) primaries: usize,
    /// Of the copies, little-endian.
    pub(crate) copies: &'a [u8],
}

impl Slots<'_> {
    /// The slot of an entry.
    pub(crate) fn of(&self, entry: usize) -> u32 {
        match entry.checked_sub(self.primaries) {
            None => self.first.wrapping_add(entry as u32),
            Some(copy) => self.copies.get(copy * 4..copy * 4 + 4).map_or(0, u32_of),
        }
    }
}

/// Four bytes as a number.
pub(crate) fn u32_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
