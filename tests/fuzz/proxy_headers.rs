//! The header of the PROXY protocol, against a reader that takes it apart by hand.
//!
//! An input is what a connection begins with. It is read as a whole and byte by byte, which makes no
//! difference.

use std::io;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::pin::Pin;
use std::str::FromStr;
use std::task::Context;
use std::task::Poll;

use futures_util::FutureExt;
use humble_broker::http::proxy_protocol;
use tokio::io::AsyncRead;
use tokio::io::ReadBuf;

/// Whose connection it is, and how many bytes the header has.
type Outcome = Result<(Option<IpAddr>, usize), ErrorKind>;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub fn check(input: &[u8]) {
    let expected = oracle(input);
    for piece in [input.len().max(1), 1] {
        let mut stream = Pieces { rest: input, piece };
        let client = proxy_protocol::read(&mut stream).now_or_never().unwrap();
        let read = input.len() - stream.rest.len();
        assert!(read <= 536, "{read} bytes were read");
        assert_eq!(client.map(|client| (client, read)).map_err(|error| error.kind()), expected);
    }
}

/// A stream that is always ready, and gives a few bytes at a time.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (piece, rest) = self.rest.split_at(self.piece.min(buffer.remaining()).min(self.rest.len()));
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

fn oracle(input: &[u8]) -> Outcome {
    let start = input.get(..15).ok_or(ErrorKind::UnexpectedEof)?;
    if start.starts_with(b"PROXY ") {
        version_1(input)
    } else if start.starts_with(V2) {
        version_2(input)
    } else {
        Err(ErrorKind::InvalidData)
    }
}

fn version_1(input: &[u8]) -> Outcome {
    // The shortest header is 15 bytes long, the longest 107.
    let Some(length) = (15..=input.len().min(107)).find(|length| input[length - 1] == b'\n') else {
        return Err(if input.len() < 107 { ErrorKind::UnexpectedEof } else { ErrorKind::InvalidData });
    };
    let line = input[..length].strip_suffix(b"\r\n").ok_or(ErrorKind::InvalidData)?;
    if line.starts_with(b"PROXY UNKNOWN") && !line.contains(&b'\r') {
        return Ok((None, length));
    }
    let words: Vec<&str> = str::from_utf8(line).map_err(|_| ErrorKind::InvalidData)?.split(' ').collect();
    let client = match words[..] {
        ["PROXY", family, source, destination, from, to]
            if from.parse::<u16>().is_ok() && to.parse::<u16>().is_ok() =>
        {
            match family {
                "TCP4" => first::<Ipv4Addr>(source, destination),
                "TCP6" => first::<Ipv6Addr>(source, destination),
                _ => None,
            }
        }
        _ => None,
    };
    client.map(|client| (Some(client), length)).ok_or(ErrorKind::InvalidData)
}

/// The first of two addresses of the same family, in the shorter family if it is of both.
fn first<A: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Option<IpAddr> {
    destination.parse::<A>().ok()?;
    Some(source.parse::<A>().ok()?.into().to_canonical())
}

fn version_2(input: &[u8]) -> Outcome {
    let fixed = input.get(..16).ok_or(ErrorKind::UnexpectedEof)?;
    let (command, family) = (fixed[12], fixed[13]);
    let length = 16 + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > 536 {
        return Err(ErrorKind::InvalidData);
    }
    let rest = input.get(16..length).ok_or(ErrorKind::UnexpectedEof)?;
    let (needed, client): (usize, Option<IpAddr>) = match family {
        0x00 => (0, None),
        0x11 | 0x12 => (12, rest.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into())),
        0x21 | 0x22 => (36, rest.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into())),
        0x31 | 0x32 => (216, None),
        _ => return Err(ErrorKind::InvalidData),
    };
    if rest.len() < needed {
        return Err(ErrorKind::InvalidData);
    }
    match command {
        0x20 => Ok((None, length)),
        0x21 => Ok((client.map(|client| client.to_canonical()), length)),
        _ => Err(ErrorKind::InvalidData),
    }
}
