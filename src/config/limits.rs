//! `[limits]`: what one client may cost the others, and the node.

use std::num::NonZeroU32;
use std::num::NonZeroU64;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::ByteSize;
use crate::config::Capacity;
use crate::config::Period;
use crate::config::text;
use crate::protocol::Bounds;

/// What one client may cost the others, and the node.
///
/// A client that crosses a limit is refused that event and told which, unless the field says
/// otherwise. Where `0` means that there is no limit, the field says so too.
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
    /// Default: `10`. Takes effect: on reload.
    pub attachments: usize,

    /// Arrays and objects that may be inside one another in a message.
    ///
    /// Default: `128`. Takes effect: on reload.
    pub nesting: Nesting,

    /// Connections at once, and sessions at once; beyond it new ones are refused with 503. `0` is
    /// as many as the process may have file descriptors, less a reserve.
    ///
    /// Default: `0`. Takes effect: on reload; nobody who is connected is disconnected.
    pub connections: usize,

    /// Sessions at once from one address, an IPv6 address counting as its /64; beyond it new ones
    /// are refused with 429. `0` is no limit.
    ///
    /// Default: `0`. Takes effect: on reload; nobody who is connected is disconnected.
    pub connections_per_ip: usize,

    /// Sessions that one address may begin in a second, an IPv6 address counting as its /64; beyond
    /// it new ones are refused with 429. `0` is no limit.
    ///
    /// Default: `0`. Takes effect: on reload.
    connects_per_second: u32,

    /// Rooms a client may be in at once.
    ///
    /// Default: `1000`. Takes effect: on reload; clients already above it keep their rooms.
    pub rooms_per_client: NonZeroUsize,

    /// Bytes of UTF-8 that the name of a room may have.
    ///
    /// Default: `1024`. Takes effect: on reload; rooms that clients are already in stay.
    pub room_name_length: NonZeroUsize,

    /// Events that a client may emit in a second, and at once; `0` is no limit.
    ///
    /// Default: `0`. Takes effect: on reload.
    events_per_second: u32,

    /// Bytes of events that a client may emit in a second, attachments included; at once as many,
    /// and never less than one largest message. `"0 B"` is no limit.
    ///
    /// Default: `"0 B"`. Takes effect: on reload.
    bytes_per_second: Capacity,

    /// Bytes that may be queued for a connection that reads too slowly; an empty queue takes any
    /// one message.
    ///
    /// Default: `"8 MB"`. Takes effect: on reload.
    pub send_queue: ByteSize,

    /// What becomes of a client whose send queue is full, or holds what should have left before
    /// `write_stall`.
    ///
    /// Default: `"disconnect"`. Takes effect: on reload.
    pub slow_consumer: SlowConsumer,

    /// Longest time that what is to be sent may wait because the peer does not read; after it the
    /// connection is closed.
    ///
    /// Default: `"15s"`. Takes effect: on reload; streams of connections that are open keep theirs.
    pub write_stall: Period,

    /// Bytes that may be queued for all connections together; above it the clients with the
    /// longest queues are disconnected, of those whose queues have waited for a second.
    ///
    /// Default: `"512 MB"`. Takes effect: on reload.
    pub send_queue_total: ByteSize,

    /// Longest time that the head of a request may take to arrive; after it the connection is
    /// closed.
    ///
    /// Default: `"10s"`. Takes effect: on reload, for new connections.
    pub header_timeout: Period,

    /// Largest head of a request; a larger one is answered with 431.
    ///
    /// Default: `"16 KiB"`. Takes effect: on reload, for new connections.
    pub header_size: HeaderSize,

    /// Longest time that the body of a request, or the attachments of an event, may take to arrive;
    /// after it the session is closed.
    ///
    /// Default: `"10s"`. Takes effect: on reload.
    pub body_timeout: Period,

    /// Requests that one connection may carry before it is closed; `0` is no limit.
    ///
    /// Default: `0`. Takes effect: on reload, for new connections.
    requests_per_connection: u64,
}

