//! What became of reloads, as the metrics tell it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use metrics::Counter;
use metrics::Gauge;
use metrics::counter;
use metrics::gauge;

/// Reloads of the configuration; the start counts as a first one that succeeded, but is not counted.
#[derive(Clone)]
pub struct Reloads {
    ok: Counter,
    failed: Counter,
    success: Gauge,
    timestamp: Gauge,
    /// Keys that have waited for a restart at some time, which stay in the metrics.
    waiting: Arc<Mutex<BTreeMap<String, Gauge>>>,
}

impl Reloads {
    pub(super) fn new() -> Self {
        let total = |outcome| counter!("humble_broker_config_reloads_total", "outcome" => outcome);
        let reloads = Self {
            ok: total("ok"),
            failed: total("failed"),
            success: gauge!("humble_broker_config_last_reload_success"),
            timestamp: gauge!("humble_broker_config_last_reload_timestamp_seconds"),
            waiting: Arc::default(),
        };
        reloads.last(true);
        reloads
    }

    /// What was read is in force.
    pub fn succeeded(&self) {
        self.ok.increment(1);
        self.last(true);
    }

    /// What was read could not be used, and what was in force before still is.
    pub fn failed(&self) {
        self.failed.increment(1);
        self.last(false);
    }

    /// These keys, and no others, have been changed and wait for a restart.
    pub fn needs_restart(&self, keys: &[String]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            waiting
                .entry(key.clone())
                .or_insert_with(|| gauge!("humble_broker_config_needs_restart", "key" => key.clone()));
        }
        for (key, gauge) in waiting.iter() {
            gauge.set(u8::from(keys.contains(key)));
        }
    }

    fn last(&self, success: bool) {
        self.success.set(u8::from(success));
        // A clock before 1970 is not worth a failure.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.timestamp.set(now.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn the_last_reload_and_the_keys_that_wait_are_told() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let scrape = recorder.handle();
        let lines = || -> BTreeSet<String> {
            let text = scrape.render();
            let ours = text.lines().filter_map(|line| line.strip_prefix("humble_broker_config_"));
            ours.filter(|line| !line.starts_with("last_reload_timestamp")).map(str::to_owned).collect()
        };
        let expect = |expected: &[&str]| {
            assert_eq!(lines(), expected.iter().map(|&line| line.to_owned()).collect());
        };
        metrics::with_local_recorder(&recorder, || {
            let reloads = Reloads::new();
            let none = ["reloads_total{outcome=\"ok\"} 0", "reloads_total{outcome=\"failed\"} 0"];
            expect(&[none[0], none[1], "last_reload_success 1"]);
            reloads.failed();
            expect(&[none[0], "reloads_total{outcome=\"failed\"} 1", "last_reload_success 0"]);
            reloads.succeeded();
            reloads.needs_restart(&["server.port".to_owned(), "limits.max_payload".to_owned()]);
            reloads.needs_restart(&["server.port".to_owned(), "server.host".to_owned()]);
            expect(&[
                "reloads_total{outcome=\"ok\"} 1",
                "reloads_total{outcome=\"failed\"} 1",
                "last_reload_success 1",
                "needs_restart{key=\"limits.max_payload\"} 0",
                "needs_restart{key=\"server.host\"} 1",
                "needs_restart{key=\"server.port\"} 1",
            ]);
        });
    }

    #[test]
    fn the_start_counts_as_the_time_of_a_reload() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let before = now();
        metrics::with_local_recorder(&recorder, || drop(Reloads::new()));
        let text = recorder.handle().render();
        let name = "humble_broker_config_last_reload_timestamp_seconds ";
        let at: f64 = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
        assert!(before <= at && at <= now(), "{at}");
    }
}
