//! Keys of signed tokens that are at an address: fetched when they are due.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::Uri;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Limited;
use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::info;
use tracing::warn;

use crate::access::jwks::Jwks;
use crate::access::jwks::News;

/// How long fetching may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest set of keys that is taken, in bytes; one has a few thousand.
const LARGEST: usize = 256 * 1024;

/// Where keys are to be fetched from, if anywhere; a reload may change it.
pub type Wanted = Option<Arc<Jwks>>;

/// Fetches the keys that are wanted whenever they are due, until nobody can want any more. Each time
/// others have been fetched `changed` is called, and also when the first attempt fails.
pub async fn keep(mut wanted: watch::Receiver<Wanted>, changed: impl Fn()) {
    let mut failing: Wanted = None;
    loop {
        let jwks = wanted.borrow_and_update().clone();
        let due = async {
            match &jwks {
                Some(jwks) => jwks.due().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            changed = wanted.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        let Some(jwks) = jwks else { continue };
        let (first, known) = (jwks.is_new(), failing.as_ref().is_some_and(|one| Arc::ptr_eq(one, &jwks)));
        let fetched = match timeout(PATIENCE, fetch(jwks.url())).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let outcome = jwks.fetched(fetched);
        match &outcome {
            Ok(_) if first || known => info!("the keys of access.jwt.jwks_url have been fetched"),
            // Once, and not again every minute.
            Err(reason) if !known => warn!("cannot fetch the keys of access.jwt.jwks_url: {reason}"),
            _ => {}
        }
        if let Ok(News { flaw: Some(flaw), .. }) = &outcome {
            warn!("not all keys of access.jwt.jwks_url can be used: {flaw}");
        }
        if outcome.as_ref().map_or(first, |news| news.differs) {
            changed();
        }
        failing = outcome.is_err().then_some(jwks);
    }
}

/// What is at `url`; a redirection is not followed.
pub async fn fetch(url: &Uri) -> Result<Bytes, String> {
    let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
    timeout(PATIENCE, get(url)).await.map_err(late).flatten()
}

async fn get(url: &Uri) -> Result<Bytes, String> {
    let response = client()?.get(url.clone()).await.map_err(|error| in_words(&error))?;
    match response.status() {
        StatusCode::OK => {}
        status => return Err(format!("the answer is {status}")),
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    Ok(body.map_err(|error| format!("the answer cannot be read: {error}"))?.to_bytes())
}

/// A client that trusts whom this machine trusts. Made anew each time, as that may change.
fn client() -> Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, String> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider())
        .map_err(|error| format!("this machine trusts nobody: {error}"))?
        .https_only()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

/// An error with its causes, as the outermost says little.
fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
