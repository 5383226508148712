//! The mark in every message: which stream it belongs to, its number there, and when it was sent.

/// Bytes of a mark: a tilde, then stream, number and time in hexadecimal digits.
pub const LENGTH: usize = 1 + 8 + 8 + 16;

/// What makes a message recognisable wherever a server puts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// One publisher's messages to one room.
    pub stream: u32,
    /// Counts the messages of the stream, from 0.
    pub number: u32,
    /// Nanoseconds since the run began.
    pub sent: u64,
}

impl Marker {
    /// Appends the mark to `out`.
    pub fn write(self, out: &mut String) {
        out.push('~');
        for word in [self.stream, self.number, high(self.sent), low(self.sent)] {
            out.extend((0..8).rev().filter_map(|at| char::from_digit(word >> (4 * at) & 15, 16)));
        }
    }

    /// The first mark in `packet`, unless there is none.
    ///
    /// Names of rooms and events have no tilde, so the first one begins it. Digits are not checked: what a
    /// server turns them into is a number that nobody has sent, which counts as lost.
    pub fn find(packet: &[u8]) -> Option<Self> {
        let at = memchr::memchr(b'~', packet)?;
        let (digits, _) = packet.get(at + 1..)?.split_first_chunk::<{ LENGTH - 1 }>()?;
        let [stream, number, high, low] = digits.as_chunks::<8>().0 else { return None };
        let sent = u64::from(value(*high)) << 32 | u64::from(value(*low));
        Some(Self { stream: value(*stream), number: value(*number), sent })
    }
}

/// The number that eight hexadecimal digits are, all of them at once.
fn value(digits: [u8; 8]) -> u32 {
    let word = u64::from_be_bytes(digits);
    // A letter has the bit 0x40, and its low four bits are nine less than what it means.
    let letters = word >> 6 & 0x0101_0101_0101_0101;
    let mut word = (word & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    word = (word | word >> 4) & 0x00ff_00ff_00ff_00ff;
    word = (word | word >> 8) & 0x0000_ffff_0000_ffff;
    low(word | word >> 16)
}

fn high(word: u64) -> u32 {
    low(word >> 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the other half is not asked for")]
fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for marker in [
            Marker { stream: 0, number: 0, sent: 0 },
            Marker { stream: 0x1234_5678, number: 0x9abc_def0, sent: 0xfedc_ba98_7654_3210 },
            Marker { stream: u32::MAX, number: 7, sent: u64::MAX },
        ] {
            let mut packet = "42[\"data\",\"room 9\",\"".to_owned();
            marker.write(&mut packet);
            packet += "xx\"]";
            assert_eq!(Marker::find(packet.as_bytes()), Some(marker));
        }
    }

    #[test]
    fn what_has_no_mark_has_none() {
        for packet in [&b"42[\"data\",\"room\",\"text\"]"[..], b"", b"~", b"~0123456789abcdef0123456789abcde"]
        {
            assert_eq!(Marker::find(packet), None);
        }
    }
}
