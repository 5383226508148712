//! Dates, which MessagePack has and JSON has not.

/// The type of their extension.
pub(super) const EXTENSION: i8 = -1;

/// Milliseconds from the beginning of 1970 to the last instant that a `Date` can be.
const LAST: i128 = 8_640_000_000_000_000;

/// How `Date.prototype.toJSON` writes the instant that the extension `data` is: none if it is none, and null
/// if no `Date` can be that.
pub(super) fn written(data: &[u8]) -> Option<Option<String>> {
    let (seconds, nanoseconds) = instant(data)?;
    if nanoseconds >= 1_000_000_000 {
        return None;
    }
    let milliseconds = i128::from(seconds) * 1000 + i128::from(nanoseconds / 1_000_000);
    if milliseconds.abs() > LAST {
        return Some(None);
    }
    let (day, time) = (milliseconds.div_euclid(86_400_000), milliseconds.rem_euclid(86_400_000));
    let (year, month, day) = date(i64::try_from(day).ok()?);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    let (hour, minute, second, rest) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60, time % 1000);
    Some(Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z")))
}

/// Seconds since the beginning of 1970, and nanoseconds from there.
fn instant(data: &[u8]) -> Option<(i64, u32)> {
    if let Ok(seconds) = data.try_into() {
        return Some((u32::from_be_bytes(seconds).into(), 0));
    }
    if let Ok(both) = data.try_into() {
        let both = u64::from_be_bytes(both);
        return Some((i64::try_from(both & 0x3_ffff_ffff).ok()?, u32::try_from(both >> 34).ok()?));
    }
    let (nanoseconds, seconds) = data.split_first_chunk()?;
    Some((i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanoseconds)))
}

/// Year, month and day of a day since the beginning of 1970, in the calendar that is used today.
///
/// Years are counted from March here, so that a leap day is the last of its year, and in eras of 400 of
/// them, which all have as many days.
fn date(day: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let day = day + 719_468; // From the first of March of year 0.
    let (era, day) = (day.div_euclid(ERA), day.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Option<Option<String>> {
        written(&[&nanoseconds.to_be_bytes()[..], &seconds.to_be_bytes()].concat())
    }

    #[test]
    fn dates_are_written_as_javascript_writes_them() {
        // What `new Date(milliseconds).toJSON()` says.
        for (milliseconds, expected) in [
            (0_i64, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (-2_203_977_600_000, "1900-02-28T00:00:00.000Z"),
            (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
            (1_795_712_739_123, "2026-11-26T17:05:39.123Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
            (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
        ] {
            let (seconds, rest) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
            assert_eq!(at(seconds, u32::try_from(rest).unwrap() * 1_000_000), Some(Some(expected.into())));
        }
        assert_eq!(at(8_640_000_000_000, 1_000_000), Some(None));
        assert_eq!(at(i64::MIN, 0), Some(None));
        assert_eq!(at(0, 1_000_000_000), None);
    }

    #[test]
    fn each_form_of_a_date_is_read() {
        assert_eq!(written(&[0, 0, 0, 1]), Some(Some("1970-01-01T00:00:01.000Z".into())));
        let both = (500_000_000_u64 << 34) | 0x3_ffff_ffff;
        assert_eq!(written(&both.to_be_bytes()), Some(Some("2514-05-30T01:53:03.500Z".into())));
        for length in [0, 1, 3, 5, 7, 9, 11, 13] {
            assert_eq!(written(&vec![0; length]), None);
        }
    }
}
