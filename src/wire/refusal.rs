//! The refusal of a client that is nobody: the last packet of its session, in the form it reads.

use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::Generation;
use crate::wire::payload::Packet;

/// As the library writes it, and clients of Engine.IO 4 read it.
const JSON: &[u8] = br#"44{"message":"unauthorized"}"#;
const MSGPACK: &[u8] = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x81\xa7message\xacunauthorized";
/// As clients of Engine.IO 3 read it.
const JSON_V3: &[u8] = br#"44"unauthorized""#;
const MSGPACK_V3: &[u8] = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xacunauthorized";

/// Has the refusal among `packets`, if it is there, say so to a client of `generation`; whether it is.
pub fn translate(packets: &mut [Packet], generation: Generation) -> bool {
    packets.iter_mut().fold(false, |found, packet| match of(packet, generation) {
        Some(refusal) => {
            *packet = refusal;
            true
        }
        None => found,
    })
}

/// What a client of `generation` is sent last over its WebSocket, if `packet` is the end of its session:
/// the refusal, or nothing.
pub(super) fn last_frame<B: AsRef<[u8]>>(packet: &Packet<B>, generation: Generation) -> Option<BytesMut> {
    let refusal = of(packet, generation);
    let mut frame = BytesMut::new();
    if let Some(refusal) = &refusal {
        refusal.put_frame(generation, &mut frame);
    }
    (packet.is_end() || refusal.is_some()).then_some(frame)
}

/// What a client of `generation` is sent instead of `packet`, if that is the refusal.
fn of<B: AsRef<[u8]>>(packet: &Packet<B>, generation: Generation) -> Option<Packet> {
    let bytes = match (packet, generation) {
        (Packet::Text(text), Generation::V3) if text.as_ref() == JSON => JSON_V3,
        (Packet::Text(text), Generation::V4) if text.as_ref() == JSON => JSON,
        (Packet::Binary(bytes), Generation::V3) if bytes.as_ref() == MSGPACK => MSGPACK_V3,
        (Packet::Binary(bytes), Generation::V4) if bytes.as_ref() == MSGPACK => MSGPACK,
        _ => return None,
    };
    let bytes = Bytes::from_static(bytes);
    Some(if matches!(packet, Packet::Text(_)) { Packet::Text(bytes) } else { Packet::Binary(bytes) })
}
