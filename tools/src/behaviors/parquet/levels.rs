//! Which values belong to which row.

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;

use super::column::Trouble;

/// The levels of some rows. The encoding is that of Dremel (Melnik and others, VLDB 2010, section 4.1), for one list within a row at
/// most.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// How much of the path to a value is there; empty where all of it must be.
    pub(super) definition: Vec<i16>,
    /// 0 where a row begins; empty where there are no lists.
    pub(super) repetition: Vec<i16>,
    /// How many entries there are.
    pub(super) count: usize,
}

impl Levels {
    /// Reads the levels of the next rows, and gives their values, those that are there.
    pub(super) fn read<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        rows: usize,
    ) -> Result<Vec<T::T>, Trouble> {
        let mut values = Vec::new();
        let (definition, repetition) = (Some(&mut self.definition), Some(&mut self.repetition));
        let (_, _, count) = reader.read_records(rows, definition, repetition, &mut values)?;
        self.count = count;
        Ok(values)
    }

    /// Where the values of each row begin, and where those of the last end. `full` is the level of a value, `element` that from which
    /// on a list has an element, 0 where there is no list; between them is what is null, and refused.
    pub(super) fn starts(&self, full: i16, element: i16) -> Result<Vec<usize>, Trouble> {
        let (mut starts, mut values) = (Vec::new(), 0);
        for entry in 0..self.count {
            if self.repetition.get(entry).is_none_or(|level| *level == 0) {
                starts.push(values);
            } else if starts.is_empty() {
                return Err(Trouble::Whole("found a list that goes on before it begins".to_owned()));
            }
            match self.definition.get(entry) {
                Some(level) if *level < element => {}
                Some(level) if *level < full => {
                    return Err(Trouble::Row(starts.len() - 1, "found null; expected a number"));
                }
                _ => values += 1,
            }
        }
        starts.push(values);
        Ok(starts)
    }
}
