//! What users call a point: a number or a UUID.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "serde")]
mod serde;

/// The bytes of every key of a point id.
const KEY_BYTES: usize = 17;

/// The first byte of a key.
const NUMBER: u8 = 0;
const UUID: u8 = 1;

/// The id of a point. Numbers sort before UUIDs, each by value.
///
/// ```
/// use nearline::PointId;
///
/// let number = PointId::from(42);
/// let uuid: PointId = "f47ac10b-58cc-4372-a567-0e02b2c3d479".parse()?;
/// assert!(number < uuid);
/// assert_eq!(PointId::from_key(&uuid.key()), Some(uuid));
/// # Ok::<(), nearline::PointIdError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PointId {
    /// A number.
    Number(u64),
    /// A UUID of any version.
    Uuid(Uuid),
}

/// The 16 bytes of a UUID, most significant first.
///
/// ```
/// use nearline::Uuid;
///
/// let uuid: Uuid = "F47AC10B58CC4372A5670E02B2C3D479".parse()?;
/// assert_eq!(uuid.to_string(), "f47ac10b-58cc-4372-a567-0e02b2c3d479");
/// # Ok::<(), nearline::PointIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// A text that is no point id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no point id; expected {expected}, such as {}",
    if *.expected == UUID_WANTED { "f47ac10b-58cc-4372-a567-0e02b2c3d479" } else { "42" }
)]
pub struct PointIdError {
    /// The text, cut if it is long.
    pub found: String,
    /// What it should have been.
    pub expected: &'static str,
}

const UUID_WANTED: &str = "a UUID";
const ID_WANTED: &str = "a number from 0 to 18446744073709551615 or a UUID";

impl PointId {
    /// The id as bytes that sort like ids: a tag, then the number (big-endian, in the last 8 bytes) or the UUID.
    pub fn key(&self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        match self {
            Self::Number(number) => {
                key[0] = NUMBER;
                key[9..].copy_from_slice(&number.to_be_bytes());
            }
            Self::Uuid(uuid) => {
                key[0] = UUID;
                key[1..].copy_from_slice(&uuid.0);
            }
        }
        key
    }

    /// The id a key stands for, or `None` if no id has this key.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let key: &[u8; KEY_BYTES] = key.try_into().ok()?;
        match key {
            [NUMBER, 0, 0, 0, 0, 0, 0, 0, 0, number @ ..] => Some(Self::Number(u64::from_be_bytes(*number))),
            [UUID, uuid @ ..] => Some(Self::Uuid(Uuid(*uuid))),
            _ => None,
        }
    }
}

impl From<u64> for PointId {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Uuid> for PointId {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

impl FromStr for PointId {
    type Err = PointIdError;

    /// Reads decimal digits as a number, and every form of a UUID that [`Uuid`] reads.
    fn from_str(text: &str) -> Result<Self, PointIdError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if let (true, Ok(number)) = (digits, text.parse()) {
            return Ok(Self::Number(number));
        }
        Uuid::parse(text).map(Self::Uuid).ok_or_else(|| PointIdError::new(text, ID_WANTED))
    }
}

impl Uuid {
    /// Whether the text is the UUID as it is printed: lower case, with hyphens.
    pub(crate) fn is_printed_form(self, text: &str) -> bool {
        self.printed() == *text.as_bytes()
    }

    /// Hyphens at their places, or no hyphens at all; in braces or behind `urn:uuid:` if it has hyphens.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let braced = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let bare = braced.or_else(|| text.strip_prefix("urn:uuid:")).unwrap_or(text).as_bytes();
        let hyphens = match bare.len() {
            36 => true,
            32 if bare.len() == text.len() => false,
            _ => return None,
        };
        let mut uuid = [0; 16];
        let mut at = 0;
        for (i, byte) in uuid.iter_mut().enumerate() {
            if hyphens && HYPHENS_BEFORE.contains(&i) {
                if bare[at] != b'-' {
                    return None;
                }
                at += 1;
            }
            *byte = (hex(bare[at])? << 4) | hex(bare[at + 1])?;
            at += 2;
        }
        Some(Self(uuid))
    }

    fn printed(self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.0.into_iter().enumerate() {
            at += usize::from(HYPHENS_BEFORE.contains(&i));
            out[at] = DIGITS[usize::from(byte >> 4)];
            out[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        out
    }
}

/// The bytes of a UUID that have a hyphen before them.
const HYPHENS_BEFORE: [usize; 4] = [4, 6, 8, 10];

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl FromStr for Uuid {
    type Err = PointIdError;

    /// Reads 32 hexadecimal digits in any case: with hyphens, then also in braces or behind `urn:uuid:`, or without.
    fn from_str(text: &str) -> Result<Self, PointIdError> {
        Self::parse(text).ok_or_else(|| PointIdError::new(text, UUID_WANTED))
    }
}

impl fmt::Display for Uuid {
    /// Prints lower case with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.printed().iter().try_for_each(|&byte| fmt::Write::write_char(f, char::from(byte)))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PointIdError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { found: text.chars().take(64).collect(), expected }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

    fn any_id() -> impl Strategy<Value = PointId> {
        prop_oneof![
            any::<u64>().prop_map(PointId::Number),
            (0_u64..9).prop_map(PointId::Number),
            any::<[u8; 16]>().prop_map(|bytes| PointId::Uuid(Uuid(bytes))),
        ]
    }

    proptest! {
        #[test]
        fn text_and_key_come_back_and_keys_sort_like_ids(a in any_id(), b in any_id()) {
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(PointId::from_key(&a.key()), Some(a));
            prop_assert_eq!(a.key().cmp(&b.key()), a.cmp(&b));
        }

        #[test]
        fn any_text_is_an_id_or_refused(text in "[0-9a-fA-F{}:urnid-]{0,45}") {
            let _ = text.parse::<PointId>();
        }
    }

    #[test]
    fn a_uuid_is_read_in_all_its_forms() {
        let expected: PointId = UUID.parse().unwrap();
        for text in
            [UUID.to_uppercase(), UUID.replace('-', ""), format!("{{{UUID}}}"), format!("urn:uuid:{UUID}")]
        {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), UUID);
        let digits = "12345678123456781234567812345678";
        assert!(matches!(digits.parse(), Ok(PointId::Uuid(_))), "too large for a number");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let moved = UUID.replacen('-', "", 1) + "-";
        for text in ["", "-1", "+1", "1.0", " 1", "18446744073709551616", "x", &UUID[1..], &moved, "{}", "é"]
        {
            let error = text.parse::<PointId>().unwrap_err();
            assert_eq!((error.found.as_str(), error.expected), (text, ID_WANTED));
        }
        let multibyte = format!("{}é", &UUID[..34]);
        assert!(multibyte.parse::<Uuid>().unwrap_err().to_string().contains("expected a UUID, such as f47a"));
    }

    #[test]
    fn keys_of_no_id_are_refused() {
        let number = PointId::Number(7).key();
        assert_eq!(PointId::from_key(&number[..16]), None);
        for (at, byte) in [(0, 2), (1, 1), (8, 1)] {
            let mut bad = number;
            bad[at] = byte;
            assert_eq!(PointId::from_key(&bad), None);
        }
    }
}
