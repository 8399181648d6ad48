//! `nearline table convert`: tables from the bytes of other systems, and for them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use nearline::TableVersion;
use nearline::embedding::{Dialect, Dtype, FloatCodec, FloatType, Rows, RowwiseCodec};
use nearline_datasets::{ElementType, VectorWriter};
use serde_json::json;

use super::TableArgs;
use crate::{exit, interrupt, print};

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("way").required(true).args(["from", "to"])))]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Whose bytes make a new table
    #[arg(long, value_enum, requires_all = ["dim"])]
    from: Option<From>,
    /// For whom the table is written
    #[arg(long, value_enum)]
    to: Option<To>,
    /// The file or folder that is read or written
    #[arg(long)]
    path: PathBuf,
    /// Values of a row
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
enum From {
    /// The bytes of torch's embedding_bag_byte_prepack: 8 bits, f32 scales
    TorchByte,
    /// The bytes of torch's 4-bit and 2-bit prepack; with 8 bits, those of FBGEMM
    Torch,
    /// The weights of a TBE inference table: scales first
    Tbe,
    /// A folder of HugeCTR HPS: key, emb_vector
    Hps,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// All rows as f32
    Npy,
    /// Every segment as a tensor
    Safetensors,
    /// The bytes of rows as they are, which are those of the dialect the table is in
    Rows,
    /// A folder of HugeCTR HPS: key, emb_vector
    Hps,
}

/// Rows written at a time.
const STEP: u64 = 1 << 14;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    if let Some(from) = args.from {
        return import(args, from);
    }
    let (_database, table) = args.table.open()?;
    let version = table.pin();
    match args.to {
        Some(To::Npy) => write_npy(&version, &args.path),
        Some(To::Safetensors) => write_safetensors(&version, &args.path),
        Some(To::Rows) => write_rows(&version, &args.path),
        Some(To::Hps) | None => write_hps(&version, &args.path),
    }
}

fn import(args: &Args, from: From) -> anyhow::Result<()> {
    let dim = args.dim.unwrap_or(0);
    let database = args.table.db.open_or_create(true)?;
    let name = &args.table.table;
    let rowwise = |dialect| RowwiseCodec::new(dim, args.bits, dialect)?.aligned(args.align);
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let table = match from {
        From::TorchByte => database.create_embedding_table(
            name,
            &Rows::from_bytes(rowwise(Dialect::Fused32)?, read(&args.path)?)?,
        )?,
        From::Torch => database.create_embedding_table(
            name,
            &Rows::from_bytes(rowwise(Dialect::Fused16)?, read(&args.path)?)?,
        )?,
        From::Tbe => database
            .create_embedding_table(name, &Rows::from_bytes(rowwise(Dialect::Tbe)?, read(&args.path)?)?)?,
        From::Hps => {
            let rows = by_key(&read(&args.path.join("key"))?, &read(&args.path.join("emb_vector"))?, dim)?;
            let codec = FloatCodec::new(dim, FloatType::F32);
            database.create_embedding_table(name, &Rows::from_bytes(codec, rows)?)?
        }
    };
    print::line(format!("{name}: {} rows of {dim}", table.pin().rows()))
}

/// Rows in order of their keys, which must be 0 and the numbers that follow.
fn by_key(keys: &[u8], vectors: &[u8], dim: usize) -> anyhow::Result<Vec<u8>> {
    let keys: Vec<u64> = keys.as_chunks::<8>().0.iter().map(|&key| u64::from_le_bytes(key)).collect();
    let row_bytes = dim * 4;
    if row_bytes == 0 || vectors.len() != keys.len() * row_bytes {
        let found = format!("emb_vector: {} bytes for {} keys", vectors.len(), keys.len());
        return Err(exit::bad_input(format!("{found}; expected {row_bytes} each (--dim)")));
    }
    let mut rows = vec![None; keys.len()];
    for (&key, vector) in keys.iter().zip(vectors.chunks_exact(row_bytes)) {
        match rows.get_mut(key as usize) {
            Some(row @ None) => *row = Some(vector),
            _ => {
                let expected = format!("each of 0 to {} once", keys.len() - 1);
                return Err(exit::bad_input(format!("key: {key}; expected {expected}")));
            }
        }
    }
    Ok(rows.into_iter().flatten().flatten().copied().collect())
}

/// Calls `take` with the bytes of all rows as `f32`, some rows at a time.
fn each_step(
    version: &TableVersion,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for from in (0..version.rows()).step_by(STEP as usize) {
        let ids: Vec<u64> = (from..(from + STEP).min(version.rows())).collect();
        take(bytemuck::cast_slice(&version.lookup(&ids)?))?;
    }
    Ok(())
}

fn write_npy(version: &TableVersion, path: &Path) -> anyhow::Result<()> {
    let mut out = VectorWriter::create(path, ElementType::F32, version.dim())?;
    each_step(version, |bytes| Ok(out.write_rows(bytes)?))?;
    Ok(out.finish()?)
}

fn write_hps(version: &TableVersion, path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    let keys: Vec<u64> = (0..version.rows()).collect();
    fs::write(path.join("key"), bytemuck::cast_slice(&keys))?;
    let mut out = std::io::BufWriter::new(fs::File::create(path.join("emb_vector"))?);
    each_step(version, |bytes| Ok(std::io::Write::write_all(&mut out, bytes)?))?;
    Ok(std::io::Write::flush(&mut out)?)
}

fn write_rows(version: &TableVersion, path: &Path) -> anyhow::Result<()> {
    let segments = version.segments()?;
    let Some(rows) = segments.iter().find(|segment| segment.name == "rows") else {
        return Err(exit::bad_input("rows of this table do not stand alone; write it as npy or safetensors"));
    };
    fs::write(path, &rows.bytes).with_context(|| path.display().to_string())
}

/// A header of its length and JSON, then the tensors in its order.
fn write_safetensors(version: &TableVersion, path: &Path) -> anyhow::Result<()> {
    let segments = version.segments()?;
    let (method, params) = version.method();
    let mut header = serde_json::Map::new();
    header.insert(
        "__metadata__".to_owned(),
        json!({ "method": format!("{method:?}"), "params": format!("{params:?}"),
            "rows": version.rows().to_string(), "dim": version.dim().to_string() }),
    );
    let mut at = 0;
    for segment in &segments {
        let width = segment.width.max(1);
        let count = segment.bytes.len() / segment.dtype.bytes() / width;
        let end = at + segment.bytes.len();
        let tensor =
            json!({ "dtype": dtype(segment.dtype), "shape": [count, width], "data_offsets": [at, end] });
        header.insert(segment.name.to_string(), tensor);
        at = end;
    }
    let mut text = serde_json::to_string(&header)?.into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(&text);
    segments.iter().for_each(|segment| out.extend_from_slice(&segment.bytes));
    fs::write(path, out).with_context(|| path.display().to_string())
}

fn dtype(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::U8 => "U8",
        Dtype::U16 => "U16",
        Dtype::U32 => "U32",
        Dtype::F16 => "F16",
        Dtype::F32 => "F32",
        Dtype::BF16 => "BF16",
    }
}
