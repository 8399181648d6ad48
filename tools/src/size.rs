//! Sizes and numbers, as people write and read them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes: `4096`, `256MiB`, `1.5GiB`, `10GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

const BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DECIMAL: [(&str, u64); 5] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size, expected bytes as in 4096, 256MiB, 1.5GiB or 10GB");
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit_bytes(unit.trim()).ok_or_else(wrong)?;
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(unit).ok_or_else(wrong)?,
            Err(_) => {
                let bytes = number.parse::<f64>().map_err(|_| wrong())? * unit as f64;
                (0.0..u64::MAX as f64).contains(&bytes).then_some(bytes as u64).ok_or_else(wrong)?
            }
        };
        Ok(Self(bytes))
    }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    BINARY.iter().chain(&DECIMAL).find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, bytes)| *bytes)
}

/// Three digits and a binary unit.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((name, unit)) = BINARY.iter().find(|(_, unit)| self.0 >= *unit) else {
            return write!(f, "{} B", self.0);
        };
        let value = self.0 as f64 / *unit as f64;
        let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
        write!(f, "{value:.digits$} {name}")
    }
}

/// A count with its thousands set apart: `1,000,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds with the digits that matter.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.995 => format!("{:.0} ms", s * 1e3),
        s if s < 99.5 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_unit() {
        let good = [
            ("0", 0),
            ("4096", 4096),
            ("1KiB", 1024),
            ("256MiB", 256 << 20),
            ("1 gib", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("2TiB", 2 << 40),
            ("10GB", 10_000_000_000),
            ("3MB", 3_000_000),
            ("5kb", 5000),
            ("7B", 7),
        ];
        for (text, bytes) in good {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "x", "1 parsec", "-1", "1.2.3GiB", "MiB", "99999999999TiB", "1e3", "1M"] {
            let error = bad.parse::<Size>().unwrap_err();
            assert!(error.contains("256MiB") && !error.contains('\n'), "{bad}: {error}");
        }
    }

    #[test]
    fn sizes_print_three_digits() {
        let pairs = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1000 << 10, "1000 KiB"),
            (256 << 20, "256 MiB"),
            (3 << 29, "1.50 GiB"),
            (12 << 40, "12.0 TiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (bytes, text) in pairs {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(seconds(0.0123), "12 ms");
        assert_eq!(seconds(12.34), "12.3 s");
        assert_eq!(seconds(150.0), "2.5 min");
    }
}
