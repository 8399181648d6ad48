//! What the targets of the index's decoders share: a small valid index, of which one file is replaced.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use nearline_index::{
    BuildOptions, Codec, IdSource, Index, OpenOptions, Pin, Probe, Rerank, Residency, Result, SearchOptions,
    Silent, SourceError, VectorSlice, build_on,
};
use nearline_storage::{
    Disk, ExtentHeader, ExtentKey, FileHeader, PAGE, SimDisk, encode_extent, extent_bytes,
};

const COUNT: usize = 60;
const DIM: usize = 4;

struct Ids;

impl IdSource for Ids {
    fn name(&self) -> String {
        "ids".to_owned()
    }
    fn count(&self) -> u64 {
        COUNT as u64
    }
    fn ids(&self, from: u64, out: &mut [u64]) -> Result<(), SourceError> {
        out.iter_mut().zip(from..).for_each(|(id, row)| *id = 1_000 + row);
        Ok(())
    }
}

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a small index of codes, and of one of raw vectors.
static CODED: LazyLock<Files> = LazyLock::new(|| build(Codec::Rabitq { bits: 4 }));
static RAW: LazyLock<Files> = LazyLock::new(|| build(Codec::Raw));

fn build(codec: Codec) -> Files {
    let values: Vec<f32> = (0..COUNT * DIM).map(|i| ((i * 37) % 101) as f32).collect();
    let source = VectorSlice::from_f32(DIM, &values).expect("whole rows");
    let disk = SimDisk::new(1);
    let (codec, list_vectors) = (Some(codec), Some(10));
    let options =
        BuildOptions { threads: 1, ids: Some(&Ids), codec, list_vectors, ..BuildOptions::default() };
    build_on(Arc::new(disk.clone()), &source, &options, &Silent).expect("a build of sound vectors");
    let names = disk.list().expect("a folder");
    names.into_iter().map(|name| (name.clone(), disk.bytes(&name).expect("a file"))).collect()
}

/// Tries the bytes as the file that starts with `stem`: as they are, and sealed again so that the decoder behind
/// the checksums is reached.
pub fn replace(stem: &str, data: &[u8]) {
    for files in [&*CODED, &*RAW] {
        // An index of raw vectors has no file of rows.
        let Some((name, good)) = files.iter().find(|(name, _)| name.starts_with(stem)) else { continue };
        open_and_search(files, name, data);
        open_and_search(files, name, &resealed(good, data));
    }
}

/// The sound file, its extents changed as the data says, with checksums that fit.
///
/// Data: for each extent a byte of flags, then bytes over one of its planes from a place on. Flag 1: the rest of
/// the data is the whole plane; 2: other fields in the header; 4: no such extent at all; 8 and 16: which plane.
fn resealed(good: &[u8], data: &[u8]) -> Vec<u8> {
    let file = FileHeader::decode(good, "fuzz".as_ref()).expect("a sound header");
    let mut out = good[..PAGE].to_vec();
    let mut data = data.iter().copied();
    let mut at = PAGE;
    while at < good.len() {
        let key = ExtentKey { file_id: file.file_id, offset: at as u64 };
        let bytes = u32::from_le_bytes([good[at + 20], good[at + 21], good[at + 22], good[at + 23]]) as usize;
        let extent = &good[at..at + bytes];
        let extent = nearline_storage::Extent::decode(extent, key, "fuzz".as_ref()).expect("a sound extent");
        at += bytes;
        let mut planes: Vec<Vec<u8>> = (0..extent.plane_count()).map(|i| extent.plane(i).to_vec()).collect();
        let mut header = extent.header;
        let flags = data.next().unwrap_or(0);
        change(&mut header, &mut planes, flags, &mut data);
        if flags & 4 == 0 {
            let planes: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
            let lens: Vec<usize> = planes.iter().map(|plane| plane.len()).collect();
            assert!(extent_bytes(&lens) < 1 << 20);
            let key = ExtentKey { file_id: file.file_id, offset: out.len() as u64 };
            encode_extent(&header, &planes, key, &mut out);
        }
    }
    out
}

fn change(
    header: &mut ExtentHeader,
    planes: &mut Vec<Vec<u8>>,
    flags: u8,
    data: &mut impl Iterator<Item = u8>,
) {
    if flags & 2 != 0 {
        let mut byte = || data.next().unwrap_or(0);
        *header = ExtentHeader {
            kind: header.kind ^ u16::from(byte() & 1),
            codec: header.codec ^ (byte() & 1),
            owner: header.owner.wrapping_add(u32::from(byte())),
            count: header.count.wrapping_sub(u32::from(byte())),
        };
        planes.truncate(usize::from(byte()) % 4);
    }
    let Some(plane) = planes.get_mut(usize::from(flags >> 3 & 3)) else { return };
    if flags & 1 != 0 {
        *plane = data.take(1 << 16).collect();
        return;
    }
    // A few bytes at a place.
    let place = usize::from(data.next().unwrap_or(0)) | usize::from(data.next().unwrap_or(0)) << 8;
    let len = usize::from(data.next().unwrap_or(0)) % 16;
    for (byte, new) in plane.iter_mut().skip(place % 4096).take(len).zip(data) {
        *byte = new;
    }
}

/// The index opens and answers, or there is an error in one line; nothing else.
fn open_and_search(files: &Files, name: &str, bytes: &[u8]) {
    let disk = SimDisk::new(1);
    for (other, sound) in files {
        let bytes = if other == name { bytes } else { sound };
        disk.create(other).and_then(|file| file.write_at(0, bytes)).expect("a disk without faults");
    }
    for pin in [Pin::Nothing].into_iter().chain(Residency::ALL.map(Pin::Residency)) {
        if let Err(error) = search(&disk, pin) {
            let error = error.to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }
}

fn search(disk: &SimDisk, pin: Pin) -> Result<()> {
    let index = Index::open_on(Arc::new(disk.clone()), &OpenOptions { pin, ..OpenOptions::default() })?;
    let mut searcher = index.searcher();
    let info = index.info();
    let query = vec![0x3f; info.dim * info.element.bytes()];
    for probe in [Probe::All, Probe::Lists(2), Probe::Lists(COUNT), Probe::TargetRecall(0.9)] {
        for (k, rerank) in
            [(1, Rerank::Calibrated), (10, Rerank::Exact), (10, Rerank::Never), (COUNT, Rerank::Calibrated)]
        {
            let asked = SearchOptions { k, probe, rerank, ..SearchOptions::default() };
            searcher
                .search_many(&[&query, &query], &asked, 2, &mut |_, answer| {
                    assert!(answer.hits.len() <= k);
                    assert!(answer.hits.windows(2).all(|two| !(two[0].distance > two[1].distance)));
                })
                .ok();
        }
    }
    Ok(())
}
