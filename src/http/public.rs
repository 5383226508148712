//! What clients ask: the Engine.IO endpoint, who may use it from a browser, and nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header::ORIGIN;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::any;
use tower_http::cors::AllowHeaders;
use tower_http::cors::AllowOrigin;
use tower_http::cors::CorsLayer;

use crate::http::engine_io;
use crate::http::engine_io::Endpoint;
use crate::http::gate::Standing;
use crate::http::live::Current;
use crate::telemetry::metrics;
use crate::telemetry::requests::Requests;
use crate::telemetry::requests::Route;
use crate::wire::links::Links;

/// The routes for clients: Engine.IO under `path`.
pub fn routes(path: &str, endpoint: Endpoint) -> Router {
    let (live, checked) = (endpoint.live.clone(), endpoint.live.clone());
    let links = endpoint.links.clone();
    // Browsers send credentials only to a server that names their origin, not to "*".
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _: &Parts| {
            live.load().origins.allow(origin.as_bytes())
        }))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(true);
    let path = path.trim_end_matches('/');
    let mut routes = Router::new().route(&format!("{path}/"), any(engine_io::answer));
    if !path.is_empty() {
        routes = routes.route(path, any(engine_io::answer));
    }
    // For these paths alone: what is not there is not found, whoever asks and however.
    routes
        .with_state(endpoint)
        .route_layer(from_fn_with_state(checked, check_origin))
        .route_layer(from_fn_with_state(links, check_standing))
        .route_layer(cors)
}

/// Counts every request with the route that answered it.
pub fn counted(routes: Router, requests: Requests) -> Router {
    routes.layer(from_fn_with_state(requests, count))
}

async fn check_origin(State(live): State<Current>, request: Request, next: Next) -> Response {
    match request.headers().get(ORIGIN) {
        Some(origin) if !live.load().origins.allow(origin.as_bytes()) => {
            metrics::refused("origin");
            (StatusCode::FORBIDDEN, "this origin is not allowed\n").into_response()
        }
        _ => next.run(request).await,
    }
}

/// Turns clients away on connections that were accepted for nothing else. Who polls has its place
/// already, as a session, and is not turned away for having opened another connection.
async fn check_standing(State(links): State<Arc<Links>>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Standing>().and_then(Standing::refused) {
        Some(refused) if !engine_io::polls(&request, &links) => refused.into_response(),
        _ => next.run(request).await,
    }
}

async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let route = match request.uri().path() {
        "/healthz" => Route::Healthz,
        "/readyz" => Route::Readyz,
        "/metrics" => Route::Metrics,
        _ => Route::SocketIo,
    };
    let response = next.run(request).await;
    // What no route answers is not worth a series for each path a stranger thinks of.
    let route = if response.status() == StatusCode::NOT_FOUND { Route::Other } else { route };
    requests.answered(route, response.status().as_u16());
    response
}
