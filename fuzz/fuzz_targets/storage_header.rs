//! Bytes that should be a file's header page: refused or decoded, never a panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nearline_storage::{Checksum, FileHeader, PAGE};

fuzz_target!(|data: &[u8]| {
    let file = Path::new("fuzz");
    let _ = FileHeader::decode(data, file);

    // With magic and checksum made right, the checks behind them are reached.
    let mut page = data.to_vec();
    page.resize(PAGE, 0);
    page[..16].copy_from_slice(b"NEARLINE\x89\r\n\x1a\n\0\0\0");
    let crc = Checksum::of(&page[..40]).update(&page[44..]);
    page[40..44].copy_from_slice(&crc.value().to_le_bytes());
    if let Ok(header) = FileHeader::decode(&page, file) {
        let again = FileHeader::decode(&header.encode(), file).expect("what was encoded decodes");
        assert_eq!(again, header);
    }
});
