//! Engine.IO packets, and the payloads that carry several of them in one long-polling response.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::Encoding;
use crate::protocol::Generation;
use crate::wire::attachments::Announced;
use crate::wire::frame;

/// What a poll may be answered with when there is nothing to say.
pub const NOOP: Packet = Packet::Text(Bytes::from_static(b"6"));

/// An event without data, which no event of ours is: it travels through a session's queue behind
/// everything that was queued before, and marks where the session ends.
const END_JSON: &[u8] = b"42";
/// The same as msgpack: a map whose key `data` has no value.
const END_MSGPACK: &[u8] = MSGPACK_EVENT;
/// What stands before the data of an event in msgpack.
pub const MSGPACK_EVENT: &[u8] = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data";
/// Where a packet of the library in msgpack has its type: a map of few keys, `type` the first.
const MSGPACK_TYPE: usize = 6;
/// The Engine.IO packet `close`.
pub(super) const CLOSE: &[u8] = b"1";

/// Separates packets in a payload of Engine.IO 4.
const RECORD_SEPARATOR: u8 = 0x1e;
/// Ends the length of a packet in a binary payload of Engine.IO 3.
const LENGTH_END: u8 = 0xff;

/// What one queued packet costs beside its bytes: the queue's own bookkeeping.
///
/// Measured on the library's queue, where an entry has room for two packets of 56 bytes each.
const OVERHEAD: usize = 128;

/// One packet on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<B = Bytes> {
    /// A packet of text, its type digit first.
    Text(B),
    /// The bytes of a binary message, without the type that Engine.IO 3 puts before them.
    Binary(B),
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Whether it is our mark for the end of the session. In JSON, what is binary is an attachment, and
    /// holds whatever bytes its publisher likes.
    #[must_use]
    pub fn is_end(&self, encoding: Encoding) -> bool {
        match (self, encoding) {
            (Self::Text(text), Encoding::Json) => text.as_ref() == END_JSON,
            (Self::Binary(bytes), Encoding::Msgpack) => bytes.as_ref() == END_MSGPACK,
            _ => false,
        }
    }

    /// Whether it is the library's word that it has closed the session, after which Python
    /// clients would stay away for good.
    #[must_use]
    pub fn is_close(&self) -> bool {
        matches!(self, Self::Text(text) if text.as_ref() == CLOSE)
    }

    /// Whether it asks for a pong.
    #[must_use]
    pub fn is_ping(&self) -> bool {
        matches!(self, Self::Text(text) if text.as_ref() == b"2")
    }

    /// What it takes of the session's send queue; nothing for what the library says by itself, except
    /// that the client is in the namespace: see [`Link::expect_admission`].
    ///
    /// [`Link::expect_admission`]: crate::wire::link::Link::expect_admission
    #[must_use]
    pub fn cost(&self, encoding: Encoding) -> usize {
        match (self, encoding) {
            (Self::Text(text), _) => match text.as_ref() {
                [b'4', b'0', ..] => message_cost(0),
                [b'4', message @ ..]
                    if message.first().is_some_and(|kind| is_event_or_acknowledgement(*kind)) =>
                {
                    message_cost(message.len())
                }
                _ => 0,
            },
            // An attachment, which has a place in the queue of its own.
            (Self::Binary(bytes), Encoding::Json) => message_cost(bytes.as_ref().len()),
            (Self::Binary(bytes), Encoding::Msgpack) => match bytes.as_ref().get(MSGPACK_TYPE) {
                Some(0) => message_cost(0),
                Some(2 | 3) => message_cost(bytes.as_ref().len()),
                _ => 0,
            },
        }
    }
}

impl Packet {
    /// Appends the packet as a WebSocket frame for a client of `generation`.
    pub fn put_frame(&self, generation: Generation, out: &mut BytesMut) {
        match (self, generation) {
            (Self::Text(text), _) => frame::put(out, frame::TEXT, text),
            (Self::Binary(bytes), Generation::V3) => {
                frame::put_parts(out, frame::BINARY, &[&[4], bytes]);
            }
            (Self::Binary(bytes), Generation::V4) => frame::put(out, frame::BINARY, bytes),
        }
    }
}

/// Whether a packet of this type is one of ours, with attachments or without.
fn is_event_or_acknowledgement(kind: u8) -> bool {
    matches!(kind, b'2' | b'3' | b'5' | b'6')
}

/// What a message of `bytes` takes of the session's send queue.
pub(super) fn message_cost(bytes: usize) -> usize {
    bytes + OVERHEAD
}

/// Takes apart a payload that the library made.
///
/// The library writes binary packets wrongly for Engine.IO 3 (`b…` for `b4…`, and as text inside
/// a binary payload); here both forms are understood. `None` when the payload is not one.
#[must_use]
pub fn decode(generation: Generation, payload: &Bytes) -> Option<Vec<Packet>> {
    match (generation, payload.first()?) {
        (Generation::V4, _) => payload
            .split(|byte| *byte == RECORD_SEPARATOR)
            .map(|part| packet(payload.slice_ref(part)))
            .collect(),
        (Generation::V3, 0 | 1) => decode_binary(payload),
        (Generation::V3, _) => decode_text(payload),
    }
}

