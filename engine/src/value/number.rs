//! Numbers: integers without loss, floats, one order over both.

use std::cmp::Ordering;
use std::fmt;

/// A number of a payload or a filter: an integer from `i64::MIN` to `u64::MAX`, held without loss, or a float.
///
/// Integers and floats are different values (`1` is not `1.0`), but they are ordered by what they are worth:
/// [`Number::compare`] never rounds.
///
/// ```
/// use std::cmp::Ordering;
/// use nearline::Number;
///
/// let large = Number::from(9_007_199_254_740_993_i64); // 2^53 + 1: no float is worth this
/// assert_eq!(large.compare(Number::from(9_007_199_254_740_992.0)), Some(Ordering::Greater));
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Number(Kind);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Integer(i64),
    /// Only above `i64::MAX`, so that equal integers are equal.
    Large(u64),
    Float(f64),
}

impl Number {
    /// The number as an integer, unless it is a float or above `i64::MAX`.
    pub fn as_i64(self) -> Option<i64> {
        self.as_i128().and_then(|integer| integer.try_into().ok())
    }

    /// The number as an unsigned integer, unless it is a float or negative.
    pub fn as_u64(self) -> Option<u64> {
        self.as_i128().and_then(|integer| integer.try_into().ok())
    }

    /// The number as a float; a large integer is rounded to the nearest.
    pub fn as_f64(self) -> f64 {
        match self.0 {
            Kind::Integer(integer) => integer as f64,
            Kind::Large(integer) => integer as f64,
            Kind::Float(float) => float,
        }
    }

    /// Whether it is an integer, not a float that happens to be whole.
    pub fn is_integer(self) -> bool {
        !matches!(self.0, Kind::Float(_))
    }

    /// Whether it is neither NaN nor infinite.
    pub fn is_finite(self) -> bool {
        self.as_f64().is_finite()
    }

    /// Whether it is NaN.
    pub fn is_nan(self) -> bool {
        self.as_f64().is_nan()
    }

    /// The order of what two numbers are worth, exactly; `None` if one is NaN.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self.as_i128(), other.as_i128()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            (None, None) => self.as_f64().partial_cmp(&other.as_f64()),
            (Some(a), None) => integer_to_float(a, other.as_f64()),
            (None, Some(b)) => integer_to_float(b, self.as_f64()).map(Ordering::reverse),
        }
    }

    /// The integer, in a type that holds all of them.
    pub(crate) fn as_i128(self) -> Option<i128> {
        match self.0 {
            Kind::Integer(integer) => Some(integer.into()),
            Kind::Large(integer) => Some(integer.into()),
            Kind::Float(_) => None,
        }
    }
}

/// Compares by whole parts first; what is left of the float decides.
fn integer_to_float(integer: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Saturates, far beyond all integers of payloads.
    let whole = float.floor() as i128;
    let rest = if float.is_finite() && float > float.floor() { Ordering::Less } else { Ordering::Equal };
    Some(integer.cmp(&whole).then(rest))
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Number {
            fn from(integer: $integer) -> Self {
                Self(Kind::Integer(integer.into()))
            }
        }
    )*};
}

from_integers!(i8, i16, i32, i64, u8, u16, u32);

impl From<u64> for Number {
    fn from(integer: u64) -> Self {
        i64::try_from(integer).map_or(Self(Kind::Large(integer)), Self::from)
    }
}

impl From<usize> for Number {
    fn from(integer: usize) -> Self {
        Self::from(integer as u64)
    }
}

impl From<f64> for Number {
    fn from(float: f64) -> Self {
        Self(Kind::Float(float))
    }
}

impl From<f32> for Number {
    fn from(float: f32) -> Self {
        Self(Kind::Float(float.into()))
    }
}

impl fmt::Display for Number {
    /// Prints integers in decimal, floats with a point or an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Integer(integer) => write!(f, "{integer}"),
            Kind::Large(integer) => write!(f, "{integer}"),
            Kind::Float(float) => write!(f, "{float:?}"),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_are_ordered_by_worth() {
        let ascending = [
            Number::from(f64::NEG_INFINITY),
            Number::from(-1e19),
            Number::from(i64::MIN),
            Number::from(-1.5),
            Number::from(-1),
            Number::from(-0.5),
            Number::from(0),
            Number::from(0.5),
            Number::from(9_007_199_254_740_992.0),
            Number::from(9_007_199_254_740_993_i64),
            Number::from(i64::MAX),
            Number::from(9_223_372_036_854_775_808.0),
            Number::from(9_223_372_036_854_775_809_u64),
            Number::from(u64::MAX),
            Number::from(18_446_744_073_709_551_616.0),
            Number::from(f64::INFINITY),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.compare(*b), Some(i.cmp(&j)), "{a} and {b}");
            }
            assert_eq!(a.compare(Number::from(f64::NAN)), None);
        }
        assert_eq!(
            Number::from(i64::MIN).compare(Number::from(-9_223_372_036_854_775_808.0)),
            Some(Ordering::Equal)
        );
        assert_eq!(Number::from(0).compare(Number::from(-0.0)), Some(Ordering::Equal));
    }

    #[test]
    fn conversions_keep_or_refuse() {
        assert_eq!(Number::from(5_u64), Number::from(5_i64));
        assert_eq!(Number::from(u64::MAX).as_i64(), None);
        assert_eq!(Number::from(u64::MAX).as_u64(), Some(u64::MAX));
        assert_eq!(Number::from(-1).as_u64(), None);
        assert_eq!((Number::from(1.0).as_i64(), Number::from(1.0).is_integer()), (None, false));
        assert_ne!(Number::from(1.0), Number::from(1));
        assert_eq!(Number::from(1.0).to_string(), "1.0");
        assert!(!Number::from(f32::NAN).is_finite() && Number::from(f32::NAN).is_nan());
    }
}
