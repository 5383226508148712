//! The Engine.IO endpoint: what a request asks for, and who answers it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::extract::State;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::broker::engine::Engine;
use crate::config::Transports;
use crate::http::credentials;
use crate::http::gate::Gate;
use crate::http::gate::Standing;
use crate::http::health::Health;
use crate::http::live::Current;
use crate::http::peer::Peer;
use crate::http::polling;
use crate::http::refused::Refused;
use crate::http::websocket;
use crate::protocol::Generation;
use crate::protocol::Transport;
use crate::wire::guard::Kill;
use crate::wire::link::Link;
use crate::wire::links::Links;
use crate::wire::permit::Permit;

/// What the endpoint answers with.
#[derive(Clone)]
pub struct Endpoint {
    /// The library's server.
    pub engine: Engine,
    /// All sessions.
    pub links: Arc<Links>,
    /// Whether new clients are welcome.
    pub health: Health,
    /// How many of them are.
    pub gate: Gate,
    /// What holds for requests now.
    pub live: Current,
    /// The transports that clients may use.
    pub transports: Transports,
    /// Whether clients of Engine.IO 3 are served.
    pub engine_io_3: bool,
    /// Bytes of the largest WebSocket message.
    pub max_payload: usize,
    /// How long an upgrade to WebSocket may take.
    pub upgrade_timeout: Duration,
}

impl Endpoint {
    /// Whether clients may use `transport`.
    pub(super) fn offers(&self, transport: Transport) -> bool {
        self.transports.as_slice().contains(&transport)
    }

    /// The session with this id.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Link>, Wrong> {
        self.links.find(id).ok_or(Wrong::SessionUnknown)
    }

    /// Lets in the client that asks for a new session.
    pub(super) fn admit(&self, request: &Request) -> Result<Permit, Wrong> {
        if self.health.is_ending() {
            return Err(Wrong::Moment(Refused::Draining));
        }
        let client = request.extensions().get::<Peer>().and_then(|peer| peer.client(request.headers()));
        self.gate.session(client).map_err(Wrong::Moment)
    }
}

/// Whether a request is one of a session that polls.
pub(super) fn polls(request: &Request, links: &Links) -> bool {
    let asked = Asked::parse(request.uri().query().unwrap_or_default());
    asked.is_ok_and(|asked| {
        asked.transport == Transport::Polling && asked.id.is_some_and(|id| links.find(&id).is_some())
    })
}

