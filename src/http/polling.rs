//! Long-polling: handshakes, polls and posts, around the library's own.
//!
//! Mended here, on the library's responses:
//!
//! - a response carries at most 16 packets, as Python's clients drop a connection that sends more;
//!   the rest waits for the next poll;
//! - binary packets for Engine.IO 3 get the form that its clients read;
//! - a session that ends is answered with 400, after which clients of every kind come back;
//! - while an upgrade is probed, a poll is answered soon, as the client waits for it before it
//!   goes on; if the upgrade fails, polling goes on as if nothing had been.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use futures_util::FutureExt;
use http_body_util::Full;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::access::Credentials;
use crate::http::body;
use crate::http::engine_io::Asked;
use crate::http::engine_io::Endpoint;
use crate::http::engine_io::Wrong;
use crate::protocol::Transport;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::guard::Kill;
use crate::wire::link::Link;
use crate::wire::owed::owed;
use crate::wire::payload;
use crate::wire::payload::NOOP;
use crate::wire::payload::Packet;
use crate::wire::permit::Permit;
use crate::wire::polls::LAST_POLL;
use crate::wire::polls::Upgrade;
use crate::wire::refusal;

/// Most packets in one response: `max_decode_packets` of python-engineio.
const MAX_PACKETS: usize = 16;
/// How long a poll waits while an upgrade is probed: as long as the probe is old, within these
/// bounds. The client goes on when its poll is answered, and most often does so at once; should
/// it not, it polls ten times a second, as with the reference server.
const PROBE_PATIENCE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// How long a poll waits on a connection that others wait for: shorter than it may last.
pub(super) const BRIEFLY: Duration = Duration::from_secs(3);

