//! A Socket.IO client that shows every packet, over each transport and generation.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use humble_broker::protocol::Generation;
use humble_broker::wire::payload;
use humble_broker::wire::payload::Packet;

use super::DEADLINE;
use super::http;
use super::websocket::Incoming;
use super::websocket::WebSocket;

/// A way to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    WebSocket3,
    Polling3,
    Upgrade3,
    WebSocket4,
    Polling4,
    Upgrade4,
}

impl Way {
    /// All ways.
    pub const ALL: [Self; 6] =
        [Self::WebSocket3, Self::Polling3, Self::Upgrade3, Self::WebSocket4, Self::Polling4, Self::Upgrade4];

    /// The generation of Engine.IO.
    pub fn generation(self) -> Generation {
        match self {
            Self::WebSocket3 | Self::Polling3 | Self::Upgrade3 => Generation::V3,
            Self::WebSocket4 | Self::Polling4 | Self::Upgrade4 => Generation::V4,
        }
    }

    /// The query that begins a session over `transport`.
    pub fn target(self, transport: &str) -> String {
        let number = if self.generation() == Generation::V3 { 3 } else { 4 };
        format!("/socket.io/?EIO={number}&transport={transport}")
    }
}

/// A connected client.
pub struct Client {
    address: SocketAddr,
    way: Way,
    transport: Transport,
    inbox: VecDeque<Packet>,
    last_ack: u32,
}

enum Transport {
    WebSocket(WebSocket),
    Polling { id: String },
}

impl Client {
    /// Connects and enters the namespace `/`.
    pub fn connect(address: SocketAddr, way: Way) -> Self {
        let mut client = Self::open(address, way);
        if way.generation() == Generation::V4 {
            client.send("40");
        }
        let connected = client.text();
        match way.generation() {
            Generation::V3 => assert_eq!(connected, "40"),
            Generation::V4 => assert!(connected.starts_with("40{\"sid\":\""), "{connected}"),
        }
        if matches!(way, Way::Upgrade3 | Way::Upgrade4) {
            client.upgrade();
        }
        client
    }

    /// Connects with a token, wherever clients of this generation put it.
    ///
    /// # Errors
    ///
    /// When it is refused: what it is told, once its connection has been closed.
    pub fn connect_as(address: SocketAddr, way: Way, token: &str) -> Result<Self, String> {
        match way.generation() {
            Generation::V3 => Self::enter(Self::open_with(address, way, &format!("&token={token}")), None),
            Generation::V4 => {
                let auth = format!("{{\"token\":\"{token}\"}}");
                Self::enter(Self::open(address, way), Some(&auth))
            }
        }
    }

    /// Enters the namespace `/` with this `auth`, or without one.
    ///
    /// # Errors
    ///
    /// When it is refused: what it is told, once its connection has been closed.
    pub fn enter(mut self, auth: Option<&str>) -> Result<Self, String> {
        if self.way.generation() == Generation::V4 {
            self.send(&format!("40{}", auth.unwrap_or_default()));
        }
        let answer = self.text();
        if answer.starts_with("40") {
            if matches!(self.way, Way::Upgrade3 | Way::Upgrade4) {
                self.upgrade();
            }
            return Ok(self);
        }
        self.await_end();
        Err(answer)
    }

    /// Waits until the broker has ended the session, as clients need it to come back.
    pub fn await_end(&mut self) {
        match &mut self.transport {
            Transport::WebSocket(socket) => assert_eq!(socket.next(), Incoming::Close(Some(1001))),
            Transport::Polling { .. } => {
                let response = http::get(self.address, &self.polling_target());
                assert_eq!(response.status, 400, "{}", response.text());
            }
        }
    }

    /// How it has connected.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Opens an Engine.IO session, and goes no further.
    pub fn open(address: SocketAddr, way: Way) -> Self {
        Self::open_with(address, way, "")
    }

    /// Opens an Engine.IO session with `more` in its query, and goes no further.
    pub fn open_with(address: SocketAddr, way: Way, more: &str) -> Self {
        Self::open_from(address, way, more, None)
    }

