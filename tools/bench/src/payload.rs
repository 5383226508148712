//! Payloads of long-polling: several packets in one body.

use crate::around::Version;

/// What stands between two packets of Engine.IO 4.
const SEPARATOR: char = '\u{1e}';

/// Appends `packet` to the body `payload`.
pub fn append(payload: &mut String, packet: &str, version: Version) {
    match version {
        Version::V3 => payload.extend([&packet.encode_utf16().count().to_string(), ":", packet]),
        Version::V4 if payload.is_empty() => *payload += packet,
        Version::V4 => {
            payload.push(SEPARATOR);
            *payload += packet;
        }
    }
}

/// The packets of `body`.
pub fn packets(body: &[u8], version: Version) -> Result<Vec<&[u8]>, &'static str> {
    // The answer to a POST.
    if body == b"ok" || body.is_empty() {
        return Ok(Vec::new());
    }
    if version == Version::V4 {
        return Ok(body.split(|byte| *byte == SEPARATOR as u8).collect());
    }
    let (mut rest, mut packets) = (body, Vec::new());
    while !rest.is_empty() {
        let split = memchr::memchr(b':', rest).and_then(|colon| {
            let length: usize = str::from_utf8(rest.get(..colon)?).ok()?.parse().ok()?;
            // Lengths are in characters, and what the server of a benchmark says is ASCII.
            rest.get(colon + 1..)?.split_at_checked(length)
        });
        let (packet, after) = split.ok_or("the server sends a payload that is none of Engine.IO 3")?;
        packets.push(packet);
        rest = after;
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in() {
        for version in [Version::V3, Version::V4] {
            let (mut payload, sent) = (String::new(), ["40", "42[\"publish\",\"1:2\"]", "2"]);
            for packet in sent {
                append(&mut payload, packet, version);
            }
            let packets = packets(payload.as_bytes(), version).unwrap();
            assert_eq!(packets, sent.map(str::as_bytes), "{payload}");
        }
    }

    #[test]
    fn the_answer_to_a_post_has_no_packets_and_what_is_none_is_an_error() {
        for version in [Version::V3, Version::V4] {
            assert_eq!(packets(b"ok", version), Ok(Vec::new()));
        }
        for body in [&b"9:40"[..], b"40", b"x:40"] {
            assert!(packets(body, Version::V3).is_err());
        }
    }
}
