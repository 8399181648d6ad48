//! What lanes of registers stand for: words of codes, and tables of lanes.

/// A word of one to eight bytes, the first being the lowest.
#[inline(always)]
pub(super) fn word<const N: usize>(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..N].copy_from_slice(&bytes[..N]);
    u64::from_le_bytes(word)
}

// Tables of lanes are constants: a closure that filled them would not be inlined into code for another processor.

/// How far right each lane turns a word to find its field of `width` bits `up` bits from the right. Lane `i` stands
/// for the code `first + i`, and the codes take turns among `words` words.
pub(super) const fn turns<const N: usize>(width: usize, words: usize, first: usize, up: usize) -> [i32; N] {
    let mut turns = [0; N];
    let mut lane = 0;
    while lane < N {
        turns[lane] = ((32 + (first + lane) / words * width - up) % 32) as i32;
        lane += 1;
    }
    turns
}

/// The bit of its group's nibble that each lane stands for.
pub(super) const fn nibble_bits<const N: usize>() -> [i32; N] {
    let mut bits = [0; N];
    let mut lane = 0;
    while lane < N {
        bits[lane] = lane as i32 % 4;
        lane += 1;
    }
    bits
}

/// 1 in the lanes that a step of the Hadamard transform adds to, -1 in those it subtracts.
pub(super) const fn signs<const N: usize>(half: usize) -> [f32; N] {
    let mut signs = [1.0; N];
    let mut lane = 0;
    while lane < N {
        if lane & half != 0 {
            signs[lane] = -1.0;
        }
        lane += 1;
    }
    signs
}
