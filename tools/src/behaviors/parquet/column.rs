//! One column of a table: what it must be, and what it has for some rows.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, SchemaDescriptor};

use super::levels::Levels;

/// What a column must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A whole number in each row.
    Number,
    /// Milliseconds, or a timestamp.
    Time,
    /// A list of whole numbers in each row, or none.
    Numbers,
    /// A list of floats in each row, or none.
    Floats,
}

impl Wanted {
    fn is_list(self) -> bool {
        matches!(self, Self::Numbers | Self::Floats)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Number => "INT32 or INT64, signed or not",
            Self::Time => "INT32, INT64 or a timestamp",
            Self::Numbers => "a list of INT32 or INT64",
            Self::Floats => "a list of FLOAT or DOUBLE",
        }
    }
}

/// How what is stored is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Signed,
    Unsigned,
    /// A timestamp with so many units in a millisecond.
    Time(i64),
    Float,
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Its place among the columns that hold values.
    pub(super) leaf: usize,
    description: ColumnDescPtr,
    kind: Kind,
}

/// What some rows have in a column: row r has the values from `starts[r]` to `starts[r + 1]`.
#[derive(Debug)]
pub(super) struct Contents {
    values: Values,
    starts: Vec<usize>,
}

#[derive(Debug)]
enum Values {
    /// Wide enough for i64 and u64.
    Numbers(Vec<i128>),
    Floats(Vec<f32>),
}

/// Why rows could not be read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What the reader of pages says.
    Reader(ParquetError),
    /// What is wrong with a row, counted from 0 in what was asked for.
    Row(usize, &'static str),
    /// What is wrong with all of it.
    Whole(String),
}

impl From<ParquetError> for Trouble {
    fn from(error: ParquetError) -> Self {
        Self::Reader(error)
    }
}

impl Column {
    /// The column of a name, `None` if there is none; an error if it is there and something else.
    pub(super) fn find(
        schema: &SchemaDescriptor,
        name: &'static str,
        wanted: Wanted,
    ) -> Result<Option<Self>, String> {
        let is_part = |leaf: &ColumnDescPtr| leaf.path().parts().first().is_some_and(|part| part == name);
        let mut leaves = schema.columns().iter().enumerate().filter(|(_, leaf)| is_part(leaf));
        let Some((leaf, description)) = leaves.next() else { return Ok(None) };
        let expected = wanted.text();
        if leaves.next().is_some() {
            return Err(format!("{name}: found several columns; expected {expected}"));
        }
        match kind(description, wanted) {
            Some(kind) => Ok(Some(Self { name, leaf, description: description.clone(), kind })),
            None => Err(format!("{name}: found {}; expected {expected}", described(description))),
        }
    }

    /// Whether it may have so many values in a group of so many rows: a list has any number.
    pub(super) fn fits(&self, values: i64, rows: i64) -> bool {
        self.description.max_rep_level() > 0 || values == rows
    }

    /// What the next rows have.
    pub(super) fn read(&self, reader: &mut ColumnReader, rows: usize) -> Result<Contents, Trouble> {
        let mut levels = Levels::default();
        let values = match reader {
            ColumnReader::Int32ColumnReader(reader) => {
                let stored = levels.read(reader, rows)?.into_iter();
                Values::Numbers(match self.kind {
                    Kind::Unsigned => stored.map(|value| i128::from(value.cast_unsigned())).collect(),
                    _ => stored.map(i128::from).collect(),
                })
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let stored = levels.read(reader, rows)?.into_iter();
                Values::Numbers(match self.kind {
                    Kind::Unsigned => stored.map(|value| i128::from(value.cast_unsigned())).collect(),
                    Kind::Time(units) => stored.map(|value| i128::from(value.div_euclid(units))).collect(),
                    _ => stored.map(i128::from).collect(),
                })
            }
            ColumnReader::FloatColumnReader(reader) => Values::Floats(levels.read(reader, rows)?),
            ColumnReader::DoubleColumnReader(reader) => {
                Values::Floats(levels.read(reader, rows)?.into_iter().map(|value| value as f32).collect())
            }
            _ => return Err(Trouble::Whole("found another type than the schema says".to_owned())),
        };
        self.contents(values, &levels, rows)
    }

