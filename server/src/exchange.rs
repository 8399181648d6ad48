//! Embedding tables in the files of other systems, each one run of bytes. What has several files is the command line's.

use std::collections::HashMap;

use nearline::embedding::{
    DIM_MAX, Dialect, Dtype, FloatCodec, FloatType, Method, ProductCodec, Rows, RowwiseCodec, Segment,
    Segments, Table, open, read_faiss_pq, write_faiss_pq,
};
use nearline::{IndexError, TableError, TableVersion};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};

use crate::error::ApiError;
use crate::rows;

/// Rows looked at, or written, at a time.
const STEP: u64 = 1 << 12;
/// What the text of a table is called in a file of safetensors.
const TABLE: &str = "table";

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A file of numpy: rows of f32, in C order.
    Npy,
    /// Rows of torch's 4-bit and 2-bit prepack; with 8 bits, those that FBGEMM writes alike.
    Torch,
    /// Rows of torch's `embedding_bag_byte_prepack`: 8 bits, scales of f32.
    TorchByte,
    /// Weights of a TBE inference table, scales first, as TorchRec fills it.
    Tbe,
    /// The same, 8 bits, as FBGEMM's tools fill it.
    TbeCast,
    /// An `IndexPQ` of Faiss.
    FaissPq,
    /// Every segment as a tensor, and method and parameters beside; or one tensor of rows.
    Safetensors,
}

/// What bytes do not say themselves.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Values of a row.
    pub dim: usize,
    /// Bits of a value, where there are several kinds.
    pub bits: usize,
    /// Bytes that rows are filled up to a multiple of.
    pub align: usize,
}

/// Why bytes are no table, or a table has no such bytes.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// Bytes that do not fit.
    #[error("{what}: {found}; expected {expected}")]
    Bytes {
        /// Which part of them, with the offset where that is known.
        what: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// The table has no such bytes.
    #[error(
        "a table of method {method} has no such bytes; write it as safetensors, or as npy if its ids are counted"
    )]
    Method {
        /// Its method.
        method: &'static str,
    },
    /// The table could not be read.
    #[error(transparent)]
    Table(#[from] TableError),
}

fn bytes_error(what: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> ExchangeError {
    ExchangeError::Bytes { what: what.into(), found: found.to_string(), expected: expected.into() }
}

impl From<IndexError> for ExchangeError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::BadInput { name, found, expected } => bytes_error(name, found, expected),
            IndexError::BadOption { option, found, expected } => bytes_error(option, found, expected),
            other => bytes_error("table", other, "what fits"),
        }
    }
}

impl From<ExchangeError> for ApiError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Table(error) => error.into(),
            error => Self::wrong_input(error),
        }
    }
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Npy, Self::Torch, Self::TorchByte, Self::Tbe, Self::TbeCast, Self::FaissPq, Self::Safetensors];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Torch => "torch",
            Self::TorchByte => "torch-byte",
            Self::Tbe => "tbe",
            Self::TbeCast => "tbe-cast",
            Self::FaissPq => "faiss-pq",
            Self::Safetensors => "safetensors",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Torch => Some(Dialect::Fused16),
            Self::TorchByte => Some(Dialect::Fused32),
            Self::Tbe => Some(Dialect::Tbe),
            Self::TbeCast => Some(Dialect::TbeCast),
            Self::Npy | Self::FaissPq | Self::Safetensors => None,
        }
    }
}

