//! The engine: the library's Engine.IO and Socket.IO server, as the HTTP side uses it.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::Ready;
use std::future::ready;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Full;
use socketioxide::ParserConfig;
use socketioxide::SocketIo;
use socketioxide::SocketIoBuilder;
use socketioxide::service::SocketIoService;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::access::Credentials;
use crate::broker::Broker;
use crate::broker::admit::Entrance;
use crate::broker::sockets::Adapter;
use crate::broker::sockets::Sockets;
use crate::config;
use crate::protocol::Encoding;
use crate::protocol::Generation;
use crate::protocol::Transport;
use crate::wire::link::Link;
use crate::wire::payload;
use crate::wire::payload::Packet;

/// Attachments that an event may announce before the library closes the connection. Above ours,
/// so that our own check answers first, with a reason.
const LIBRARY_ATTACHMENTS: usize = 64;
/// How long the attachments of an event may take to follow it before the library closes the
/// connection: never, as `limits.body_timeout` is looked after by the patrol.
const ATTACHMENTS_TIMEOUT: Duration = Duration::from_hours(24);
/// Bytes the library reads from a WebSocket at once; small, as every idle connection holds them.
const READ_BUFFER: usize = 1024;
/// The path under which the library is asked, whatever path clients use.
const PATH: &str = "/socket.io";

/// The library's server, asked in terms of sessions.
///
/// Requests to it are made here from scratch: it sees no header and no query of a client, so that
/// none of that stays in memory for as long as the session lasts, but what it shows of who it is.
#[derive(Clone)]
pub struct Engine {
    service: SocketIoService<Nowhere, Adapter>,
}

impl Engine {
    pub(super) fn new(
        socketio: &config::SocketIo,
        limits: &config::Limits,
        sockets: Sockets,
        broker: &Broker,
    ) -> Self {
        let max_payload = limits.max_payload.bytes();
        let builder = SocketIo::builder()
            .req_path(PATH)
            .ping_interval(socketio.ping_interval.get())
            .ping_timeout(socketio.ping_timeout.get())
            .connect_timeout(socketio.connect_timeout.get())
            .upgrade_timeout(socketio.upgrade_timeout.get())
            .max_payload(max_payload as u64)
            .ws_max_message_size(max_payload)
            .ws_max_frame_size(max_payload)
            .ws_read_buffer_size(READ_BUFFER)
            // Our own bounds are in bytes, always reached first, and may be raised by a reload.
            .max_buffer_size(Semaphore::MAX_PERMITS)
            .with_adapter::<Adapter>(sockets);
        let common = ParserConfig::common()
            .max_incoming_binaries(LIBRARY_ATTACHMENTS)
            .max_incoming_binary_buf_size(max_payload.saturating_mul(limits.attachments.max(1)))
            .packet_completion_timeout(ATTACHMENTS_TIMEOUT);
        let builder: SocketIoBuilder<Adapter> = match socketio.parser {
            Encoding::Json => builder.with_parser(common),
            Encoding::Msgpack => builder.with_parser(ParserConfig::msgpack()),
        };
        let (service, io) = builder.build_with_inner_svc(Nowhere);
        io.ns("/", Entrance(broker.clone()));
        Self { service }
    }

    /// Begins a session that polls; the answer is the handshake.
    pub async fn open_polling(&self, link: Arc<Link>, shown: Credentials, base64: bool) -> Response<Bytes> {
        let base64 = if base64 { "&b64=1" } else { "" };
        let uri = format!("{PATH}/?EIO={}&transport=polling{base64}", number(link.generation()));
        let mut request = request(Method::GET, &uri, Empty::<Bytes>::new());
        request.extensions_mut().insert(link);
        request.extensions_mut().insert(shown);
        self.call(request).await
    }

    /// Waits for packets to the client; dropping the future before it is ready loses none.
    pub async fn poll(&self, generation: Generation, id: &str) -> Response<Bytes> {
        self.call(request(
            Method::GET,
            &session_uri(generation, Transport::Polling, id),
            Empty::<Bytes>::new(),
        ))
        .await
    }

    /// Takes packets from the client.
    pub async fn post<B>(
        &self,
        generation: Generation,
        id: &str,
        content_type: Option<HeaderValue>,
        body: B,
    ) -> Response<Bytes>
    where
        B: Body<Data: Send, Error: Debug> + Debug + Send + Unpin + 'static,
    {
        let mut request = request(Method::POST, &session_uri(generation, Transport::Polling, id), body);
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        self.call(request).await
    }

    /// Answers a ping for a client that polls.
    pub async fn pong(&self, generation: Generation, id: &str) {
        self.say(generation, id, "3").await;
    }

    /// Ends a session that polls, as if the client had said so: without a word to it.
    pub async fn close_polling(&self, generation: Generation, id: &str) {
        self.say(generation, id, "1").await;
    }

    /// Ends a session that is closed or has ended, and whose client does not poll any more.
    pub fn bury(&self, link: Arc<Link>) {
        let engine = self.clone();
        tokio::spawn(async move {
            link.end();
            if let Some(id) = link.id() {
                engine.close_polling(link.generation(), id).await;
            }
        });
    }

    /// Says one packet to the library as if the client had; if the session is gone, nobody hears.
    async fn say(&self, generation: Generation, id: &str, packet: &'static str) {
        let packet = [Packet::Text(Bytes::from_static(packet.as_bytes()))];
        let (body, _) = payload::encode(generation, true, &packet);
        self.post(generation, id, None, Full::new(body)).await;
    }

    /// Begins a session over a WebSocket whose handshake is done.
    pub fn open_websocket<S>(&self, link: Arc<Link>, shown: Credentials, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let uri = format!("{PATH}/?EIO={}&transport=websocket", number(link.generation()));
        let mut request = request(Method::GET, &uri, ());
        request.extensions_mut().insert(link);
        request.extensions_mut().insert(shown);
        self.start(stream, request);
    }

    /// Lets a session that polls go on over a WebSocket whose probe is done.
    pub fn upgrade<S>(&self, generation: Generation, id: &str, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.start(stream, request(Method::GET, &session_uri(generation, Transport::WebSocket, id), ()));
    }

    fn start<S>(&self, stream: S, request: Request<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Boxed, as the library's tasks hold several copies of its place. The session runs in one of
        // them; a request made here is never refused.
        drop(Service::call(&mut self.service.clone(), (Box::new(stream), request)));
    }

    async fn call<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: Body<Data: Send, Error: Debug> + Debug + Send + Unpin + 'static,
    {
        let Ok(response) = Service::call(&mut self.service.clone(), request).await;
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        Response::from_parts(head, body.to_bytes())
    }
}

fn request<B>(method: Method, uri: &str, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // Session ids are letters, digits, `-` and `_`: what else could come is refused before.
    *request.uri_mut() = uri.parse().unwrap_or_default();
    request
}

fn session_uri(generation: Generation, transport: Transport, id: &str) -> String {
    let transport = match transport {
        Transport::Polling => "polling",
        Transport::WebSocket => "websocket",
    };
    format!("{PATH}/?EIO={}&transport={transport}&sid={id}", number(generation))
}

fn number(generation: Generation) -> u8 {
    match generation {
        Generation::V3 => 3,
        Generation::V4 => 4,
    }
}

/// What the library passes requests on to that are not its own: there are none.
#[derive(Clone)]
struct Nowhere;

impl<B> Service<Request<B>> for Nowhere {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::<Bytes>::new())))
    }
}
