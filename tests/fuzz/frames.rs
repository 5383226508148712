//! WebSocket frames: headers against those of tungstenite, the limit of messages against a follower
//! that sees the whole stream at once, however the stream is cut; and what the messages announce.
//!
//! An input is a byte for the limit, a byte for how the stream is cut, and the stream.

use std::io::Cursor;

use bytes::BytesMut;
use humble_broker::wire::frame;
use humble_broker::wire::frame::Header;
use humble_broker::wire::frame::SizeLimit;
use tungstenite::protocol::frame::FrameHeader;

use crate::payloads;

pub fn check(input: &[u8]) {
    let Some((&[limit, cut], stream)) = input.split_first_chunk() else { return };
    check_header(stream);
    check_split(stream);
    check_written(stream);
    let limit = usize::from(limit) * usize::from(limit);
    let frames = frames(stream);
    for size in [stream.len().max(1), 1, 1 + usize::from(cut), 1 + usize::from(cut % 16)] {
        check_limit(stream, &frames, limit, size);
    }
}

/// A header is the same as for tungstenite, and takes no more bytes than it needs.
fn check_header(stream: &[u8]) {
    let header = Header::parse(stream);
    match FrameHeader::parse(&mut Cursor::new(stream)) {
        Ok(theirs) => {
            let ours = header.map(|ours| (ours.last, ours.opcode, ours.mask, ours.payload));
            let theirs = theirs
                .map(|(theirs, payload)| (theirs.is_final, u8::from(theirs.opcode), theirs.mask, payload));
            assert_eq!(ours, theirs);
        }
        // Reserved opcodes are not ours to refuse.
        Err(_) => assert!(matches!(stream[0] & 0x0f, 3..=7 | 0xb..=0xf)),
    }
    let Some(header) = header else {
        assert!(stream.len() < 14, "no header is longer");
        return;
    };
    assert!((2..=14).contains(&header.length) && header.length <= stream.len());
    assert_eq!(Header::parse(&stream[..header.length]), Some(header));
    assert_eq!(Header::parse(&stream[..header.length - 1]), None);
    assert_eq!(header.is_control(), header.opcode & 8 != 0);
}

/// Frames are split off at their ends, and nothing is lost.
fn check_split(mut stream: &[u8]) {
    while let Some((header, payload, rest)) = frame::split(stream) {
        assert_eq!(Some(header), Header::parse(stream));
        assert_eq!(payload.len() as u64, header.payload);
        assert_eq!(header.length + payload.len() + rest.len(), stream.len());
        assert_eq!(stream[header.length..][..payload.len()].as_ptr_range(), payload.as_ptr_range());
        let plain = frame::unmask(header.mask, payload);
        assert_eq!(frame::unmask(header.mask, &plain), payload);
        stream = rest;
    }
    if let Some(header) = Header::parse(stream) {
        assert!(header.payload > (stream.len() - header.length) as u64, "a frame that is there was not seen");
    }
}

/// A frame that is written is the frame that is read.
fn check_written(payload: &[u8]) {
    for (opcode, masked) in [(frame::TEXT, false), (frame::BINARY, true)] {
        let mut out = BytesMut::new();
        if masked {
            frame::put_masked(&mut out, opcode, payload);
        } else {
            frame::put(&mut out, opcode, payload);
        }
        let (header, read, rest) = frame::split(&out).unwrap();
        assert_eq!((header.last, header.opcode, header.mask.is_some()), (true, opcode, masked));
        assert_eq!((read, rest), (payload, &b""[..]));
    }
}

/// Where a frame stands, and what it does to the message it belongs to.
struct Frame {
    start: u128,
    payload_start: u128,
    end: u128,
    /// The size of the message with this frame; `None` for a control frame.
    message: Option<u128>,
    /// Whether the message of the stream goes on behind this frame.
    unfinished: bool,
}

/// The frames of `stream` whose headers are there, read without any of our code.
fn frames(stream: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let (mut message, mut unfinished) = (0, false);
    loop {
        let start = frames.last().map_or(0, |frame| frame.end);
        let Some(bytes) = usize::try_from(start).ok().and_then(|start| stream.get(start..)) else {
            return frames;
        };
        let [first, second, ..] = *bytes else { return frames };
        let width = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let length = 2 + width + if second & 0x80 == 0 { 0 } else { 4 };
        if bytes.len() < length {
            return frames;
        }
        let extended = bytes[2..2 + width].iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        let payload = if width == 0 { u128::from(second & 0x7f) } else { extended };
        let is_control = first & 8 != 0;
        if !is_control {
            message += payload;
            unfinished = first & 0x80 == 0;
        }
        let payload_start = start + length as u128;
        frames.push(Frame {
            start,
            payload_start,
            end: payload_start + payload,
            message: (!is_control).then_some(message),
            unfinished,
        });
        if !is_control && !unfinished {
            message = 0;
        }
    }
}

/// In pieces of `size` bytes too, the limit finds the first message above it, and where that begins.
fn check_limit(stream: &[u8], frames: &[Frame], limit: usize, size: usize) {
    let culprit = frames.iter().find(|frame| frame.message.is_some_and(|message| message > limit as u128));
    let mut sizes = SizeLimit::new(limit);
    for (number, piece) in stream.chunks(size).enumerate() {
        let (start, end) = ((number * size) as u128, (number * size + piece.len()) as u128);
        let followed = sizes.follow(piece);
        if let Some(culprit) = culprit.filter(|culprit| culprit.payload_start <= end) {
            // What went through with an earlier piece cannot be held back.
            let within = culprit.start.saturating_sub(start);
            assert_eq!(followed.map_err(|within| within as u128), Err(within));
            return;
        }
        assert_eq!(followed, Ok(()));
        let last = frames.iter().rfind(|frame| frame.end <= end);
        let is_between = last.map_or(end == 0, |last| last.end == end && !last.unfinished);
        assert_eq!(sizes.is_between_messages(), is_between);
    }
    assert!(culprit.is_none());
    if let Some((due, number)) = announced(stream, frames) {
        assert_eq!(sizes.announced().open(), (due > 0).then_some(number));
    }
}

/// How many attachments are due at the end of `stream`, and how many times some were announced, if its
/// frames follow one another as they may.
fn announced(stream: &[u8], frames: &[Frame]) -> Option<(u32, u64)> {
    let (mut due, mut number) = (0, 0);
    // The message that is not over: its text, or that it is binary.
    let mut open: Option<(Vec<u8>, bool)> = None;
    for frame in frames.iter().filter(|frame| frame.message.is_some()) {
        let start = usize::try_from(frame.start).unwrap();
        let (text, is_binary) = match (stream[start] & 0x0f, open.take()) {
            (frame::TEXT, None) => (Vec::new(), false),
            (frame::BINARY, None) => (Vec::new(), true),
            (0, Some(message)) => message,
            _ => return None,
        };
        let payload_start = usize::try_from(frame.payload_start).unwrap();
        let end = usize::try_from(frame.end).unwrap_or(usize::MAX).min(stream.len());
        let mask = stream[..payload_start].last_chunk().filter(|_| stream[start + 1] & 0x80 != 0);
        let payload = frame::unmask(mask.copied(), &stream[payload_start..end]);
        let (before, text) = (payloads::count(&text), [text, payload].concat());
        if is_binary {
            if !frame.unfinished && frame.end <= stream.len() as u128 {
                due = u32::saturating_sub(due, 1);
            }
        } else if let (None, Some(count)) = (before, payloads::count(&text)) {
            (due, number) = (count, number + 1);
        }
        open = frame.unfinished.then_some((text, is_binary));
    }
    Some((due, number))
}
