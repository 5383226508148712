//! Sizes and lengths of time, which are written with their unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::text;

/// The units of sizes, largest first; when they are read, their case does not matter.
const SIZES: [(&str, usize); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// The largest size, so that the sum of any two is still a number.
const LARGEST: usize = usize::MAX / 2;

/// The longest length of time, so that it can be added to any moment.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// A number of bytes, at least one: `"500 B"`, `"64 KiB"`, `"1 MB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct ByteSize(usize);

impl ByteSize {
    /// The size of a default.
    pub(super) const fn new(bytes: usize) -> Self {
        assert!(bytes > 0 && bytes <= LARGEST, "a default is a valid size");
        Self(bytes)
    }

    /// How many bytes it is.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match bytes(text)? {
            0 => Err(format!("`{text}` is no size; write at least `1 B`")),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZES.iter().find(|(_, size)| self.0.is_multiple_of(*size));
        let (unit, size) = exact.unwrap_or(&("B", 1));
        write!(f, "{} {unit}", self.0 / size)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

/// A number of bytes that may be none: a [`ByteSize`], or `"0 B"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Capacity(Option<ByteSize>);

impl Capacity {
    /// No bytes at all.
    pub const NONE: Self = Self(None);

    /// How many bytes it is.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0.map_or(0, ByteSize::bytes)
    }
}

impl FromStr for Capacity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match bytes(text)? {
            0 => Ok(Self::NONE),
            bytes => Ok(Self(Some(ByteSize(bytes)))),
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(size) => size.fmt(f),
            None => f.write_str("0 B"),
        }
    }
}

impl<'de> Deserialize<'de> for Capacity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<Capacity> for String {
    fn from(capacity: Capacity) -> Self {
        capacity.to_string()
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let size = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
    let (false, Some((_, size))) = (number.is_empty(), size) else {
        return Err(format!("`{text}` is not a size; write a whole number and a unit, like `64 KiB`"));
    };
    // A number of nothing but digits cannot be read only when there are too many of them.
    match number.parse::<usize>().ok().and_then(|number| number.checked_mul(*size)) {
        Some(bytes) if bytes <= LARGEST => Ok(bytes),
        _ => Err(format!("`{text}` is larger than any memory; write less than `{}`", ByteSize(LARGEST))),
    }
}

/// A length of time in whole milliseconds, at least one: `"300ms"`, `"5s"`, `"1h30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Period(Duration);

impl Period {
    /// The length of a default.
    pub(super) const fn seconds(count: u64) -> Self {
        assert!(count > 0 && count <= LONGEST.as_secs(), "a default is a valid period");
        Self(Duration::from_secs(count))
    }