impl Limits {
    /// These limits, with everything of `wanted` that a reload can change.
    pub(super) fn reloaded(&self, wanted: &Self) -> Self {
        Self {
            max_payload: self.max_payload,
            attachments: wanted.attachments,
            nesting: wanted.nesting,
            connections: wanted.connections,
            connections_per_ip: wanted.connections_per_ip,
            connects_per_second: wanted.connects_per_second,
            rooms_per_client: wanted.rooms_per_client,
            room_name_length: wanted.room_name_length,
            events_per_second: wanted.events_per_second,
            bytes_per_second: wanted.bytes_per_second,
            send_queue: wanted.send_queue,
            slow_consumer: wanted.slow_consumer,
            write_stall: wanted.write_stall,
            send_queue_total: wanted.send_queue_total,
            header_timeout: wanted.header_timeout,
            header_size: wanted.header_size,
            body_timeout: wanted.body_timeout,
            requests_per_connection: wanted.requests_per_connection,
        }
    }

    /// Sessions that one address may begin in a second, if there is a limit.
    #[must_use]
    pub fn connects_per_second(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.connects_per_second)
    }

    /// Events that a client may emit in a second, if there is a limit.
    #[must_use]
    pub fn events_per_second(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.events_per_second)
    }

    /// Bytes of events that a client may emit in a second, if there is a limit.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.bytes_per_second.bytes() as u64)
    }

    /// Requests that one connection may carry, if there is a limit.
    #[must_use]
    pub fn requests_per_connection(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.requests_per_connection)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: ByteSize::new(1_000_000),
            attachments: 10,
            nesting: Nesting(128),
            connections: 0,
            connections_per_ip: 0,
            connects_per_second: 0,
            rooms_per_client: const { NonZeroUsize::new(1000).unwrap() },
            room_name_length: const { NonZeroUsize::new(1024).unwrap() },
            events_per_second: 0,
            bytes_per_second: Capacity::NONE,
            send_queue: ByteSize::new(8_000_000),
            slow_consumer: SlowConsumer::Disconnect,
            write_stall: Period::seconds(15),
            send_queue_total: ByteSize::new(512_000_000),
            header_timeout: Period::seconds(10),
            header_size: HeaderSize(ByteSize::new(16 << 10)),
            body_timeout: Period::seconds(10),
            requests_per_connection: 0,
        }
    }
}

/// What becomes of a client that reads more slowly than messages come.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SlowConsumer {
    /// It is disconnected, and may come back.
    Disconnect,
    /// It stays, and does not get the messages that do not fit.
    Drop,
}

/// The size of a request's head, from [`HeaderSize::SMALLEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "ByteSize")]
pub struct HeaderSize(ByteSize);

impl HeaderSize {
    /// What hyper reads at once, and does not go below.
    pub const SMALLEST: ByteSize = ByteSize::new(8 << 10);

    /// How many bytes it is.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0.bytes()
    }
}

impl FromStr for HeaderSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: ByteSize = text.parse()?;
        if size < Self::SMALLEST {
            return Err(format!(
                "`{text}` is too small for the head of a request; write at least `{}`",
                Self::SMALLEST
            ));
        }
        Ok(Self(size))
    }
}

impl<'de> Deserialize<'de> for HeaderSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<HeaderSize> for ByteSize {
    fn from(size: HeaderSize) -> Self {
        size.0
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

    #[test]
    fn a_quota_of_nothing_is_none() {
        let none = Limits::default();
        assert_eq!((none.connects_per_second(), none.events_per_second()), (None, None));
        assert_eq!((none.bytes_per_second(), none.requests_per_connection()), (None, None));
        let text = "events_per_second = 5\nbytes_per_second = '1 kB'\nrequests_per_connection = 7";
        let some: Limits = toml::from_str(text).unwrap();
        assert_eq!(some.events_per_second().map(NonZeroU32::get), Some(5));
        assert_eq!(some.bytes_per_second().map(NonZeroU64::get), Some(1000));
        assert_eq!(some.requests_per_connection().map(NonZeroU64::get), Some(7));
    }

    #[test]
    fn a_head_has_room_for_what_is_read_at_once() {
        let size = |text: &str| text.parse().map(HeaderSize::bytes);
        assert_eq!(size("8 KiB"), Ok(8192));
        let refusal = "`8191 B` is too small for the head of a request; write at least `8 KiB`";
        assert_eq!(size("8191 B"), Err(refusal.to_owned()));
    }
}
