//! All clients of a run, in one thread that waits for all of their sockets at once.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::ToSocketAddrs;
use std::ops::Range;
use std::time::Duration;
use std::time::Instant;

use mio::Events;
use mio::Interest;
use mio::Poll;
use mio::Token;
use mio::unix::SourceFd;
use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;

use crate::around::Happening;
use crate::around::Surroundings;
use crate::around::Version;
use crate::around::Way;
use crate::client::Client;
use crate::http::Place;

/// What every socket is read into.
const BUFFER: usize = 256 * 1024;
/// Connections from one source address, well below the ports that it has.
const PER_SOURCE: usize = 10_000;
/// Time between two heartbeats of clients of Engine.IO 3, which are theirs to begin.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What the timer has for a token.
const TIMER: Token = Token(usize::MAX);

/// What a crowd connects to, and how.
#[derive(Clone, Debug)]
pub struct Target {
    pub place: Place,
    pub version: Version,
    hello: String,
}

impl Target {
    /// The server at `server`, a host and a port.
    pub fn new(server: &str, path: &str, version: Version, token: Option<&str>) -> Result<Self, String> {
        let address = server
            .to_socket_addrs()
            .map_err(|error| {
                format!("cannot find `{server}`: {error}; write a host and a port, like `127.0.0.1:5000`")
            })?
            .next()
            .ok_or_else(|| format!("`{server}` has no address"))?;
        let number = if version == Version::V3 { 3 } else { 4 };
        let mut query = format!("EIO={number}");
        if version == Version::V3 {
            // No binary payloads, which older servers would offer.
            query += "&b64=1";
        }
        let hello = match (token, version) {
            (None, _) => "40".to_owned(),
            (Some(token), Version::V4) => {
                format!("40{}", serde_json::json!({ "token": token }))
            }
            (Some(token), Version::V3) => {
                query += "&token=";
                query.extend(token.bytes().map(encoded));
                String::new()
            }
        };
        Ok(Self { place: Place { address, path: path.to_owned(), query }, version, hello })
    }
}

/// Clients, known by the order in which they came.
#[derive(Debug)]
pub struct Crowd {
    target: Target,
    poll: Poll,
    events: Events,
    clients: Vec<Option<Client>>,
    /// Those that have something to write, or to ask.
    due: Vec<usize>,
    /// Those that are read by `sip` only.
    slow: Vec<bool>,
    buffer: Vec<u8>,
    beaten: Instant,
    /// What has happened to clients while nobody listened.
    ended: Vec<(usize, String)>,
}

impl Crowd {
    pub fn new(target: Target) -> Result<Self, String> {
        Ok(Self {
            target,
            poll: Poll::new().map_err(|error| format!("cannot wait for sockets: {error}"))?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            due: Vec::new(),
            slow: Vec::new(),
            buffer: vec![0; BUFFER],
            beaten: Instant::now(),
            ended: Vec::new(),
        })
    }

    /// Has those who connect from now on do so elsewhere, in the same way.
    pub fn turn_to(&mut self, target: Target) {
        self.target = target;
    }

    /// Makes room for `count` more clients, and returns their numbers.
    pub fn grow(&mut self, count: usize) -> Range<usize> {
        let first = self.clients.len();
        self.clients.resize_with(first + count, || None);
        self.slow.resize(first + count, false);
        first..first + count
    }

    /// Begins to connect a client, anew if it has been; what it had is dropped.
    pub fn connect(&mut self, number: usize, way: Way) -> Result<(), String> {
        let Self { target, poll, clients, due, .. } = self;
        let tokens = [Token(2 * number), Token(2 * number + 1)];
        let source = source(target.place.address.ip(), number);
        let Some(slot) = clients.get_mut(number) else { return Ok(()) };
        // First, as its sockets have the tokens of the new ones.
        *slot = None;
        *slot = Some(Client::open(way, source, tokens, &around(target, poll))?);
        due.push(number);
        Ok(())
    }

    /// Closes the connection of a client, without a word.
    pub fn drop(&mut self, number: usize) {
        if let Some(slot) = self.clients.get_mut(number) {
            *slot = None;
        }
    }

    /// Has a client emit `event`, a packet of Socket.IO, with the next turn.
    pub fn emit(&mut self, number: usize, event: &str) {
        let Self { target, poll, clients, due, .. } = self;
        if let Some(Some(client)) = clients.get_mut(number) {
            client.send(event, &around(target, poll));
            due.push(number);
        }
    }

    /// From now on the client reads only when it is told to.
    pub fn slow_down(&mut self, number: usize) {
        if let Some(slow) = self.slow.get_mut(number) {
            *slow = true;
        }
    }

    /// Has a slow client read about `most` bytes.
    pub fn sip(&mut self, number: usize, most: usize, on: &mut impl FnMut(usize, Happening<'_>)) {
        self.read(number, false, most, on);
        self.read(number, true, most, on);
    }

    /// Whether the client may emit.
    pub fn is_live(&self, number: usize) -> bool {
        self.clients.get(number).is_some_and(|client| client.as_ref().is_some_and(Client::is_live))
    }

    /// Has turns end when the timer `descriptor` expires too.
    pub fn watch(&mut self, descriptor: std::os::fd::RawFd) -> Result<(), String> {
        let registry = self.poll.registry();
        registry
            .register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE)
            .map_err(|error| format!("cannot wait for a timer: {error}"))
    }

