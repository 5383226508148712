//! HTTP/1.1 by hand: one request on one connection.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;

use super::DEADLINE;

/// A response, taken apart.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Connects with deadlines for reading and writing.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A GET without further headers.
pub fn get(address: SocketAddr, target: &str) -> Response {
    request(address, "GET", target, &[], b"")
}

/// A GET that may be cut off instead of being answered.
pub fn try_get(address: SocketAddr, target: &str) -> Option<Response> {
    let mut stream = connect(address);
    ask(&mut stream, "GET", target, "connection: close\r\n");
    parse(&rest(&mut stream))
}

/// Any request.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut stream = connect(address);
    send(&mut stream, method, target, headers, body);
    receive(&mut stream)
}

/// Sends a request after which the connection stays open, if the daemon will have it so.
pub fn ask(stream: &mut TcpStream, method: &str, target: &str, headers: &str) {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
}

/// Receives one response on a connection that may go on.
pub fn receive_one(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    let mut next = [0];
    loop {
        assert_eq!(stream.read(&mut next).unwrap(), 1, "{:?}", String::from_utf8_lossy(&bytes));
        bytes.extend(next);
        let Some(response) = parse(&bytes) else { continue };
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        if response.body.len() == length || response.status < 200 {
            return response;
        }
    }
}

/// Waits for the end of the connection, clean or not, and returns what still came.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it is still open"),
    }
    bytes
}

/// A GET over a connection that is open already.
pub fn get_over(stream: &mut (impl Read + Write), target: &str) -> Response {
    send(stream, "GET", target, &[], b"");
    receive(stream)
}

/// Sends a request; the connection closes after it.
pub fn send(stream: &mut impl Write, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() || method == "POST" {
        head.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
    }
    head += "\r\n";
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}

/// Receives the response, up to the end of the connection.
pub fn receive(stream: &mut impl Read) -> Response {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    parse(&bytes).unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(&bytes)))
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let response = Response { status, headers, body };
    let chunked = response.header("transfer-encoding").is_some_and(|value| value == "chunked");
    assert!(!chunked, "the daemon knows the length of every body");
    Some(response)
}
