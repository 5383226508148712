//! A client of Socket.IO: connects by any transport, says its events, hears those of others.

use std::net::IpAddr;

use mio::Token;

use crate::around::Happening;
use crate::around::Surroundings;
use crate::around::Version;
use crate::around::Way;
use crate::frame;
use crate::frame::Frame;
use crate::http::Response;
use crate::link::Kind;
use crate::link::Link;
use crate::payload;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been heard of Engine.IO.
    Opening,
    /// Engine.IO is open, the namespace is not.
    Joining,
    /// The namespace is open, the WebSocket of the upgrade is not.
    Probing {
        answered: bool,
    },
    Live,
}

#[derive(Debug)]
pub struct Client {
    way: Way,
    stage: Stage,
    source: Option<IpAddr>,
    tokens: [Token; 2],
    /// Carries the session, and from the end of an upgrade on it is its WebSocket.
    link: Link,
    /// The WebSocket of an upgrade that is under way.
    second: Option<Link>,
    sid: String,
    /// What is to be posted.
    outbox: String,
    /// Whether a request waits for its response.
    asking: bool,
    /// Whether the server wants no more polls, as it upgrades.
    paused: bool,
}

impl Client {
    /// Begins to connect.
    pub fn open(
        way: Way,
        source: Option<IpAddr>,
        tokens: [Token; 2],
        around: &Surroundings<'_>,
    ) -> Result<Self, String> {
        let (kind, request) = match way {
            Way::Websocket => (Kind::Handshake, around.place.websocket("")),
            Way::Polling | Way::Upgrade => (Kind::Http, around.place.poll("")),
        };
        let mut link = Link::open(around.place.address, source, kind, around.registry, tokens[0])
            .map_err(|error| format!("cannot connect to {}: {error}", around.place.address))?;
        link.out = request;
        Ok(Self {
            way,
            stage: Stage::Opening,
            source,
            tokens,
            link,
            second: None,
            sid: String::new(),
            outbox: String::new(),
            asking: true,
            paused: false,
        })
    }

    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// Sends a packet of Engine.IO, with the next flush.
    pub fn send(&mut self, packet: &str, around: &Surroundings<'_>) {
        if self.link.kind == Kind::Frames {
            frame::write(&mut self.link.out, frame::TEXT, packet.as_bytes());
            return;
        }
        payload::append(&mut self.outbox, packet, around.version);
    }

    /// Whether a flush would do anything but wait for room.
    pub fn is_due(&self) -> bool {
        !self.link.out.is_empty() || self.second.is_some() || self.link.kind == Kind::Http && !self.asking
    }

    /// Writes what waits, as far as the sockets take it; asks for more if the client polls.
    pub fn flush(&mut self, around: &Surroundings<'_>) -> Result<(), String> {
        self.ask(around);
        let second = self.second.as_mut().map_or(Ok(()), Link::flush);
        self.link.flush().and(second).map_err(|error| error.to_string())
    }

    /// Reads what there is, but not much more than `most` bytes, and tells `on` of it.
    pub fn read(
        &mut self,
        second: bool,
        most: usize,
        buffer: &mut [u8],
        around: &Surroundings<'_>,
        on: &mut impl FnMut(Happening<'_>),
    ) -> Result<(), String> {
        let mut taken = 0;
        loop {
            let link = self.link(second);
            let kept = link.rest.len();
            let (space, _) = buffer.split_at_mut((kept + most).min(buffer.len()));
            let Some((bytes, more)) = link.read(space).map_err(|error| error.to_string())? else {
                return Ok(());
            };
            taken += bytes.len() - kept;
            let left = match link.kind {
                Kind::Frames => self.frames(bytes, second, around, on)?,
                Kind::Handshake | Kind::Http => self.response(bytes, second, around, on)?,
            };
            self.link(second).rest.extend(left);
            if !more || taken >= most {
                return Ok(());
            }
        }
    }

    /// The second link, if it is meant and has not become the first.
    fn link(&mut self, second: bool) -> &mut Link {
        if second { self.second.as_mut().unwrap_or(&mut self.link) } else { &mut self.link }
    }

    /// Takes frames, and returns what is left of `bytes`.
    fn frames<'a>(
        &mut self,
        mut bytes: &'a [u8],
        second: bool,
        around: &Surroundings<'_>,
        on: &mut impl FnMut(Happening<'_>),
    ) -> Result<&'a [u8], String> {
        while let Some(Frame { opcode, payload, rest }) = frame::read(bytes)? {
            bytes = rest;
            match opcode {
                frame::TEXT if second && self.second.is_some() => self.probe_answered(payload, on)?,
                frame::TEXT => self.packet(payload, around, on)?,
                frame::PING => frame::write(&mut self.link.out, frame::PONG, payload),
                frame::CLOSE => {
                    let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                    return Err(format!("the server has closed the WebSocket with {code}"));
                }
                _ => {}
            }
        }
        Ok(bytes)
    }

