//! A distance and a number as one number that orders as the two do, so that comparing takes no branch.

/// In the order of `f32::total_cmp`, then of the number.
pub(crate) fn rank(distance: f32, number: u32) -> u64 {
    let bits = distance.to_bits();
    // The sign bit of what is not negative, all bits of what is: then they order as unsigned numbers.
    let ordered = bits ^ ((bits.cast_signed() >> 31).cast_unsigned() | 1 << 31);
    u64::from(ordered) << 32 | u64::from(number)
}

/// The distance and the number of a rank.
pub(crate) fn ranked(rank: u64) -> (f32, u32) {
    let ordered = (rank >> 32) as u32;
    let bits = ordered ^ ((!ordered.cast_signed() >> 31).cast_unsigned() | 1 << 31);
    (f32::from_bits(bits), rank as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn order_is_that_of_distances_then_of_numbers(a in any::<(u32, u32)>(), b in any::<(u32, u32)>(), same in any::<bool>()) {
            let pair = |(bits, number): (u32, u32)| (f32::from_bits(bits), number);
            let (a, b) = (pair(a), pair(if same { (a.0, b.1) } else { b }));
            prop_assert_eq!(rank(a.0, a.1).cmp(&rank(b.0, b.1)), a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let (distance, number) = ranked(rank(a.0, a.1));
            prop_assert_eq!((distance.to_bits(), number), (a.0.to_bits(), a.1));
        }
    }
}
