//! Rows by frequency: the most frequent first, because the first ones of a file are those in memory.
//!
//! The method of a table knows nothing of it: ids are translated to places before it is asked.

use std::cmp::Reverse;

use nearline_index::embedding::{Segment, Table};

use super::error::TableError;
use super::file::TableFileWriter;
use super::shared::write_served;

/// The segment that has the place of each id.
pub(super) const REMAP: &str = "remap";
/// The segment of rows that stand alone, in a table in memory.
const ROWS: &str = "rows";
/// Rows at most, since a place is a u32.
const ROWS_MAX: u64 = 1 << 32;
/// Rows gathered at a time.
const GATHERED_ROWS: usize = 1 << 15;

/// Writes the segments of a table, its rows by how often each is asked for. Without a remap, if that is how they lie already.
pub(super) fn write_by_frequency(
    out: &mut TableFileWriter,
    table: &dyn Table,
    frequencies: &[u64],
) -> Result<(), TableError> {
    let segments = table.segments();
    let rows = rows_of(table, &segments)?;
    check(table.rows(), frequencies)?;
    let Some(order) = order(frequencies) else { return Ok(write_served(out, table)?) };
    let mut bytes = Vec::new();
    for ids in order.chunks(GATHERED_ROWS) {
        bytes.clear();
        for &id in ids {
            bytes.extend_from_slice(&rows.bytes[id as usize * rows.width..][..rows.width]);
        }
        out.rows(rows.width, &bytes)?;
    }
    out.remap(&places(&order))?;
    let mut others = segments.iter().filter(|segment| segment.name != ROWS);
    Ok(others.try_for_each(|segment| out.segment(segment))?)
}

/// The rows of a table, if they stand alone.
fn rows_of<'a, 's>(table: &dyn Table, segments: &'a [Segment<'s>]) -> Result<&'a Segment<'s>, TableError> {
    let is_rows = |segment: &&Segment<'_>| {
        segment.name == ROWS && segment.bytes.len() as u64 == table.rows() * segment.width as u64
    };
    segments.iter().find(is_rows).ok_or_else(|| TableError::Unsupported {
        method: format!("{:?}", table.method()),
        what: "have its rows lie by frequency",
        fix: "fit it by a method whose rows stand alone",
    })
}

/// Refuses what is not one frequency for each of as many rows as can be numbered.
fn check(rows: u64, frequencies: &[u64]) -> Result<(), TableError> {
    if rows > ROWS_MAX {
        return Err(TableError::bad("rows by frequency", rows, format!("at most {ROWS_MAX}")));
    }
    if frequencies.len() as u64 != rows {
        return Err(TableError::bad("frequencies", frequencies.len(), format!("{rows}, one for each row")));
    }
    Ok(())
}

/// Ids as their rows shall lie: the most frequent first, of equals the lowest; none if ids lie so already.
fn order(frequencies: &[u64]) -> Option<Vec<u32>> {
    if frequencies.is_sorted_by(|a, b| a >= b) {
        return None;
    }
    // As u64, for 2^32 rows are allowed.
    let mut order: Vec<u32> = (0..frequencies.len() as u64).map(|id| id as u32).collect();
    order.sort_unstable_by_key(|&id| (Reverse(frequencies[id as usize]), id));
    Some(order)
}

/// The place of each id, of ids in the order of places.
fn places(order: &[u32]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    for (place, &id) in order.iter().enumerate() {
        places[id as usize] = place as u32;
    }
    places
}

/// The first place that is none of as many rows as there are places, or that another id has already.
pub(super) fn first_wrong(places: &[u32]) -> Option<u32> {
    let mut taken = vec![0_u64; places.len().div_ceil(64)];
    let mut is_wrong = |place: u32| {
        let (word, bit) = (place as usize / 64, 1 << (place % 64));
        if place as usize >= places.len() || taken[word] & bit != 0 {
            return true;
        }
        taken[word] |= bit;
        false
    };
    places.iter().copied().find(|&place| is_wrong(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_of_equals_the_lowest() {
        assert_eq!(order(&[3, 9, 3, 0, 9]), Some(vec![1, 4, 0, 2, 3]));
        assert_eq!(places(&[1, 4, 0, 2, 3]), [2, 0, 3, 4, 1]);
        for as_they_lie in [&[][..], &[7], &[5, 5, 5], &[9, 5, 0, 0]] {
            assert_eq!(order(as_they_lie), None);
        }
    }

    #[test]
    fn more_rows_than_places_can_be_numbered_are_refused() {
        let error = check(ROWS_MAX + 1, &[]).unwrap_err().to_string();
        assert_eq!(error, "rows by frequency: 4294967297; expected at most 4294967296");
        let error = check(ROWS_MAX, &[1, 2]).unwrap_err().to_string();
        assert_eq!(error, "frequencies: 2; expected 4294967296, one for each row");
        assert!(check(2, &[1, 2]).is_ok());
    }

    proptest::proptest! {
        /// The twin counts how often each place is there.
        #[test]
        fn wrong_places_are_found(places in proptest::collection::vec(0_u32..90, 0..80)) {
            let count = |place: u32| places.iter().filter(|&&other| other == place).count();
            let is_permutation = (0..places.len() as u32).all(|place| count(place) == 1);
            assert_eq!(first_wrong(&places).is_none(), is_permutation);
        }

        /// A place has as many before it as are more frequent, or as frequent and of a lower id.
        #[test]
        fn places_are_what_counting_says(frequencies in proptest::collection::vec(0_u64..20, 0..150)) {
            let key = |id: usize| (Reverse(frequencies[id]), id);
            let ids = 0..frequencies.len();
            let before = |id: usize| ids.clone().filter(|&other| key(other) < key(id)).count() as u32;
            let expected: Vec<u32> = ids.clone().map(before).collect();
            let found = order(&frequencies).map_or_else(|| ids.clone().map(|id| id as u32).collect(), |order| places(&order));
            assert_eq!(first_wrong(&found), None);
            assert_eq!(found, expected);
        }
    }
}