    /// How long it is.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match duration(text)? {
            Duration::ZERO => Err(format!("`{text}` is no time at all; write at least `1ms`")),
            length => Ok(Self(length)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

/// How long to wait, in whole milliseconds: a [`Period`], or `"0s"` for not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Delay(Duration);

impl Delay {
    /// The length of a default.
    pub(super) const fn seconds(count: u64) -> Self {
        assert!(count <= LONGEST.as_secs(), "a default is a valid delay");
        Self(Duration::from_secs(count))
    }

    /// How long it is.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        duration(text).map(Self)
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<Delay> for String {
    fn from(delay: Delay) -> Self {
        delay.to_string()
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    // `humantime` takes a bare `0`, but no other number without its unit.
    let unit = text.contains(|letter: char| letter.is_alphabetic());
    let (true, Ok(length)) = (unit, humantime::parse_duration(text)) else {
        return Err(format!("`{text}` is not a length of time; write a number and a unit, like `5s`"));
    };
    if length > LONGEST {
        Err(format!("`{text}` is too long; write at most `365days`"))
    } else if !length.subsec_nanos().is_multiple_of(1_000_000) {
        Err(format!("`{text}` is finer than the clock of clients; write whole milliseconds, like `5ms`"))
    } else {
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_with_decimal_and_binary_units() {
        let cases = [
            ("500 B", 500),
            ("64 KiB", 65_536),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("3 kB", 3_000),
            ("3 KB", 3_000),
            ("1 MB", 1_000_000),
            ("1 MiB", 1_048_576),
            ("2 GB", 2_000_000_000),
            ("2 GiB", 2_147_483_648),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse().map(ByteSize::bytes), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_the_way_to_write_one() {
        let form = "is not a size; write a whole number and a unit, like `64 KiB`";
        for text in
            ["", "100", "KiB", "-1 B", "1.5 MB", "1 MB 2 kB", "1 XB", "1 Mb/s", "١ B", " 1 B", "1e3 B"]
        {
            assert_eq!(text.parse::<ByteSize>(), Err(format!("`{text}` {form}")));
        }
        assert_eq!("0 MB".parse::<ByteSize>(), Err("`0 MB` is no size; write at least `1 B`".to_owned()));
        for text in ["99999999999 GB", "99999999999999999999999 B", "18446744073709551615 B"] {
            let refusal = text.parse::<ByteSize>().unwrap_err();
            assert!(
                refusal.starts_with(&format!("`{text}` is larger than any memory; write less than")),
                "{refusal}"
            );
        }
    }

    #[test]
    fn only_a_capacity_may_be_zero() {
        assert_eq!("0 B".parse(), Ok(Capacity::NONE));
        assert_eq!(Capacity::NONE.to_string(), "0 B");
        assert_eq!("64 KiB".parse().map(Capacity::bytes), Ok(65_536));
        assert_eq!(
            "64 KiB".parse::<Capacity>().map(|capacity| capacity.to_string()),
            Ok("64 KiB".to_owned())
        );
        assert!("0".parse::<Capacity>().is_err());
    }

    #[test]
    fn sizes_are_written_with_the_largest_unit_that_is_exact() {
        for text in ["1 B", "1023 B", "1 KiB", "1 kB", "1 MB", "1025 KiB", "64 KiB", "1 GB", "1 GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn lengths_of_time_are_read_with_their_units() {
        let cases = [
            ("1ms", 1),
            ("300ms", 300),
            ("5s", 5_000),
            ("5 s", 5_000),
            ("0.5s", 500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("365days", 31_536_000_000),
        ];
        for (text, milliseconds) in cases {
            let length = Duration::from_millis(milliseconds);
            assert_eq!(text.parse().map(Period::get), Ok(length), "{text}");
            assert_eq!(text.parse().map(Delay::get), Ok(length), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_length_of_time_is_refused_with_the_way_to_write_one() {
        let form = "is not a length of time; write a number and a unit, like `5s`";
        for text in ["", "10", "0", "s", "-5s", "5 parsecs", "1h30", "5s!", "99999999999999999999s"] {
            assert_eq!(text.parse::<Period>(), Err(format!("`{text}` {form}")));
            assert_eq!(text.parse::<Delay>(), Err(format!("`{text}` {form}")));
        }
        let cases = [
            ("366days", "is too long; write at most `365days`"),
            ("1us", "is finer than the clock of clients; write whole milliseconds, like `5ms`"),
        ];
        for (text, reason) in cases {
            assert_eq!(text.parse::<Period>(), Err(format!("`{text}` {reason}")));
            assert_eq!(text.parse::<Delay>(), Err(format!("`{text}` {reason}")));
        }
    }

    #[test]
    fn only_a_delay_may_be_zero() {
        assert_eq!("0s".parse().map(Delay::get), Ok(Duration::ZERO));
        let refusal = "`0s` is no time at all; write at least `1ms`".to_owned();
        assert_eq!("0s".parse::<Period>(), Err(refusal));
    }

    proptest! {
        #[test]
        fn a_size_is_read_as_it_was_written(bytes in 1..=LARGEST) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn a_length_of_time_is_read_as_it_was_written(milliseconds in 1..=31_536_000_000_u64) {
            let length = Duration::from_millis(milliseconds);
            prop_assert_eq!(Period(length).to_string().parse(), Ok(Period(length)));
            prop_assert_eq!(Delay(length).to_string().parse(), Ok(Delay(length)));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,12}|[0-9]{0,25} ?[a-zA-Zµ]{0,4}") {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Period>();
        }
    }
}