    /// Opens an Engine.IO session, perhaps of a web page of this origin, and goes no further.
    pub fn open_from(address: SocketAddr, way: Way, more: &str, origin: Option<&str>) -> Self {
        let transport = match way {
            Way::WebSocket3 | Way::WebSocket4 => {
                let target = way.target("websocket") + more;
                let mut socket = WebSocket::try_open_from(address, &target, origin).unwrap();
                assert!(socket.text().starts_with("0{\"sid\":\""));
                Transport::WebSocket(socket)
            }
            _ => {
                let headers: Vec<_> = origin.into_iter().map(|origin| ("origin", origin)).collect();
                let response = http::request(address, "GET", &(way.target("polling") + more), &headers, b"");
                assert_eq!(response.status, 200, "{}", response.text());
                let text = response.text();
                let id = text.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
                Transport::Polling { id }
            }
        };
        Self { address, way, transport, inbox: VecDeque::new(), last_ack: 0 }
    }

    /// Goes from polling to WebSocket.
    pub fn upgrade(&mut self) {
        let mut socket = self.open_upgrade(self.address);
        socket.send("2probe");
        assert_eq!(socket.text(), "3probe");
        socket.send("5");
        self.transport = Transport::WebSocket(socket);
    }

    /// Opens the WebSocket of an upgrade, perhaps through a proxy at `address`, and sends nothing.
    pub fn open_upgrade(&self, address: SocketAddr) -> WebSocket {
        WebSocket::open(address, &format!("{}&sid={}", self.way.target("websocket"), self.id()))
    }

    /// Goes on over a WebSocket whose probe the caller has done.
    pub fn switch(&mut self, socket: WebSocket) {
        self.transport = Transport::WebSocket(socket);
    }

    /// The session's id, while it polls.
    pub fn id(&self) -> &str {
        match &self.transport {
            Transport::Polling { id } => id,
            Transport::WebSocket(_) => panic!("only a session that polls needs its id"),
        }
    }

    /// Whether the session polls now.
    pub fn polls(&self) -> bool {
        matches!(self.transport, Transport::Polling { .. })
    }

    /// The query of the session's polls and posts.
    pub fn polling_target(&self) -> String {
        format!("{}&sid={}", self.way.target("polling"), self.id())
    }

    /// The WebSocket, if that is how the client is connected.
    pub fn socket(&mut self) -> &mut WebSocket {
        match &mut self.transport {
            Transport::WebSocket(socket) => socket,
            Transport::Polling { .. } => panic!("this client polls"),
        }
    }

    /// Sends one Engine.IO packet of text.
    pub fn send(&mut self, packet: &str) {
        self.send_all(&[Packet::Text(Bytes::copy_from_slice(packet.as_bytes()))]);
    }

