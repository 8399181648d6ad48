//! A part of a folder: the files whose names begin in one way.

use std::path::Path;
use std::sync::Arc;

use crate::disk::{BatchFiles, Disk, DiskFile, FolderLock, LockMode};
use crate::error::Result;

/// The files of another disk whose names begin with a prefix, without it: so that what wants a folder for itself can live in
/// that of somebody else.
///
/// Its lock is that of the folder, which its owner holds: taking it always succeeds.
#[derive(Clone, Debug)]
pub struct PartDisk {
    whole: Arc<dyn Disk>,
    prefix: String,
}

impl PartDisk {
    /// The part of `whole` with this prefix.
    pub fn new(whole: Arc<dyn Disk>, prefix: impl Into<String>) -> Self {
        Self { whole, prefix: prefix.into() }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Disk for PartDisk {
    fn root(&self) -> &Path {
        self.whole.root()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        self.whole.open(&self.name(name))
    }

    fn open_rw(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        self.whole.open_rw(&self.name(name))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        self.whole.create(&self.name(name))
    }

    fn list(&self) -> Result<Vec<String>> {
        let all = self.whole.list()?;
        Ok(all.iter().filter_map(|name| name.strip_prefix(&self.prefix)).map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.whole.rename(&self.name(from), &self.name(to))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.whole.remove(&self.name(name))
    }

    fn sync_dir(&self) -> Result<()> {
        self.whole.sync_dir()
    }

    fn open_batch(&self, names: &[&str]) -> Result<Arc<dyn BatchFiles>> {
        let names: Vec<String> = names.iter().map(|name| self.name(name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.whole.open_batch(&names)
    }

    fn lock(&self, _: LockMode) -> Result<FolderLock> {
        Ok(FolderLock::of_owner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn parts_do_not_see_each_other() {
        let whole: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let part = |prefix: &str| PartDisk::new(Arc::clone(&whole), prefix);
        let (a, b) = (part("a."), part("b."));
        a.create("file").unwrap().write_at(0, b"of a").unwrap();
        b.create("file").unwrap().write_at(0, b"of b").unwrap();
        a.rename("file", "other").unwrap();
        assert_eq!(
            (a.list().unwrap(), b.list().unwrap()),
            (vec!["other".to_owned()], vec!["file".to_owned()])
        );
        let mut read = [0; 4];
        b.open("file").unwrap().read_at(0, &mut read).unwrap();
        assert_eq!(&read, b"of b");
        assert!(a.open("file").is_err());
        b.remove("file").unwrap();
        a.sync_dir().unwrap();
        assert_eq!(whole.list().unwrap(), ["a.other"]);
        let (_one, _two) = (a.lock(LockMode::Exclusive).unwrap(), b.lock(LockMode::Exclusive).unwrap());
    }
}
