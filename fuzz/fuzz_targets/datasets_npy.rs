//! NumPy arrays as vectors and as ids: any header gives rows or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearline_fuzz::datasets;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    if first % 2 == 1 && bytes.len() > 10 {
        // past the magic and into the dictionary
        let text = (usize::from(first) / 2).min(bytes.len() - 10);
        bytes[..10].copy_from_slice(&[0x93, b'N', b'U', b'M', b'P', b'Y', 1, 0, text as u8, 0]);
    }
    let path = datasets::file("x.npy", &bytes);
    datasets::vectors(&path);
    datasets::ids(&path);
});