/// Follows what the packets of a client's `payload` announce.
pub fn follow(generation: Generation, payload: &Bytes, announced: &mut Announced) {
    match generation {
        // Without a list of packets: a client may send very many that are very small.
        Generation::V4 => {
            for part in payload.split(|byte| *byte == RECORD_SEPARATOR) {
                match part {
                    [b'b', ..] => announced.binary(),
                    text => announced.text(text),
                }
            }
        }
        Generation::V3 => {
            for packet in decode(generation, payload).unwrap_or_default() {
                match packet {
                    Packet::Text(text) => announced.text(&text),
                    Packet::Binary(_) => announced.binary(),
                }
            }
        }
    }
}

/// Puts `packets` together for a client of `generation`, with the content type.
///
/// `base64` says that the client cannot take binary payloads, which only Engine.IO 3 has.
#[must_use]
pub fn encode(generation: Generation, base64: bool, packets: &[Packet]) -> (Bytes, &'static str) {
    const TEXT: &str = "text/plain; charset=UTF-8";
    match generation {
        Generation::V4 => (encode_separated(packets), TEXT),
        Generation::V3 if !base64 && packets.iter().any(wants_binary_payload) => {
            (encode_binary(packets), "application/octet-stream")
        }
        Generation::V3 => (encode_text(packets), TEXT),
    }
}

/// Whether Engine.IO 3 had better carry the packet in a binary payload: bytes, and characters
/// beyond U+FFFF, which JavaScript counts as two and Python as one where a text payload states
/// its length in characters. A binary payload states it in bytes.
fn wants_binary_payload(packet: &Packet) -> bool {
    match packet {
        Packet::Text(text) => text.iter().any(|byte| *byte >= 0xf0),
        Packet::Binary(_) => true,
    }
}

/// A packet as the library writes it: text, or `b` (Engine.IO 3: `b4`) and base64.
fn packet(bytes: Bytes) -> Option<Packet> {
    let Some(encoded) = bytes.strip_prefix(b"b") else {
        return Some(Packet::Text(bytes));
    };
    // Base64 with padding is a multiple of four long, so one byte more is the `4` of `b4`.
    let encoded = if encoded.len() % 4 == 1 { encoded.strip_prefix(b"4")? } else { encoded };
    Some(Packet::Binary(BASE64_STANDARD.decode(encoded).ok()?.into()))
}

fn decode_text(payload: &Bytes) -> Option<Vec<Packet>> {
    let mut rest = std::str::from_utf8(payload).ok()?;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let (length, body) = rest.split_once(':')?;
        let (one, after) = split_utf16(body, length.parse().ok()?)?;
        packets.push(packet(payload.slice_ref(one.as_bytes()))?);
        rest = after;
    }
    Some(packets)
}

/// Splits `text` after `units` UTF-16 code units.
fn split_utf16(text: &str, units: usize) -> Option<(&str, &str)> {
    let mut seen = 0;
    let mut end = 0;
    for character in text.chars() {
        if seen >= units {
            break;
        }
        seen += character.len_utf16();
        end += character.len_utf8();
    }
    (seen == units).then(|| text.split_at_checked(end))?
}

fn decode_binary(payload: &Bytes) -> Option<Vec<Packet>> {
    let mut rest = &payload[..];
    let mut packets = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let end = after.iter().position(|byte| *byte == LENGTH_END)?;
        let (digits, body) = after.split_at_checked(end)?;
        let length = digits
            .iter()
            .try_fold(0usize, |all, digit| all.checked_mul(10)?.checked_add(usize::from(*digit)))?;
        let (one, after) = body.get(1..)?.split_at_checked(length)?;
        packets.push(match kind {
            0 => packet(payload.slice_ref(one))?,
            _ => Packet::Binary(payload.slice_ref(one.get(1..)?)),
        });
        rest = after;
    }
    Some(packets)
}

fn encode_separated(packets: &[Packet]) -> Bytes {
    let mut out = BytesMut::new();
    for (index, packet) in packets.iter().enumerate() {
        if index > 0 {
            out.put_u8(RECORD_SEPARATOR);
        }
        match packet {
            Packet::Text(text) => out.put_slice(text),
            Packet::Binary(bytes) => {
                out.put_u8(b'b');
                out.put_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            }
        }
    }
    out.freeze()
}

fn encode_text(packets: &[Packet]) -> Bytes {
    let mut out = BytesMut::new();
    let mut put = |units: usize, text: &[u8]| {
        out.put_slice(units.to_string().as_bytes());
        out.put_u8(b':');
        out.put_slice(text);
    };
    for packet in packets {
        match packet {
            Packet::Text(text) => put(String::from_utf8_lossy(text).encode_utf16().count(), text),
            Packet::Binary(bytes) => {
                let text = format!("b4{}", BASE64_STANDARD.encode(bytes));
                put(text.len(), text.as_bytes());
            }
        }
    }
    out.freeze()
}