    /// Sends one binary message.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send_all(&[Packet::Binary(Bytes::copy_from_slice(bytes))]);
    }

    /// Sends an event: `emit(r#"["publish","room",1]"#)`.
    pub fn emit(&mut self, event: &str) {
        self.send(&format!("42{event}"));
    }

    /// Sends an event with attachments.
    pub fn emit_binary(&mut self, event: &str, attachments: &[&[u8]]) {
        let mut packets = vec![Packet::Text(format!("45{}-{event}", attachments.len()).into())];
        packets.extend(attachments.iter().map(|bytes| Packet::Binary(Bytes::copy_from_slice(bytes))));
        self.send_all(&packets);
    }

    /// Sends an event and waits for its acknowledgement; what comes before it is kept.
    pub fn ask(&mut self, event: &str) -> String {
        self.last_ack += 1;
        let id = self.last_ack;
        self.send(&format!("42{id}{event}"));
        self.acknowledgement(id)
    }

    /// Sends an event with attachments and waits for its acknowledgement.
    pub fn ask_binary(&mut self, event: &str, attachments: &[&[u8]]) -> String {
        self.last_ack += 1;
        let id = self.last_ack;
        let text = format!("{id}{event}");
        self.emit_binary(&text, attachments);
        self.acknowledgement(id)
    }

    /// Waits for the acknowledgement with this id and returns its arguments.
    pub fn acknowledgement(&mut self, id: u32) -> String {
        let start = format!("43{id}[");
        let mut kept = VecDeque::new();
        loop {
            let packet = self.packet();
            match &packet {
                Packet::Text(text) if text.starts_with(start.as_bytes()) => {
                    let text = String::from_utf8(text[start.len() - 1..].to_vec()).unwrap();
                    kept.append(&mut self.inbox);
                    self.inbox = kept;
                    return text;
                }
                _ => kept.push_back(packet),
            }
        }
    }

    /// Subscribes, which must succeed.
    pub fn subscribe(&mut self, room: &str) {
        assert_eq!(self.ask(&format!("[\"subscribe\",{room}]")), "[]", "subscribe {room}");
    }

    /// Waits until the broker has handled everything that this client has sent, and asserts that
    /// nothing has come for it meanwhile.
    pub fn assert_silence(&mut self) {
        assert_eq!(self.ask(r#"["unsubscribe","no such room"]"#), "[]");
        assert_eq!(self.inbox, Vec::new(), "nothing should have come");
    }

    /// Sends several packets, over polling in one request.
    pub fn send_all(&mut self, packets: &[Packet]) {
        let generation = self.way.generation();
        match &mut self.transport {
            Transport::WebSocket(socket) => {
                for packet in packets {
                    match packet {
                        Packet::Text(text) => socket.send(std::str::from_utf8(text).unwrap()),
                        Packet::Binary(bytes) if generation == Generation::V3 => {
                            socket.send_binary(&[&[4], bytes.as_ref()].concat());
                        }
                        Packet::Binary(bytes) => socket.send_binary(bytes),
                    }
                }
            }
            Transport::Polling { .. } => {
                let (body, content_type) = payload::encode(generation, false, packets);
                let target = self.polling_target();
                let headers = [("content-type", content_type)];
                let response = http::request(self.address, "POST", &target, &headers, &body);
                assert_eq!((response.status, response.text().as_str()), (200, "ok"));
            }
        }
    }

    /// The next packet that is not about the connection itself.
    pub fn packet(&mut self) -> Packet {
        let began = Instant::now();
        loop {
            // Heartbeats would go on for ever.
            assert!(began.elapsed() < DEADLINE, "nothing comes");
            if let Some(packet) = self.inbox.pop_front() {
                return packet;
            }
            for packet in self.receive() {
                match &packet {
                    Packet::Text(text) if text == "2" => self.send("3"),
                    Packet::Text(text) if text == "6" => {}
                    // The answer to a ping, where pings are the client's.
                    Packet::Text(text) if text == "3" && self.way.generation() == Generation::V3 => {}
                    _ => self.inbox.push_back(packet),
                }
            }
        }
    }

    fn receive(&mut self) -> Vec<Packet> {
        let generation = self.way.generation();
        match &mut self.transport {
            Transport::WebSocket(socket) => match socket.next() {
                Incoming::Text(text) => vec![Packet::Text(text.into())],
                Incoming::Binary(bytes) if generation == Generation::V3 => {
                    assert_eq!(bytes[0], 4);
                    vec![Packet::Binary(Bytes::from(bytes).slice(1..))]
                }
                Incoming::Binary(bytes) => vec![Packet::Binary(bytes.into())],
                other => panic!("the daemon has closed the connection: {other:?}"),
            },
            Transport::Polling { .. } => {
                let response = http::get(self.address, &self.polling_target());
                assert_eq!(response.status, 200, "{}", response.text());
                let packets = payload::decode(generation, &response.body.into()).unwrap();
                assert!(packets.len() <= 16, "Python's clients drop more than 16 packets at once");
                packets
            }
        }
    }

    /// The next packet, which must be text.
    pub fn text(&mut self) -> String {
        match self.packet() {
            Packet::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Packet::Binary(bytes) => panic!("binary where text was expected: {bytes:?}"),
        }
    }

    /// The next packet, which must be binary.
    pub fn binary(&mut self) -> Vec<u8> {
        match self.packet() {
            Packet::Binary(bytes) => bytes.to_vec(),
            Packet::Text(text) => panic!("text where binary was expected: {text:?}"),
        }
    }

    /// The next packet, which must be an event.
    pub fn event(&mut self) -> String {
        let text = self.text();
        text.strip_prefix("42").unwrap_or_else(|| panic!("no event: {text}")).to_owned()
    }

    /// The events that have come until the broker has handled all that this client has sent.
    pub fn events_so_far(&mut self) -> Vec<String> {
        assert_eq!(self.ask(r#"["unsubscribe","no such room"]"#), "[]");
        (0..self.inbox.len()).map(|_| self.event()).collect()
    }

    /// The next packet, which must be this event.
    pub fn expect(&mut self, event: &str) {
        assert_eq!(self.text(), format!("42{event}"), "{:?}", self.way);
    }

    /// The next packets, which must be this event and its attachments.
    pub fn expect_binary(&mut self, event: &str, attachments: &[&[u8]]) {
        assert_eq!(self.text(), format!("45{}-{event}", attachments.len()), "{:?}", self.way);
        for attachment in attachments {
            assert_eq!(self.binary(), *attachment, "{:?}", self.way);
        }
    }
}
