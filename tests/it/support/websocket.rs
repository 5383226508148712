//! A WebSocket client down to the byte.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;

use bytes::BytesMut;
use humble_broker::wire::frame;

use super::http::connect;

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// The end of the stream, clean or not.
    End,
}

/// An open WebSocket.
pub struct WebSocket {
    stream: TcpStream,
    buffer: BytesMut,
    /// Whether something could not be sent.
    failed: bool,
}

impl WebSocket {
    /// Opens a WebSocket; panics if the server refuses it.
    pub fn open(address: SocketAddr, target: &str) -> Self {
        Self::try_open(address, target).unwrap_or_else(|status| panic!("{target}: {status}"))
    }

    /// Opens a WebSocket, or says with which status the server refuses it.
    pub fn try_open(address: SocketAddr, target: &str) -> Result<Self, String> {
        Self::try_open_from(address, target, None)
    }

    /// Opens a WebSocket, perhaps of a web page of this origin, or says with which status the server
    /// refuses it.
    pub fn try_open_from(address: SocketAddr, target: &str, origin: Option<&str>) -> Result<Self, String> {
        let mut stream = connect(address);
        let origin = origin.map_or_else(String::new, |origin| format!("origin: {origin}\r\n"));
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n{origin}\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut socket = Self { stream, buffer: BytesMut::new(), failed: false };
        let head = socket.head();
        let status = head.lines().next().unwrap_or_default().to_owned();
        if !status.starts_with("HTTP/1.1 101 ") {
            return Err(status);
        }
        // The example of RFC 6455, section 1.3.
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        Ok(socket)
    }

    fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                return String::from_utf8(head.to_vec()).unwrap();
            }
            if !self.fill() {
                return String::from_utf8_lossy(&self.buffer).into_owned();
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut bytes = vec![0; 65_536];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&bytes[..read]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// The next frame.
    pub fn next(&mut self) -> Incoming {
        loop {
            if let Some((header, payload, rest)) = frame::split(&self.buffer) {
                assert!(
                    header.last && header.mask.is_none(),
                    "servers send whole, unmasked frames: {header:?}"
                );
                let incoming = match header.opcode {
                    frame::TEXT => Incoming::Text(String::from_utf8(payload.to_vec()).unwrap()),
                    frame::BINARY => Incoming::Binary(payload.to_vec()),
                    frame::PONG => Incoming::Pong(payload.to_vec()),
                    frame::CLOSE => {
                        Incoming::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code)))
                    }
                    opcode => panic!("unexpected opcode {opcode}"),
                };
                self.buffer = BytesMut::from(rest);
                return incoming;
            }
            if !self.fill() {
                return Incoming::End;
            }
        }
    }

    /// The next frame, which must be text.
    pub fn text(&mut self) -> String {
        match self.next() {
            Incoming::Text(text) => text,
            other => panic!("{other:?} where text was expected"),
        }
    }

    /// Says that nothing more will be sent, and can still be read from.
    pub fn stop_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends again and again, and reads nothing, until the server has ended the connection; says how
    /// many times.
    pub fn flood(&mut self, mut send: impl FnMut(&mut Self)) -> usize {
        let mut times = 0;
        while !self.failed {
            send(self);
            times += 1;
        }
        times
    }

    /// Reads up to `most` bytes and forgets them; `false` at the end of the stream, clean or not.
    pub fn read_some(&mut self, most: usize) -> bool {
        self.stream.read(&mut vec![0; most]).is_ok_and(|read| read > 0)
    }

    /// Waits until something has come, and leaves it unread.
    pub fn await_input(&mut self) {
        let _ = self.stream.peek(&mut [0]);
    }

    /// Sends a text message.
    pub fn send(&mut self, text: &str) {
        self.send_frame(frame::TEXT, text.as_bytes());
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send_frame(frame::BINARY, bytes);
    }

    /// Sends any frame.
    pub fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut out = BytesMut::new();
        frame::put_masked(&mut out, opcode, payload);
        self.send_raw(&out);
    }

    /// Sends bytes as they are; that the server has gone already is no failure of a client.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.failed |= self.stream.write_all(bytes).is_err();
    }
}
