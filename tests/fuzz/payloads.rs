//! Engine.IO payloads: what is decoded can be encoded, and is decoded as the same again.
//!
//! An input is a digit, of which the lowest bit is the generation and the next asks for base64, and a
//! payload. The payload's lines are also taken for packets.

use bytes::Bytes;
use humble_broker::protocol::Encoding;
use humble_broker::protocol::Generation;
use humble_broker::wire::attachments::Announced;
use humble_broker::wire::payload;
use humble_broker::wire::payload::Packet;

pub fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let generation = if kind & 1 == 0 { Generation::V4 } else { Generation::V3 };
    let base64 = kind & 2 != 0;
    let body = Bytes::copy_from_slice(rest);
    if let Some(packets) = payload::decode(generation, &body) {
        assert!(!packets.is_empty(), "a payload has a packet");
        for packet in &packets {
            check_packet(packet, &body);
        }
        check_announced(generation, &body, &packets);
        // Text that is none can come only in a binary payload, and never from the library.
        if packets.iter().all(is_text_or_bytes) {
            check_encoded(generation, base64, &packets);
        }
    }
    let lines: Vec<Packet> = body
        .split(|byte| *byte == b'\n')
        .map(|line| match line {
            // Text that begins with a `b` is how bytes are written, and a separator ends a packet.
            [b'b', ..] => Packet::Binary(body.slice_ref(line)),
            text if str::from_utf8(text).is_ok() && !text.contains(&0x1e) => {
                Packet::Text(body.slice_ref(text))
            }
            bytes => Packet::Binary(body.slice_ref(bytes)),
        })
        .collect();
    // A payload of one packet without even a type is no payload.
    if lines != [Packet::Text(Bytes::new())] {
        check_encoded(generation, base64, &lines);
    }
}

fn is_text_or_bytes(packet: &Packet) -> bool {
    match packet {
        Packet::Text(text) => str::from_utf8(text).is_ok(),
        Packet::Binary(_) => true,
    }
}

/// A packet is no more than the payload it came in, and is one thing at most.
fn check_packet(packet: &Packet, payload: &Bytes) {
    let (Packet::Text(bytes) | Packet::Binary(bytes)) = packet;
    assert!(bytes.len() <= payload.len());
    let kinds = [packet.is_end(Encoding::Json), packet.is_close(), packet.is_ping()];
    assert!(kinds.into_iter().filter(|is| *is).count() <= 1);
}

/// What a payload announces is what its packets announce, one after the other.
fn check_announced(generation: Generation, payload: &Bytes, packets: &[Packet]) {
    let mut announced = Announced::default();
    payload::follow(generation, payload, &mut announced);
    let (mut due, mut number) = (0, 0);
    for packet in packets {
        match packet {
            Packet::Text(text) => {
                if let Some(count) = count(text) {
                    (due, number) = (count, number + 1);
                }
            }
            Packet::Binary(_) => due = u32::saturating_sub(due, 1),
        }
    }
    assert_eq!(announced.open(), (due > 0).then_some(number));
}

/// How many attachments a message announces, if it does.
pub fn count(text: &[u8]) -> Option<u32> {
    let rest = text.strip_prefix(b"45").or_else(|| text.strip_prefix(b"46"))?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let digits = str::from_utf8(&rest[..end]).unwrap();
    (rest[end] == b'-').then(|| match digits {
        "" => 0,
        digits => digits.parse().unwrap_or(u32::MAX),
    })
}

fn check_encoded(generation: Generation, base64: bool, packets: &[Packet]) {
    let (encoded, content_type) = payload::encode(generation, base64, packets);
    assert_eq!(payload::decode(generation, &encoded).as_deref(), Some(packets));
    if content_type == "application/octet-stream" {
        assert!(generation == Generation::V3 && !base64);
    } else {
        assert!(str::from_utf8(&encoded).is_ok(), "text is text");
    }
}
