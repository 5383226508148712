//! What is recorded of HTTP requests, without a lookup by name for each.

use std::sync::Arc;
use std::sync::OnceLock;

use metrics::Counter;
use metrics::counter;

/// What has answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The path of clients.
    SocketIo,
    /// `/healthz`
    Healthz,
    /// `/readyz`
    Readyz,
    /// `/metrics`
    Metrics,
    /// Nothing: the path is not there.
    Other,
}

impl Route {
    /// How many there are.
    const COUNT: usize = Self::Other as usize + 1;

    fn label(self) -> &'static str {
        match self {
            Self::SocketIo => "socket.io",
            Self::Healthz => "healthz",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::Other => "other",
        }
    }
}

/// What requests are answered with, but for rarities.
const STATUSES: [u16; 12] = [101, 200, 204, 400, 403, 404, 405, 408, 413, 429, 500, 503];

/// HTTP requests, by what has answered them and how.
#[derive(Clone, Default)]
pub struct Requests {
    /// Each is made with its first request, so that a scrape does not list what never happens.
    counters: Arc<[[OnceLock<Counter>; STATUSES.len()]; Route::COUNT]>,
}

impl Requests {
    /// `route` has answered a request with `status`.
    #[expect(clippy::indexing_slicing, reason = "there is one for each, in the order of the declaration")]
    pub fn answered(&self, route: Route, status: u16) {
        let counters = &self.counters[route as usize];
        match STATUSES.iter().zip(counters).find(|(known, _)| **known == status) {
            Some((_, counter)) => counter.get_or_init(|| total(route, status)).increment(1),
            None => total(route, status).increment(1),
        }
    }
}

fn total(route: Route, status: u16) -> Counter {
    let (route, status) = (route.label(), status.to_string());
    counter!("humble_broker_http_requests_total", "route" => route, "status" => status)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn every_status_is_counted_and_what_never_happened_is_not_listed() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let requests = Requests::default();
            for (route, status) in [(Route::SocketIo, 200), (Route::SocketIo, 200), (Route::Other, 418)] {
                requests.answered(route, status);
            }
        });
        let text = recorder.handle().render();
        let mut lines: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("humble_broker_http_requests_total")).collect();
        lines.sort_unstable();
        let expected = ["{route=\"other\",status=\"418\"} 1", "{route=\"socket.io\",status=\"200\"} 2"];
        assert_eq!(lines, expected);
    }
}
