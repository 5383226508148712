//! Events as clients emit them, parsed once, at the edge.

use super::Bounds;
use super::Fault;
use super::Refusal;
use super::Room;
use super::RoomFault;

/// What a client asks the broker to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Be in a room.
    Subscribe(Room),
    /// No longer be in a room.
    Unsubscribe(Room),
    /// Send a message to everyone in a room.
    Publish {
        /// Where to.
        room: Room,
        /// The room as it was written, which is how its subscribers hear it.
        room_text: &'a [u8],
        /// The message, byte for byte, without the space around it.
        message: &'a [u8],
    },
    /// Send a message to everyone else.
    Broadcast {
        /// The message, byte for byte, without the space around it.
        message: &'a [u8],
    },
}

/// What the broker emits, and other nodes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emitted {
    /// `data(room, message)`.
    Data(Room),
    /// `broadcast(message)`.
    Broadcast,
}

/// Which event it is, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventName {
    /// `subscribe(room)`.
    Subscribe,
    /// `unsubscribe(room)`.
    Unsubscribe,
    /// `publish(room, message)`.
    Publish,
    /// `broadcast(message)`.
    Broadcast,
    /// Any other name, and what has none.
    Other,
}

impl EventName {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 5] =
        [Self::Subscribe, Self::Unsubscribe, Self::Publish, Self::Broadcast, Self::Other];

    /// The name on the wire; `other` for any other.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Other => "other",
        }
    }

    fn from_wire(name: &[u8]) -> Self {
        [Self::Subscribe, Self::Unsubscribe, Self::Publish, Self::Broadcast]
            .into_iter()
            .find(|known| known.as_str().as_bytes() == name)
            .unwrap_or(Self::Other)
    }
}

/// An event array that is read from the front: what one encoding does its own way.
pub(super) trait Reader<'a> {
    /// Reads the first element, the name of the event, without what delimits it.
    fn name(&mut self) -> Result<&'a [u8], Fault>;

    /// Reads the next element, byte for byte; `None` when the array is over and nothing follows it.
    fn argument(&mut self) -> Result<Option<&'a [u8]>, Fault>;

    /// The room that is written as `text`, which `argument` returned.
    fn room(text: &[u8], bounds: &Bounds) -> Result<Room, RoomFault>;
}

/// Parses the event of `size` bytes that `reader` stands before.
pub(super) fn parse<'a, R: Reader<'a>>(
    mut reader: R,
    size: usize,
    bounds: &Bounds,
) -> (EventName, Result<Event<'a>, Refusal>) {
    let name = reader.name().map(EventName::from_wire);
    let event = match name {
        _ if size > bounds.max_payload => Err(Refusal::TooLarge),
        Ok(EventName::Other) => Err(Refusal::UnknownEvent),
        Ok(name) => arguments(name, reader, bounds),
        Err(fault) => Err(Refusal::Malformed(fault)),
    };
    (name.unwrap_or(EventName::Other), event)
}

/// Parses what the broker emits, of `size` bytes, that `reader` stands before. It has to be as good as
/// what a client emits.
pub(super) fn parse_emitted<'a, R: Reader<'a>>(
    mut reader: R,
    size: usize,
    bounds: &Bounds,
) -> Result<Emitted, Refusal> {
    if size > bounds.max_payload {
        return Err(Refusal::TooLarge);
    }
    let name = match reader.name().map_err(Refusal::Malformed)? {
        b"data" => EventName::Publish,
        b"broadcast" => EventName::Broadcast,
        _ => return Err(Refusal::UnknownEvent),
    };
    Ok(match arguments(name, reader, bounds)? {
        Event::Publish { room, .. } => Emitted::Data(room),
        _ => Emitted::Broadcast,
    })
}

/// Parses what follows the name.
///
/// All of it is read before any of it is judged: a text that is broken further on is malformed, not
/// an invalid room.
fn arguments<'a, R: Reader<'a>>(
    name: EventName,
    mut reader: R,
    bounds: &Bounds,
) -> Result<Event<'a>, Refusal> {
    let (mut first, mut second, mut more) = (None, None, false);
    while let Some(argument) = reader.argument().map_err(Refusal::Malformed)? {
        match (first, second) {
            (None, _) => first = Some(argument),
            (_, None) => second = Some(argument),
            _ => more = true,
        }
    }
    let room = |text| R::room(text, bounds).map_err(Refusal::InvalidRoom);
    match (name, first, second, more) {
        (EventName::Subscribe, Some(text), None, false) => Ok(Event::Subscribe(room(text)?)),
        (EventName::Unsubscribe, Some(text), None, false) => Ok(Event::Unsubscribe(room(text)?)),
        (EventName::Publish, Some(room_text), Some(message), false) => {
            Ok(Event::Publish { room: room(room_text)?, room_text, message })
        }
        (EventName::Broadcast, Some(message), None, false) => Ok(Event::Broadcast { message }),
        _ => Err(Refusal::Malformed(Fault::Arguments(name))),
    }
}
