//! Tables whose ids share plain rows (hash, AdaptEmb, Dedup, CompoEmb), served: the rows as far as memory goes and from the disk,
//! and in memory what says which rows an id has.

use std::borrow::Cow;
use std::sync::Arc;

use nearline_index::embedding::{Dtype, FloatCodec, FloatType, Method, Rows, Segment, Table, is_values};
use nearline_storage::{ReadRange, StorageError};

use super::error::TableError;
use super::file::{Head, TableFile, TableFileWriter};
use super::row_store::RowStore;

/// Which rows an id has.
#[derive(Clone, Debug)]
enum Places {
    /// The one at its remainder.
    Remainder,
    /// One of its own, or, where the number is negative, one of those behind them.
    Map { map: Arc<[u32]>, own: u64, shared: u64 },
    /// The one of its block.
    Blocks { map: Arc<[u32]>, block: u64 },
    /// That of its quotient, and, behind these, that of its remainder: multiplied, or added.
    Pair { quotients: u64, remainders: u64, adds: bool },
}

/// Rows that ids share.
#[derive(Clone)]
pub(super) struct SharedRows {
    pub(super) store: RowStore,
    places: Places,
    /// Segments that are in memory.
    beside: Arc<Vec<Segment<'static>>>,
}

/// The segments of a method that are plain rows, in the order they lie in.
fn row_segments(method: Method) -> &'static [&'static str] {
    match method {
        Method::Hash => &["shared"],
        Method::Adaptive => &["own", "shared"],
        Method::Deduplicated => &["blocks"],
        Method::Compositional => &["quotients", "remainders"],
        _ => &[],
    }
}

/// Writes the segments of a table that is served: by the page rows, its own or those that ids share, and the values that rows are
/// runs of; then the others.
pub(super) fn write_served(out: &mut TableFileWriter, table: &dyn Table) -> Result<(), StorageError> {
    let segments = table.segments();
    for segment in &segments {
        if let Some(row_bytes) = row_bytes(table, segment) {
            out.rows(row_bytes, &segment.bytes)?;
        }
    }
    let mut others = segments.iter().filter(|segment| row_bytes(table, segment).is_none());
    others.try_for_each(|segment| out.segment(segment))
}

/// Bytes of a row of a segment that lies by the page, a value being one where rows are runs of them; nothing of any other.
fn row_bytes(table: &dyn Table, segment: &Segment<'_>) -> Option<usize> {
    match &*segment.name {
        "rows" => Some(segment.width),
        name if row_segments(table.method()).contains(&name) => Some(table.dim() * size_of::<f32>()),
        name if is_values(table.method(), name) => Some(segment.dtype.bytes()),
        _ => None,
    }
}

