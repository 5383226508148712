//! The Prometheus exporter: how histograms are cut into buckets, and what each metric means.

use metrics::Unit;
use metrics::describe_counter;
use metrics::describe_gauge;
use metrics::describe_histogram;
use metrics_exporter_prometheus::BuildError;
use metrics_exporter_prometheus::Matcher;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::failure::Failure;

/// Whether nothing is recorded, in a build against which it is measured what recording costs: see
/// `scripts/metrics-cost.sh`.
pub(super) const UNRECORDED: bool = option_env!("HUMBLE_BROKER_UNRECORDED").is_some();

/// Installs the recorder, with the buckets and the descriptions of the metrics.
///
/// # Errors
///
/// When a recorder has been installed before.
pub(super) fn install() -> Result<PrometheusHandle, Failure> {
    let exporter =
        recorder().map_err(|error| Failure::Internal(format!("cannot start the metrics: {error}")))?;
    describe();
    Ok(exporter)
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    // From a failed handshake to a client that stays for a month.
    const DURATION: &[f64] = &[1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0];
    let full = |name: &str| Matcher::Full(name.to_owned());
    let builder = PrometheusBuilder::new();
    if UNRECORDED {
        return Ok(builder.build_recorder().handle());
    }
    builder
        .set_buckets_for_metric(full("humble_broker_connection_duration_seconds"), DURATION)?
        .install_recorder()
}

fn describe() {
    describe_gauge!("humble_broker_build_info", "1, with the version that runs");
    describe_gauge!("humble_broker_connections", "Engine.IO sessions");
    describe_counter!("humble_broker_connections_total", "Engine.IO sessions begun");
    describe_counter!(
        "humble_broker_connections_refused_total",
        "clients turned away before they had a session"
    );
    describe_counter!("humble_broker_disconnections_total", "Socket.IO clients gone");
    describe_histogram!("humble_broker_connection_duration_seconds", Unit::Seconds, "how long sessions last");
    describe_gauge!("humble_broker_rooms", "rooms with at least one subscriber");
    describe_gauge!("humble_broker_subscriptions", "memberships of all clients together");
    describe_counter!("humble_broker_events_total", "events of clients, by how they ended");
    describe_counter!(
        "humble_broker_messages_received_bytes_total",
        Unit::Bytes,
        "bytes of events, attachments included"
    );
    describe_counter!("humble_broker_messages_delivered_total", "messages queued for a recipient");
    describe_counter!(
        "humble_broker_messages_delivered_bytes_total",
        Unit::Bytes,
        "bytes queued for recipients"
    );
    describe_counter!("humble_broker_messages_dropped_total", "messages a recipient did not get");
    describe_gauge!(
        "humble_broker_send_queue_bytes",
        Unit::Bytes,
        "bytes waiting to be sent, all sessions together"
    );
    describe_counter!("humble_broker_received_bytes_total", Unit::Bytes, "bytes received on all connections");
    describe_counter!("humble_broker_sent_bytes_total", Unit::Bytes, "bytes sent on all connections");
    describe_counter!("humble_broker_http_requests_total", "HTTP requests answered");
    describe_gauge!("humble_broker_draining", "1 while the node is shutting down");
    describe_gauge!("humble_broker_drain_connections_remaining", "sessions the drain still has to end");
    describe_counter!("humble_broker_config_reloads_total", "reloads of the configuration, by their outcome");
    describe_gauge!(
        "humble_broker_config_last_reload_success",
        "1 if the last reload succeeded, or none was asked for yet; 0 if it failed"
    );
    describe_gauge!(
        "humble_broker_config_last_reload_timestamp_seconds",
        Unit::Seconds,
        "when the last reload ended, or else the start, since 1970"
    );
    describe_gauge!(
        "humble_broker_config_needs_restart",
        "1 while this key has been changed and waits for a restart"
    );
    describe_gauge!("humble_broker_relay_up", "1 while there is a connection to the relay");
    describe_counter!("humble_broker_relay_published_total", "messages that the relay has taken");
    describe_counter!("humble_broker_relay_received_total", "messages of other nodes");
    describe_counter!(
        "humble_broker_relay_dropped_total",
        "messages that did not reach other nodes (out), or came from them and were not delivered (in)"
    );
    describe_counter!("humble_broker_relay_reconnects_total", "attempts to connect to the relay again");
    describe_gauge!("humble_broker_relay_subscriptions", "rooms that are subscribed to at the relay");
    describe_gauge!(
        "humble_broker_relay_queue_messages",
        "messages that wait to leave (out), or to be delivered (in)"
    );
    describe_counter!("humble_broker_panics_total", "panics caught while an event was handled");
    describe_gauge!("tokio_workers", "worker threads");
    describe_gauge!("tokio_live_tasks", "tasks that run or wait, about three for each session");
    describe_gauge!("tokio_global_queue_depth", "tasks that wait for any worker thread");
    describe_counter!("tokio_parks_total", "times that a worker thread found nothing to do");
    describe_gauge!("tokio_busy_ratio", "how much of the last seconds the worker threads worked");
    describe_gauge!(
        "tokio_busiest_worker_ratio",
        "how much of the last seconds the busiest worker thread worked"
    );
}
