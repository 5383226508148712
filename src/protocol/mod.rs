//! What clients say and hear: events, rooms and refusals, without input or output.

mod engine;
mod event;
mod json;
mod msgpack;
mod nesting;
mod placeholder;
mod refusal;
mod room;
mod scanner;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;

use serde::Deserialize;
use serde::Serialize;

pub use engine::Generation;
pub use engine::Transport;
pub use event::Emitted;
pub use event::Event;
pub use event::EventName;
pub use refusal::Fault;
pub use refusal::Refusal;
pub use room::Room;
pub use room::RoomFault;

/// How events are written on the wire: `socketio.parser`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// JSON text; binary parts travel beside it, as attachments.
    Json,
    /// One MessagePack value that holds everything.
    Msgpack,
}

impl Encoding {
    /// Parses `body`, the event array as it was received, which came with `attachments`.
    ///
    /// `body` is the JSON text after packet type and acknowledgement id, or the value of `data` in a
    /// MessagePack packet, which never has attachments. A message that is accepted may be passed on
    /// byte for byte: no receiver's parser stumbles over it.
    ///
    /// Several things may be wrong at once; told is the first of `too_large`, `unknown_event`,
    /// `malformed` and `invalid_room`. What follows the name of an unknown event is not looked at.
    /// The name comes back beside a refusal too, as a metric label.
    pub fn parse<'a>(
        self,
        body: &'a [u8],
        attachments: Attachments,
        bounds: &Bounds,
    ) -> (EventName, Result<Event<'a>, Refusal>) {
        let size = body.len().saturating_add(attachments.bytes);
        match self {
            Self::Json => event::parse(json::Reader::new(body, attachments.count, bounds), size, bounds),
            Self::Msgpack => event::parse(msgpack::Reader::new(body, bounds), size, bounds),
        }
    }

    /// Parses `body`, an event array that another node has for its clients, as [`Encoding::parse`] does
    /// those of clients.
    pub fn parse_emitted(
        self,
        body: &[u8],
        attachments: Attachments,
        bounds: &Bounds,
    ) -> Result<Emitted, Refusal> {
        let size = body.len().saturating_add(attachments.bytes);
        match self {
            // White space before it would be read as part of the packet that it goes into.
            Self::Json if !body.starts_with(b"[") => Err(Refusal::Malformed(Fault::Json { offset: 0 })),
            Self::Json => {
                event::parse_emitted(json::Reader::new(body, attachments.count, bounds), size, bounds)
            }
            Self::Msgpack => event::parse_emitted(msgpack::Reader::new(body, bounds), size, bounds),
        }
    }

    /// The event array of `data(room, message)`, from the slices of a published event.
    #[must_use]
    pub fn data(self, room_text: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Json => [&br#"["data","#[..], room_text, b",", message, b"]"].concat(),
            Self::Msgpack => [&b"\x93\xa4data"[..], room_text, message].concat(),
        }
    }

    /// The event array of `broadcast(message)`, from the slice of a broadcast event.
    #[must_use]
    pub fn broadcast(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Json => [&br#"["broadcast","#[..], message, b"]"].concat(),
            Self::Msgpack => [&b"\x92\xa9broadcast"[..], message].concat(),
        }
    }

    /// The arguments of an acknowledgement that an event took effect: none.
    #[must_use]
    pub fn success(self) -> &'static [u8] {
        match self {
            Self::Json => b"[]",
            Self::Msgpack => b"\x90",
        }
    }

    /// The arguments of an acknowledgement that an event was refused: one object.
    #[must_use]
    pub fn refusal(self, refusal: Refusal) -> Vec<u8> {
        match self {
            Self::Json => json::refusal(refusal),
            Self::Msgpack => msgpack::refusal(refusal),
        }
    }
}

/// The binary attachments of one event, of which only number and size matter here.
///
/// Collected from their lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    /// How many there are.
    pub count: usize,
    /// How large they are together, in bytes.
    pub bytes: usize,
}

impl FromIterator<usize> for Attachments {
    fn from_iter<I: IntoIterator<Item = usize>>(lengths: I) -> Self {
        lengths.into_iter().fold(Self::default(), |sum, length| Self {
            count: sum.count + 1,
            bytes: sum.bytes.saturating_add(length),
        })
    }
}

/// What one event may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Arrays and objects within each other in one message, at most [`Bounds::MAX_NESTING`].
    pub nesting: usize,
    /// Length of a room's name, in bytes of decoded UTF-8.
    pub room_name_length: usize,
    /// Binary attachments.
    pub attachments: usize,
    /// Event array and attachments together, in bytes.
    pub max_payload: usize,
}

impl Bounds {
    /// The deepest nesting that can be allowed; a larger bound counts as this one.
    ///
    /// socketioxide's MessagePack parser ends near it, and so do receivers: Python clients fail at
    /// about 500 levels, those on `serde_json` at 127.
    pub const MAX_NESTING: usize = 128;
}
