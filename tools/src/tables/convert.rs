//! `nearline table convert`: tables from the files of other systems, and for them.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use nearline::TableVersion;
use nearline::embedding::{FloatCodec, FloatType, Rows, Table, rows_by_key};
use nearline_datasets::{ElementType, VectorWriter};
use nearline_server::{Format, Shape, export_table, import_table};

use super::TableArgs;
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
    /// Values of a row, where the files do not say it
    #[arg(long, default_value_t = 0)]
    dim: usize,
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
    if let Some(from) = args.from {
        return import(args, from);
    }
    let (_database, table) = args.table.open()?;
    let (version, path) = (table.pin(), &args.path);
    match args.to {
        // Of these, rows are written as they come.
        Some(Kind::Npy) => write_npy(&version, path),
        Some(to) => match to.format() {
            Some(format) => {
                let bytes =
                    export_table(format, &version).map_err(|error| exit::bad_input(error.to_string()))?;
                fs::write(path, bytes).with_context(|| path.display().to_string())
            }
            None => write_pair(&version, to, path),
        },
        None => Ok(()),
    }
}

fn import(args: &Args, from: Kind) -> anyhow::Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let Args { dim, bits, align, .. } = *args;
    let table: Box<dyn Table> = match from.format() {
        Some(format) => import_table(format, Shape { dim, bits, align }, &read(&args.path)?)
            .map_err(|error| exit::bad_input(format!("{}: {error}", args.path.display())))?,
        None => {
            let (keys, values) = from.pair(&args.path);
            let (key_bytes, value_bytes) = (read(&keys)?, read(&values)?);
            let rows = rows_by_key(&key_bytes, &value_bytes, dim)
                .map_err(|error| exit::bad_input(format!("{}: {error}", keys.display())))?;
            let rows: Vec<f32> = bytemuck::pod_collect_to_vec(&rows);
            let codec = FloatCodec::new(dim, FloatType::F32);
            let encoded = Rows::encode(codec, &rows);
            Box::new(encoded.map_err(|error| exit::bad_input(format!("{}: {error}", values.display())))?)
        }
    };
    let database = args.table.db.open_or_create(true)?;
    let name = &args.table.table;
    let made = database.create_embedding_table(name, &*table)?.pin();
    print::line(format!("{name}: {} rows of {}, {}", made.rows(), made.dim(), made.method().0.name()))
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

/// Keys and rows; for DeepRec also how often ids were seen, which is not known, and the version of each.
fn write_pair(version: &TableVersion, to: Kind, path: &Path) -> anyhow::Result<()> {
    let (keys, values) = to.pair(path);
    if to == Kind::Hps {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    }
    write_numbers(&keys, version.ids())?;
    if to == Kind::DeepRec {
        let each = |number| (0..version.rows()).map(move |_| number);
        write_numbers(&beside(path, "-freqs"), each(0))?;
        write_numbers(&beside(path, "-versions"), each(version.number()))?;
    }
    let mut out = create(&values)?;
    each_step(version, |bytes| Ok(out.write_all(bytes)?))?;
    Ok(out.flush()?)
}

fn write_numbers(path: &Path, numbers: impl Iterator<Item = u64>) -> anyhow::Result<()> {
    let mut out = create(path)?;
    for number in numbers {
        out.write_all(&number.to_le_bytes())?;
    }
    Ok(out.flush()?)
}

fn create(path: &Path) -> anyhow::Result<BufWriter<fs::File>> {
    Ok(BufWriter::new(fs::File::create(path).with_context(|| path.display().to_string())?))
}
