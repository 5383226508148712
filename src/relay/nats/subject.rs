//! Subjects: where at the servers of NATS the messages of each room are.

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use data_encoding::HEXLOWER;
use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;

use crate::protocol::Room;

/// What does not stand for itself: NATS takes dots, `*`, `>` and white space for its own.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Longest name that stands in a subject, encoded: 1,024 bytes of which each takes three. The server's
/// longest line is 4,096 bytes, and there is the prefix too.
const LONGEST: usize = 3 * 1024;

/// The subjects of one cluster of brokers.
pub(super) struct Subjects {
    prefix: String,
}

impl Subjects {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The subject of a room, or that of everyone.
    pub(super) fn of(&self, room: Option<&Room>) -> String {
        let prefix = &self.prefix;
        match room {
            None => format!("{prefix}.everyone"),
            Some(Room::Integer(name)) => format!("{prefix}.integer.{name}"),
            Some(Room::Text(name)) => {
                let encoded = utf8_percent_encode(name, ENCODED).to_string();
                if encoded.len() > LONGEST {
                    let digest = digest(&SHA256, name.as_bytes());
                    return format!("{prefix}.digest.{}", HEXLOWER.encode(digest.as_ref()));
                }
                format!("{prefix}.text.{encoded}")
            }
        }
    }

    /// The subject that is for nobody.
    pub(super) fn probe(&self) -> String {
        format!("{}.probe", self.prefix)
    }
}

/// The id of the subscription to `subject`. It follows from that, so that nobody has to keep it.
pub(super) fn id(subject: &str) -> String {
    let digest = digest(&SHA256, subject.as_bytes());
    let half = digest.as_ref().get(..16).unwrap_or_default();
    HEXLOWER.encode(half)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_room_has_a_subject_of_its_own_that_is_one_token() {
        let names = ["a", ".", "*", ">", "a.b", "a b", "\r\n", "\t", "%2E", "é", "\0", "🦀", "-_", "A"];
        let subjects = Subjects::new("p.q");
        let mut known = HashSet::new();
        for name in names {
            let subject = subjects.of(Some(&Room::Text(name.into())));
            let token = subject.strip_prefix("p.q.text.").unwrap();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_%".contains(&byte);
            assert!(!token.is_empty() && token.bytes().all(plain), "{name:?}: {token}");
            assert!(known.insert(subject), "{name:?}");
        }
        for (room, expected) in [(None, "p.q.everyone"), (Some(Room::Integer(-7)), "p.q.integer.-7")] {
            assert_eq!(subjects.of(room.as_ref()), expected);
        }
    }

    #[test]
    fn no_subject_is_too_long_for_the_server() {
        let subjects = Subjects::new("p");
        for (length, kind) in [(1024, "p.text."), (1025, "p.digest."), (1_000_000, "p.digest.")] {
            let subject = subjects.of(Some(&Room::Text("\u{1}".repeat(length).into())));
            assert!(subject.starts_with(kind) && subject.len() < 3_500, "{length}: {}", subject.len());
        }
        let long = |last: &str| subjects.of(Some(&Room::Text(("x".repeat(9_999) + last).into())));
        assert_ne!(long("a"), long("b"));
    }
}