/// Makes a table of bytes.
///
/// # Errors
/// When they are not of the format, damaged, or have values that are no numbers.
pub fn import_table(format: Format, shape: Shape, bytes: &[u8]) -> Result<Box<dyn Table>, ExchangeError> {
    let Shape { dim, bits, align } = shape;
    let needs_dim = !matches!(format, Format::FaissPq | Format::Safetensors);
    if needs_dim && !(1..=DIM_MAX).contains(&dim) {
        return Err(bytes_error("dim", dim, format!("1 to {DIM_MAX}: the bytes do not say it")));
    }
    let table: Box<dyn Table> = match format {
        Format::FaissPq => Box::new(read_faiss_pq(bytes)?),
        Format::Safetensors => read_safetensors(bytes)?,
        Format::Npy => {
            let values = rows::npy(bytes, dim).map_err(|error| bytes_error("file of numpy", error, "one"))?;
            Box::new(Rows::from_bytes(FloatCodec::new(dim, FloatType::F32), values.to_vec())?)
        }
        Format::Torch | Format::TorchByte | Format::Tbe | Format::TbeCast => {
            let dialect = format.dialect().unwrap_or(Dialect::Fused16);
            let codec = RowwiseCodec::new(dim, bits, dialect)?.aligned(align)?;
            Box::new(Rows::from_bytes(codec, bytes.to_vec())?)
        }
    };
    check_values(&*table)?;
    Ok(table)
}

/// Refuses rows that have what is no number. Where they do not stand alone, their parameters were looked at.
fn check_values(table: &dyn Table) -> Result<(), ExchangeError> {
    if !matches!(table.method(), Method::Float | Method::Rowwise | Method::Uniform | Method::Step) {
        return Ok(());
    }
    let dim = table.dim();
    for from in (0..table.rows()).step_by(STEP as usize) {
        let ids: Vec<u64> = (from..(from + STEP).min(table.rows())).collect();
        let mut values = vec![0.0; ids.len() * dim];
        table.lookup(&ids, &mut values)?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let what = format!("row {}, element {}", from + (at / dim) as u64, at % dim);
            return Err(bytes_error(what, values[at], "finite values"));
        }
    }
    Ok(())
}

/// The bytes of a table.
///
/// # Errors
/// When rows of the table are not of the format, or cannot be read.
pub fn export_table(format: Format, version: &TableVersion) -> Result<Vec<u8>, ExchangeError> {
    let (method, params) = version.method();
    let refused = ExchangeError::Method { method: method.name() };
    match format {
        Format::Npy if method == Method::Dynamic => Err(refused),
        Format::Npy => {
            let mut values = Vec::with_capacity(version.rows() as usize * version.dim());
            for from in (0..version.rows()).step_by(STEP as usize) {
                let ids: Vec<u64> = (from..(from + STEP).min(version.rows())).collect();
                values.extend(version.lookup(&ids)?);
            }
            Ok(rows::file(&[version.rows() as usize, version.dim()], &values))
        }
        Format::Safetensors => write_safetensors(version),
        Format::FaissPq if method == Method::Product => {
            let segments = version.segments()?;
            let codec = ProductCodec::of(version.dim(), &params, Segments(&segments))?;
            let codes = segments.iter().find(|segment| segment.name == "rows");
            let codes = codes.map_or_else(Vec::new, |segment| segment.bytes.to_vec());
            let rows = Rows::from_bytes(codec, codes)?;
            Ok(write_faiss_pq(&rows))
        }
        Format::FaissPq => Err(refused),
        Format::Torch | Format::TorchByte | Format::Tbe | Format::TbeCast => {
            let wanted = format.dialect().map(|dialect| dialect as u64);
            if method != Method::Rowwise || params.get(1).copied() != wanted {
                return Err(refused);
            }
            let segments = version.segments()?;
            let rows = segments.into_iter().find(|segment| segment.name == "rows");
            rows.map(|segment| segment.bytes.into_owned()).ok_or(refused)
        }
    }
}

fn tensor_type(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::U8 => safetensors::Dtype::U8,
        Dtype::U16 => safetensors::Dtype::U16,
        Dtype::U32 => safetensors::Dtype::U32,
        Dtype::F16 => safetensors::Dtype::F16,
        Dtype::F32 => safetensors::Dtype::F32,
        Dtype::BF16 => safetensors::Dtype::BF16,
    }
}

