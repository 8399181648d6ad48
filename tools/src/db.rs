//! Databases and their collections, for all subcommands that open them.

use std::fs;
use std::path::{Path, PathBuf};

use nearline::{Collection, Database, Point, Vector};
use nearline_datasets::ElementType;

use crate::size::Size;
use crate::{args, exit};

/// Which database, and how it is opened.
#[derive(clap::Args)]
pub(crate) struct DbArgs {
    /// Folder of the database
    #[arg(long)]
    pub(crate) db: PathBuf,
    /// Memory for points that are not in files yet, and for what was read from files
    #[arg(long, default_value = "256MiB")]
    pub(crate) memory: Size,
    /// How the disk is read [default: NEARLINE_IO, or auto]
    #[arg(long, value_enum)]
    pub(crate) io: Option<args::Io>,
}

impl DbArgs {
    /// Opens the database that is there.
    pub(crate) fn open(&self) -> anyhow::Result<Database> {
        self.open_or_create(false)
    }

    /// Opens the database, or makes one if that is wanted.
    pub(crate) fn open_or_create(&self, create: bool) -> anyhow::Result<Database> {
        if create {
            check_place(&self.db)?;
        }
        let builder = Database::builder(&self.db).memory_budget(self.memory.0);
        Ok(builder.io(args::io_mode(self.io)?).create(create).open()?)
    }
}

/// Refuses a folder with files of others to make a database in. That of an index becomes a database.
fn check_place(folder: &Path) -> anyhow::Result<()> {
    if Database::is_in(folder) || folder.join(INDEX).is_file() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_ours = |name: &String| name.starts_with(CATALOG) || ALLOWED.contains(&name.as_str());
    match names.find(|name| !is_ours(name)) {
        None => Ok(()),
        Some(name) => Err(exit::usage(format!(
            "{}: found {name} and no database; expected a database, or an empty or new folder to make one in",
            folder.display()
        ))),
    }
}

/// What the folder of an index has in it.
const INDEX: &str = "MANIFEST";
/// How files begin that a crash leaves of a database that was just being made, and what else a folder may have in it that becomes one:
/// the lock of such a crash, and what the root of a file system has.
const CATALOG: &str = "DATABASE";
const ALLOWED: [&str; 2] = ["LOCK", "lost+found"];

/// Which collection of which database.
#[derive(clap::Args)]
pub(crate) struct CollectionArgs {
    #[command(flatten)]
    pub(crate) db: DbArgs,
    /// Name or alias of the collection
    #[arg(long)]
    pub(crate) collection: String,
}

impl CollectionArgs {
    /// Opens the collection that is there.
    pub(crate) fn open(&self) -> anyhow::Result<(Database, Collection)> {
        let database = self.db.open()?;
        let collection = database.collection(&self.collection)?;
        Ok((database, collection))
    }
}

/// What the oracle's side calls an element type.
pub(crate) fn element(element: nearline::ElementType) -> ElementType {
    match element {
        nearline::ElementType::F32 => ElementType::F32,
        nearline::ElementType::F16 => ElementType::F16,
        nearline::ElementType::U8 => ElementType::U8,
        nearline::ElementType::I8 => ElementType::I8,
    }
}

/// A vector from the bytes of a file.
pub(crate) fn vector(element: ElementType, bytes: &[u8]) -> Vector {
    match element {
        ElementType::U8 => Vector::U8(bytes.to_vec()),
        ElementType::I8 => Vector::I8(bytes.iter().map(|byte| byte.cast_signed()).collect()),
        ElementType::F32 | ElementType::F16 => {
            let mut wide = vec![0.0; bytes.len() / element.bytes()];
            element.widen(bytes, &mut wide);
            Vector::F32(wide)
        }
    }
}

/// The bytes of a point's vector for a file: the other way round, without loss.
pub(crate) fn bytes(point: &Point, name: &str, element: ElementType) -> Option<Vec<u8>> {
    match point.vectors.get(name)? {
        Vector::U8(values) => Some(values.clone()),
        Vector::I8(values) => Some(values.iter().map(|value| value.cast_unsigned()).collect()),
        Vector::F32(values) => {
            let mut out = Vec::with_capacity(values.len() * element.bytes());
            element.narrow(values, &mut out);
            Some(out)
        }
        _ => None,
    }
}
