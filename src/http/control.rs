//! The control socket, where a reload is asked for and its outcome waited for: both ends of it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::post;
use hyper::Request;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::http::probe;

/// How long a reload is waited for. It reads a few files; a network file system may be slow.
const PATIENCE: Duration = Duration::from_mins(1);
/// Reloads that may wait for each other; who asks for more waits for a place.
const WAITING: usize = 4;

/// Where somebody waits for the outcome of a reload: what it has changed, or why it was refused.
pub type Ask = oneshot::Sender<Result<String, String>>;

/// The route, and where those who ask come out.
pub fn routes() -> (Router, mpsc::Receiver<Ask>) {
    let (asks, waiting) = mpsc::channel(WAITING);
    (Router::new().route("/reload", post(answer)).with_state(asks), waiting)
}

async fn answer(State(asks): State<mpsc::Sender<Ask>>) -> Response {
    let (ask, outcome) = oneshot::channel();
    // Nobody hears it any more once the broker drains: then what was sent is dropped.
    let _ = asks.send(ask).await;
    match outcome.await {
        Ok(Ok(report)) => report.into_response(),
        Ok(Err(reason)) => (StatusCode::UNPROCESSABLE_ENTITY, reason).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "it is shutting down").into_response(),
    }
}

/// Asks the broker that listens at `path` for a reload, waits for it, and tells what it has changed.
///
/// # Errors
///
/// When the reload was refused, as a failure of the configuration; when the broker cannot be asked.
pub fn reload(path: &Path) -> Result<String, Failure> {
    let unavailable = |error: &dyn fmt::Display| {
        Failure::Unavailable(format!("cannot ask unix:{} for a reload: {error}", path.display()))
    };
    let asked = probe::wait(PATIENCE, async {
        let request = Request::post("/reload").header("host", "localhost").body(Body::empty())?;
        probe::call(UnixStream::connect(path).await?, request).await
    });
    match asked {
        Ok((StatusCode::OK, report)) => Ok(report),
        Ok((StatusCode::UNPROCESSABLE_ENTITY, reason)) => Err(Failure::Config(reason)),
        Ok((_, text)) => Err(unavailable(&text)),
        Err(error) => Err(unavailable(&error)),
    }
}
