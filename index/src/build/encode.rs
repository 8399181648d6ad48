//! Stage `encode`: writes the posting lists: the primaries of each, as they lie in the file of rows, then as many of its
//! copies as there is room for.

use std::ops::Range;
use std::sync::Arc;

use nearline_storage::{DiskFile, ExtentFileWriter, ExtentKey};
use rayon::prelude::*;

use super::Stage;
use super::copy::{RowReader, decode_centroids, open_router};
use super::partition::{Keys, Reader, Set, Sorted, cut, keys_of};
use super::plan::COPY_BYTES;
use super::publish::for_each_list;
use super::run::Build;
use super::state::State;
use crate::directory::{PLACE_BYTES, Place};
use crate::error::Result;
use crate::manifest::FileRole;
use crate::posting::{self, Head, ListLayout};
use crate::quantize::{self, Scale};
use crate::space::Space;

/// The log of places: one of the directory's records a list.
pub(crate) const PLACES: &str = "build.places";

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    let partitions = build.state.copies.len();
    let mut encoder = Encoder::open(build)?;
    build.progress.stage(Stage::Encode, u64::from(encoder.state.partitions_encoded), partitions as u64);
    for partition in encoder.state.partitions_encoded as usize..partitions {
        encoder.encode_partition(build, partition)?;
        encoder.checkpoint(build, partition)?;
        build.progress.advance(1);
    }
    build.state = encoder.state;
    super::publish::write_directory(build)
}

/// A copy that may get into a list.
#[derive(Clone, Copy)]
struct Offer<'a> {
    ratio: f32,
    row: [u8; 4],
    slot: &'a [u8],
    vector: &'a [u8],
}

/// What one list is made of.
struct Parts<'a> {
    list: u32,
    first_slot: u32,
    rows: &'a [u8],
    vectors: &'a [u8],
    copies: Vec<Offer<'a>>,
}

impl Parts<'_> {
    fn primaries(&self) -> usize {
        self.rows.len() / 4
    }

    fn entries(&self) -> usize {
        self.primaries() + self.copies.len()
    }

    /// Rows, slots of the copies, and vectors of all entries.
    fn gather(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (mut rows, mut slots, mut vectors) = (self.rows.to_vec(), Vec::new(), self.vectors.to_vec());
        for copy in &self.copies {
            rows.extend_from_slice(&copy.row);
            slots.extend_from_slice(copy.slot);
            vectors.extend_from_slice(copy.vector);
        }
        (rows, slots, vectors)
    }
}

struct Encoder {
    space: Space,
    layout: ListLayout,
    /// Centroids of all lists, row-major.
    centroids: Vec<f32>,
    /// The first slot of each list, and the number of rows at the end.
    slots: Vec<u64>,
    reader: RowReader,
    postings: ExtentFileWriter,
    places: Arc<dyn DiskFile>,
    state: State,
}

impl Encoder {
    /// Opens the files, cut to what the last checkpoint knows.
    fn open(build: &mut Build<'_>) -> Result<Self> {
        let (space, router) = open_router(build)?;
        let centroids = decode_centroids(&router);
        let disk = build.disk.as_ref();
        let (name, header) = (build.name(FileRole::Postings), build.header(FileRole::Postings));
        let state = build.state.clone();
        let (postings, places) = if state.partitions_encoded == 0 {
            build.clear(&name)?;
            build.clear(PLACES)?;
            (ExtentFileWriter::create(disk, &name, header)?, disk.create(PLACES)?)
        } else {
            (ExtentFileWriter::resume(disk, &name, header, state.postings_bytes)?, disk.open_rw(PLACES)?)
        };
        cut(places.as_ref(), state.places.bytes)?;
        let mut slots = vec![0];
        for_each_list(build, |_, primaries, _| {
            slots.push(slots[slots.len() - 1] + u64::from(primaries));
            Ok(())
        })?;
        let layout = build.list_layout(space.dim());
        let reader = RowReader::open(build)?;
        Ok(Self { space, layout, centroids, slots, reader, postings, places, state })
    }

    fn encode_partition(&mut self, build: &Build<'_>, partition: usize) -> Result<()> {
        let set = Set { by: Keys::Copies, keys: self.state.lists };
        let payload = COPY_BYTES + build.shape.row_bytes();
        let written = self.state.copies[partition];
        let reader = Reader::open(build.disk.as_ref(), &build.plan, payload, set, partition, written)?;
        let lists = keys_of(partition, build.plan.partitions, set.keys);
        let mut next = lists.start;
        for window in reader.windows()? {
            // More copies of one list than fit the memory: the best of those that came first fill it many times over,
            // though there may be better ones among the rest.
            if window.keys.start < next {
                continue;
            }
            self.encode_lists(build, next..window.keys.start, None)?;
            self.encode_lists(build, window.keys.clone(), Some(&reader.load(&window)?))?;
            next = window.keys.end;
        }
        self.encode_lists(build, next..lists.end, None)
    }

    /// Encodes lists whose copies are `sorted`, so many together as fit the memory.
    fn encode_lists(&mut self, build: &Build<'_>, lists: Range<u32>, sorted: Option<&Sorted>) -> Result<()> {
        let per_list = self.layout.extent_bytes(build.plan.list_cap, 0)
            + build.plan.list_cap * (build.shape.row_bytes() + self.space.dim() * 4);
        let together = (build.plan.window_bytes as usize / 8 / per_list).clamp(1, 256) as u32;
        let (mut rows, mut vectors) = (Vec::new(), Vec::new());
        for first in lists.clone().step_by(together as usize) {
            build.check_cancelled()?;
            let lists = first..(first + together).min(lists.end);
            let slots = self.slots[lists.start as usize]..self.slots[lists.end as usize];
            self.reader.read(slots.start, slots.end, &mut rows, &mut vectors)?;
            let parts: Vec<Parts<'_>> =
                lists.map(|list| self.parts(build, list, slots.start, (&rows, &vectors), sorted)).collect();
            self.write(&parts)?;
        }
        Ok(())
    }

