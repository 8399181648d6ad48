//! `nearline table convert`: tables from the files of other systems, and for them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use nearline::embedding::{FloatCodec, FloatType, Rows, Table, rows_by_key};
use nearline::{IndexError, TableVersion};
use nearline_datasets::{DatasetError, ElementType, VectorFile, VectorWriter};
use nearline_server::{Format, Shape, export_table, import_table};

use super::TableArgs;
use crate::output::{self, Output};
use crate::size::{self, Size};
use crate::{exit, interrupt, print};

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("way").required(true).args(["from", "to"])))]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Whose files make a new table
    #[arg(long, value_enum)]
    from: Option<Kind>,
    /// For whom the table is written
    #[arg(long, value_enum)]
    to: Option<Kind>,
    /// The file or folder that is read or written; for deep-rec what its files' names begin with
    #[arg(long)]
    path: PathBuf,
    /// Values of a row, where the files do not say it: all but npy, safetensors and faiss-pq
    #[arg(long)]
    dim: Option<usize>,
    /// Bits of a value
    #[arg(long, default_value_t = 8)]
    bits: usize,
    /// Bytes that rows are filled up to a multiple of
    #[arg(long, default_value_t = 1)]
    align: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A file of numpy, rows of f32
    Npy,
    /// Every segment as a tensor; or, coming in, one tensor of rows
    Safetensors,
    /// The bytes of torch's 4-bit and 2-bit prepack; with 8 bits, those of FBGEMM
    Torch,
    /// The bytes of torch's embedding_bag_byte_prepack: 8 bits, f32 scales
    TorchByte,
    /// The weights of a TBE inference table, as TorchRec fills it: scales first
    Tbe,
    /// The same, 8 bits, as FBGEMM's tools fill it
    TbeCast,
    /// An IndexPQ of Faiss
    FaissPq,
    /// A folder of HugeCTR HPS: key, emb_vector
    Hps,
    /// Four tensors of DeepRec, little-endian: PATH-keys, -values, -freqs, -versions
    DeepRec,
}

impl Kind {
    /// The format of one run of bytes, unless there are several files.
    fn format(self) -> Option<Format> {
        match self {
            Self::Npy => Some(Format::Npy),
            Self::Safetensors => Some(Format::Safetensors),
            Self::Torch => Some(Format::Torch),
            Self::TorchByte => Some(Format::TorchByte),
            Self::Tbe => Some(Format::Tbe),
            Self::TbeCast => Some(Format::TbeCast),
            Self::FaissPq => Some(Format::FaissPq),
            Self::Hps | Self::DeepRec => None,
        }
    }

    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Every file that a table becomes.
    fn files(self, path: &Path) -> Vec<PathBuf> {
        if self.format().is_some() {
            return vec![path.to_owned()];
        }
        let (keys, values) = self.pair(path);
        let more = if self == Self::DeepRec { &["-freqs", "-versions"][..] } else { &[] };
        [keys, values].into_iter().chain(more.iter().map(|rest| beside(path, rest))).collect()
    }

    /// The files of keys and of values.
    fn pair(self, path: &Path) -> (PathBuf, PathBuf) {
        match self {
            Self::DeepRec => (beside(path, "-keys"), beside(path, "-values")),
            _ => (path.join("key"), path.join("emb_vector")),
        }
    }
}

/// A path that goes on.
fn beside(path: &Path, rest: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(rest);
    name.into()
}

/// Rows written at a time.
const STEP: usize = 1 << 14;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    match (args.from, args.to) {
        (Some(from), _) => import(args, from),
        (None, Some(to)) => export(args, to),
        (None, None) => Ok(()),
    }
}

fn export(args: &Args, to: Kind) -> anyhow::Result<()> {
    let (_database, table) = args.table.open()?;
    let (version, path) = (table.pin(), &args.path);
    let files = to.files(path);
    if to == Kind::Hps && path.symlink_metadata().is_err() {
        output::check_new(path)?; // its folder must be there
    } else {
        files.iter().try_for_each(|file| output::check_new(file))?;
    }
    match (to, to.format()) {
        // Of these, rows are written as they come.
        (Kind::Npy, _) => write_npy(&version, path)?,
        (_, Some(format)) => {
            let bytes = export_table(format, &version).map_err(|error| exit::bad_input(error.to_string()))?;
            let mut out = Output::create(path)?;
            out.write(&bytes)?;
            out.finish()?;
        }
        (_, None) => write_pair(&version, to, path)?,
    }
    let bytes: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    let (rows, dim, bytes) = (size::count(version.rows()), version.dim(), Size(bytes));
    print::line(format!("{}: {rows} rows of {dim} as {}, {bytes}", path.display(), to.name()))
}

