//! `[limits]`: ceilings on a single connection.

use std::num::NonZeroUsize;

use serde::Deserialize;
use serde::Serialize;

use crate::config::ByteSize;
use crate::config::Period;
use crate::protocol::Bounds;

/// Ceilings on a single connection.
///
/// A client that crosses one is refused that event and told which, unless the field says that it
/// closes the connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Limits {
    /// Largest message a client may send, its attachments included. One frame or polling body above
    /// it closes the connection.
    ///
    /// Default: `"1 MB"`. Takes effect: at restart, as the transport is built around it.
    pub max_payload: ByteSize,

    /// Binary attachments a message may have.
    ///
    /// Default: `10`. Takes effect: at restart.
    pub attachments: usize,

    /// Arrays and objects that may be inside one another in a message.
    ///
    /// Default: `128`. Takes effect: at restart.
    pub nesting: Nesting,

    /// Rooms a client may be in at once.
    ///
    /// Default: `1000`. Takes effect: at restart; clients already above it keep their rooms.
    pub rooms_per_client: NonZeroUsize,

    /// Bytes of UTF-8 that the name of a room may have.
    ///
    /// Default: `1024`. Takes effect: at restart; rooms that clients are already in stay.
    pub room_name_length: NonZeroUsize,

    /// Bytes that may be queued for a connection that reads too slowly; above it the connection is
    /// closed. An empty queue takes any one message.
    ///
    /// Default: `"8 MB"`. Takes effect: at restart.
    pub send_queue: ByteSize,

    /// Longest time that the head of a request may take to arrive; after it the connection is
    /// closed.
    ///
    /// Default: `"10s"`. Takes effect: at restart, for new connections.
    pub header_timeout: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: ByteSize::new(1_000_000),
            attachments: 10,
            nesting: Nesting(128),
            rooms_per_client: const { NonZeroUsize::new(1000).unwrap() },
            room_name_length: const { NonZeroUsize::new(1024).unwrap() },
            send_queue: ByteSize::new(8_000_000),
            header_timeout: Period::seconds(10),
        }
    }
}

/// A depth of nesting, from 1 to [`Nesting::DEEPEST`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(try_from = "i64", into = "usize")]
pub struct Nesting(usize);

impl Nesting {
    /// What receivers' parsers are sure to read.
    pub const DEEPEST: usize = Bounds::MAX_NESTING;

    /// How deep it is.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

impl TryFrom<i64> for Nesting {
    type Error = String;

    fn try_from(depth: i64) -> Result<Self, String> {
        match usize::try_from(depth) {
            Ok(depth @ 1..=Self::DEEPEST) => Ok(Self(depth)),
            _ => Err(format!("`{depth}` is not a depth; write a number from 1 to {}", Self::DEEPEST)),
        }
    }
}

impl From<Nesting> for usize {
    fn from(nesting: Nesting) -> Self {
        nesting.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded_by_what_receivers_can_read() {
        for depth in [1, 64, 128] {
            assert_eq!(Nesting::try_from(depth).map(Nesting::get), Ok(usize::try_from(depth).unwrap()));
        }
        for depth in [i64::MIN, -1, 0, 513, i64::MAX] {
            let refusal = format!("`{depth}` is not a depth; write a number from 1 to 128");
            assert_eq!(Nesting::try_from(depth), Err(refusal));
        }
    }

    #[test]
    fn a_limit_of_no_rooms_is_refused() {
        for text in ["rooms_per_client = 0", "room_name_length = 0", "attachments = -1"] {
            assert!(toml::from_str::<Limits>(text).is_err(), "{text}");
        }
        assert_eq!(toml::from_str::<Limits>("attachments = 0").unwrap().attachments, 0);
    }
}