    /// Writes what waits, then tells `on` what happens, for `wait` at most or until something has.
    pub fn turn(&mut self, wait: Duration, on: &mut impl FnMut(usize, Happening<'_>)) -> Result<(), String> {
        self.beat();
        self.flush();
        for (number, fault) in std::mem::take(&mut self.ended) {
            on(number, Happening::Ended(fault));
        }
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome.map_err(|error| format!("cannot wait for sockets: {error}"))?,
        }
        // Out of the way, so that clients can be read meanwhile.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in events.iter().filter(|event| event.token() != TIMER) {
            let (number, second) = (event.token().0 / 2, event.token().0 % 2 == 1);
            if event.is_writable()
                && self.clients.get(number).is_some_and(|slot| slot.as_ref().is_some_and(Client::is_due))
            {
                self.due.push(number);
            }
            let slow = self.slow.get(number).is_some_and(|slow| *slow);
            if slow && (event.is_read_closed() || event.is_error()) {
                self.drop(number);
                on(number, Happening::Ended("the server has closed the connection".into()));
            }
            if (event.is_readable() || event.is_read_closed() || event.is_error()) && !slow {
                self.read(number, second, usize::MAX / 2, on);
                if event.is_read_closed() {
                    // The end stands behind what has been read.
                    self.read(number, second, usize::MAX / 2, on);
                }
            }
        }
        self.events = events;
        Ok(())
    }

    fn read(&mut self, number: usize, second: bool, most: usize, on: &mut impl FnMut(usize, Happening<'_>)) {
        let Self { target, poll, clients, due, buffer, .. } = self;
        let Some(slot) = clients.get_mut(number) else { return };
        let Some(client) = slot else { return };
        let around = around(target, poll);
        match client.read(second, most, buffer, &around, &mut |happening| on(number, happening)) {
            Ok(()) if client.is_due() => due.push(number),
            Ok(()) => {}
            Err(fault) => {
                *slot = None;
                on(number, Happening::Ended(fault));
            }
        }
    }

    fn flush(&mut self) {
        let Self { target, poll, clients, due, ended, .. } = self;
        let around = around(target, poll);
        for number in due.drain(..) {
            let Some(slot) = clients.get_mut(number) else { continue };
            if let Some(Err(fault)) = slot.as_mut().map(|client| client.flush(&around)) {
                *slot = None;
                ended.push((number, fault));
            }
        }
    }

    fn beat(&mut self) {
        if self.target.version == Version::V4 || self.beaten.elapsed() < HEARTBEAT {
            return;
        }
        self.beaten = Instant::now();
        for number in 0..self.clients.len() {
            if self.is_live(number) {
                self.emit(number, "2");
            }
        }
    }
}

fn around<'a>(target: &'a Target, poll: &'a Poll) -> Surroundings<'a> {
    Surroundings {
        place: &target.place,
        version: target.version,
        hello: &target.hello,
        registry: poll.registry(),
    }
}

/// A byte of a token, as a query may have it.
fn encoded(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// Where the client `number` connects from: one address has ports for some tens of thousands only.
fn source(target: IpAddr, number: usize) -> Option<IpAddr> {
    let block = u32::try_from(number / PER_SOURCE).ok().filter(|block| *block > 0)?;
    (target == Ipv4Addr::LOCALHOST).then(|| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + block).into())
}

/// Lets this process have as many files as it may, and fails if `wanted` sockets are more.
pub fn allow_sockets(wanted: usize) -> Result<(), String> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| {
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        Ok(most)
    });
    let limit = limit.map_err(|error| format!("cannot raise the limit of open files: {error}"))?;
    // Beside the sockets there are the terminal, /proc and what waits for them.
    if wanted as u64 + 20 > limit {
        return Err(format!(
            "{wanted} sockets are more than the {limit} files that this process may open; raise the hard limit (`ulimit -Hn`)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_where_the_version_has_it() {
        let target =
            |version| Target::new("127.0.0.1:5000", "/socket.io/", version, Some("a b\"&c")).unwrap();
        assert_eq!(target(Version::V3).place.query, "EIO=3&b64=1&token=a%20b%22%26c");
        assert_eq!(target(Version::V4).hello, r#"40{"token":"a b\"&c"}"#);
        assert_eq!(target(Version::V4).place.query, "EIO=4");
    }

    #[test]
    fn connections_in_great_number_come_from_more_addresses() {
        let (local, other) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(source(local, PER_SOURCE - 1), None);
        assert_eq!(source(local, PER_SOURCE), Some([127, 0, 0, 2].into()));
        assert_eq!(source(local, 3 * PER_SOURCE + 5), Some([127, 0, 0, 4].into()));
        assert_eq!(source(other, PER_SOURCE), None);
    }
}
