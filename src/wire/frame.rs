//! WebSocket frames (RFC 6455, section 5.2), as much of them as we look at or write ourselves.

use bytes::BufMut;
use bytes::BytesMut;

use crate::wire::attachments::Announced;

/// Stands for a payload length of two bytes, which follow.
const LENGTH_16: u8 = 0x7e;
/// Stands for a payload length of eight bytes, which follow.
const LENGTH_64: u8 = 0x7f;

/// Opcode of a frame that begins a text message.
pub const TEXT: u8 = 0x1;
/// Opcode of a frame that begins a binary message.
pub const BINARY: u8 = 0x2;
/// Opcode of a frame that closes the connection.
pub const CLOSE: u8 = 0x8;

/// Opcode of a frame that asks for a pong.
pub const PING: u8 = 0x9;
/// Opcode of a frame that answers a ping.
pub const PONG: u8 = 0xa;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What stands before the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this frame is the last of its message.
    pub last: bool,
    /// Whether one of the bits is set that stand for extensions, of which we have none.
    pub reserved: bool,
    /// What kind of frame it is; 8 and above are control frames.
    pub opcode: u8,
    /// The key that the payload is masked with; clients always mask, servers never do.
    pub mask: Option<[u8; 4]>,
    /// Bytes of this header.
    pub length: usize,
    /// Bytes of the payload that follows.
    pub payload: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` when it is not there as a whole yet.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (payload, rest) = match second & !MASKED {
            LENGTH_16 => {
                rest.split_first_chunk().map(|(n, rest)| (u64::from(u16::from_be_bytes(*n)), rest))?
            }
            LENGTH_64 => rest.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n), rest))?,
            short => (u64::from(short), rest),
        };
        let (mask, rest) = if second & MASKED == 0 {
            (None, rest)
        } else {
            rest.split_first_chunk().map(|(mask, rest)| (Some(*mask), rest))?
        };
        Some(Self {
            last: first & FINAL != 0,
            reserved: first & RESERVED != 0,
            opcode: first & 0x0f,
            mask,
            length: bytes.len() - rest.len(),
            payload,
        })
    }

    /// Whether the frame belongs to the connection rather than to a message.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }
}

/// Splits the first whole frame off `bytes`; `None` when it is not there as a whole.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let header = Header::parse(bytes)?;
    let (payload, rest) =
        bytes.get(header.length..)?.split_at_checked(usize::try_from(header.payload).ok()?)?;
    Some((header, payload, rest))
}

/// Appends a whole message as a server sends it.
pub fn put(out: &mut BytesMut, opcode: u8, payload: &[u8]) {
    put_parts(out, opcode, &[payload]);
}

/// The same for a payload in parts.
pub fn put_parts(out: &mut BytesMut, opcode: u8, payload: &[&[u8]]) {
    put_header(out, opcode, 0, payload.iter().map(|part| part.len()).sum());
    for part in payload {
        out.put_slice(part);
    }
}

/// Appends a whole message as a client sends it, masked with zeros, which leaves it readable.
pub fn put_masked(out: &mut BytesMut, opcode: u8, payload: &[u8]) {
    put_header(out, opcode, MASKED, payload.len());
    out.put_u32(0);
    out.put_slice(payload);
}

/// A close frame with `code`.
#[must_use]
pub fn close(code: u16) -> BytesMut {
    let mut out = BytesMut::new();
    put(&mut out, CLOSE, &code.to_be_bytes());
    out
}

fn put_header(out: &mut BytesMut, opcode: u8, masked: u8, length: usize) {
    out.reserve(14 + length);
    out.put_u8(FINAL | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..LENGTH_16), _) => out.put_u8(masked | short),
        (_, Ok(medium)) => {
            out.put_u8(masked | LENGTH_16);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(masked | LENGTH_64);
            out.put_u64(length as u64);
        }
    }
}

/// Takes the mask off `payload`, or puts it on.
#[must_use]
pub fn unmask(mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mask = mask.unwrap_or_default();
    payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// Follows the frames in a stream of bytes, to find the message that is too large and to know
/// whether attachments are due.
///
/// For the size it looks at headers only: a message is refused before its payload is waited for.
#[derive(Debug)]
pub struct SizeLimit {
    /// Most bytes of payload that one message may have.
    limit: u64,
    /// Payload bytes of the current frame that are still to come.
    remaining: u64,
    /// Bytes of the current message so far, all its frames together.
    message: u64,
    /// Whether the current message has frames still to come.
    unfinished: bool,
    /// Whether the current message is binary.
    binary: bool,
    /// What the current frame is to the messages.
    role: Role,
    /// The mask of the current frame, turned to its next byte.
    mask: [u8; 4],
    announced: Announced,
    /// A header that is not there as a whole yet: at most 14 bytes.
    partial: Vec<u8>,
}

/// What a frame is to the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A part of one.
    Part,
    /// The end of a binary one.
    EndOfBinary,
    /// None: a control frame, which may stand between the parts of a message.
    Control,
}

impl SizeLimit {
    /// A limit of `limit` payload bytes for each message.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit as u64,
            remaining: 0,
            message: 0,
            unfinished: false,
            binary: false,
            role: Role::Part,
            mask: [0; 4],
            announced: Announced::default(),
            partial: Vec::new(),
        }
    }

    /// Goes on with what has been announced over another transport.
    #[must_use]
    pub fn with(self, announced: Announced) -> Self {
        Self { announced, ..self }
    }

    /// What the messages so far have announced.
    #[must_use]
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// Whether the stream is between two messages, where a frame of another message may stand.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.remaining == 0 && self.partial.is_empty() && !self.unfinished
    }

    /// Follows the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// The number of leading bytes that belong to messages within the limit, when one is not.
    pub fn follow(&mut self, mut bytes: &[u8]) -> Result<(), usize> {
        let all = bytes.len();
        loop {
            let skip = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
            self.remaining -= skip as u64;
            let (payload, rest) = bytes.split_at(skip);
            self.look_at(payload);
            bytes = rest;
            if bytes.is_empty() {
                return Ok(());
            }
            let before = self.partial.len();
            self.partial.extend(bytes.iter().take(14 - before));
            let Some(header) = Header::parse(&self.partial) else {
                return Ok(());
            };
            if header.is_control() {
                self.role = Role::Control;
            } else {
                self.message = self.message.saturating_add(header.payload);
                if self.message > self.limit {
                    return Err(all - bytes.len());
                }
                self.begin(&header);
            }
            self.remaining = header.payload;
            bytes = bytes.get(header.length - before..).unwrap_or_default();
            self.partial.clear();
        }
    }

    /// A frame of a message begins.
    fn begin(&mut self, header: &Header) {
        self.unfinished = !header.last;
        if header.last {
            self.message = 0;
        }
        match header.opcode {
            TEXT => {
                self.binary = false;
                self.announced.begin();
            }
            BINARY => self.binary = true,
            _ => {}
        }
        self.role = if self.binary && header.last { Role::EndOfBinary } else { Role::Part };
        self.mask = header.mask.unwrap_or_default();
    }

    /// The next payload of the current frame, perhaps none of it.
    fn look_at(&mut self, payload: &[u8]) {
        if self.role == Role::Control {
            return;
        }
        for byte in payload {
            // The text before may have broken off.
            if self.binary || !self.announced.is_curious() {
                break;
            }
            let [key, ..] = self.mask;
            self.announced.byte(byte ^ key);
            self.mask.rotate_left(1);
        }
        if self.remaining == 0 && self.role == Role::EndOfBinary {
            self.role = Role::Part;
            self.announced.binary();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_written_is_the_frame_read() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            let payload = vec![7; length];
            for masked in [false, true] {
                let mut out = BytesMut::new();
                if masked {
                    put_masked(&mut out, TEXT, &payload);
                } else {
                    put(&mut out, TEXT, &payload);
                }
                let (header, read, rest) = split(&out).unwrap();
                assert_eq!((header.opcode, header.last, header.mask.is_some()), (TEXT, true, masked));
                assert_eq!((read, rest), (payload.as_slice(), [].as_slice()));
                assert!(split(&out[..out.len() - 1]).is_none(), "a part of a frame is no frame");
            }
        }
    }

    #[test]
    fn a_message_goes_on_until_its_last_frame() {
        let mut follower = SizeLimit::new(100);
        let frame = |opcode, last: bool, payload: &[u8]| {
            let mut out = BytesMut::new();
            put_masked(&mut out, opcode, payload);
            out[0] = if last { FINAL | opcode } else { opcode };
            out
        };
        for (bytes, between) in [
            (frame(TEXT, false, b""), false),
            (frame(PING, true, b"x"), false),
            (frame(0, false, b"4"), false),
            (frame(0, true, b"0"), true),
            (frame(TEXT, true, b"2"), true),
        ] {
            for byte in &bytes[..bytes.len() - 1] {
                assert_eq!(follower.follow(&[*byte]), Ok(()));
                assert!(!follower.is_between_messages());
            }
            assert_eq!(follower.follow(&bytes[bytes.len() - 1..]), Ok(()));
            assert_eq!(follower.is_between_messages(), between);
        }
    }

    #[test]
    fn announced_attachments_are_followed_through_masks_fragments_and_control_frames() {
        let frame = |opcode: u8, last: bool, payload: &[u8]| {
            let mask = [7, 99, 0, 255];
            let length = u8::try_from(payload.len()).unwrap();
            let mut out = vec![if last { FINAL | opcode } else { opcode }, MASKED | length];
            out.extend(mask);
            out.extend(unmask(Some(mask), payload));
            out
        };
        let steps = [
            (frame(TEXT, false, b"4"), None),
            (frame(PING, true, b"459-"), None),
            (frame(0, false, b"52"), None),
            (frame(0, true, b"-[]"), Some(1)),
            (frame(TEXT, true, b"3"), Some(1)),
            (frame(BINARY, false, b"abc"), Some(1)),
            (frame(PONG, true, b""), Some(1)),
            (frame(0, true, b""), Some(1)),
            (frame(BINARY, true, b"d"), None),
            (frame(BINARY, true, b""), None),
            (frame(TEXT, true, b"461-7[]"), Some(2)),
        ];
        let mut follower = SizeLimit::new(100);
        for (bytes, open) in &steps {
            let (last, rest) = bytes.split_last().unwrap();
            for byte in rest {
                assert_eq!(follower.follow(&[*byte]), Ok(()));
            }
            if open.is_none() && bytes[0] == FINAL | BINARY && bytes.len() > 6 {
                assert_eq!(follower.announced().open(), Some(1), "not before its last byte");
            }
            assert_eq!(follower.follow(&[*last]), Ok(()));
            assert_eq!(follower.announced().open(), *open, "{bytes:?}");
        }
        let all: Vec<u8> = steps.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut at_once = SizeLimit::new(100);
        assert_eq!(at_once.follow(&all), Ok(()));
        assert_eq!(at_once.announced().open(), Some(2));
    }

    #[test]
    fn bytes_announce_nothing_even_behind_a_text_that_breaks_off() {
        for text in ["", "4", "45", "451"] {
            let mut bytes = BytesMut::new();
            put_masked(&mut bytes, TEXT, text.as_bytes());
            put_masked(&mut bytes, BINARY, b"451-");
            put_masked(&mut bytes, BINARY, b"2-");
            let mut follower = SizeLimit::new(100);
            assert_eq!(follower.follow(&bytes), Ok(()));
            assert_eq!(follower.announced().open(), None, "{text}");
        }
    }

    #[test]
    fn a_close_frame_carries_its_code() {
        let mut out = BytesMut::new();
        out.extend_from_slice(&close(1001));
        assert_eq!(out.as_ref(), [0x88, 2, 0x03, 0xe9]);
    }

    proptest! {
        #[test]
        fn the_limit_finds_the_first_message_above_it_however_the_bytes_are_cut(
            sizes in prop::collection::vec((0usize..300, any::<bool>()), 1..20),
            cut in 1usize..40,
        ) {
            let limit = 200;
            let mut bytes = BytesMut::new();
            let mut expected = None;
            for (size, masked) in sizes {
                if size > limit && expected.is_none() {
                    expected = Some(bytes.len());
                }
                let payload = vec![0; size];
                if masked { put_masked(&mut bytes, BINARY, &payload) } else { put(&mut bytes, BINARY, &payload) }
            }
            let mut follower = SizeLimit::new(limit);
            let mut found = None;
            let mut position = 0;
            for chunk in bytes.chunks(cut) {
                if let Err(within) = follower.follow(chunk) {
                    found = Some(position + within);
                    break;
                }
                position += chunk.len();
            }
            // The header itself may begin in an earlier chunk, which has been let through by then.
            match (expected, found) {
                (Some(start), Some(end)) => prop_assert!((start..start + 14).contains(&end)),
                (expected, found) => prop_assert_eq!(expected, found),
            }
        }
    }
}
