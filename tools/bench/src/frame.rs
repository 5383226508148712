//! WebSocket frames: written as a client writes them, read as a server does.

/// What masks the bytes of a client. Its value means nothing here, but a server is to undo one.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Appends a frame with `payload` to `out`.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 0x7e);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 0x7f);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    let start = out.len();
    out.extend(payload);
    // In chunks, which the compiler turns into wide instructions.
    let (chunks, rest) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<4>();
    for chunk in chunks {
        *chunk = (u32::from_ne_bytes(*chunk) ^ u32::from_ne_bytes(MASK)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(MASK) {
        *byte ^= mask;
    }
}

/// A frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// What comes after it.
    pub rest: &'a [u8],
}

/// The frame that `bytes` begin with; `None` if it is not there as a whole.
///
/// It fails on what no server of Socket.IO sends: fragments, extensions, masks.
pub fn read(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
    if first & 0xf0 != 0x80 {
        return Err("the server sends a fragment, or uses an extension that was not offered");
    }
    let (length, rest) = match second {
        0x80.. => return Err("the server masks its frames"),
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (usize::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => {
                (usize::try_from(u64::from_be_bytes(*length)).map_err(|_| "a frame is too long")?, rest)
            }
            None => return Ok(None),
        },
        length => (usize::from(length), rest),
    };
    Ok(rest.split_at_checked(length).map(|(payload, rest)| Frame { opcode: first & 15, payload, rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server writes it: without the mask.
    fn of_server(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write(&mut frame, TEXT, payload);
        let head = frame.len() - payload.len();
        frame[1] &= 0x7f;
        frame.splice(head - 4.., payload.iter().copied());
        frame
    }

    #[test]
    fn frames_of_every_length_are_read_and_cut_ones_wait() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = of_server(&payload);
            for cut in [0, 1, 2, 3, bytes.len() - 1] {
                assert_eq!(read(&bytes[..cut.min(bytes.len() - 1)]), Ok(None), "{length} cut to {cut}");
            }
            bytes.extend(b"more");
            assert_eq!(
                read(&bytes),
                Ok(Some(Frame { opcode: TEXT, payload: &payload, rest: b"more" })),
                "{length}"
            );
        }
    }

    #[test]
    fn what_a_client_writes_is_masked() {
        let mut frame = Vec::new();
        write(&mut frame, TEXT, b"40abcdefghi");
        assert_eq!(frame[..2], [0x81, 0x8b]);
        let unmasked: Vec<_> =
            frame[6..].iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(unmasked, b"40abcdefghi");
    }

    #[test]
    fn what_no_server_sends_is_an_error() {
        assert!(read(&[0x01, 0]).is_err(), "a fragment");
        assert!(read(&[0xc1, 0]).is_err(), "compressed");
        assert!(read(&[0x81, 0x80]).is_err(), "masked");
    }
}
