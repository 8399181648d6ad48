//! Packing codes: signs into blocks, lower bits into planes. The kernels unpack.

use super::BLOCK;

/// Dimensions whose lower bits lie together.
const CHUNK: usize = 16;
/// Entries in the low nibbles of a block, and bytes of one group of four dimensions.
const HALF: usize = BLOCK / 2;

/// Puts the highest of `bits` bits of an entry's codes into its place of a block that was zero there.
pub(super) fn pack_signs(bits: usize, codes: &[u8], entry: usize, signs: &mut [u8]) {
    let (at, shift) = (entry % HALF, entry / HALF % 2 * 4);
    for (group, codes) in signs.as_chunks_mut::<HALF>().0.iter_mut().zip(codes.as_chunks::<4>().0) {
        let top = (u32::from_le_bytes(*codes) >> (bits - 1)) & 0x0101_0101;
        // The product's top byte gathers the four bits: byte j moves up by 24 - 7j.
        let nibble = (top.wrapping_mul(0x0102_0408) >> 24) & 15;
        group[at] |= (nibble as u8) << shift;
    }
}

/// Appends the planes of the lower `bits - 1` bits of an entry's codes.
pub(super) fn pack_planes(bits: usize, codes: &[u8], out: &mut Vec<u8>) {
    let lower = bits - 1;
    for codes in codes.as_chunks::<CHUNK>().0 {
        if lower & 4 != 0 {
            let mut words = [0u32; 2];
            for (j, &code) in codes.iter().enumerate() {
                words[j % 2] |= (u32::from(code) >> (lower & 3) & 15) << (j / 2 * 4);
            }
            out.extend(words.map(u32::to_le_bytes).as_flattened());
        }
        if lower & 2 != 0 {
            let code = |j: usize| (u32::from(codes[j]) >> (lower & 1) & 3) << (j * 2);
            out.extend((0..CHUNK).fold(0, |word, j| word | code(j)).to_le_bytes());
        }
        if lower & 1 != 0 {
            let code = |j: usize| u16::from(codes[j] & 1) << j;
            out.extend((0..CHUNK).fold(0, |word, j| word | code(j)).to_le_bytes());
        }
    }
}
