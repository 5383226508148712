//! The log: what is told at which level, to whom, and how much of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::tls::Authority;
use crate::support::tls::Files;

/// What a daemon logs from its start to its end, with clients that come in every way, err and go.
fn whole_log() -> String {
    let mut daemon = Daemon::start(&[]);
    for way in Way::ALL {
        for _ in 0..5 {
            let mut client = Client::connect(daemon.address, way);
            client.subscribe("1");
            assert_eq!(client.ask("[\"publish\",1,2]"), "[]");
            assert!(client.ask("[\"publish\",null,2]").contains("invalid_room"));
        }
    }
    for target in ["/nowhere", "/socket.io/?EIO=9", "/socket.io/?EIO=4&transport=polling&sid=nobody"] {
        assert!(http::get(daemon.address, target).status >= 400);
    }
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("reload");
    daemon.signal(Signal::SIGTERM);
    daemon.await_log("shutting down");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.await_log("stopped");
    daemon.log()
}

#[test]
fn from_start_to_stop_there_are_few_lines_and_none_for_a_client() {
    let log = whole_log();
    let lines: Vec<_> = log.lines().collect();
    assert!((3..20).contains(&lines.len()), "{} lines:\n{log}", lines.len());
    assert!(lines.iter().all(|line| line.contains(" INFO ") || line.contains(" WARN ")), "{log}");
    // Clients have come and gone, and erred; nobody is told.
    let told = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    for word in ["invalid_room", "nobody", "session=", "sid", "/nowhere"] {
        assert_eq!(told(word), 0, "{word}:\n{log}");
    }
    assert_eq!((told("serving clients on"), told("stopped")), (1, 1), "{log}");
}

#[test]
fn at_warn_a_start_and_a_stop_tell_nothing() {
    let mut daemon = Daemon::start(&["--log-level", "warn"]);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert_eq!(daemon.log(), "");
}

#[test]
fn one_line_says_what_is_listened_on_and_whether_with_tls() {
    let plain = Daemon::start(&["--admin-listen", "127.0.0.1:0"]);
    plain
        .await_log(&format!("serving clients on {} without TLS, operators on {}", plain.listen, plain.admin));
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let tls = files.arguments(false);
    let mut arguments: Vec<_> = tls.iter().map(String::as_str).collect();
    arguments.extend(["--admin-listen", "127.0.0.1:0"]);
    let secret = Daemon::start(&arguments);
    secret
        .await_log(&format!("serving clients on {} with TLS, operators on {}", secret.listen, secret.admin));
}

/// One entry of the journal: what a datagram to its socket says, in its native protocol.
fn entry(datagram: &[u8]) -> BTreeMap<String, String> {
    let (mut rest, mut fields) = (datagram, BTreeMap::new());
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        // A name alone is followed by the length of its value, which may then have any bytes.
        let (name, value) = line.split_once('=').map_or_else(
            || {
                let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
                let value = String::from_utf8(rest[8..8 + length].to_vec()).unwrap();
                rest = &rest[8 + length + 1..];
                (line, value)
            },
            |(name, value)| (name, value.to_owned()),
        );
        fields.insert(name.to_owned(), value);
    }
    fields
}

/// What the journal gets from a daemon with these arguments, up to the entry that it serves; and
/// what goes to standard error instead.
///
/// The path of the journal's socket is fixed, so the daemon gets a `/run` of its own.
fn journal(prologue: &str, arguments: &[&str]) -> (Vec<BTreeMap<String, String>>, String) {
    let run = tempfile::tempdir().unwrap();
    fs::create_dir_all(run.path().join("systemd/journal")).unwrap();
    let socket = UnixDatagram::bind(run.path().join("systemd/journal/socket")).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let own_run = format!("mount --bind '{}' /run && exec \"$0\" \"$@\"", run.path().display());
    let daemon = Daemon::start_after(
        &format!(
            "{prologue}exec unshare --map-root-user --mount bash -c '{}' \"$0\" \"$@\"",
            quote(&own_run)
        ),
        arguments,
    );
    let (mut entries, mut bytes) = (Vec::new(), vec![0; 65_536]);
    let serves = |entry: &BTreeMap<String, String>| entry["MESSAGE"].starts_with("serving clients on");
    while !entries.last().is_some_and(serves) {
        // Whoever asks whether there is a journal sends nothing.
        match socket.recv(&mut bytes).unwrap() {
            0 => {}
            length => entries.push(entry(&bytes[..length])),
        }
    }
    let log = daemon.log();
    (entries, log)
}

/// `text` within single quotation marks of a shell.
fn quote(text: &str) -> String {
    text.replace('\'', "'\\''")
}

#[test]
#[ignore = "needs user namespaces, which not every machine allows; scripts/ci.sh runs it"]
fn the_journal_gets_structured_entries() {
    let (entries, log) = journal("", &["--set", "log.format=journald"]);
    assert_eq!(log, "", "standard error has it as well");
    let first = &entries[0];
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "socketio-humble-broker"),
        ("HUMBLE_BROKER_VERSION", env!("CARGO_PKG_VERSION")),
        ("TARGET", "humble_broker::daemon"),
    ] {
        assert_eq!(first.get(name).map(String::as_str), Some(value), "{name} in {first:?}");
    }
    assert!(first["MESSAGE"].starts_with("starting with "), "{first:?}");
}

#[test]
#[ignore = "needs user namespaces, which not every machine allows; scripts/ci.sh runs it"]
fn the_journal_is_chosen_when_standard_error_goes_there() {
    let there = "export JOURNAL_STREAM=$(stat --dereference --format=%d:%i /proc/self/fd/2); ";
    let (entries, log) = journal(there, &[]);
    assert!(!entries.is_empty() && log.is_empty(), "{entries:?} {log}");
}

#[test]
fn a_journal_stream_of_somebody_else_is_not_ours() {
    let daemon = Daemon::start_after("export JOURNAL_STREAM=1:1", &[]);
    daemon.await_log("serving clients on");
}
