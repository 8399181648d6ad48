//! Small tables of Parquet, made by hand.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

/// The columns of a log, each as other programs write it.
pub(crate) const LOG: &str = "message log {
    required int64 item (INTEGER(64, false));
    optional group vector (LIST) { repeated group list { optional float element; } }
    required int64 event;
    required int64 time;
    optional int32 note;
    optional int64 user;
}";

/// What a row group has in a column: values, levels of definition, levels of repetition.
pub(crate) enum Made {
    Ints(Vec<i32>, Levels),
    Longs(Vec<i64>, Levels),
    Floats(Vec<f32>, Levels),
    Doubles(Vec<f64>, Levels),
}

#[derive(Clone, Default)]
pub(crate) struct Levels {
    definition: Option<Vec<i16>>,
    repetition: Option<Vec<i16>>,
}

impl Levels {
    /// The same where lists and elements must all be there.
    pub(crate) fn shallow(mut self) -> Self {
        for level in self.definition.iter_mut().flatten() {
            *level = i16::from(*level > 1);
        }
        self
    }
}

/// How a table is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) compression: Compression,
    pub(crate) has_dictionary: bool,
    pub(crate) page_rows: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self { compression: Compression::UNCOMPRESSED, has_dictionary: true, page_rows: 1000 }
    }
}

/// Writes a table, one group of columns a row group.
pub(crate) fn write_table(path: &Path, schema: &str, groups: &[Vec<Made>], manner: Manner) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(manner.compression)
        .set_dictionary_enabled(manner.has_dictionary)
        .set_data_page_row_count_limit(manner.page_rows)
        .set_write_batch_size(1)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for group in groups {
        let mut columns = writer.next_row_group().unwrap();
        for made in group {
            let column = columns.next_column().unwrap().unwrap();
            match made {
                Made::Ints(values, levels) => fill::<Int32Type>(column, values, levels),
                Made::Longs(values, levels) => fill::<Int64Type>(column, values, levels),
                Made::Floats(values, levels) => fill::<FloatType>(column, values, levels),
                Made::Doubles(values, levels) => fill::<DoubleType>(column, values, levels),
            }
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
}

fn fill<T: DataType>(mut column: SerializedColumnWriter<'_>, values: &[T::T], levels: &Levels) {
    let (definition, repetition) = (levels.definition.as_deref(), levels.repetition.as_deref());
    column.typed::<T>().write_batch(values, definition, repetition).unwrap();
    column.close().unwrap();
}

/// Numbers that are all there.
pub(crate) fn longs(values: impl IntoIterator<Item = i64>) -> Made {
    Made::Longs(values.into_iter().collect(), Levels::default())
}

/// Numbers of a column that need not have any.
pub(crate) fn optional(values: &[Option<i64>]) -> Made {
    let definition = values.iter().map(|value| i16::from(value.is_some())).collect();
    let levels = Levels { definition: Some(definition), repetition: None };
    Made::Longs(values.iter().flatten().copied().collect(), levels)
}

/// The values and levels of lists that may be null, of elements that may be null.
pub(crate) fn lists<T: Copy>(rows: &[Option<Vec<Option<T>>>]) -> (Vec<T>, Levels) {
    let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let elements = row.as_deref().unwrap_or_default();
        if elements.is_empty() {
            definition.push(i16::from(row.is_some()));
            repetition.push(0);
        }
        for (place, element) in elements.iter().enumerate() {
            definition.push(2 + i16::from(element.is_some()));
            repetition.push(i16::from(place > 0));
            values.extend(*element);
        }
    }
    (values, Levels { definition: Some(definition), repetition: Some(repetition) })
}
