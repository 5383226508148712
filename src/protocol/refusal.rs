//! Why an event is refused, as the client is told.

use std::borrow::Cow;

use super::EventName;
use super::RoomFault;

/// Why an event was refused. It changed nothing, and its client stays connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The event is not written as the protocol says.
    Malformed(Fault),
    /// There is no event of that name.
    UnknownEvent,
    /// What stands in place of a room is none.
    InvalidRoom(RoomFault),
    /// The client's role does not allow it.
    Forbidden,
    /// The client is in `limits.rooms_per_client` rooms already.
    TooManyRooms,
    /// The client emits more than `limits.events_per_second` or `limits.bytes_per_second`.
    RateLimited,
    /// The event is larger than `limits.max_payload`.
    TooLarge,
    /// The session of this client is being ended.
    ShuttingDown,
}

impl Refusal {
    /// What a program tells the reason by: a code on the wire, a label of metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownEvent => "unknown_event",
            Self::InvalidRoom(_) => "invalid_room",
            Self::Forbidden => "forbidden",
            Self::TooManyRooms => "too_many_rooms",
            Self::RateLimited => "rate_limited",
            Self::TooLarge => "too_large",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// What a person is told.
    #[must_use]
    pub fn sentence(self) -> Cow<'static, str> {
        match self {
            Self::Malformed(fault) => fault.sentence(),
            Self::UnknownEvent => {
                "the events are `subscribe`, `unsubscribe`, `publish` and `broadcast`".into()
            }
            Self::InvalidRoom(fault) => fault.sentence(),
            Self::Forbidden => "this client may not do that here".into(),
            Self::TooManyRooms => "this client is in as many rooms as it may be; unsubscribe from one".into(),
            Self::RateLimited => "this client emits more than it may; emit more slowly".into(),
            Self::TooLarge => "the event and its attachments are larger than this broker allows".into(),
            Self::ShuttingDown => "this session is being ended; connect again".into(),
        }
    }
}

/// What is wrong with a malformed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first element is not a string, or one with escapes.
    Name,
    /// The event has more or fewer arguments than it takes.
    Arguments(EventName),
    /// The text is not JSON.
    Json {
        /// How many bytes of the event array are.
        offset: usize,
    },
    /// The bytes are not one MessagePack value.
    Msgpack {
        /// How many bytes of the event array are.
        offset: usize,
    },
    /// A key of a MessagePack map is neither a string nor binary.
    MapKey,
    /// A MessagePack extension is of a reserved type, or a timestamp that names no time.
    Extension,
    /// An integer is too long.
    LongInteger {
        /// How many characters it may have.
        limit: usize,
    },
    /// Arrays and objects are nested too deeply.
    TooDeep {
        /// How deeply they may be.
        limit: usize,
    },
    /// The event has too many attachments.
    TooManyAttachments {
        /// How many it may have.
        limit: usize,
    },
    /// A placeholder stands for no attachment.
    Placeholder,
    /// An attachment has no placeholder.
    UnusedAttachment,
}

impl Fault {
    fn sentence(self) -> Cow<'static, str> {
        match self {
            Self::Name => "an event is an array that begins with the event's name, a string without escapes".into(),
            Self::Arguments(name) => takes(name).into(),
            Self::Json { offset } => {
                format!("the event is not strict JSON after {offset} bytes; `NaN` and `Infinity` are not JSON")
                    .into()
            }
            Self::Msgpack { offset } => {
                format!("the event is not one MessagePack value after {offset} bytes").into()
            }
            Self::MapKey => "a key of a map is a string or binary, as Python clients take no other".into(),
            Self::Extension => "an extension is of type 0 to 127, or a valid timestamp".into(),
            Self::LongInteger { limit } => {
                format!("an integer has at most {limit} characters, as Python clients read no longer one").into()
            }
            Self::TooDeep { limit } => {
                format!("a message nests arrays and objects at most {limit} levels deep").into()
            }
            Self::TooManyAttachments { limit } => format!("an event has at most {limit} attachments").into(),
            Self::Placeholder => {
                "a placeholder is an object with `\"_placeholder\":true` and, as `num`, the number of an attachment, \
                 and holds no array or object"
                    .into()
            }
            Self::UnusedAttachment => "every attachment has a placeholder".into(),
        }
    }
}

/// What the event `name` takes.
fn takes(name: EventName) -> &'static str {
    match name {
        EventName::Subscribe => "`subscribe` takes a room and nothing else",
        EventName::Unsubscribe => "`unsubscribe` takes a room and nothing else",
        EventName::Publish => "`publish` takes a room, a message and nothing else",
        EventName::Broadcast => "`broadcast` takes a message and nothing else",
        EventName::Other => "the event takes other arguments",
    }
}
