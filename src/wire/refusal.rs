//! The refusal of a client that is nobody: the last packet of its session, in the form it reads.

use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::Encoding;
use crate::protocol::Generation;
use crate::wire::link::Link;
use crate::wire::payload::Packet;

/// As the library writes it, and clients of Engine.IO 4 read it.
const JSON: &[u8] = br#"44{"message":"unauthorized"}"#;
const MSGPACK: &[u8] = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x81\xa7message\xacunauthorized";
/// As clients of Engine.IO 3 read it.
const JSON_V3: &[u8] = br#"44"unauthorized""#;
const MSGPACK_V3: &[u8] = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xacunauthorized";

/// Has `packet`, if it is the refusal, say so to the client of `link`; whether it is.
pub fn translate(packet: &mut Packet, link: &Link) -> bool {
    let refusal = of(packet, link);
    let found = refusal.is_some();
    if let Some(refusal) = refusal {
        *packet = refusal;
    }
    found
}

/// What the client of `link` is sent last over its WebSocket, if `packet` is the end of its session: the
/// refusal, or nothing.
pub(super) fn last_frame<B: AsRef<[u8]>>(packet: &Packet<B>, link: &Link) -> Option<BytesMut> {
    let refusal = of(packet, link);
    let mut frame = BytesMut::new();
    if let Some(refusal) = &refusal {
        refusal.put_frame(link.generation(), &mut frame);
    }
    (link.is_end(packet) || refusal.is_some()).then_some(frame)
}

/// What the client of `link` is sent instead of `packet`, if that is the refusal. In JSON, what is binary
/// is an attachment, and holds whatever bytes its publisher likes.
fn of<B: AsRef<[u8]>>(packet: &Packet<B>, link: &Link) -> Option<Packet> {
    match (packet, link.encoding(), link.generation()) {
        (Packet::Text(text), Encoding::Json, generation) if text.as_ref() == JSON => {
            let text = if generation == Generation::V3 { JSON_V3 } else { JSON };
            Some(Packet::Text(Bytes::from_static(text)))
        }
        (Packet::Binary(bytes), Encoding::Msgpack, generation) if bytes.as_ref() == MSGPACK => {
            let bytes = if generation == Generation::V3 { MSGPACK_V3 } else { MSGPACK };
            Some(Packet::Binary(Bytes::from_static(bytes)))
        }
        _ => None,
    }
}
