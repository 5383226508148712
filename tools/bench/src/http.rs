//! Requests and responses, as far as a handshake and long-polling need them.

use std::net::SocketAddr;

/// A response as a whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    /// How many bytes it took.
    pub length: usize,
    /// Whether the server ends the connection behind it.
    pub last: bool,
}

impl Response {
    /// The response that `bytes` begin with; `None` if it is not there as a whole.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        const NONE: &str = "what the server answers is no HTTP";
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let (head, body) = bytes.split_at(end + 4);
        let head = str::from_utf8(head).map_err(|_| NONE)?;
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).ok_or(NONE)?;
        let status = status.parse().map_err(|_| NONE)?;
        let (mut length, mut chunked, mut last) = (0, false, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(|_| NONE)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                last = value.eq_ignore_ascii_case("close");
            }
        }
        if status == 101 {
            return Ok(Some(Self { status, body: Vec::new(), length: head.len(), last: false }));
        }
        let read = if chunked { unchunked(body).ok_or(NONE)? } else { whole(body, length) };
        Ok(read.map(|(body, length)| Self { status, body, length: head.len() + length, last }))
    }
}

fn whole(body: &[u8], length: usize) -> Option<(Vec<u8>, usize)> {
    body.get(..length).map(|body| (body.to_vec(), length))
}

/// A body out of its chunks, and how many bytes they are; the inner `None` if some are to come.
#[expect(clippy::option_option, reason = "`None` is no chunks, `Some(None)` is not all of them")]
fn unchunked(bytes: &[u8]) -> Option<Option<(Vec<u8>, usize)>> {
    let (mut rest, mut body) = (bytes, Vec::new());
    loop {
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else { return Some(None) };
        let (size, after) = rest.split_at(end);
        let size = size.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(str::from_utf8(size).ok()?.trim(), 16).ok()?;
        let Some((chunk, after)) = after.get(2..)?.split_at_checked(size) else { return Some(None) };
        let Some((b"\r\n", after)) = after.split_at_checked(2) else {
            return (after.len() < 2).then_some(None);
        };
        body.extend(chunk);
        rest = after;
        if size == 0 {
            return Some(Some((body, bytes.len() - rest.len())));
        }
    }
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Place {
    pub address: SocketAddr,
    /// As servers see it, without a query.
    pub path: String,
    /// What every query has: the version, a token.
    pub query: String,
}

impl Place {
    /// Asks for a WebSocket, of the session `sid` if there is one.
    pub fn websocket(&self, sid: &str) -> Vec<u8> {
        // The key is the example of the standard: what it becomes is not looked at.
        self.request("GET", "websocket", sid, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")
    }

    pub fn poll(&self, sid: &str) -> Vec<u8> {
        self.request("GET", "polling", sid, "", "")
    }

    pub fn post(&self, sid: &str, body: &str) -> Vec<u8> {
        let headers = format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n", body.len());
        self.request("POST", "polling", sid, &headers, body)
    }

    fn request(&self, method: &str, transport: &str, sid: &str, headers: &str, body: &str) -> Vec<u8> {
        let Self { address, path, query } = self;
        let sid = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
        format!("{method} {path}?{query}&transport={transport}{sid} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n{body}")
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_as_a_whole_or_not_at_all() {
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n", "abc"),
        ] {
            let response = Response::read(format!("{text}more").as_bytes()).unwrap().unwrap();
            assert_eq!((response.status, response.length), (200, text.len()), "{text}");
            assert_eq!(response.body, body.as_bytes(), "{text}");
            for cut in 0..text.len() {
                assert_eq!(Response::read(&text.as_bytes()[..cut]), Ok(None), "{text} cut to {cut}");
            }
        }
    }

    #[test]
    fn a_switch_of_protocols_has_no_body() {
        let response = Response::read(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00").unwrap().unwrap();
        assert_eq!((response.status, response.length), (101, 36));
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        assert!(Response::read(b"220 smtp\r\n\r\n").is_err());
        assert!(Response::read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").is_err());
    }
}
