//! Health: which phase of its life the daemon is in, and how to ask a running one.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::failure::Failure;

/// How long a health check waits for the daemon.
const PATIENCE: Duration = Duration::from_secs(5);

/// A phase in the life of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It ends its sessions and admits nobody.
    Draining,
}

/// What the daemon says about its health.
#[derive(Clone, Debug)]
pub struct Health(watch::Receiver<Phase>);

impl Health {
    /// The health of a daemon that is in this phase.
    #[must_use]
    pub fn new(phase: watch::Receiver<Phase>) -> Self {
        Self(phase)
    }

    /// Why the daemon should not be sent new clients; empty when it should.
    #[must_use]
    pub fn reasons(&self) -> &'static [&'static str] {
        match *self.0.borrow() {
            Phase::Serving => &[],
            Phase::Draining => &["draining"],
        }
    }
}

/// Asks the daemon that listens on `host` and `port` whether it is healthy.
///
/// # Errors
///
/// When it is not, or cannot be asked.
pub fn check(host: &str, port: u16) -> Result<(), Failure> {
    let unavailable = |error: &dyn std::fmt::Display| {
        Failure::Unavailable(format!("cannot ask {host}:{port} for its health: {error}"))
    };
    if port == 0 {
        return Err(unavailable(&"port 0 means that the daemon picked one; name the port it picked"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| unavailable(&error))?;
    let answer = runtime.block_on(async { timeout(PATIENCE, ask(host, port)).await });
    match answer {
        Ok(Ok(200)) => Ok(()),
        Ok(Ok(status)) => Err(unavailable(&format!("it answered with status {status}"))),
        Ok(Err(error)) => Err(unavailable(&error)),
        Err(_) => Err(unavailable(&"no answer in 5 s")),
    }
}

async fn ask(host: &str, port: u16) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect((host, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/healthz").header("host", format!("{host}:{port}")).body(Body::empty())?;
    let (response, _) = tokio::join!(
        async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            response.into_body().collect().await?;
            drop(sender);
            Ok::<_, hyper::Error>(status)
        },
        connection
    );
    Ok(response?)
}
