//! A TCP connection to the server, non-blocking.

use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;

use mio::Interest;
use mio::Registry;
use mio::Token;
use mio::net::TcpStream;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;

/// What the bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Responses, of long-polling.
    Http,
    /// The response to a request for a WebSocket.
    Handshake,
    Frames,
}

#[derive(Debug)]
pub struct Link {
    socket: TcpStream,
    pub kind: Kind,
    /// The beginning of what has not arrived as a whole.
    pub rest: Vec<u8>,
    /// What the socket has not taken yet.
    pub out: Vec<u8>,
}

impl Link {
    /// Begins to connect to `address`, from `source` if it is given.
    pub fn open(
        address: SocketAddr,
        source: Option<IpAddr>,
        kind: Kind,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                return Err(error);
            }
            _ => {}
        }
        let mut socket = TcpStream::from_std(socket.into());
        // Once for all: edges tell when there is more to read, or room to write.
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, kind, rest: Vec::new(), out: Vec::new() })
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while let Some(bytes) = self.out.get(written..).filter(|bytes| !bytes.is_empty()) {
            match self.socket.write(bytes) {
                Ok(count) => written += count,
                // Not connected yet is one of the reasons to wait.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..written);
        Ok(())
    }

    /// Reads once, behind what is left of before; all of that, and whether there may be more.
    ///
    /// `None` is that nothing has come.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Option<(&'a [u8], bool)>> {
        let kept = self.rest.len();
        let space = match buffer.split_at_mut_checked(kept) {
            Some((start, space)) if !space.is_empty() => {
                start.copy_from_slice(&self.rest);
                space
            }
            _ => return Err(io::Error::new(ErrorKind::InvalidData, "a message is larger than the buffer")),
        };
        let room = space.len();
        match self.socket.read(space) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed the connection")),
            Ok(count) => {
                self.rest.clear();
                Ok(buffer.get(..kept + count).map(|bytes| (bytes, count == room)))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
