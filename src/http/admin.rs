//! What operators ask: health, readiness and metrics.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::header::WWW_AUTHENTICATE;
use axum::middleware::Next;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;

use crate::http::credentials;
use crate::http::gate::Standing;
use crate::http::health::Health;
use crate::http::live::Current;
use crate::telemetry::metrics::Metrics;
use crate::wire::links::Links;

/// What the answers are made from.
#[derive(Clone)]
pub struct Admin {
    /// The daemon's health.
    pub health: Health,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its sessions.
    pub links: Arc<Links>,
    /// What holds for requests now.
    pub live: Current,
}

/// The routes for operators; `metrics` says whether `/metrics` is among them.
pub fn routes(admin: Admin, metrics: bool) -> Router {
    let mut routes = Router::new().route("/readyz", get(ready));
    if metrics {
        routes = routes.route("/metrics", get(scrape));
    }
    let routes = routes.route_layer(from_fn_with_state(admin.live.clone(), check_token));
    // Whoever asks whether the process lives knows no secrets: a container's health check, a load balancer.
    routes.route("/healthz", get(|| async { "ok" })).with_state(admin)
}

/// Lets whoever shows the operators' token pass, if there has to be one.
async fn check_token(State(live): State<Current>, request: Request, next: Next) -> Response {
    let known = live.load().operators.clone();
    let shown = credentials::bearer(&request);
    match known {
        Some(known) if !shown.is_some_and(|shown| known.is(&shown.secret())) => {
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response()
        }
        _ => next.run(request).await,
    }
}

async fn ready(State(admin): State<Admin>, standing: Option<Extension<Standing>>) -> Response {
    let reasons = admin.health.reasons(standing.as_deref());
    if reasons.is_empty() {
        return "ok".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(reasons)).into_response()
}

async fn scrape(State(admin): State<Admin>) -> Response {
    let text = admin.metrics.render(admin.links.queued());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
