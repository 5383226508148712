//! What the messages of a client are, as far as it is seen from outside: attachments that it has
//! announced and that are to follow, and how many messages there were.

use crate::protocol::Encoding;
use crate::wire::payload::CLOSE;

/// Follows the messages of one client to know whether it owes attachments.
///
/// An event with attachments is a text message that begins with `45`, an acknowledgement with some
/// `46`; then stands how many there are, and `-`. As many binary messages follow it.
#[derive(Debug, Default)]
pub struct Announced {
    /// How many are to follow.
    due: u32,
    /// Which announcement of this client it was.
    number: u64,
    place: Place,
    texts: u64,
    binaries: u64,
    closed: bool,
}

/// Where in the start of a text message the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nowhere that matters.
    #[default]
    Beyond,
    /// At the packet type of Engine.IO.
    Engine,
    /// At the packet type of Socket.IO.
    Packet,
    /// At a digit of the number, or behind it; this is what it comes to so far.
    Count(u32),
}

impl Announced {
    /// A text message begins.
    pub(super) fn begin(&mut self) {
        self.texts += 1;
        self.place = Place::Engine;
    }

    /// Whether the next byte of the text message can still tell something.
    pub(super) fn is_curious(&self) -> bool {
        self.place != Place::Beyond
    }

    /// The next byte of the text message.
    pub(super) fn byte(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Engine, b'4') => Place::Packet,
            (Place::Packet, b'5' | b'6') => Place::Count(0),
            (Place::Count(count), b'0'..=b'9') => {
                Place::Count(count.saturating_mul(10).saturating_add(u32::from(byte - b'0')))
            }
            (Place::Count(count), b'-') => {
                self.due = count;
                self.number += 1;
                Place::Beyond
            }
            _ => Place::Beyond,
        };
    }

    /// A text message, from its start.
    pub fn text(&mut self, text: &[u8]) {
        self.closed |= text == CLOSE;
        self.begin();
        for byte in text {
            if !self.is_curious() {
                return;
            }
            self.byte(*byte);
        }
    }

    /// A binary message has come.
    pub fn binary(&mut self) {
        self.binaries += 1;
        self.due = self.due.saturating_sub(1);
    }

    /// Whether one of the whole text messages was the Engine.IO packet `close`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many messages there were; where messages are JSON, binary ones are only parts of others.
    #[must_use]
    pub fn messages(&self, encoding: Encoding) -> u64 {
        match encoding {
            Encoding::Json => self.texts,
            Encoding::Msgpack => self.texts + self.binaries,
        }
    }

    /// The announcement whose attachments are still to come, if there is one; each has a number of
    /// its own.
    #[must_use]
    pub fn open(&self) -> Option<u64> {
        (self.due > 0).then_some(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_open_until_its_last_attachment_has_come() {
        for start in ["452-", "462-", "452-[\"publish\",1,2]", "45002-x"] {
            let mut announced = Announced::default();
            announced.text(start.as_bytes());
            assert_eq!(announced.open(), Some(1), "{start}");
            announced.binary();
            announced.text(b"2");
            assert_eq!(announced.open(), Some(1), "{start}");
            announced.binary();
            assert_eq!(announced.open(), None, "{start}");
            announced.binary();
            announced.text(b"451-");
            assert_eq!(announced.open(), Some(2), "{start}");
        }
    }

    #[test]
    fn a_close_packet_is_one_that_says_nothing_else() {
        for (text, closed) in [("1", true), ("11", false), ("41", false), ("", false), ("21", false)] {
            let mut announced = Announced::default();
            announced.text(text.as_bytes());
            assert_eq!(announced.is_closed(), closed, "{text}");
        }
    }

    #[test]
    fn messages_are_counted_without_their_attachments() {
        let mut announced = Announced::default();
        announced.text(b"451-[]");
        announced.binary();
        announced.text(b"3");
        assert_eq!(announced.messages(Encoding::Json), 2);
        assert_eq!(announced.messages(Encoding::Msgpack), 3);
    }

    #[test]
    fn what_announces_nothing_owes_nothing() {
        for start in ["", "4", "42[1]", "45", "45-", "450-[]", "459", "47-", "25-", "3", "45x1-", "45 1-"] {
            let mut announced = Announced::default();
            announced.text(start.as_bytes());
            assert_eq!(announced.open(), None, "{start}");
        }
        let mut announced = Announced::default();
        announced.text(b"4599999999999999999999-");
        assert_eq!((announced.open(), announced.due), (Some(1), u32::MAX));
    }
}
