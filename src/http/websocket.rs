//! WebSocket: the handshake, and the upgrade of a session that polls.
//!
//! We answer the handshake ourselves and keep an upgrade from the library until its probe is
//! over: the library gives up polling as soon as a WebSocket opens, and the session with it if
//! the WebSocket then breaks. Here a WebSocket that breaks or hangs before the client has changed
//! over costs nothing.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::http::header::HeaderName;
use axum::http::header::SEC_WEBSOCKET_ACCEPT;
use axum::http::header::SEC_WEBSOCKET_KEY;
use axum::http::header::SEC_WEBSOCKET_VERSION;
use axum::http::header::UPGRADE;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use bytes::BytesMut;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tungstenite::handshake::derive_accept_key;

use crate::http::credentials;
use crate::http::engine_io::Asked;
use crate::http::engine_io::Endpoint;
use crate::http::engine_io::Wrong;
use crate::http::entrance::Connection;
use crate::http::polling;
use crate::protocol::Transport;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::channel::Channel;
use crate::wire::frame;
use crate::wire::guard::Kill;
use crate::wire::linger::Lingering;
use crate::wire::link::Link;
use crate::wire::polls::Upgrade;

/// Largest frame that a client may send while it probes; a control frame has at most 125 bytes.
const PROBE_FRAME: u64 = 125;

/// Answers a WebSocket handshake, and has the session go on over the connection.
pub(super) fn open(endpoint: Endpoint, asked: &Asked, mut request: Request) -> Result<Response, Wrong> {
    let accept = accept_key(request.headers()).ok_or(Wrong::Request)?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(Wrong::Request)?;
    let kill = request.extensions_mut().remove::<Arc<Kill>>().ok_or(Wrong::Request)?;
    match &asked.id {
        None => {
            let generation = asked.generation;
            let permit = endpoint.admit(&request)?;
            let shown = credentials::of(&request, &endpoint.live.load().origins);
            tokio::spawn(async move {
                if let Some((stream, early)) = connection(upgrade).await {
                    let link = endpoint.links.open(generation, Transport::WebSocket, permit);
                    link.fate().carried_by(kill);
                    let channel = Channel::new(stream, link.clone(), early, endpoint.max_payload);
                    endpoint.engine.open_websocket(link, shown, channel);
                }
            });
        }
        Some(id) => {
            let link = endpoint.find(id)?;
            let attempt = Attempt::begin(&link, asked)?;
            let id = id.clone();
            tokio::spawn(async move { attempt.run(&endpoint, &id, upgrade, kill).await });
        }
    }
    let headers = [
        (CONNECTION, "Upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// The answer to the client's key, if its handshake is one (RFC 6455, section 4.2.1).
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let lists = |name: HeaderName, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    let complete = lists(UPGRADE, "websocket")
        && lists(CONNECTION, "upgrade")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| complete)?;
    // 16 bytes in base64.
    (key.len() == 24).then(|| derive_accept_key(key.as_bytes()))
}

/// The connection under a handshake, and what the client sent behind it.
async fn connection(upgrade: OnUpgrade) -> Option<(Connection, Bytes)> {
    let upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Lingering<Connection>>>().ok()?;
    // Copied, mostly nothing, as it would keep all that the request has been read into.
    let early = Bytes::copy_from_slice(&parts.read_buf);
    Some((parts.io.into_inner().into_inner(), early))
}

/// One attempt of a polling session to go on over WebSocket; a session makes one at a time.
struct Attempt {
    link: Arc<Link>,
}

impl Attempt {
    fn begin(link: &Arc<Link>, asked: &Asked) -> Result<Self, Wrong> {
        let upgrade = &mut link.poll_state().upgrade;
        if asked.generation != link.generation() || *upgrade != Upgrade::None {
            return Err(Wrong::Request);
        }
        *upgrade = Upgrade::Open;
        Ok(Self { link: link.clone() })
    }

    async fn run(self, endpoint: &Endpoint, id: &str, upgrade: OnUpgrade, kill: Arc<Kill>) {
        let probed = async {
            let (stream, early) = connection(upgrade).await.ok_or(io::ErrorKind::NotConnected)?;
            self.probe(stream, early).await
        };
        // A probe that fails or takes too long leaves the session polling: see `drop`.
        let Ok(Ok(probe)) = timeout(endpoint.upgrade_timeout, probed).await else {
            return;
        };
        let link = &self.link;
        link.fate().carried_by(kill);
        link.poll_state().upgrade = Upgrade::Done;
        let first = polling::rest(endpoint, link, id).await;
        if !link.upgraded() {
            return;
        }
        let ended = link.poll_state().ended;
        let channel =
            Channel::upgraded(probe.stream, link.clone(), &probe.buffer, endpoint.max_payload, &first);
        endpoint.engine.upgrade(link.generation(), id, channel);
        if ended {
            link.close(Disconnection::TransportClosed);
        }
    }

    /// Answers the client's probe and waits until it has changed over.
    async fn probe(&self, stream: Connection, early: Bytes) -> io::Result<Probe> {
        let mut probe = Probe { stream, buffer: early.into() };
        probe.expect(b"2probe").await?;
        self.link.poll_state().upgrade = Upgrade::Probed(Instant::now());
        probe.send(frame::TEXT, b"3probe").await?;
        // The client goes on once the poll that waits is answered.
        self.link.cut_poll();
        probe.expect(b"5").await?;
        Ok(probe)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let upgrade = &mut self.link.poll_state().upgrade;
        if *upgrade != Upgrade::Done {
            *upgrade = Upgrade::None;
        }
    }
}

/// Whether a frame is one that a client may send while it probes.
fn is_of_probe(header: &frame::Header) -> bool {
    header.last && !header.reserved && header.mask.is_some() && header.payload <= PROBE_FRAME
}

/// A WebSocket before the library sees it.
struct Probe {
    stream: Connection,
    /// Bytes that have been read and not looked at.
    buffer: BytesMut,
}

impl Probe {
    /// Waits for this text message; any other is an error.
    async fn expect(&mut self, text: &[u8]) -> io::Result<()> {
        loop {
            let (opcode, payload) = self.receive().await?;
            match opcode {
                frame::TEXT if payload == text => return Ok(()),
                frame::PING => self.send(frame::PONG, &payload).await?,
                frame::PONG => {}
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    async fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if frame::Header::parse(&self.buffer).is_some_and(|header| !is_of_probe(&header)) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if let Some((header, payload, rest)) = frame::split(&self.buffer) {
                let received = (header.opcode, frame::unmask(header.mask, payload));
                self.buffer = BytesMut::from(rest);
                return Ok(received);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        frame::put(&mut bytes, opcode, payload);
        self.stream.write_all(&bytes).await
    }
}
