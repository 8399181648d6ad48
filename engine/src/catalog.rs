//! The catalog of a database: which collections there are, and what they are called.

use std::collections::BTreeMap;

use nearline_storage::{Decoder, Disk, Encoder, StorageError, read_record, replace_record};

use crate::error::OpenError;

/// The catalog's name.
pub(crate) const CATALOG: &str = "DATABASE";
const KIND: [u8; 4] = *b"DATA";

/// Where a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The number of its folder.
    pub(crate) number: u64,
}

/// All collections and aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// The number that the next collection gets.
    pub(crate) next_number: u64,
    pub(crate) collections: BTreeMap<String, Entry>,
    /// Other names, and the collections they stand for.
    pub(crate) aliases: BTreeMap<String, String>,
    /// Behaviour spaces; their names have nothing to do with those of collections.
    pub(crate) spaces: BTreeMap<String, Entry>,
    /// Embedding tables, likewise.
    pub(crate) tables: BTreeMap<String, Entry>,
}

impl Default for Catalog {
    fn default() -> Self {
        let (collections, aliases) = (BTreeMap::new(), BTreeMap::new());
        Self { next_number: 1, collections, aliases, spaces: BTreeMap::new(), tables: BTreeMap::new() }
    }
}

impl Catalog {
    /// The collection of a name or alias.
    pub(crate) fn resolve(&self, name: &str) -> Result<(&str, Entry), OpenError> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        let found = self.collections.get_key_value(name);
        let missing = || OpenError::Missing { what: "collection", name: name.to_owned() };
        found.map(|(name, entry)| (name.as_str(), *entry)).ok_or_else(missing)
    }

    /// What the collection of a number is called; nothing if there is none.
    pub(crate) fn name_of(&self, number: u64) -> Option<&str> {
        let mut all = self.collections.iter();
        all.find(|(_, entry)| entry.number == number).map(|(name, _)| name.as_str())
    }

    /// The number of a new folder. Not even a collection that could not be made leaves its number to another.
    pub(crate) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Refuses a name that is in use.
    pub(crate) fn check_free(&self, name: &str) -> Result<(), OpenError> {
        let exists = |what| Err(OpenError::Exists { what, name: name.to_owned() });
        match (self.collections.contains_key(name), self.aliases.contains_key(name)) {
            (true, _) => exists("collection"),
            (_, true) => exists("alias"),
            _ => Ok(()),
        }
    }

    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut out = Encoder::new();
        out.u64(self.next_number).u32(self.collections.len() as u32);
        for (name, entry) in &self.collections {
            out.str(name).u64(entry.number);
        }
        out.u32(self.aliases.len() as u32);
        for (alias, name) in &self.aliases {
            out.str(alias).str(name);
        }
        // Without any, the catalog is what it was before there could be some.
        let kinds: &[_] = match (self.spaces.is_empty(), self.tables.is_empty()) {
            (true, true) => &[],
            (false, true) => &[&self.spaces],
            (_, false) => &[&self.spaces, &self.tables],
        };
        for kind in kinds {
            out.u32(kind.len() as u32);
            for (name, entry) in kind.iter() {
                out.str(name).u64(entry.number);
            }
        }
        replace_record(disk, CATALOG, KIND, out.as_bytes())
    }

    /// Reads the catalog.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Self, StorageError> {
        read_record(disk, CATALOG, KIND, Self::decode)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let mut catalog = Self { next_number: decoder.u64()?, ..Self::default() };
        for _ in 0..decoder.u32()? {
            let name = decoder.str()?.to_owned();
            catalog.collections.insert(name, Entry { number: decoder.u64()? });
        }
        for _ in 0..decoder.u32()? {
            let alias = decoder.str()?.to_owned();
            catalog.aliases.insert(alias, decoder.str()?.to_owned());
        }
        for kind in [&mut catalog.spaces, &mut catalog.tables] {
            let entries = if decoder.remaining() > 0 { decoder.u32()? } else { 0 };
            for _ in 0..entries {
                let name = decoder.str()?.to_owned();
                kind.insert(name, Entry { number: decoder.u64()? });
            }
        }
        Ok(catalog)
    }
}

#[cfg(test)]
mod tests {
    use nearline_storage::SimDisk;

    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let disk = SimDisk::new(0);
        let mut catalog = Catalog { next_number: 3, ..Catalog::default() };
        catalog.collections.insert("points".to_owned(), Entry { number: 1 });
        catalog.aliases.insert("p".to_owned(), "points".to_owned());
        catalog.write(&disk).unwrap();
        assert_eq!(Catalog::read(&disk).unwrap(), catalog);
        catalog.spaces.insert("clicks".to_owned(), Entry { number: 2 });
        catalog.write(&disk).unwrap();
        assert_eq!(Catalog::read(&disk).unwrap(), catalog);
        catalog.tables.insert("items".to_owned(), Entry { number: 4 });
        catalog.write(&disk).unwrap();
        assert_eq!(Catalog::read(&disk).unwrap(), catalog);
        catalog.spaces.clear();
        catalog.write(&disk).unwrap();
        assert_eq!(Catalog::read(&disk).unwrap(), catalog);
        let bytes = disk.bytes(CATALOG).unwrap();
        for bit in 0..bytes.len() as u64 * 8 {
            disk.flip_bit(CATALOG, bit);
            assert!(Catalog::read(&disk).is_err(), "bit {bit}");
            disk.flip_bit(CATALOG, bit);
        }
        for len in 0..bytes.len() as u64 {
            disk.open_rw(CATALOG).unwrap().set_len(len).unwrap();
            assert!(Catalog::read(&disk).is_err(), "{len} bytes");
            disk.open_rw(CATALOG).unwrap().write_at(0, &bytes).unwrap();
        }
    }
}
