//! A list as it is before a fold: what lies on disk, and what was added in memory.

use nearline_storage::Extents;

use crate::error::Result;
use crate::live::delta::DeltaList;
use crate::posting::Posting;
use crate::search::Inner;

/// A list.
pub(super) struct Old<'a> {
    pub(super) number: u32,
    disk: Posting<'a>,
    added: Option<(Posting<'a>, &'a [bool])>,
}

/// An entry of a list.
#[derive(Clone, Copy)]
pub(super) struct OldEntry<'a> {
    pub(super) list: &'a Posting<'a>,
    pub(super) at: usize,
    pub(super) row: u32,
    pub(super) is_copy: bool,
}

impl<'a> Old<'a> {
    /// Takes the next of all extents for the list of this number.
    pub(super) fn read(
        index: &Inner,
        number: u32,
        extents: &'a mut Extents<'_>,
        added: Option<&'a DeltaList>,
    ) -> Result<Self> {
        let (path, place) = (index.postings.file().path(), index.directory.place(number));
        let Some((range, extent)) = extents.next()? else {
            let (found, expected) = (u64::from(number), index.info.lists);
            let error = nearline_storage::StorageError::corrupt(
                path,
                index.postings.len(),
                "number of posting lists",
                found,
                expected,
            );
            return Err(error.into());
        };
        let disk = Posting::of(&extent, range.offset, path, number.into(), index.layout)?;
        place.check(range, &disk, path)?;
        let added = added.map(|list| (list.posting(index.layout), list.is_copy.as_slice()));
        Ok(Self { number, disk, added })
    }

    /// All entries, those on disk first.
    pub(super) fn entries(&self) -> impl Iterator<Item = OldEntry<'_>> {
        let on_disk = (0..self.disk.entries).map(|at| OldEntry {
            list: &self.disk,
            at,
            row: self.disk.row(at),
            is_copy: at >= self.disk.primaries,
        });
        let added = self.added.iter().flat_map(|(list, is_copy)| {
            let entry = |(at, &is_copy)| OldEntry { list, at, row: list.row(at), is_copy };
            is_copy.iter().enumerate().map(entry)
        });
        on_disk.chain(added)
    }
}
