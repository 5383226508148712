//! Why somebody is turned away for now, and the answer that says so.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::telemetry::metrics;

/// After how long who is turned away for now, nobody knows until when, should try again.
const RETRY: Duration = Duration::from_secs(5);

/// Why somebody is turned away for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The node is ending.
    Draining,
    /// `limits.connections`
    Connections,
    /// `limits.connections_per_ip`
    PerAddress,
    /// `limits.connects_per_second`, and how long until one more fits.
    Rate(Duration),
}

impl Refused {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Connections => "connections",
            Self::PerAddress => "connections_per_ip",
            Self::Rate(_) => "connects_per_second",
        }
    }
}

impl IntoResponse for Refused {
    /// The answer; it is counted.
    fn into_response(self) -> Response {
        metrics::refused(self.label());
        let (status, wait) = match self {
            Self::Draining | Self::Connections => (StatusCode::SERVICE_UNAVAILABLE, RETRY),
            Self::PerAddress => (StatusCode::TOO_MANY_REQUESTS, RETRY),
            Self::Rate(wait) => (StatusCode::TOO_MANY_REQUESTS, wait),
        };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        (status, [(RETRY_AFTER, seconds.to_string())]).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_told_in_whole_seconds_and_never_too_short() {
        for (wait, told) in [(1, "1"), (1_000_000_000, "1"), (1_000_000_001, "2"), (2_500_000_000, "3")] {
            let response = Refused::Rate(Duration::from_nanos(wait)).into_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), told);
        }
        assert_eq!(Refused::Connections.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