/// Answers a request of a client.
pub(super) async fn answer(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let answered = match Asked::of(&request, &endpoint) {
        Ok(asked) => asked.answer(endpoint, request).await,
        Err(wrong) => Err(wrong),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// What a request asks for, by its query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) generation: Generation,
    pub(super) transport: Transport,
    /// The session it belongs to; none begins one.
    pub(super) id: Option<Box<str>>,
    /// Whether the client cannot take binary payloads, which only Engine.IO 3 has.
    pub(super) base64: bool,
}

impl Asked {
    fn of(request: &Request, endpoint: &Endpoint) -> Result<Self, Wrong> {
        // A HEAD is no GET here, as it would eat the packets of a poll.
        if ![Method::GET, Method::POST].contains(request.method()) {
            return Err(Wrong::Method);
        }
        let asked = Self::parse(request.uri().query().unwrap_or_default())?;
        if asked.generation == Generation::V3 && !endpoint.engine_io_3 {
            return Err(Wrong::Version);
        }
        if !endpoint.offers(asked.transport) {
            return Err(Wrong::TransportUnknown);
        }
        match *request.method() {
            Method::GET => Ok(asked),
            Method::POST if asked.id.is_none() => Err(Wrong::HandshakeMethod),
            Method::POST if asked.transport == Transport::Polling => Ok(asked),
            _ => Err(Wrong::Request),
        }
    }

    fn parse(query: &str) -> Result<Self, Wrong> {
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Ok(Self {
            transport: match value("transport") {
                Some("polling") => Transport::Polling,
                Some("websocket") => Transport::WebSocket,
                _ => return Err(Wrong::TransportUnknown),
            },
            generation: match value("EIO") {
                Some("3") => Generation::V3,
                Some("4") => Generation::V4,
                _ => return Err(Wrong::Version),
            },
            id: value("sid").map(Into::into),
            base64: matches!(value("b64"), Some("1" | "true")),
        })
    }

    async fn answer(self, endpoint: Endpoint, request: Request) -> Result<Response, Wrong> {
        // Every connection has one.
        let kill = request.extensions().get::<Arc<Kill>>().cloned().ok_or(Wrong::Request)?;
        match (self.transport, self.id.as_deref()) {
            (Transport::Polling, None) => {
                let permit = endpoint.admit(&request)?;
                let shown = credentials::of(&request, &endpoint.live.load().origins);
                Ok(polling::open(&endpoint, &self, shown, permit, &kill).await)
            }
            (Transport::Polling, Some(id)) if request.method() == Method::POST => {
                polling::post(&endpoint, id, request).await
            }
            (Transport::Polling, Some(id)) => {
                let refused = request.extensions().get::<Standing>().and_then(Standing::refused);
                let patience = if refused.is_some() { polling::BRIEFLY } else { Duration::MAX };
                polling::poll(&endpoint, id, patience, &kill).await
            }
            (Transport::WebSocket, _) => websocket::open(endpoint, &self, request),
        }
    }
}

/// What is wrong with a request, as Engine.IO servers say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// No transport that we have.
    TransportUnknown,
    /// No such session, or no longer.
    SessionUnknown,
    /// A handshake is a GET.
    HandshakeMethod,
    /// Not what the transport needs.
    Request,
    /// Not a generation of the protocol that we speak.
    Version,
    /// A method that nothing is done with.
    Method,
    /// A session, but not now.
    Moment(Refused),
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        // The codes and messages are those of the reference server, which clients know.
        let body = match self {
            Self::TransportUnknown => r#"{"code":0,"message":"Transport unknown"}"#,
            Self::SessionUnknown => r#"{"code":1,"message":"Session ID unknown"}"#,
            Self::HandshakeMethod => r#"{"code":2,"message":"Bad handshake method"}"#,
            Self::Request => r#"{"code":3,"message":"Bad request"}"#,
            Self::Version => r#"{"code":5,"message":"Unsupported protocol version"}"#,
            Self::Method => {
                return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, POST, OPTIONS")]).into_response();
            }
            Self::Moment(refused) => return refused.into_response(),
        };
        (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_asked_for() {
        let asked = Asked::parse("EIO=3&transport=polling&b64=1&t=abc&sid=0123456789abcdef").unwrap();
        assert_eq!(asked.generation, Generation::V3);
        assert_eq!(asked.transport, Transport::Polling);
        assert_eq!((asked.id.as_deref(), asked.base64), (Some("0123456789abcdef"), true));
        let asked = Asked::parse("transport=websocket&EIO=4").unwrap();
        assert_eq!((asked.transport, asked.id, asked.base64), (Transport::WebSocket, None, false));
    }

    #[test]
    fn a_query_that_asks_for_nothing_we_have_is_told_what_is_wrong() {
        for (query, wrong) in [
            ("", Wrong::TransportUnknown),
            ("EIO=4", Wrong::TransportUnknown),
            ("EIO=4&transport=carrier-pigeon", Wrong::TransportUnknown),
            ("EIO=4&transports=polling", Wrong::TransportUnknown),
            ("transport=polling", Wrong::Version),
            ("EIO=2&transport=polling", Wrong::Version),
            ("EIO=44&transport=polling", Wrong::Version),
        ] {
            assert_eq!(Asked::parse(query), Err(wrong), "{query}");
        }
    }
}
