//! Looking for values that are no numbers.

/// Values that are looked at together, without asking after each.
const CHUNK: usize = 256;
/// Added to the exponent it carries into the sign where all bits of the exponent are ones: in NaN and infinities alone.
const CARRY: u32 = 1 << 23;

/// The place of the first value that is NaN or an infinity.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<usize> {
    let carried = |bits: u32, value: &f32| bits | ((value.to_bits() & !(1 << 31)) + CARRY);
    let chunk = values.chunks(CHUNK).position(|chunk| chunk.iter().fold(0, carried) >> 31 == 1)?;
    let rest = values[chunk * CHUNK..].iter().position(|value| !value.is_finite())?;
    Some(chunk * CHUNK + rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_asking_each_finds(
            bits in prop::collection::vec(any::<u32>(), 0..600),
            odd in prop::collection::vec((0..600_usize, 0..4_usize), 0..3),
        ) {
            let mut values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            // Mostly few are not finite.
            values.iter_mut().filter(|value| !value.is_finite()).for_each(|value| *value = f32::MAX);
            for (at, which) in odd {
                if let Some(value) = values.get_mut(at) {
                    *value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN][which];
                }
            }
            prop_assert_eq!(first_not_finite(&values), values.iter().position(|value| !value.is_finite()));
        }
    }
}
