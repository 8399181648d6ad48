//! Moments as text, in the forms of RFC 3339 and some that are looser.

const DAY_SECONDS: i64 = 86_400;

/// The moment that a text names, in microseconds since 1970-01-01T00:00:00Z; what is finer is cut off.
///
/// A date `2024-02-29`, then perhaps `T` or a space and a time of hours and minutes, perhaps seconds, perhaps a
/// fraction of them, then perhaps a zone: `Z`, `+01:00`, `+0100` or `+01`. Without a zone it is UTC.
///
/// ```
/// use nearline::filter::parse_datetime;
///
/// assert_eq!(parse_datetime("1970-01-01T01:00:00.5+01:00"), Some(500_000));
/// assert_eq!(parse_datetime("1970-01-02"), Some(86_400_000_000));
/// assert_eq!(parse_datetime("1970-02-30"), None);
/// ```
pub fn parse_datetime(text: &str) -> Option<i64> {
    let mut reader = Reader(text.as_bytes());
    let days = reader.date()?;
    let mut micros = 0;
    let mut offset_seconds = 0;
    if !reader.0.is_empty() {
        reader.one_of(b"Tt ")?;
        micros = reader.time()?;
        offset_seconds = reader.zone()?;
    }
    let seconds = days * DAY_SECONDS - offset_seconds;
    reader.0.is_empty().then_some(seconds * 1_000_000 + micros)
}

/// A moment as text that [`parse_datetime`] reads, in UTC, with microseconds if there are any; of the years 0 to
/// 9999.
///
/// ```
/// use nearline::filter::format_datetime;
///
/// assert_eq!(format_datetime(1_709_210_096_000_000), "2024-02-29T12:34:56Z");
/// assert_eq!(format_datetime(-1), "1969-12-31T23:59:59.999999Z");
/// ```
pub fn format_datetime(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let (days, in_day) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    // Not too late, then one by one.
    let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|&month| days_before(year, month) <= days).unwrap_or(1);
    let day = days - days_before(year, month) + 1;
    let (hours, minutes, seconds) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    let fraction = match micros.rem_euclid(1_000_000) {
        0 => String::new(),
        fraction => format!(".{fraction:06}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}{fraction}Z")
}

/// The bytes that are left.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// Days since 1970-01-01.
    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        self.one_of(b"-")?;
        let month = self.digits(2)?;
        self.one_of(b"-")?;
        let day = self.digits(2)?;
        ((1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day))
            .then(|| days_before(year, month) + day - 1)
    }

    /// Microseconds since midnight. The second 60 of a leap second is the one after 59.
    fn time(&mut self) -> Option<i64> {
        let hours = self.digits(2)?;
        self.one_of(b":")?;
        let minutes = self.digits(2)?;
        let (mut seconds, mut micros) = (0, 0);
        if self.one_of(b":").is_some() {
            seconds = self.digits(2)?;
            if self.one_of(b".").is_some() {
                micros = self.fraction()?;
            }
        }
        (hours < 24 && minutes < 60 && seconds <= 60)
            .then_some((hours * 3600 + minutes * 60 + seconds) * 1_000_000 + micros)
    }

    /// The first six of any number of digits.
    fn fraction(&mut self) -> Option<i64> {
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        let digit = |i: usize| digits.get(i).map_or(0, |byte| i64::from(byte - b'0'));
        (len > 0).then(|| (0..6).fold(0, |micros, i| micros * 10 + digit(i)))
    }

    /// Seconds that local time is ahead of UTC.
    fn zone(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.one_of(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2)?;
        let mut minutes = 0;
        if !self.0.is_empty() {
            let _ = self.one_of(b":");
            minutes = self.digits(2)?;
        }
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }

    fn digits(&mut self, len: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        wanted.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let earlier = year + 399; // 400 years have 146097 days; the year 0 does not come first here
    let leap_days = earlier / 4 - earlier / 100 + earlier / 400;
    let of_year = 365 * (year - 1970) + leap_days - LEAP_DAYS_1970;
    of_year + (1..month).map(|month| days_in(year, month)).sum::<i64>()
}

/// What `days_before` counts as leap days for 1970.
const LEAP_DAYS_1970: i64 = 2369 / 4 - 2369 / 100 + 2369 / 400;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn known_moments_are_read() {
        for (text, micros) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01 00:01", 60 * SECOND),
            ("1970-01-01T00:01Z", 60 * SECOND),
            ("1970-01-01 00:00:01", SECOND),
            ("1970-01-01T00:00:01.25", SECOND + 250_000),
            ("1970-01-01T00:00:01.1234567899Z", SECOND + 123_456),
            ("1969-12-31T23:59:59.9Z", -100_000),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T01:30:00+0130", 0),
            ("1969-12-31T22:00:00-02", 0),
            ("2000-02-29T12:00:00Z", 951_825_600 * SECOND),
            ("2015-06-30T23:59:60Z", 1_435_708_800 * SECOND),
            ("2024-02-29", 1_709_164_800 * SECOND),
            ("9999-12-31T23:59:59Z", 253_402_300_799 * SECOND),
            ("0001-01-01", -62_135_596_800 * SECOND),
            ("0000-01-01", -62_167_219_200 * SECOND),
        ] {
            assert_eq!(parse_datetime(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "1970",
            "1970-01",
            "1970-1-1",
            "1970-01-01T",
            "1970-01-01T00",
            "1970-00-01",
            "1970-13-01",
            "1970-02-29",
            "1900-02-29",
            "1970-01-32",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:61Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+",
            "1970-01-01T00:00:00+1",
            "1970-01-01T00:00:00+01:",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01Z",
            "1970-01-01T00:00:00Z ",
            " 1970-01-01",
            "+1970-01-01",
            "19700-01-01",
            "1970-01-01_00:00",
            "１９７０-01-01",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    #[test]
    fn days_follow_each_other() {
        let mut expected = parse_datetime("0000-01-01").unwrap() / (DAY_SECONDS * SECOND);
        for year in 0..=2500 {
            for month in 1..=12 {
                assert_eq!(days_before(year, month), expected, "{year}-{month}");
                expected += days_in(year, month);
            }
        }
    }

    proptest! {
        #[test]
        fn moments_are_printed_as_they_are_read(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            for micros in [micros, micros / SECOND * SECOND] {
                prop_assert_eq!(parse_datetime(&format_datetime(micros)), Some(micros));
            }
        }

        #[test]
        fn any_text_is_a_moment_or_refused(text in "[0-9TZ:. +-]{0,30}") {
            let _ = parse_datetime(&text);
        }
    }
}
