//! The metrics: what `docs/metrics.md` says of them, held against a real scrape in both directions.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;

/// A metric: its kind, and the labels of its series.
type Described = (String, BTreeSet<String>);

/// The series of one line: its name, labels and value.
fn series(line: &str) -> (&str, Vec<(&str, &str)>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    // No value has a comma or a quotation mark.
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
    let labels = labels.map(|label| label.split_once('=').unwrap());
    let labels = labels.map(|(label, value)| (label, value.trim_matches('"')));
    (name, labels.collect(), value.parse().unwrap())
}

/// The metric that a series belongs to: those of a histogram end in what they are.
fn metric<'a>(name: &'a str, kinds: &BTreeMap<&str, &str>) -> &'a str {
    let ends = ["_bucket", "_sum", "_count"];
    let of = ends.iter().find_map(|end| name.strip_suffix(end));
    of.filter(|of| kinds.get(of) == Some(&"histogram")).unwrap_or(name)
}

/// The lines of a scrape that are series.
fn all(text: &str) -> impl Iterator<Item = (&str, Vec<(&str, &str)>, f64)> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(series)
}

/// What a scrape says.
fn scraped(text: &str) -> BTreeMap<String, Described> {
    let comments = |start: &'static str| {
        text.lines().filter_map(move |line| line.strip_prefix(start)?.split_once(' ')).collect()
    };
    let (kinds, helps): (BTreeMap<_, _>, BTreeMap<_, _>) = (comments("# TYPE "), comments("# HELP "));
    assert_eq!(helps.keys().collect::<Vec<_>>(), kinds.keys().collect::<Vec<_>>(), "not all are described");
    let mut found: BTreeMap<String, Described> = BTreeMap::new();
    for (name, labels, _) in all(text) {
        let name = metric(name, &kinds);
        let labels: BTreeSet<_> =
            labels.iter().map(|(label, _)| (*label).to_owned()).filter(|label| label != "le").collect();
        let (_, known) = found.entry(name.to_owned()).or_insert_with(|| (kinds[name].into(), labels.clone()));
        assert_eq!(*known, labels, "the series of {name} differ in their labels");
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), kinds.keys().collect::<Vec<_>>(), "a metric without series");
    found
}

/// The words in backticks of a cell.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap()
}

/// The rows of the table of `docs/metrics.md` that begins with this column.
fn table(document: &str, column: &str) -> Vec<Vec<String>> {
    let (_, table) = document.split_once(&format!("\n| {column} |")).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What `docs/metrics.md` says.
fn documented() -> BTreeMap<String, Described> {
    let document = document();
    let rows = table(&document, "name").into_iter().map(|row| {
        let [name, kind, unit, labels, meaning] = row.try_into().unwrap();
        assert!(!unit.is_empty() && !meaning.is_empty(), "{name} is not explained");
        (name.trim_matches('`').to_owned(), (kind, quoted(&labels)))
    });
    rows.collect()
}

/// A scrape of a daemon that has done everything that makes series appear.
fn scrape() -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    // A relay is one whether it is reached or not.
    let write = |rest: &str| {
        let relay = "relay.redis.url = 'redis://127.0.0.1:1'";
        fs::write(&file, format!("server.allowed_origins = ['http://here']\n{relay}\n{rest}"))
    };
    write("").unwrap();
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    let target = "/socket.io/?EIO=4&transport=polling";
    let refused = http::request(daemon.address, "GET", target, &[("origin", "http://there")], b"");
    assert_eq!(refused.status, 403);
    write("limits.max_payload = '2 MB'").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.await_metric("humble_broker_config_needs_restart{key=\"limits.max_payload\"}", 1.0);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.subscribe("1");
    assert_eq!(client.ask("[\"publish\",1,2]"), "[]");
    daemon.await_metric("humble_broker_fanout_recipients_count", 1.0);
    http::get(daemon.admin, "/metrics").text()
}

#[test]
fn the_table_of_metrics_matches_a_scrape_in_both_directions() {
    let text = scrape();
    let (told, is) = (documented(), scraped(&text));
    assert!(told.len() > 30, "only {} rows were read", told.len());
    for (name, described) in &told {
        assert_eq!(is.get(name), Some(described), "{name} is documented, but not so in a scrape");
    }
    for name in is.keys() {
        assert!(told.contains_key(name), "{name} is not documented");
    }
}

#[test]
fn the_values_of_labels_are_documented() {
    let text = scrape();
    let document = document();
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table(&document, "label") {
        let [label, told] = row.try_into().unwrap();
        values.entry(quoted(&label).pop_first().unwrap()).or_default().extend(quoted(&told));
    }
    // These have no list of values.
    let open = ["le", "version", "revision", "key", "status"];
    let mut seen = 0;
    for (name, labels, _) in all(&text) {
        for (label, value) in labels.into_iter().filter(|(label, _)| !open.contains(label)) {
            assert!(values[label].contains(value), "{value} of {label} in {name} is not documented");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} labels were seen");
}

#[test]
fn the_process_and_its_threads_are_told_about() {
    let daemon = Daemon::start(&["--set", "server.workers=3"]);
    let workers = daemon.metric("tokio_workers");
    assert!((workers - 3.0).abs() < 1e-9, "{workers}");
    let memory = daemon.metric("process_resident_memory_bytes");
    assert!(memory > 1e6 && memory < 1e9, "{memory}");
    let descriptors = daemon.metric("process_open_fds");
    let clients: Vec<_> = (0..20).map(|_| Client::connect(daemon.address, Way::WebSocket4)).collect();
    // Connections that asked for metrics before may have been open still.
    let more = daemon.metric("process_open_fds") - descriptors;
    assert!(more >= 15.0, "{more} more descriptors for {} clients", clients.len());
    assert!(daemon.metric("tokio_live_tasks") >= 10.0);
    // What is true of a time and not of a moment comes with the upkeep.
    let began = daemon.metric("tokio_parks_total");
    daemon.await_change("tokio_parks_total", began);
    let busy = daemon.metric("tokio_busy_ratio");
    assert!(busy > 0.0 && busy <= daemon.metric("tokio_busiest_worker_ratio"), "{busy}");
}

#[test]
fn a_message_for_nobody_is_in_the_lowest_bucket() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.subscribe("1");
    for _ in 0..3 {
        assert_eq!(client.ask("[\"publish\",\"nobody\",2]"), "[]");
    }
    daemon.await_metric("humble_broker_fanout_duration_seconds_count", 3.0);
    let text = http::get(daemon.admin, "/metrics").text();
    let buckets = all(&text).filter(|(name, ..)| *name == "humble_broker_fanout_recipients_bucket");
    let buckets: Vec<f64> = buckets.map(|(_, _, count)| count).collect();
    // Nobody was there: the first bucket has them all, and so has every other.
    assert!(buckets.len() > 8 && buckets.iter().all(|count| (count - 3.0).abs() < 1e-9), "{buckets:?}");
}