fn encode_binary(packets: &[Packet]) -> Bytes {
    let mut out = BytesMut::new();
    let mut put = |kind: u8, type_byte: Option<u8>, body: &[u8]| {
        out.put_u8(kind);
        let length = body.len() + usize::from(type_byte.is_some());
        out.extend(length.to_string().bytes().map(|digit| digit - b'0'));
        out.put_u8(LENGTH_END);
        out.extend(type_byte);
        out.put_slice(body);
    };
    for packet in packets {
        match packet {
            Packet::Text(text) => put(0, None, text),
            Packet::Binary(bytes) => put(1, Some(4), bytes),
        }
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Packet {
        Packet::Text(Bytes::from_static(text.as_bytes()))
    }

    fn binary(bytes: &'static [u8]) -> Packet {
        Packet::Binary(Bytes::from_static(bytes))
    }

    fn decoded(generation: Generation, payload: &'static [u8]) -> Option<Vec<Packet>> {
        decode(generation, &Bytes::from_static(payload))
    }

    #[test]
    fn payloads_of_both_generations_are_understood() {
        let expected = vec![text("4hello€"), binary(&[1, 2, 3, 4]), text("2")];
        assert_eq!(decoded(Generation::V4, "4hello€\x1ebAQIDBA==\x1e2".as_bytes()), Some(expected.clone()));
        assert_eq!(decoded(Generation::V3, "7:4hello€10:b4AQIDBA==1:2".as_bytes()), Some(expected.clone()));
        let payload = b"\x00\x09\xff4hello\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04\x00\x01\xff2";
        assert_eq!(decoded(Generation::V3, payload), Some(expected));
    }

    #[test]
    fn the_library_s_malformed_binary_packets_are_understood() {
        let expected = Some(vec![text("451-[]"), binary(&[1, 2, 3, 4])]);
        assert_eq!(decoded(Generation::V3, b"6:451-[]9:bAQIDBA=="), expected);
        assert_eq!(decoded(Generation::V3, b"\x00\x06\xff451-[]\x00\x09\xffbAQIDBA=="), expected);
        // Bytes whose base64 begins with a 4, which is not the 4 of `b4`.
        assert_eq!(decoded(Generation::V3, b"5:b4AAA"), Some(vec![binary(&[0xe0, 0, 0])]));
        assert_eq!(decoded(Generation::V3, b"6:b44AAA"), Some(vec![binary(&[0xe0, 0, 0])]));
    }

    #[test]
    fn announcements_are_followed_in_payloads_of_both_generations() {
        for (generation, open, closed) in [
            (Generation::V4, "2\x1e452-[1]\x1ebAQ==", "bAg==\x1e3"),
            (Generation::V3, "1:27:452-[1]6:b4AQ==", "6:b4Ag==1:3"),
        ] {
            let mut announced = Announced::default();
            follow(generation, &Bytes::from_static(open.as_bytes()), &mut announced);
            assert_eq!(announced.open(), Some(1), "{generation:?}");
            follow(generation, &Bytes::from_static(closed.as_bytes()), &mut announced);
            assert_eq!(announced.open(), None, "{generation:?}");
        }
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for payload in
            [&b""[..], b"x", b"5:abc", b"1:2x", b"\x00\x05\xffab", b"\x01\x00\xff", b"\x00\x01", b"3:b*A"]
        {
            assert_eq!(decoded(Generation::V3, payload), None, "{payload:?}");
        }
        assert_eq!(decoded(Generation::V4, b""), None);
    }

    #[test]
    fn a_payload_survives_decoding_and_encoding() {
        let cases: [(Generation, bool, &[u8]); 5] = [
            (Generation::V4, false, "4hello€\x1ebAQIDBA==\x1e2".as_bytes()),
            (Generation::V3, false, "7:4hello€1:2".as_bytes()),
            (Generation::V3, true, "4:4😀x10:b4AQIDBA==".as_bytes()),
            (Generation::V3, false, b"\x00\x05\xff4\xf0\x9f\x98\x80"),
            (Generation::V3, false, b"\x00\x02\xff4x\x01\x05\xff\x04\x01\x02\x03\x04"),
        ];
        for (generation, base64, payload) in cases {
            let packets = decode(generation, &Bytes::from_static(payload)).unwrap();
            assert_eq!(encode(generation, base64, &packets).0, payload, "{payload:?}");
        }
    }

    #[test]
    fn the_end_of_a_session_is_recognised() {
        assert!(text("42").is_end(Encoding::Json) && binary(END_MSGPACK).is_end(Encoding::Msgpack));
        for packet in [text("42[]"), text("1"), binary(b"42"), binary(END_MSGPACK)] {
            assert!(!packet.is_end(Encoding::Json), "{packet:?}");
        }
        assert!(text("1").is_close() && !text("10").is_close() && !binary(b"1").is_close());
    }
}
