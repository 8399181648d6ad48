//! Compressed files of every format, the stream itself sometimes damaged.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use nearline_fuzz::datasets;

fuzz_target!(|data: &[u8]| {
    let [first, damage, rest @ ..] = data else { return };
    let (name, entry) = [
        ("x.fvecs.gz", 0),
        ("x.u8bin.gz", 1),
        ("x.fbin.gz", 4),
        ("x.npy.gz", 0),
        ("x.ibin.gz", 4),
        ("x.ivecs.gz", 0),
        ("x.gt.bin.gz", 8),
    ][usize::from(first % 7)];
    let mut bytes = rest.to_vec();
    if *first > 127 && entry > 0 {
        datasets::honest(&mut bytes, entry);
    }
    if first & 64 == 0 {
        bytes = compress(&bytes);
        if damage % 2 == 1 {
            let at = usize::from(*damage) % bytes.len();
            bytes[at] ^= 1 << (damage / 32);
        }
    }
    let path = datasets::file(name, &bytes);
    match name {
        "x.gt.bin.gz" => datasets::ground_truth(&path),
        "x.ibin.gz" | "x.ivecs.gz" => datasets::ids(&path),
        _ => datasets::vectors(&path),
    }
});

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes bytes");
    encoder.finish().expect("memory takes bytes")
}
