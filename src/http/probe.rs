//! The health check: a running broker is asked where its configuration says that it listens.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::either::Either;

use crate::config::Admin;
use crate::config::Listen;
use crate::config::Server;
use crate::failure::Failure;
use crate::http::listener::Socket;
use crate::http::proxy_protocol;
use crate::http::tls;

/// How long a health check waits for the broker.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the broker of this configuration, on this machine, whether it is healthy.
///
/// # Errors
///
/// When it is not, or cannot be asked.
pub fn check(server: &Server, admin: &Admin) -> Result<(), Failure> {
    let place = Place::of(server, admin);
    let unavailable = |error: &dyn fmt::Display| {
        Failure::Unavailable(format!("cannot ask {place} for its health: {error}"))
    };
    if matches!(place, Place::Tcp(_, 0)) {
        return Err(unavailable(&"port 0 means that the daemon picked one; name the port it picked"));
    }
    // What stands before HTTP stands there for clients only.
    let server = admin.listen.is_none().then_some(server);
    match wait(PATIENCE, ask(&place, server)) {
        Ok((StatusCode::OK, _)) => Ok(()),
        Ok((status, _)) => Err(unavailable(&format!("it answered with status {}", status.as_u16()))),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Where a broker answers operators.
enum Place<'a> {
    Tcp(String, u16),
    Unix(&'a Path),
}

impl<'a> Place<'a> {
    fn of(server: &'a Server, admin: &'a Admin) -> Self {
        let (host, port) = match (&admin.listen, &server.unix_socket) {
            (Some(Listen::Unix(path)), _) | (None, Some(path)) => return Self::Unix(path.as_path()),
            (Some(Listen::Tcp(address)), _) => (address.ip().to_string(), address.port()),
            (None, None) => (server.host.to_string(), server.port),
        };
        // The addresses that mean all of them to a server mean this machine to its clients.
        let host = match host.as_str() {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "::1".to_owned(),
            _ => host,
        };
        Self::Tcp(host, port)
    }

    async fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(host, port) => TcpStream::connect((host.as_str(), *port)).await.map(Either::Left),
            Self::Unix(path) => UnixStream::connect(path).await.map(Either::Right),
        }
    }

    /// What the broker is called in HTTP.
    fn host(&self) -> String {
        match self {
            Self::Tcp(..) => self.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Status and body of an answer, or why there is none.
pub(super) type Answer = Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>>;

/// Waits for an answer, so long at most, in a program that does nothing else.
pub(super) fn wait(patience: Duration, answer: impl Future<Output = Answer>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async { timeout(patience, answer).await })
        .unwrap_or_else(|_| Err(format!("no answer in {} s", patience.as_secs()).into()))
}

/// Asks at `place`, as a client of `server` if that is whose listener it is.
async fn ask(place: &Place<'_>, server: Option<&Server>) -> Answer {
    let mut stream = place.connect().await?;
    let request = Request::get("/healthz").header("host", place.host()).body(Body::empty())?;
    let Some(server) = server else { return call(stream, request).await };
    // This machine may be one of the proxies that must say for whom they speak.
    let own = match &stream {
        Either::Left(stream) => Some(stream.local_addr()?.ip().to_canonical()),
        Either::Right(_) => None,
    };
    if server.proxy_protocol && server.trusted_proxies.contain(own) {
        stream.write_all(proxy_protocol::LOCAL).await?;
    }
    if server.tls.is_some() {
        // It does not matter whose certificate this is: see there.
        call(tls::connect_to_any(stream).await?, request).await
    } else {
        call(stream, request).await
    }
}

/// Sends a request over a new connection.
pub(super) async fn call<S>(stream: S, request: Request<Body>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let (answer, _) = tokio::join!(
        async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            drop(sender);
            Ok::<_, hyper::Error>((status, String::from_utf8_lossy(&body).into_owned()))
        },
        connection
    );
    Ok(answer?)
}
