//! The envelope: how a message travels between nodes. docs/relay.md has it byte by byte.

use std::collections::VecDeque;

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::Encoding;
use crate::protocol::Room;
use crate::relay::node::Node;

/// What every envelope begins with, whatever its version.
const MAGIC: &[u8; 4] = b"SHBR";
/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;
/// The namespace that clients are in.
const NAMESPACE: &[u8] = b"/";

/// A message of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) node: Node,
    /// Counts the messages of the node, whatever their room.
    pub(super) sequence: u64,
    pub(super) encoding: Encoding,
    /// Whom it is for; none for everyone.
    pub(super) room: Option<Room>,
    /// The event array.
    pub(super) text: Bytes,
    pub(super) attachments: VecDeque<Bytes>,
}

/// Why an envelope cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is of a version that is not known.
    Version,
    /// It is no envelope.
    Malformed,
}

impl Envelope {
    /// Its bytes.
    pub(super) fn write(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(64 + self.text.len());
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8(match self.room {
            Some(_) => 1,
            None => 2,
        });
        bytes.put_u8(match self.encoding {
            Encoding::Json => 1,
            Encoding::Msgpack => 2,
        });
        bytes.put_slice(&self.node.0);
        bytes.put_u64(self.sequence);
        put(&mut bytes, NAMESPACE);
        match &self.room {
            None => {}
            Some(Room::Text(name)) => {
                bytes.put_u8(1);
                put(&mut bytes, name.as_bytes());
            }
            Some(Room::Integer(name)) => {
                bytes.put_u8(2);
                bytes.put_i64(*name);
            }
        }
        put(&mut bytes, &self.text);
        put_length(&mut bytes, self.attachments.len());
        for attachment in &self.attachments {
            put(&mut bytes, attachment);
        }
        bytes.freeze()
    }

    /// Reads an envelope, whose parts share its memory.
    pub(super) fn read(mut bytes: Bytes) -> Result<Self, Unusable> {
        if !bytes.starts_with(MAGIC) {
            return Err(Unusable::Malformed);
        }
        bytes.advance(MAGIC.len());
        match bytes.try_get_u8() {
            Ok(VERSION) => Self::read_first(bytes).ok_or(Unusable::Malformed),
            Ok(_) => Err(Unusable::Version),
            Err(_) => Err(Unusable::Malformed),
        }
    }

    /// Reads what follows the version, if that is the first.
    fn read_first(mut bytes: Bytes) -> Option<Self> {
        let kind = bytes.try_get_u8().ok()?;
        let encoding = match bytes.try_get_u8().ok()? {
            1 => Encoding::Json,
            2 => Encoding::Msgpack,
            _ => return None,
        };
        let mut node = Node([0; Node::LENGTH]);
        bytes.try_copy_to_slice(&mut node.0).ok()?;
        let sequence = bytes.try_get_u64().ok()?;
        if take(&mut bytes)? != NAMESPACE {
            return None;
        }
        let room = match kind {
            1 => Some(read_room(&mut bytes)?),
            2 => None,
            _ => return None,
        };
        let text = take(&mut bytes)?;
        let count = bytes.try_get_u32().ok()?;
        // Nothing is set aside for as many as somebody says there are.
        let attachments = (0..count).map(|_| take(&mut bytes)).collect::<Option<_>>()?;
        bytes.is_empty().then_some(Self { node, sequence, encoding, room, text, attachments })
    }
}

fn read_room(bytes: &mut Bytes) -> Option<Room> {
    match bytes.try_get_u8().ok()? {
        1 => Some(Room::Text(std::str::from_utf8(&take(bytes)?).ok()?.into())),
        2 => Some(Room::Integer(bytes.try_get_i64().ok()?)),
        _ => None,
    }
}

fn put(bytes: &mut BytesMut, part: &[u8]) {
    put_length(bytes, part.len());
    bytes.put_slice(part);
}

fn put_length(bytes: &mut BytesMut, length: usize) {
    // No message is anywhere near.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelopes() -> Vec<Envelope> {
        let rooms = [None, Some(Room::Text("é".into())), Some(Room::Integer(-7))];
        let attachments: [VecDeque<Bytes>; 2] =
            [VecDeque::new(), [Bytes::from_static(b"\x01"), Bytes::new()].into()];
        let mut envelopes = Vec::new();
        for room in rooms {
            for attachments in attachments.clone() {
                for encoding in [Encoding::Json, Encoding::Msgpack] {
                    envelopes.push(Envelope {
                        node: Node::random(),
                        sequence: u64::MAX,
                        encoding,
                        room: room.clone(),
                        text: Bytes::from_static(br#"["data","a",1]"#),
                        attachments: attachments.clone(),
                    });
                }
            }
        }
        envelopes
    }

    #[test]
    fn what_is_written_is_read() {
        for envelope in envelopes() {
            assert_eq!(Envelope::read(envelope.write()), Ok(envelope));
        }
    }

    #[test]
    fn the_first_version_stays_as_it_is() {
        let envelope = Envelope {
            node: Node(*b"0123456789abcdef"),
            sequence: 7,
            encoding: Encoding::Json,
            room: Some(Room::Text("ab".into())),
            text: Bytes::from_static(b"[]"),
            attachments: [Bytes::from_static(b"\xff")].into(),
        };
        let expected = b"SHBR\x01\x01\x010123456789abcdef\0\0\0\0\0\0\0\x07\0\0\0\x01/\x01\0\0\0\x02ab\0\0\0\x02[]\0\0\0\x01\0\0\0\x01\xff";
        assert_eq!(envelope.write(), &expected[..]);
    }

    #[test]
    fn nothing_that_is_cut_off_or_goes_on_is_an_envelope() {
        for envelope in envelopes() {
            let whole = envelope.write();
            for end in 0..whole.len() {
                assert_eq!(Envelope::read(whole.slice(..end)), Err(Unusable::Malformed), "{end}");
            }
            let longer = [&whole[..], b"x"].concat();
            assert_eq!(Envelope::read(longer.into()), Err(Unusable::Malformed));
        }
    }

    #[test]
    fn another_version_is_told_apart_from_what_is_no_envelope() {
        for (bytes, expected) in [
            (&b"SHBR\x02whatever"[..], Unusable::Version),
            (b"SHBR\x00", Unusable::Version),
            (b"SHBR", Unusable::Malformed),
            (b"XXXX\x02", Unusable::Malformed),
        ] {
            assert_eq!(Envelope::read(Bytes::from_static(bytes)), Err(expected));
        }
    }

    #[test]
    fn no_byte_that_differs_makes_it_fail_otherwise() {
        for envelope in envelopes() {
            let whole = envelope.write();
            for place in 0..whole.len() {
                for value in [0, 1, 2, 3, 0x7f, 0xff] {
                    let mut other = whole.to_vec();
                    other[place] = value;
                    // It is read or not; it neither fails nor takes memory for lengths that are not there.
                    let _ = Envelope::read(other.into());
                }
            }
        }
    }
}