    /// Takes a response if it is there as a whole, and returns what is left of `bytes`.
    fn response<'a>(
        &mut self,
        bytes: &'a [u8],
        second: bool,
        around: &Surroundings<'_>,
        on: &mut impl FnMut(Happening<'_>),
    ) -> Result<&'a [u8], String> {
        let Some(Response { status, body, length, last }) = Response::read(bytes)? else { return Ok(bytes) };
        let rest = bytes.get(length..).unwrap_or_default();
        let link = self.link(second);
        if link.kind == Kind::Handshake {
            if status != 101 {
                return Err(format!("the server answers {status} instead of opening a WebSocket"));
            }
            link.kind = Kind::Frames;
            if second {
                frame::write(&mut link.out, frame::TEXT, b"2probe");
            }
            return self.frames(rest, second, around, on);
        }
        self.asking = false;
        if status != 200 {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("the server answers {status}: {}", text.trim()));
        }
        if last {
            return Err("the server does not keep connections of polling open".into());
        }
        for packet in payload::packets(&body, around.version)? {
            self.packet(packet, around, on)?;
        }
        if self.stage == (Stage::Probing { answered: true }) {
            self.upgraded(on);
        }
        Ok(rest)
    }

    fn packet(
        &mut self,
        packet: &[u8],
        around: &Surroundings<'_>,
        on: &mut impl FnMut(Happening<'_>),
    ) -> Result<(), String> {
        match packet {
            [b'4', b'2', ..] => on(Happening::Event(packet)),
            [b'4', b'3', ..] => on(Happening::Acknowledged),
            [b'2', ..] => self.send("3", around),
            [b'0', ..] => {
                self.sid = after(packet, "\"sid\":\"").ok_or("the server opens a session without an id")?;
                self.stage = Stage::Joining;
                // Servers of the older protocol open the namespace unasked.
                if around.version == Version::V4 {
                    self.send(around.hello, around);
                }
            }
            [b'4', b'0', ..] if self.stage == Stage::Joining => {
                if self.way != Way::Upgrade {
                    self.stage = Stage::Live;
                    on(Happening::Connected);
                    return Ok(());
                }
                self.stage = Stage::Probing { answered: false };
                let address = around.place.address;
                let second =
                    Link::open(address, self.source, Kind::Handshake, around.registry, self.tokens[1]);
                let second = second.map_err(|error| format!("cannot connect to {address}: {error}"))?;
                self.second.insert(second).out = around.place.websocket(&self.sid);
            }
            [b'4', b'4', ..] => {
                return Err(format!("the server refuses: {}", String::from_utf8_lossy(packet)));
            }
            [b'1'] | [b'4', b'1', ..] => return Err("the server has ended the session".into()),
            [b'6'] => self.paused = matches!(self.stage, Stage::Probing { .. }),
            _ => {}
        }
        Ok(())
    }

    fn probe_answered(&mut self, packet: &[u8], on: &mut impl FnMut(Happening<'_>)) -> Result<(), String> {
        if packet != b"3probe" {
            return Err(format!("the server answers a probe with {}", String::from_utf8_lossy(packet)));
        }
        self.stage = Stage::Probing { answered: true };
        if !self.asking {
            self.upgraded(on);
        }
        Ok(())
    }

    /// The WebSocket takes the place of polling.
    fn upgraded(&mut self, on: &mut impl FnMut(Happening<'_>)) {
        if let Some(link) = self.second.take() {
            self.link = link;
            frame::write(&mut self.link.out, frame::TEXT, b"5");
            self.stage = Stage::Live;
            on(Happening::Connected);
        }
    }

    /// Posts what waits, or polls, unless a response is still to come.
    fn ask(&mut self, around: &Surroundings<'_>) {
        if self.asking || self.link.kind != Kind::Http {
            return;
        }
        if !self.outbox.is_empty() {
            let body = std::mem::take(&mut self.outbox);
            self.link.out.extend(around.place.post(&self.sid, &body));
        } else if self.paused {
            return;
        } else {
            self.link.out.extend(around.place.poll(&self.sid));
        }
        self.asking = true;
    }
}

/// What stands in `packet` behind `key` and before the next quotation mark.
fn after(packet: &[u8], key: &str) -> Option<String> {
    let text = str::from_utf8(packet).ok()?;
    let (_, text) = text.split_once(key)?;
    text.split_once('"').map(|(value, _)| value.to_owned())
}