fn import(args: &Args, from: Kind) -> anyhow::Result<()> {
    let table: Box<dyn Table> = match from.format() {
        Some(format) => {
            let bytes = read(&args.path)?;
            let shape = Shape { dim: dim(args, from)?, bits: args.bits, align: args.align };
            import_table(format, shape, &bytes)
                .map_err(|error| exit::bad_input(format!("{}: {error}", args.path.display())))?
        }
        None => read_pair(from, &args.path, dim(args, from)?)?,
    };
    let database = args.table.db.open_or_create(true)?;
    let name = &args.table.table;
    let made = database.create_embedding_table(name, &*table)?.pin();
    print::line(format!("{name}: {} rows of {}, {}", made.rows(), made.dim(), made.method().0.name()))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let failed = |source| DatasetError::Io { file: path.to_owned(), action: "read", source };
    Ok(fs::read(path).map_err(failed)?)
}

/// Values of a row: as the file says it, or as it must be said.
fn dim(args: &Args, from: Kind) -> anyhow::Result<usize> {
    let path = args.path.display();
    match (from, args.dim) {
        (Kind::Npy, said) => {
            let file = VectorFile::open_npy(&args.path)?;
            let (element, dim) = (file.element(), file.dim());
            if element != ElementType::F32 {
                return Err(exit::bad_input(format!(
                    "{path}: found rows of {element}; expected f32 (use astype)"
                )));
            }
            match said {
                Some(said) if said != dim => Err(exit::bad_input(format!(
                    "{path}: found {} rows of {dim} values; expected {said} values, as --dim says: leave it out",
                    file.count()
                ))),
                _ => Ok(dim),
            }
        }
        // They say it themselves.
        (Kind::Safetensors | Kind::FaissPq, said) => Ok(said.unwrap_or(0)),
        (_, Some(said)) => Ok(said),
        (_, None) => {
            let kind = from.name();
            Err(exit::usage(format!(
                "{path}: --dim is needed: files of {kind} do not say how many values a row has"
            )))
        }
    }
}

/// Rows in the order of their keys.
fn read_pair(from: Kind, path: &Path, dim: usize) -> anyhow::Result<Box<dyn Table>> {
    let (keys, values) = from.pair(path);
    let (key_bytes, value_bytes) = (read(&keys)?, read(&values)?);
    let rows = rows_by_key(&key_bytes, &value_bytes, dim).map_err(|error| {
        let of_values = matches!(&error, IndexError::BadInput { name, .. } if name.starts_with("values"));
        let file = if of_values { &values } else { &keys };
        exit::bad_input(format!("{}: {error}", file.display()))
    })?;
    let rows: Vec<f32> = bytemuck::pod_collect_to_vec(&rows);
    let encoded = Rows::encode(FloatCodec::new(dim, FloatType::F32), &rows);
    Ok(Box::new(encoded.map_err(|error| exit::bad_input(format!("{}: {error}", values.display())))?))
}

/// Calls `take` with the bytes of all rows as `f32`, some rows at a time.
fn each_step(
    version: &TableVersion,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut ids, mut all) = (Vec::with_capacity(STEP), version.ids());
    loop {
        ids.clear();
        ids.extend(all.by_ref().take(STEP));
        if ids.is_empty() {
            return Ok(());
        }
        take(bytemuck::cast_slice(&version.lookup(&ids)?))?;
    }
}

fn write_npy(version: &TableVersion, path: &Path) -> anyhow::Result<()> {
    let mut out = VectorWriter::create(path, ElementType::F32, version.dim())?;
    each_step(version, |bytes| Ok(out.write_rows(bytes)?))?;
    Ok(out.finish()?)
}

/// Keys and rows; for DeepRec also how often ids were seen, which is not known, and the version of each. If it fails, nothing is
/// left of it, so that the same line can be tried again.
fn write_pair(version: &TableVersion, to: Kind, path: &Path) -> anyhow::Result<()> {
    let makes_folder = to == Kind::Hps && path.symlink_metadata().is_err();
    if makes_folder {
        let failed = |source| DatasetError::Io { file: path.to_owned(), action: "make", source };
        fs::create_dir(path).map_err(failed)?;
    }
    let written = pair_outputs(version, to, path).and_then(Output::finish_all);
    if makes_folder && written.is_err() {
        let _ = fs::remove_dir(path); // there is another error to be told
    }
    written
}

/// All files, written and without their names yet.
fn pair_outputs(version: &TableVersion, to: Kind, path: &Path) -> anyhow::Result<Vec<Output>> {
    let (keys, values) = to.pair(path);
    let mut outputs = vec![numbers(&keys, version.ids())?];
    if to == Kind::DeepRec {
        let each = |number| (0..version.rows()).map(move |_| number);
        outputs.push(numbers(&beside(path, "-freqs"), each(0))?);
        outputs.push(numbers(&beside(path, "-versions"), each(version.number()))?);
    }
    let mut out = Output::create(&values)?;
    each_step(version, |bytes| out.write(bytes))?;
    outputs.push(out);
    Ok(outputs)
}

fn numbers(path: &Path, numbers: impl Iterator<Item = u64>) -> anyhow::Result<Output> {
    let mut out = Output::create(path)?;
    for number in numbers {
        out.write(&number.to_le_bytes())?;
    }
    Ok(out)
}
