//! What a room is called.

use std::borrow::Cow;

/// The name of a room; rooms are the same if these are equal, however they were written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// A string, decoded.
    Text(Box<str>),
    /// An integer.
    Integer(i64),
}

impl Room {
    /// The largest integer that every client represents exactly, JavaScript's `MAX_SAFE_INTEGER`.
    const MAX_INTEGER: i64 = (1 << 53) - 1;

    /// The room called `name`, a decoded string, if it is of 1 to `limit` bytes.
    pub(super) fn from_text(name: Box<str>, limit: usize) -> Result<Self, RoomFault> {
        match name.len() {
            0 => Err(RoomFault::Empty),
            length if length > limit => Err(RoomFault::TooLong { limit }),
            _ => Ok(Self::Text(name)),
        }
    }

    /// The integer that it is called, or written like: `7` and `"7"` are two rooms, which look the same where
    /// only text is.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(name) => {
                let number = name.parse::<i64>().ok()?;
                (number.to_string() == **name).then_some(number)
            }
        }
    }

    /// The room called `name`, if every client can call it so.
    pub(super) fn from_integer(name: i64) -> Result<Self, RoomFault> {
        if (-Self::MAX_INTEGER..=Self::MAX_INTEGER).contains(&name) {
            Ok(Self::Integer(name))
        } else {
            Err(RoomFault::OutOfRange)
        }
    }
}

/// Why something is not the name of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomFault {
    /// It is neither a string nor an integer.
    Kind,
    /// It is the empty string.
    Empty,
    /// It is longer than `limits.room_name_length`.
    TooLong {
        /// That limit, in bytes.
        limit: usize,
    },
    /// It holds one half of a surrogate pair, which no text does.
    LoneSurrogate,
    /// It is an integer that JavaScript would round.
    OutOfRange,
}

impl RoomFault {
    pub(super) fn sentence(self) -> Cow<'static, str> {
        match self {
            Self::Kind => "a room is a string or an integer".into(),
            Self::Empty => "a room's name is not empty".into(),
            Self::TooLong { limit } => {
                format!("a room's name is at most {limit} bytes long, as UTF-8").into()
            }
            Self::LoneSurrogate => "a room's name holds a surrogate without its other half".into(),
            Self::OutOfRange => "a room that is an integer lies within ±(2^53 - 1)".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_name_is_counted_in_bytes() {
        assert_eq!(Room::from_text("é".into(), 2), Ok(Room::Text("é".into())));
        assert_eq!(Room::from_text("éa".into(), 2), Err(RoomFault::TooLong { limit: 2 }));
        assert_eq!(Room::from_text("".into(), 2), Err(RoomFault::Empty));
    }

    #[test]
    fn integers_end_where_javascript_rounds() {
        let last = 9_007_199_254_740_991;
        for name in [0, 7, -7, last, -last] {
            assert_eq!(Room::from_integer(name), Ok(Room::Integer(name)));
        }
        for name in [last + 1, -last - 1, i64::MAX, i64::MIN] {
            assert_eq!(Room::from_integer(name), Err(RoomFault::OutOfRange));
        }
    }

    #[test]
    fn an_integer_and_its_digits_are_different_rooms() {
        assert_ne!(Room::from_integer(7), Room::from_text("7".into(), 1));
    }
}