/// Every segment as a tensor, `[row][width]`; method, rows, dimensions and parameters as one text beside them, because
/// several have no order.
fn write_safetensors(version: &TableVersion) -> Result<Vec<u8>, ExchangeError> {
    let segments = version.segments()?;
    let (method, params) = version.method();
    let params: Vec<String> = params.iter().map(u64::to_string).collect();
    let (rows, dim, params) = (version.rows(), version.dim(), params.join(","));
    let text = format!("method={} rows={rows} dim={dim} params={params}", method.name());
    let texts = HashMap::from([(TABLE.to_owned(), text)]);
    let views: Result<Vec<_>, _> = segments
        .iter()
        .map(|segment| {
            let width = segment.width.max(1);
            let shape = vec![segment.bytes.len() / segment.dtype.bytes() / width, width];
            TensorView::new(tensor_type(segment.dtype), shape, &segment.bytes)
                .map(|view| (segment.name.to_string(), view))
        })
        .collect();
    views
        .and_then(|views| serialize(views, Some(texts)))
        .map_err(|error| bytes_error("tensors of a table", error, "tensors of whole rows"))
}

fn read_safetensors(bytes: &[u8]) -> Result<Box<dyn Table>, ExchangeError> {
    let damaged = |error| bytes_error("offset 0, header of tensors", error, "a file of safetensors");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    match metadata.metadata().as_ref().and_then(|texts| texts.get(TABLE)) {
        Some(text) => of_segments(text, &tensors),
        None => of_rows(&tensors),
    }
}

/// A table as [`write_safetensors`] writes it.
fn of_segments(text: &str, tensors: &SafeTensors<'_>) -> Result<Box<dyn Table>, ExchangeError> {
    let part = |name: &str| {
        let found = text.split(' ').filter_map(|part| part.split_once('=')).find(|(found, _)| *found == name);
        found.map_or("", |(_, value)| value)
    };
    let bad = |name: &str| bytes_error(format!("metadata, {name}"), part(name), "what a table says");
    let number = |name: &str| part(name).parse::<u64>().map_err(|_| bad(name));
    let method = Method::from_name(part("method")).ok_or_else(|| bad("method"))?;
    let params: Result<Vec<u64>, _> =
        part("params").split(',').filter(|param| !param.is_empty()).map(str::parse).collect();
    let params = params.map_err(|_| bad("params"))?;
    let mut segments = Vec::new();
    for (name, view) in tensors.iter() {
        let dtype = Dtype::ALL.into_iter().find(|dtype| tensor_type(*dtype) == view.dtype());
        let dtype = dtype.ok_or_else(|| {
            bytes_error(format!("tensor {name}"), format!("{:?}", view.dtype()), "a type that tables have")
        })?;
        let width = view.shape().last().copied().unwrap_or(1);
        segments.push(Segment { name: name.to_owned().into(), dtype, width, bytes: view.data().into() });
    }
    let dim = usize::try_from(number("dim")?).map_err(|_| bad("dim"))?;
    Ok(open(method, number("rows")?, dim, &params, Segments(&segments))?)
}

/// Plain rows of the one tensor that there is.
fn of_rows(tensors: &SafeTensors<'_>) -> Result<Box<dyn Table>, ExchangeError> {
    let names = tensors.names();
    let [name] = names.as_slice() else {
        let found = format!("{} tensors", names.len());
        return Err(bytes_error("tensors", found, "one of rows, or those of a table with its method beside"));
    };
    let view = tensors.tensor(name).map_err(|error| bytes_error("tensors", error, "one"))?;
    let kind = match view.dtype() {
        safetensors::Dtype::F32 => Some(FloatType::F32),
        safetensors::Dtype::F16 => Some(FloatType::F16),
        safetensors::Dtype::BF16 => Some(FloatType::Bf16),
        _ => None,
    };
    let (Some(kind), [_, dim @ 1..=DIM_MAX]) = (kind, view.shape()) else {
        let found = format!("{:?} of {:?}", view.dtype(), view.shape());
        return Err(bytes_error(format!("tensor {name}"), found, "F32, F16 or BF16, [rows][dimensions]"));
    };
    Ok(Box::new(Rows::from_bytes(FloatCodec::new(*dim, kind), view.data().to_vec())?))
}
