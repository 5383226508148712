//! The PROXY protocol: a header before everything else, in which a proxy says for whom it speaks.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::io;
use std::io::ErrorKind;
use std::net::IpAddr;

use proxy_header::ParseConfig;
use proxy_header::ProxyHeader;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;

/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// What a header of version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header of a connection that is its sender's own.
pub(super) const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Bytes of the shortest header, `PROXY UNKNOWN` and the end of its line.
const SHORTEST: usize = 15;
/// Bytes of the longest header of version 1, by its specification.
const LONGEST_V1: usize = 107;
/// Bytes of version 2 before those that it says the length of.
const FIXED_V2: usize = 16;
/// Bytes of the longest header of version 2 that we take: what fits into the smallest segment of
/// TCP that every network carries. Addresses take 216 at most; the rest is what some proxies add.
const LONGEST_V2: usize = 536;

/// Reads a header, and no byte of what is behind it: whose connection the proxy passes on, if it
/// says so.
///
/// # Errors
///
/// When there is none, or it is malformed or too long.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(V1) {
        // It says no length; reading by the byte is how nothing behind its end is read.
        while !header.ends_with(b"\n") {
            if header.len() == LONGEST_V1 {
                return Err(ErrorKind::InvalidData.into());
            }
            header.push(stream.read_u8().await?);
        }
    } else if header.starts_with(V2) {
        header.push(stream.read_u8().await?);
        let length = header.last_chunk().map_or(0, |length| u16::from_be_bytes(*length).into());
        if FIXED_V2 + length > LONGEST_V2 {
            return Err(ErrorKind::InvalidData.into());
        }
        header.resize(FIXED_V2 + length, 0);
        stream.read_exact(header.get_mut(FIXED_V2..).unwrap_or_default()).await?;
    } else {
        // The library looks at less of the start than we do.
        return Err(ErrorKind::InvalidData.into());
    }
    parse(&header)
}

/// Parses a header that is all of `bytes`.
fn parse(bytes: &[u8]) -> io::Result<Option<IpAddr>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, length)) if length == bytes.len() => {
            Ok(header.proxied_address().map(|address| address.source.ip().to_canonical()))
        }
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Version 2 with this command, family and rest.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, rest].concat()
    }

    /// What a stream that begins with `bytes` says of its client, and what is behind it.
    fn said(bytes: &[u8]) -> Result<(Option<IpAddr>, &[u8]), ErrorKind> {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let client = runtime.block_on(read(&mut rest)).map_err(|error| error.kind())?;
        Ok((client, rest))
    }

    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let ports = [0x12, 0x34, 0, 80];
        let ipv4 = [&[192, 0, 2, 1], &[10, 0, 0, 1], &ports[..]].concat();
        let ipv6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], &[0; 16], &ports[..]].concat();
        let mapped =
            [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1], &[0; 16], &ports[..]].concat();
        let longest = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff1 \
            ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff2 65535 65535\r\n";
        let unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_V1 - 16));
        vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), Some("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4660 80\r\n".to_vec(), Some("192.0.2.1")),
            (longest.to_vec(), Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), None),
            (unknown.into_bytes(), None),
            (v2(0x21, 0x11, &ipv4), Some("192.0.2.1")),
            (v2(0x21, 0x21, &ipv6), Some("2001:db8::7")),
            (v2(0x21, 0x21, &mapped), Some("192.0.2.1")),
            (v2(0x21, 0x11, &[&ipv4[..], &[4, 0, 3, 0, 0, 0]].concat()), Some("192.0.2.1")),
            (v2(0x21, 0x11, &[&ipv4[..], &[0; LONGEST_V2 - FIXED_V2 - 12]].concat()), Some("192.0.2.1")),
            (v2(0x21, 0x31, &[b'x'; 216]), None),
            (v2(0x21, 0x00, &[]), None),
            (LOCAL.to_vec(), None),
            (v2(0x20, 0x11, &ipv4), None),
        ]
    }

    #[test]
    fn a_header_says_whose_connection_it_is() {
        for (header, client) in headers() {
            let client = client.map(|client| client.parse().unwrap());
            assert_eq!(said(&header), Ok((client, &b""[..])), "{header:?}");
        }
    }

    #[test]
    fn nothing_behind_a_header_is_read() {
        for (header, client) in headers() {
            let client = client.map(|client| client.parse().unwrap());
            let bytes = [&header, &b"GET / HTTP/1.1\r\n"[..]].concat();
            assert_eq!(said(&bytes), Ok((client, &b"GET / HTTP/1.1\r\n"[..])), "{header:?}");
        }
    }

    #[test]
    fn a_header_that_ends_too_early_is_none() {
        for (header, _) in headers() {
            for end in 0..header.len() {
                assert_eq!(said(&header[..end]), Err(ErrorKind::UnexpectedEof), "{:?}", &header[..end]);
            }
        }
    }

    #[test]
    fn what_is_malformed_or_too_long_is_refused() {
        let mut wrong: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "PROXYxTCP4 192.0.2.1 10.0.0.1 4660 80\r\n",
            "PROXYxUNKNOWN\r\n",
            "proxy TCP4 192.0.2.1 10.0.0.1 4660 80\r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 4660 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 4660 80 \r\n",
            "PROXY TCP4 192.0.2.1  10.0.0.1 4660 80\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 4660 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n",
            "PROXY TCP4 2001:db8::7 ::1 4660 80\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 4660 80\r\n",
            "PROXY \r\n\r\n\r\n\r\n\r\n\r\n",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into();
        wrong.push(format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_V1 - 15)).into());
        wrong.push([&b"PROXY "[..], &[0xff; 200]].concat());
        wrong.push(v2(0x22, 0x00, &[]));
        wrong.push(v2(0x11, 0x11, &[0; 12]));
        wrong.push(v2(0x21, 0x41, &[0; 12]));
        wrong.push(v2(0x21, 0x11, &[0; 11]));
        wrong.push(v2(0x21, 0x21, &[0; 35]));
        wrong.push(v2(0x21, 0x31, &[0; 215]));
        wrong.push(v2(0x21, 0x11, &[0; LONGEST_V2 - FIXED_V2 + 1]));
        wrong.push([V2, &[0x21, 0x11, 0xff, 0xff]].concat());
        for bytes in wrong {
            assert_eq!(said(&bytes), Err(ErrorKind::InvalidData), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_read_on(
            start in prop::sample::select(vec![&b""[..], V1, V2, b"PROXY TCP4 ", b"PROXY UNKNOWN"]),
            bytes in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let bytes = [start, &bytes].concat();
            if let Ok((_, rest)) = said(&bytes) {
                prop_assert!(bytes.len() - rest.len() <= LONGEST_V2);
            }
        }
    }
}
