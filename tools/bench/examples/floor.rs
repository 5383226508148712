//! The floor: a server that does nothing for a delivery but what nobody can do without.
//!
//! One thread waits for all sockets. What is published becomes one WebSocket frame, which all members of the
//! room share; what gathers while the server reads goes out in one write for each of them. There is no
//! polling, no heartbeat, no limit, no parser of JSON: it trusts the load generator, and serves nobody else.
//!
//! `floor PORT` listens on 127.0.0.1, and prints where.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "it trusts its one client"
)]

use std::collections::HashMap;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::rc::Rc;

use mio::Events;
use mio::Interest;
use mio::Poll;
use mio::Token;
use mio::net::TcpListener;
use mio::net::TcpStream;

const LISTENER: Token = Token(usize::MAX);
const OPEN: &[u8] =
    b"0{\"sid\":\"floor\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";

/// A client: its socket, what it has begun to say, what it has yet to take, and its rooms.
struct Connection {
    socket: TcpStream,
    shaken: bool,
    said: Vec<u8>,
    owed: Vec<u8>,
    rooms: Vec<Rc<str>>,
}

/// Its members, and the frames that they are about to get.
#[derive(Default)]
struct Room {
    members: Vec<usize>,
    frames: Vec<u8>,
}

#[derive(Default)]
struct Floor {
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    rooms: HashMap<Rc<str>, Room>,
    /// Rooms with frames.
    dirty: Vec<Rc<str>>,
}

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(5000);
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into()).unwrap();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut floor = Floor::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome.unwrap(),
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener, &poll);
                continue;
            }
            let number = event.token().0;
            if event.is_writable() {
                floor.write(number, &[]);
            }
            if event.is_readable() || event.is_read_closed() {
                floor.read(number, &mut buffer);
            }
        }
        floor.deliver();
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) {
        while let Ok((mut socket, _)) = listener.accept() {
            let number = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            socket.set_nodelay(true).unwrap();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(number), interest).unwrap();
            let nothing = Vec::new;
            self.connections[number] = Some(Connection {
                socket,
                shaken: false,
                said: nothing(),
                owed: nothing(),
                rooms: Vec::new(),
            });
        }
    }

    fn read(&mut self, number: usize, buffer: &mut [u8]) {
        loop {
            let Some(connection) = &mut self.connections[number] else { return };
            let count = match connection.socket.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(count) if count > 0 => count,
                _ => return self.forget(number),
            };
            connection.said.extend(&buffer[..count]);
            let mut said = std::mem::take(&mut connection.said);
            let taken =
                if connection.shaken { self.frames(number, &mut said) } else { self.shake(number, &said) };
            said.drain(..taken);
            let Some(connection) = &mut self.connections[number] else { return };
            connection.said = said;
            if count < buffer.len() {
                return;
            }
        }
    }

    /// Answers the request for a WebSocket, and opens the session.
    fn shake(&mut self, number: usize, said: &[u8]) -> usize {
        let text = std::str::from_utf8(said).unwrap_or_default();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { return 0 };
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let mut answer = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes();
        frame(&mut answer, &[OPEN]);
        self.connections[number].as_mut().unwrap().shaken = true;
        self.write(number, &answer);
        head.len() + 4
    }

    /// Takes the frames that `said` begins with, and returns how much that was.
    fn frames(&mut self, number: usize, said: &mut [u8]) -> usize {
        let mut taken = 0;
        loop {
            let rest = &mut said[taken..];
            if rest.len() < 6 {
                return taken;
            }
            let (head, length) = match usize::from(rest[1] & 0x7f) {
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                127 if rest.len() < 14 => return taken,
                127 => (10, u64::from_be_bytes(rest[2..10].try_into().unwrap()) as usize),
                length => (2, length),
            };
            if rest.len() < head + 4 + length {
                return taken;
            }
            let (mask, payload) = rest[head..head + 4 + length].split_first_chunk_mut::<4>().unwrap();
            for (at, byte) in payload.iter_mut().enumerate() {
                *byte ^= mask[at % 4];
            }
            taken += head + 4 + length;
            self.packet(number, payload);
        }
    }

    fn packet(&mut self, number: usize, packet: &[u8]) {
        let quoted = |from: usize| {
            let end = from + memchr::memchr(b'"', &packet[from..]).unwrap();
            (std::str::from_utf8(&packet[from..end]).unwrap(), end)
        };
        if let Some(rest) = packet.strip_prefix(b"42[\"publish\",\"") {
            let (room, _) = quoted(packet.len() - rest.len());
            let Some((name, _)) = self.rooms.get_key_value(room) else { return };
            let name = name.clone();
            let room = self.rooms.get_mut(&name).unwrap();
            if room.frames.is_empty() {
                self.dirty.push(name);
            }
            // From the quotation mark before the name on, a delivery says what was published.
            frame(&mut room.frames, &[b"42[\"data\",\"", rest]);
        } else if packet.starts_with(b"40") {
            self.answer(number, b"40{\"sid\":\"floor\"}");
        } else if packet.starts_with(b"420[\"subscribe\",\"") {
            let (room, _) = quoted(17);
            let name: Rc<str> = room.into();
            self.connections[number].as_mut().unwrap().rooms.push(name.clone());
            self.rooms.entry(name).or_default().members.push(number);
            self.answer(number, b"430[]");
        }
    }

    fn answer(&mut self, number: usize, packet: &[u8]) {
        let mut bytes = Vec::new();
        frame(&mut bytes, &[packet]);
        self.write(number, &bytes);
    }

    fn deliver(&mut self) {
        for name in std::mem::take(&mut self.dirty) {
            let room = self.rooms.get_mut(&name).unwrap();
            let (members, mut frames) = (std::mem::take(&mut room.members), std::mem::take(&mut room.frames));
            let lost = members.iter().filter(|member| !self.write(**member, &frames)).count();
            frames.clear();
            let room = self.rooms.get_mut(&name).unwrap();
            (room.members, room.frames) = (members, frames);
            if lost > 0 {
                room.members.retain(|member| self.connections[*member].is_some());
            }
        }
    }

    /// Writes `bytes` behind what is owed; whether the connection has survived it.
    fn write(&mut self, number: usize, bytes: &[u8]) -> bool {
        let Some(connection) = &mut self.connections[number] else { return false };
        let owed = !connection.owed.is_empty();
        if owed {
            connection.owed.extend(bytes);
        }
        let wanted = if owed { &connection.owed[..] } else { bytes };
        let mut written = 0;
        while written < wanted.len() {
            match connection.socket.write(&wanted[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.forget(number);
                    return false;
                }
            }
        }
        if owed {
            connection.owed.drain(..written);
        } else {
            connection.owed.extend(&bytes[written..]);
        }
        true
    }

    fn forget(&mut self, number: usize) {
        let Some(connection) = self.connections[number].take() else { return };
        for room in connection.rooms {
            if let Some(room) = self.rooms.get_mut(&room) {
                room.members.retain(|member| *member != number);
            }
        }
        self.free.push(number);
    }
}

/// Appends a text frame of `parts`.
fn frame(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    out.push(0x81);
    match length {
        0..126 => out.push(length as u8),
        126..65_536 => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend(*part);
    }
}