/// Begins a session.
pub(super) async fn open(
    endpoint: &Endpoint,
    asked: &Asked,
    shown: Credentials,
    permit: Permit,
    kill: &Arc<Kill>,
) -> Response {
    let link = endpoint.links.open(asked.generation, Transport::Polling, permit);
    link.poll_state().base64 = asked.base64;
    let response = endpoint.engine.open_polling(link.clone(), shown, asked.base64).await;
    let packets = payload::decode(asked.generation, response.body()).unwrap_or_default();
    let Some((mut handshake, id)) = packets.into_iter().find_map(|packet| match packet {
        Packet::Text(text) => session_id(&text).map(|id| (text.clone(), id)),
        Packet::Binary(_) => None,
    }) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    link.name(&id);
    if !endpoint.offers(Transport::WebSocket) {
        let text =
            String::from_utf8_lossy(&handshake).replace(r#""upgrades":["websocket"]"#, r#""upgrades":[]"#);
        handshake = text.into();
    }
    respond(&link, &[Packet::Text(handshake)], kill)
}

/// The id in the library's handshake, `0{"sid":"…",…}`.
fn session_id(handshake: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(handshake).ok()?;
    Some(text.split_once(r#""sid":""#)?.1.split_once('"')?.0.to_owned())
}

/// Takes packets from the client.
pub(super) async fn post(endpoint: &Endpoint, id: &str, request: Request) -> Result<Response, Wrong> {
    let link = endpoint.find(id)?;
    if link.transport() == Transport::WebSocket {
        return Err(Wrong::Request);
    }
    let (mut head, body) = request.into_parts();
    let content_type = head.headers.remove(CONTENT_TYPE);
    let body = body::read(body, endpoint.max_payload, endpoint.live.load().body_timeout).await;
    if has_left(&link) {
        return Err(Wrong::Request);
    }
    let body = match body {
        Ok(body) => body,
        Err(unread) => {
            // The session goes with it, as the library would have it: what follows would be out of order.
            endpoint.engine.close_polling(link.generation(), id).await;
            link.end();
            return Ok(unread.into_response());
        }
    };
    let closes = {
        let announced = &mut link.poll_state().announced;
        payload::follow(link.generation(), &body, announced);
        link.heard().note_attachments(announced);
        announced.is_closed()
    };
    let _flush = link.flush_at_last();
    let response = endpoint.engine.post(link.generation(), id, content_type, Full::new(body)).await;
    bound_chatter(&link);
    if closes && !has_left(&link) {
        link.end();
    }
    Ok(response.map(Into::into))
}

/// Whether the session has gone on over WebSocket: what comes late over polling does not end it.
fn has_left(link: &Link) -> bool {
    link.poll_state().upgrade == Upgrade::Done
}

/// Closes a session whose client has the library answer and does not poll for the answers.
fn bound_chatter(link: &Link) {
    let state = link.poll_state();
    if link.heard().is_chatty(&state.announced, state.chatter) {
        drop(state);
        link.close(Disconnection::ProtocolError);
    }
}

/// Waits for packets to the client, for `patience` at most.
pub(super) async fn poll(
    endpoint: &Endpoint,
    id: &str,
    patience: Duration,
    kill: &Arc<Kill>,
) -> Result<Response, Wrong> {
    let link = endpoint.find(id)?;
    if link.transport() == Transport::WebSocket {
        return Err(Wrong::Request);
    }
    // Before the state is looked at, so that no change of it is missed.
    let cut = link.poll_cut();
    tokio::pin!(cut);
    cut.as_mut().enable();
    if let Some(packets) = next(&link) {
        return finish(endpoint, &link, id, &packets, kill).await;
    }
    // Not in the head of the `match`: the lock would be held in its arms, and `respond` takes it too.
    let upgrade = link.poll_state().upgrade;
    let patience = match upgrade {
        Upgrade::None | Upgrade::Open => patience,
        Upgrade::Probed(since) => since.elapsed().clamp(PROBE_PATIENCE.0, PROBE_PATIENCE.1),
        Upgrade::Done => return Ok(respond(&link, &[NOOP], kill)),
    };
    // A second poll at the same time does not wait for its turn: the library ends the session.
    let turn = link.poll_turn().try_lock();
    let waited = tokio::select! {
        biased;
        () = arrival(endpoint, &link, id) => true,
        () = cut => false,
        () = sleep(patience) => false,
    };
    drop(turn);
    if waited || link.is_closing() {
        // Nothing: the session ended while its poll was waiting.
        finish(endpoint, &link, id, &next(&link).unwrap_or_default(), kill).await
    } else {
        Ok(respond(&link, &[NOOP], kill))
    }
}

/// Waits until there is something for the client, or never will be.
async fn arrival(endpoint: &Endpoint, link: &Link, id: &str) {
    loop {
        let response = endpoint.engine.poll(link.generation(), id).await;
        if !keep(endpoint, link, id, &response).await || is_due(link) {
            return;
        }
    }
}

/// What the client has not received when it goes on over WebSocket, all of it.
pub(super) async fn rest(endpoint: &Endpoint, link: &Link, id: &str) -> Vec<Packet> {
    // A poll that is still waiting would take the library's place in the queue.
    link.cut_poll();
    let _turn = link.poll_turn().lock().await;
    while let Some(response) = endpoint.engine.poll(link.generation(), id).now_or_never() {
        if !keep(endpoint, link, id, &response).await {
            break;
        }
    }
    std::mem::take(&mut link.poll_state().held).into()
}

/// Keeps the packets of the library's response for this poll and the next ones, and answers the
/// first ping for the client; `false` when the session is gone.
async fn keep(endpoint: &Endpoint, link: &Link, id: &str, response: &axum::http::Response<Bytes>) -> bool {
    let packets = match response.status() {
        StatusCode::OK => payload::decode(link.generation(), response.body()).unwrap_or_default(),
        _ => Vec::new(),
    };
    if packets.is_empty() {
        return false;
    }
    let mut pinged = false;
    {
        let mut state = link.poll_state();
        for mut packet in packets {
            if state.ended {
                // Such as the refusal of an event that came too late.
                break;
            }
            if link.is_end(&packet) || packet.is_close() {
                state.ended = true;
            } else if link.is_first_ping(&packet) {
                pinged = true;
            } else {
                state.ended = refusal::translate(&mut packet, link);
                state.held.push_back(packet);
            }
        }
    }
    if pinged {
        endpoint.engine.pong(link.generation(), id).await;
    }
    true
}

/// Whether there is an answer to a poll: packets, or the end.
fn is_due(link: &Link) -> bool {
    let state = link.poll_state();
    state.ended || !state.held.is_empty() || link.is_closing()
}

/// The packets for one response, from those that are held; `None` when it has to be waited for
/// some, nothing when none will come any more.
fn next(link: &Link) -> Option<Vec<Packet>> {
    if !is_due(link) {
        return None;
    }
    if link.is_closing() {
        return Some(Vec::new());
    }
    let mut state = link.poll_state();
    let count = state.held.len().min(MAX_PACKETS);
    Some(state.held.drain(..count).collect())
}

/// Answers a poll; if these packets are the last ones, ends the session.
async fn finish(
    endpoint: &Endpoint,
    link: &Arc<Link>,
    id: &str,
    packets: &[Packet],
    kill: &Arc<Kill>,
) -> Result<Response, Wrong> {
    let over = packets.is_empty() || {
        let state = link.poll_state();
        state.ended && state.held.is_empty()
    };
    if over {
        endpoint.engine.close_polling(link.generation(), id).await;
    }
    if packets.is_empty() {
        link.end();
        link.cut_poll();
        return Err(Wrong::SessionUnknown);
    }
    if over {
        // The client's next poll hears that the session is over, unless it does not come.
        let link = link.clone();
        tokio::spawn(async move {
            let _ = timeout(LAST_POLL, link.poll_cut()).await;
            link.end();
        });
    }
    Ok(respond(link, packets, kill))
}

/// Answers over the connection that `kill` ends.
fn respond(link: &Arc<Link>, packets: &[Packet], kill: &Arc<Kill>) -> Response {
    let base64 = {
        let mut state = link.poll_state();
        state.answered = Some(Instant::now());
        state.chatter = link.heard().chatter(&state.announced);
        state.base64
    };
    let (body, content_type) = payload::encode(link.generation(), base64, packets);
    let cost = packets.iter().map(|packet| link.cost(packet)).sum();
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (headers, owed(body, cost, link, kill.clone())).into_response()
}