    /// The parts of a list; `read` are the rows and vectors from slot `base` on.
    fn parts<'a>(
        &self,
        build: &Build<'_>,
        list: u32,
        base: u64,
        read: (&'a [u8], &'a [u8]),
        sorted: Option<&'a Sorted>,
    ) -> Parts<'a> {
        let row_bytes = build.shape.row_bytes();
        let slots = self.slots[list as usize]..self.slots[list as usize + 1];
        let (from, to) = ((slots.start - base) as usize, (slots.end - base) as usize);
        let room = build.plan.list_cap.saturating_sub(to - from);
        Parts {
            list,
            first_slot: slots.start as u32,
            rows: &read.0[from * 4..to * 4],
            vectors: &read.1[from * row_bytes..to * row_bytes],
            copies: sorted.map_or_else(Vec::new, |sorted| best_copies(sorted, list, room, row_bytes)),
        }
    }

    /// Appends lists to the file of postings and to the log.
    fn write(&mut self, parts: &[Parts<'_>]) -> Result<()> {
        let key = self.postings.next_key();
        let mut offset = key.offset;
        let mut places = Vec::with_capacity(parts.len());
        for part in parts {
            let bytes = self.layout.extent_bytes(part.entries(), part.primaries()) as u32;
            let (entries, primaries) = (part.entries() as u32, part.primaries() as u32);
            places.push(Place { offset, bytes, entries, primaries, first_slot: part.first_slot });
            offset += u64::from(bytes);
        }
        let encoded: Vec<Vec<u8>> = parts
            .par_iter()
            .zip(&places)
            .map(|(part, place)| self.encode(part, ExtentKey { offset: place.offset, ..key }))
            .collect();
        for bytes in &encoded {
            self.postings.append_raw(bytes)?;
        }
        self.log_places(&places)
    }

    fn encode(&self, part: &Parts<'_>, key: ExtentKey) -> Vec<u8> {
        let (rows, slots, vectors) = part.gather();
        let primaries = part.primaries() as u32;
        let head = Head { list: part.list, first_slot: part.first_slot, primaries, slots: &slots };
        let mut out = Vec::new();
        let Some(shape) = self.layout.code() else {
            posting::encode_raw(head, &rows, &vectors, key, &mut out);
            return out;
        };
        let mut points = vec![0.0; part.entries() * shape.dim];
        let vectors = vectors.chunks_exact(self.space.shape.row_bytes());
        for (point, row) in points.chunks_exact_mut(shape.dim).zip(vectors) {
            self.space.embed(row, point);
        }
        let rows: Vec<u32> = rows.as_chunks().0.iter().map(|row| u32::from_le_bytes(*row)).collect();
        let centroid = &self.centroids[part.list as usize * shape.dim..][..shape.dim];
        let list = quantize::encode(shape, Scale::Unbiased, centroid, &points, &rows);
        posting::encode_coded(head, self.layout.codec, &list, key, &mut out);
        out
    }

    fn log_places(&mut self, places: &[Place]) -> Result<()> {
        let mut out = Vec::with_capacity(places.len() * PLACE_BYTES);
        let state = &mut self.state;
        for place in places {
            out.extend_from_slice(&place.encode());
            state.entries += u64::from(place.entries);
            state.squares += u64::from(place.entries) * u64::from(place.entries);
            state.list_entries_max = state.list_entries_max.max(place.entries);
            state.list_bytes_max = state.list_bytes_max.max(place.bytes);
        }
        self.places.write_at(state.places.bytes, &out)?;
        state.places.add(&out);
        Ok(())
    }

    /// Makes a partition's lists survive a crash; only then its file goes.
    fn checkpoint(&mut self, build: &Build<'_>, partition: usize) -> Result<()> {
        self.postings.sync()?;
        self.places.sync()?;
        build.disk.sync_dir()?;
        self.state.partitions_encoded = partition as u32 + 1;
        self.state.postings_bytes = self.postings.position();
        self.state.save(build.disk.as_ref())?;
        Ok(build.disk.remove(&Keys::Copies.name(partition))?)
    }
}

/// The copies that a list has room for: those of vectors that are nearly as near to it as to their own.
fn best_copies(sorted: &Sorted, list: u32, room: usize, row_bytes: usize) -> Vec<Offer<'_>> {
    let Some(range) = sorted.ranges.get((list - sorted.first_key) as usize) else { return Vec::new() };
    let mut offers: Vec<Offer<'_>> = range
        .clone()
        .map(|entry| {
            let payload = &sorted.payloads[entry * (COPY_BYTES + row_bytes)..][..COPY_BYTES + row_bytes];
            let ratio = f32::from_le_bytes([payload[4], payload[5], payload[6], payload[7]]);
            let row = sorted.row(entry).to_le_bytes();
            Offer { ratio, row, slot: &payload[..4], vector: &payload[COPY_BYTES..] }
        })
        .collect();
    let order = |offer: &Offer<'_>| (offer.ratio, u32::from_le_bytes(offer.row));
    offers.sort_unstable_by(|a, b| {
        let (a, b) = (order(a), order(b));
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    });
    offers.truncate(room);
    offers
}
