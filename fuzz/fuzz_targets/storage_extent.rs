//! Bytes that should be an extent: refused or decoded, never a panic; and what is encoded comes back.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nearline_storage::{Checksum, Extent, ExtentHeader, ExtentKey, MAX_PLANES, encode_extent, extent_bytes};

const KEY: ExtentKey = ExtentKey { file_id: 7, offset: 4096 };

fuzz_target!(|data: &[u8]| {
    let file = Path::new("fuzz");
    let _ = Extent::decode(data, KEY, file);

    // With magic, length and checksum made right, the checks behind them are reached.
    let mut patched = data.to_vec();
    patched.resize(data.len().max(64).next_multiple_of(4096), 0);
    patched[0..4].copy_from_slice(b"NLEX");
    let bytes = patched.len() as u32;
    patched[20..24].copy_from_slice(&bytes.to_le_bytes());
    let crc = Checksum::keyed(KEY.file_id, KEY.offset).update(&patched[..24]).update(&patched[28..]);
    patched[24..28].copy_from_slice(&crc.value().to_le_bytes());
    if let Ok(extent) = Extent::decode(&patched, KEY, file) {
        let total: usize = (0..extent.plane_count()).map(|i| extent.plane(i).len()).sum();
        assert!(total <= patched.len());
    }

    round_trip(data, file);
});

/// Cuts the data into planes, encodes them and finds them again.
fn round_trip(data: &[u8], file: &Path) {
    let Some((&first, rest)) = data.split_first() else { return };
    let count = usize::from(first) % (MAX_PLANES + 1);
    let planes: Vec<&[u8]> = rest.chunks(rest.len() / count.max(1) + 1).take(count).collect();
    let header = ExtentHeader { kind: 1, codec: first, owner: 3, count: rest.len() as u32 };
    let mut out = Vec::new();
    encode_extent(&header, &planes, KEY, &mut out);
    let lens: Vec<usize> = planes.iter().map(|plane| plane.len()).collect();
    assert_eq!(out.len(), extent_bytes(&lens));
    let extent = Extent::decode(&out, KEY, file).expect("what was encoded decodes");
    assert_eq!((extent.header, extent.plane_count()), (header, planes.len()));
    planes.iter().enumerate().for_each(|(i, plane)| assert_eq!(extent.plane(i), *plane));
}
