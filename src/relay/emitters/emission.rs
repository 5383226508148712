//! What an emitter has emitted, whichever it was, and whether clients of a broker can get it so.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::protocol::Room;
use crate::relay::Incoming;
use crate::relay::emitters::Output;
use crate::telemetry::relay::Lost;

/// Most rooms that an event may be for, or not for: nobody has more than a few.
pub(super) const ROOMS: usize = 1024;

/// An event as it was emitted.
#[derive(Debug)]
pub(super) struct Emission<'a, V> {
    pub(super) event: Cow<'a, str>,
    /// What follows the name, as it was written.
    pub(super) arguments: Vec<V>,
    /// The rooms that it is for; none for everyone.
    pub(super) rooms: Vec<Box<str>>,
    /// The rooms and session ids that it is not for.
    pub(super) except: Vec<Box<str>>,
}

/// A value as it was written.
pub(super) trait Written: Copy {
    /// The room that it is, if it is one.
    fn room(self) -> Option<Room>;

    /// What it is in a room's place or a message's, for clients, and what it refers to.
    fn encode(self, output: Output, parts: &Parts) -> Result<(Vec<u8>, VecDeque<Bytes>), Lost>;
}

/// What the binary parts of a message are made of.
#[derive(Debug)]
pub(super) enum Parts {
    /// They are in the message, and this is what it came in.
    Within(Bytes),
    /// They are beside it.
    Beside(Vec<Bytes>),
}

impl Parts {
    /// What a value has that is none and holds none.
    fn without(&self) -> Self {
        match self {
            Self::Within(payload) => Self::Within(payload.clone()),
            Self::Beside(_) => Self::Beside(Vec::new()),
        }
    }
}

impl<V: Written> Emission<'_, V> {
    /// What clients are to get.
    pub(super) fn incoming(self, output: Output, parts: &Parts) -> Result<Incoming, Lost> {
        let except = self.except;
        match (&*self.event, &self.arguments[..]) {
            ("data", [name, message]) => {
                let room = name.room().ok_or(Lost::Malformed)?;
                // Clients hear of a room what is for that room, all of it, and nothing else.
                let written = written(&room);
                if self.rooms.is_empty() || self.rooms.iter().any(|room| **room != *written) {
                    return Err(Lost::Unsupported);
                }
                let (name, _) = name.encode(output, &parts.without())?;
                let (message, attachments) = message.encode(output, parts)?;
                let text = output.encoding.data(&name, &message).into();
                Ok(Incoming { room: Some(room), except, text, attachments })
            }
            ("broadcast", [message]) => {
                if !self.rooms.is_empty() {
                    return Err(Lost::Unsupported);
                }
                let (message, attachments) = message.encode(output, parts)?;
                let text = output.encoding.broadcast(&message).into();
                Ok(Incoming { room: None, except, text, attachments })
            }
            ("data" | "broadcast", _) => Err(Lost::Malformed),
            _ => Err(Lost::Unsupported),
        }
    }
}

/// A room as emitters write it in the name of a channel.
pub(super) fn written(room: &Room) -> Cow<'_, str> {
    match room {
        Room::Text(name) => Cow::Borrowed(name),
        Room::Integer(number) => Cow::Owned(number.to_string()),
    }
}