    fn contents(&self, values: Values, levels: &Levels, rows: usize) -> Result<Contents, Trouble> {
        let element = self.description.repeated_ancestor_def_level();
        let starts = levels.starts(self.description.max_def_level(), element)?;
        let (found, ends) = (starts.len() - 1, starts[starts.len() - 1]);
        if found != rows {
            return Err(Trouble::Whole(format!("found {found} rows where {rows} more should be")));
        }
        let count = match &values {
            Values::Numbers(numbers) => numbers.len(),
            Values::Floats(floats) => floats.len(),
        };
        if count != ends {
            return Err(Trouble::Whole(format!("found {count} values; its levels speak of {ends}")));
        }
        Ok(Contents { values, starts })
    }
}

impl Contents {
    /// The number of a row, of a column of numbers.
    pub(super) fn number<T: TryFrom<i128>>(&self, row: usize) -> Result<T, String> {
        match self.of_row(row) {
            [number] => T::try_from(*number).map_err(|_| misfit(*number)),
            numbers => Err(format!("found {} numbers; expected one", numbers.len())),
        }
    }

    /// The numbers of a row; none where the list is empty or null.
    pub(super) fn numbers<T: TryFrom<i128>>(&self, row: usize) -> Result<Vec<T>, String> {
        let converted =
            self.of_row(row).iter().map(|&number| T::try_from(number).map_err(|_| misfit(number)));
        converted.collect()
    }

    fn of_row(&self, row: usize) -> &[i128] {
        match &self.values {
            Values::Numbers(numbers) => &numbers[self.starts[row]..self.starts[row + 1]],
            Values::Floats(_) => &[],
        }
    }

    /// The floats of a row; none where the list is empty or null.
    pub(super) fn floats(&self, row: usize) -> Result<&[f32], String> {
        let floats = match &self.values {
            Values::Floats(floats) => &floats[self.starts[row]..self.starts[row + 1]],
            Values::Numbers(_) => &[],
        };
        match floats.iter().find(|value| !value.is_finite()) {
            // A DOUBLE may be more than an `f32` can hold.
            Some(value) => Err(format!("found {value}; expected finite values of 32 bits")),
            None => Ok(floats),
        }
    }
}

/// What is said of a number that has no place in u64 or, of times, in i64.
fn misfit(number: i128) -> String {
    match number {
        ..0 => format!("found {number}; expected a number from 0"),
        _ => format!("found {number}, which is too large"),
    }
}

/// How a column is to be understood; `None` if it is not what is wanted.
fn kind(column: &ColumnDescriptor, wanted: Wanted) -> Option<Kind> {
    let is_shaped = match wanted.is_list() {
        true => column.max_rep_level() == 1,
        false => column.max_rep_level() == 0 && column.path().parts().len() == 1,
    };
    let kind = match column.physical_type() {
        Type::FLOAT | Type::DOUBLE => Kind::Float,
        Type::INT32 | Type::INT64 => whole(column)?,
        _ => return None,
    };
    let is_fit = match kind {
        Kind::Float => wanted == Wanted::Floats,
        Kind::Time(_) => wanted == Wanted::Time,
        Kind::Signed | Kind::Unsigned => wanted != Wanted::Floats,
    };
    (is_shaped && is_fit).then_some(kind)
}

/// What whole numbers are; `None` for decimals, days and times of a day. Older files have the converted type alone.
fn whole(column: &ColumnDescriptor) -> Option<Kind> {
    match column.logical_type_ref() {
        Some(LogicalType::Integer(kind)) if kind.is_signed => return Some(Kind::Signed),
        Some(LogicalType::Integer(_)) => return Some(Kind::Unsigned),
        Some(LogicalType::Timestamp(kind)) => return Some(Kind::Time(units_per_ms(&kind.unit))),
        Some(_) => return None,
        None => {}
    }
    match column.converted_type() {
        ConvertedType::NONE
        | ConvertedType::INT_8
        | ConvertedType::INT_16
        | ConvertedType::INT_32
        | ConvertedType::INT_64 => Some(Kind::Signed),
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
            Some(Kind::Unsigned)
        }
        ConvertedType::TIMESTAMP_MILLIS => Some(Kind::Time(1)),
        ConvertedType::TIMESTAMP_MICROS => Some(Kind::Time(1000)),
        _ => None,
    }
}

fn units_per_ms(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1,
        TimeUnit::MICROS => 1000,
        TimeUnit::NANOS => 1_000_000,
    }
}

/// What a column is, for people.
fn described(column: &ColumnDescriptor) -> String {
    let nested = match column.max_rep_level() {
        0 if column.path().parts().len() == 1 => "",
        0 => " in a group",
        1 => " in a list",
        _ => " in lists of lists",
    };
    let logical = column.logical_type_ref().map(|logical| format!(" ({logical:?})")).unwrap_or_default();
    format!("{}{logical}{nested}", column.physical_type())
}
