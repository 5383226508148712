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
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<IpAddr>> {
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
    }
    parse(&header).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Parses a header that is all of `bytes`.
fn parse(bytes: &[u8]) -> Option<Option<IpAddr>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (header, length) = ProxyHeader::parse(bytes, config).ok()?;
    let whole = length == bytes.len();
    whole.then(|| header.proxied_address().map(|address| address.source.ip().to_canonical()))
}