impl Places {
    /// Of a table as its head and segments tell it; none if its ids do not share rows.
    fn of(head: &Head, segments: &[Segment<'_>], stored: u64) -> Result<Option<Self>, TableError> {
        let words = |name: &str| -> Arc<[u32]> {
            let segment = segments.iter().find(|segment| segment.name == name);
            segment.map_or_else(|| Arc::from([]), |one| bytemuck::pod_collect_to_vec(&one.bytes).into())
        };
        let (places, is_sound) = match (head.method, &head.params[..]) {
            (Method::Hash, []) => (Self::Remainder, stored > 0),
            (Method::Adaptive, &[own, shared]) => {
                let map = words("remap");
                let is_sound = map.len() as u64 == head.rows && own.checked_add(shared) == Some(stored);
                (Self::Map { map, own, shared }, is_sound)
            }
            (Method::Deduplicated, &[block @ 1..=u64::MAX]) => {
                let map = words("map");
                let is_sound = map.len() as u64 == head.rows.div_ceil(block);
                (Self::Blocks { map, block }, is_sound)
            }
            (Method::Compositional, &[remainders @ 1..=u64::MAX, kind @ 0..=1]) => {
                let quotients = head.rows.div_ceil(remainders);
                let is_sound = quotients.checked_add(remainders) == Some(stored);
                (Self::Pair { quotients, remainders, adds: kind == 1 }, is_sound)
            }
            (method, _) if row_segments(method).is_empty() => return Ok(None),
            (method, params) => return Err(odd(method, params, stored)),
        };
        if is_sound { Ok(Some(places)) } else { Err(odd(head.method, &head.params, stored)) }
    }

    /// The places of an id, which is one of the table's.
    fn of_id(&self, id: u64, stored: u64) -> [Option<u64>; 2] {
        match self {
            Self::Remainder => [Some(id % stored), None],
            Self::Map { map, own, shared } => {
                let place = map[id as usize];
                let at = match place as i32 {
                    0.. => u64::from(place),
                    _ => own + u64::from(!place) % (*shared).max(1),
                };
                [Some(at), None]
            }
            Self::Blocks { map, block } => {
                [Some(u64::from(map[(id / block) as usize]) * block + id % block), None]
            }
            Self::Pair { quotients, remainders, .. } => {
                [Some(id / remainders), Some(quotients + id % remainders)]
            }
        }
    }
}

fn odd(method: Method, params: &[u64], stored: u64) -> TableError {
    let found = format!("{method:?} with parameters {params:?} and {stored} rows");
    TableError::bad("a table", found, "those of such a table")
}

impl SharedRows {
    /// Of a file, unless ids of its table do not share rows.
    pub(super) fn load(
        file: &Arc<TableFile>,
        segments: &[Segment<'static>],
        resident_bytes: u64,
    ) -> Result<Option<Self>, TableError> {
        let Some(places) = Places::of(&file.head, segments, file.stored_rows())? else { return Ok(None) };
        let codec = Arc::new(FloatCodec::new(file.head.dim, FloatType::F32));
        let store = RowStore::load(Arc::clone(file), codec, None, resident_bytes)?;
        Ok(Some(Self { store, places, beside: Arc::new(segments.to_vec()) }))
    }

    pub(super) fn head(&self) -> &Head {
        &self.store.file.head
    }

    /// As [`RowStore::ask`], by the ids of the table.
    pub(super) fn ask(
        &self,
        ids: &[u64],
        answer: impl FnOnce(&dyn Table, &[u64]) -> nearline_index::Result<()>,
    ) -> Result<(), TableError> {
        let rows = self.head().rows;
        if let Some(at) = ids.iter().position(|&id| id >= rows) {
            let found = format!("{} at place {at}", ids[at]);
            return Err(TableError::bad("ids", found, format!("ids below {rows}")));
        }
        let places: Vec<u64> =
            ids.iter().flat_map(|&id| self.places.of_id(id, self.store.rows)).flatten().collect();
        let Places::Pair { adds, .. } = self.places else { return self.store.ask(&places, answer) };
        let (dim, mut parts) = (self.head().dim, Vec::new());
        parts.resize(places.len() * dim, 0.0);
        self.store.ask(&places, |table, ids| table.lookup(ids, &mut parts))?;
        let combined = parts.chunks_exact(2 * dim).flat_map(|pair| {
            let (quotient, remainder) = pair.split_at(dim);
            let both = quotient.iter().zip(remainder);
            both.map(move |(q, r)| if adds { q + r } else { q * r })
        });
        let combined: Vec<f32> = combined.collect();
        let codec = FloatCodec::new(dim, FloatType::F32);
        let combined = Rows::from_bytes(codec, bytemuck::cast_slice(&combined).to_vec())?;
        let ids: Vec<u64> = (0..ids.len() as u64).collect();
        Ok(answer(&combined, &ids)?)
    }

    /// How many of the rows each segment of rows has.
    fn parts(&self) -> Vec<(&'static str, u64)> {
        let stored = self.store.rows;
        let first = match self.places {
            Places::Remainder | Places::Blocks { .. } => stored,
            Places::Map { own, .. } => own,
            Places::Pair { quotients, .. } => quotients,
        };
        row_segments(self.head().method).iter().copied().zip([first, stored - first]).collect()
    }

    /// What a lookup needs, by segment.
    pub(super) fn bytes(&self) -> Vec<(String, u64)> {
        let beside = self.beside.iter().map(|one| (one.name.to_string(), one.bytes.len() as u64));
        let row_bytes = self.head().dim as u64 * 4;
        beside
            .chain(self.parts().into_iter().map(|(name, rows)| (name.to_owned(), rows * row_bytes)))
            .collect()
    }

    /// The segments of the table, all in memory.
    pub(super) fn segments(&self) -> Result<Vec<Segment<'static>>, TableError> {
        let mut segments = (*self.beside).clone();
        let (mut from, dim) = (0, self.head().dim);
        for (name, rows) in self.parts() {
            let mut bytes = Vec::new();
            self.store.file.read_rows(from, from + rows, &mut bytes)?;
            from += rows;
            segments.push(Segment {
                name: Cow::Borrowed(name),
                dtype: Dtype::F32,
                width: dim,
                bytes: bytes.into(),
            });
        }
        Ok(segments)
    }

    /// Writes all of it to a new file.
    pub(super) fn write(&self, mut out: TableFileWriter) -> Result<ReadRange, StorageError> {
        self.store.write(&mut out)?;
        self.beside.iter().try_for_each(|segment| out.segment(segment))?;
        out.finish(self.head())
    }
}
