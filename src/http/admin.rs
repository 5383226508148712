//! What operators ask: health, readiness and metrics.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;

use crate::http::gate::Standing;
use crate::http::health::Health;
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
}

/// The routes for operators; `metrics` says whether `/metrics` is among them.
pub fn routes(admin: Admin, metrics: bool) -> Router {
    let mut routes = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready));
    if metrics {
        routes = routes.route("/metrics", get(scrape));
    }
    routes.with_state(admin)
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
