//! Nodes that reach each other over NATS.

use std::io::Write;
use std::net::TcpStream;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::relay::envelope;
use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::nats::Kind;
use crate::support::nats::Nats;
use crate::support::nats::Nkey;
use crate::support::nats::operated;
use crate::support::tls::Authority;
use crate::support::tls::Files;

const UP: &str = "humble_broker_relay_up";
const SUBSCRIPTIONS: &str = "humble_broker_relay_subscriptions";
const PUBLISHED: &str = "humble_broker_relay_published_total";
const RECEIVED: &str = "humble_broker_relay_received_total";

/// A node that is connected to the relay, with these further keys.
fn node(settings: &[&str]) -> Daemon {
    let daemon = lone_node(settings);
    daemon.await_metric(UP, 1.0);
    daemon
}

/// A node with these keys.
fn lone_node(settings: &[&str]) -> Daemon {
    Daemon::start(&settings.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>())
}

/// Messages that did not leave, for whatever reason.
fn lost(daemon: &Daemon) -> f64 {
    let reasons = ["queue_full", "too_large", "unconfirmed"];
    let name = |reason| format!("humble_broker_relay_dropped_total{{direction=\"out\",reason=\"{reason}\"}}");
    reasons.into_iter().map(|reason| daemon.metric(&name(reason))).sum()
}

/// A client that is in `room`, whose node has said so to the relay.
fn member(daemon: &Daemon, room: &str) -> Client {
    let before = daemon.metric(SUBSCRIPTIONS);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.subscribe(room);
    daemon.await_metric(SUBSCRIPTIONS, before + 1.0);
    client
}

#[test]
fn messages_reach_the_members_of_their_room_on_all_nodes_in_order() {
    const MESSAGES: u32 = 3_000;
    let server = Nats::start("");
    let nodes = [(); 3].map(|()| node(&[&server.argument()]));
    let mut members: Vec<_> = nodes.iter().map(|node| member(node, "\"r\"")).collect();
    let mut publisher = Client::connect(nodes[0].address, Way::WebSocket4);
    for n in 0..MESSAGES {
        publisher.emit(&format!("[\"publish\",\"r\",{n}]"));
    }
    publisher.emit_binary(
        r#"["publish","r",{"b":{"_placeholder":true,"num":0},"a":{"_placeholder":true,"num":1}}]"#,
        &[b"\r\n\0MSG", b""],
    );
    publisher.emit(r#"["broadcast",{"to": 1.0}]"#);
    for member in &mut members {
        for n in 0..MESSAGES {
            member.expect(&format!("[\"data\",\"r\",{n}]"));
        }
        member.expect_binary(
            r#"["data","r",{"b":{"_placeholder":true,"num":0},"a":{"_placeholder":true,"num":1}}]"#,
            &[b"\r\n\0MSG", b""],
        );
        member.expect(r#"["broadcast",{"to": 1.0}]"#);
        member.assert_silence();
    }
    publisher.assert_silence();
    nodes[0].await_metric(PUBLISHED, f64::from(MESSAGES) + 2.0);
    assert!(lost(&nodes[0]).abs() < 1e-9);
    // What a node has published does not come back to it.
    assert!(nodes[0].metric(RECEIVED).abs() < 1e-9);
    nodes[1].await_metric(RECEIVED, f64::from(MESSAGES) + 2.0);
}

#[test]
fn rooms_of_any_name_are_rooms_of_their_own() {
    let server = Nats::start("");
    let (here, there) =
        (node(&[&server.argument()]), node(&[&server.argument(), "limits.room_name_length=5000"]));
    let mut rooms: Vec<String> = ["7", "\"7\"", "-7", "0", "9007199254740991"].map(str::to_owned).to_vec();
    rooms.extend(
        ["a", "A", "a.b", "a b", "*", ">", "a.*", ".", "$SYS.>", "%2E", "\\r\\nPING\\r\\n", "é", "🦀"]
            .map(|name| format!("\"{name}\"")),
    );
    rooms.extend(["\\u0000", "\\u0001\\t"].map(|name| format!("\"{name}\"")));
    rooms.extend([format!("\"{}\"", "\\u0001".repeat(1024)), format!("\"{}\"", "🦀".repeat(256))]);
    let mut members: Vec<_> = rooms.iter().map(|room| member(&there, room)).collect();
    let mut publisher = Client::connect(here.address, Way::WebSocket4);
    for room in &rooms {
        publisher.emit(&format!("[\"publish\",{room},1]"));
    }
    publisher.emit(r#"["broadcast",2]"#);
    assert_eq!(members.len(), rooms.len());
    for (member, room) in members.iter_mut().zip(&rooms) {
        let received = member.text();
        let length = received.len();
        assert!(received.starts_with("42[\"data\",") && received.ends_with(",1]"), "{room}: {received}");
        // The node writes the room as it was published to.
        assert_eq!(received, format!("42[\"data\",{room},1]"), "{length}");
        member.expect(r#"["broadcast",2]"#);
    }
}

#[test]
fn a_room_longer_than_a_line_of_the_server_is_reached_too() {
    let server = Nats::start("");
    let nodes = [(); 2].map(|()| node(&[&server.argument(), "limits.room_name_length=9000"]));
    let room = format!("\"{}\"", "x".repeat(9_000));
    let mut there = member(&nodes[1], &room);
    Client::connect(nodes[0].address, Way::WebSocket4).ask(&format!("[\"publish\",{room},1]"));
    there.expect(&format!("[\"data\",{room},1]"));
}

#[test]
fn a_node_hears_nothing_of_rooms_that_nobody_there_is_in() {
    let server = Nats::start("");
    let [here, there, elsewhere] = [(); 3].map(|()| node(&[&server.argument()]));
    let (mut busy, mut quiet) = (member(&there, "\"busy\""), member(&elsewhere, "\"quiet\""));
    let mut publisher = Client::connect(here.address, Way::WebSocket4);
    for n in 0..100 {
        publisher.emit(&format!("[\"publish\",\"busy\",{n}]"));
    }
    // All go the same way, one after the other.
    publisher.emit(r#"["publish","quiet",0]"#);
    quiet.expect(r#"["data","quiet",0]"#);
    elsewhere.await_metric(RECEIVED, 1.0);
    for n in 0..100 {
        busy.expect(&format!("[\"data\",\"busy\",{n}]"));
    }
    // Some seconds after the last has left nothing comes any more.
    assert_eq!(busy.ask(r#"["unsubscribe","busy"]"#), "[]");
    there.await_metric(SUBSCRIPTIONS, 0.0);
    assert_eq!(publisher.ask(r#"["publish","busy",100]"#), "[]");
    publisher.emit(r#"["broadcast",1]"#);
    busy.expect(r#"["broadcast",1]"#);
    there.await_metric(RECEIVED, 101.0);
}

/// Messages that go from one node to another, a client of each reads them.
struct Traffic<'a> {
    here: &'a Daemon,
    publisher: Client,
    local: Client,
    published: u32,
    /// The last that has arrived at the other node.
    arrived: Arc<AtomicU32>,
    reader: JoinHandle<()>,
}

impl<'a> Traffic<'a> {
    fn start(here: &'a Daemon, there: &Daemon) -> Self {
        let (local, mut remote) = (member(here, "\"r\""), member(there, "\"r\""));
        let arrived = Arc::new(AtomicU32::new(0));
        let last = arrived.clone();
        let reader = std::thread::spawn(move || {
            loop {
                let text = remote.text();
                let number = text.strip_prefix("42[\"data\",\"r\",").unwrap().strip_suffix(']').unwrap();
                let Ok(number) = number.parse::<u32>() else {
                    return assert_eq!(number, "\"end\"");
                };
                let before = last.swap(number, Relaxed);
                assert!(before < number, "{number} comes behind {before}");
            }
        });
        let publisher = Client::connect(here.address, Way::WebSocket4);
        Self { here, publisher, local, published: 0, arrived, reader }
    }

    /// Publishes until `is_enough`, which is asked now and then. Clients of the same node miss nothing.
    fn until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        loop {
            for _ in 0..50 {
                self.published += 1;
                self.publisher.emit(&format!("[\"publish\",\"r\",{}]", self.published));
                self.local.expect(&format!("[\"data\",\"r\",{}]", self.published));
            }
            if is_enough(self) {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{} of {} have arrived", self.last(), self.published);
        }
    }

    fn last(&self) -> u32 {
        self.arrived.load(Relaxed)
    }

    /// Publishes until something of that arrives, and says how long that took.
    fn until_it_arrives(&mut self) -> Duration {
        let (began, from) = (Instant::now(), self.published);
        self.until(|traffic| traffic.last() > from);
        began.elapsed()
    }

    /// Publishes the last message, and sees that each is accounted for.
    fn end(mut self) {
        assert_eq!(self.publisher.ask(r#"["publish","r","end"]"#), "[]");
        self.local.expect(r#"["data","r","end"]"#);
        self.reader.join().unwrap();
        let offered = f64::from(self.published) + 1.0;
        let began = Instant::now();
        loop {
            let (published, lost) = (self.here.metric(PUBLISHED), lost(self.here));
            if (published + lost - offered).abs() < 1e-9 {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{published} published and {lost} lost of {offered}");
        }
    }
}

/// How long it may take until messages arrive again, on a busy machine.
const RESUMED: Duration = Duration::from_secs(4);

#[test]
fn a_server_that_is_killed_and_comes_back_costs_local_clients_nothing() {
    let mut server = Nats::start("");
    let (here, there) = (node(&[&server.argument()]), node(&[&server.argument()]));
    let mut traffic = Traffic::start(&here, &there);
    for _ in 0..2 {
        traffic.until_it_arrives();
        server.kill();
        traffic.until(|traffic| traffic.here.metric(UP).abs() < 1e-9);
        server.restart();
        let took = traffic.until_it_arrives();
        eprintln!("heard again {took:?} after the restart");
        assert!(took < RESUMED, "{took:?}");
    }
    traffic.end();
    assert_eq!(here.log().matches("no connection to the relay").count(), 2, "{}", here.log());
    assert_eq!(here.log().matches("connected to the relay").count(), 3, "{}", here.log());
}

#[test]
fn a_server_that_stands_still_costs_local_clients_nothing() {
    let server = Nats::start("");
    let (here, there) = (node(&[&server.argument()]), node(&[&server.argument()]));
    let mut traffic = Traffic::start(&here, &there);
    traffic.until_it_arrives();
    // For a moment: nothing is lost.
    server.signal(Signal::SIGSTOP);
    let from = traffic.published;
    traffic.until(|traffic| traffic.published > from + 1_000);
    server.signal(Signal::SIGCONT);
    traffic.until_it_arrives();
    assert!(lost(&here).abs() < 1e-9);
    // Until nobody waits for it any more.
    server.signal(Signal::SIGSTOP);
    traffic.until(|traffic| traffic.here.metric(UP).abs() < 1e-9 && there.metric(UP).abs() < 1e-9);
    server.signal(Signal::SIGCONT);
    let took = traffic.until_it_arrives();
    eprintln!("heard again {took:?} after it went on");
    assert!(took < RESUMED, "{took:?}");
    assert!(lost(&here) > 0.5);
    traffic.end();
}

#[test]
fn of_a_cluster_of_servers_one_may_be_killed() {
    let mut first = Nats::start("cluster { name: c, listen: \"127.0.0.1:-1\" }");
    let routes = format!("routes: [\"nats-route://127.0.0.1:{}\"]", first.cluster);
    let second = Nats::start(&format!("cluster {{ name: c, listen: \"127.0.0.1:-1\", {routes} }}"));
    let both = format!(
        "relay.nats.servers=[\"nats://127.0.0.1:{}\", \"nats://127.0.0.1:{}\"]",
        first.port, second.port
    );
    // One is with the server that stays, and one wherever it may be.
    let (here, there) = (
        node(&[&both]),
        node(&[&first.argument().replace(&first.port.to_string(), &second.port.to_string())]),
    );
    let mut traffic = Traffic::start(&here, &there);
    traffic.until_it_arrives();
    first.kill();
    let took = traffic.until_it_arrives();
    eprintln!("heard again {took:?} after one was killed");
    assert!(took < RESUMED, "{took:?}");
    first.restart();
    traffic.until_it_arrives();
    traffic.end();
}

#[test]
fn a_message_counts_only_where_it_was_published() {
    let server = Nats::start("");
    let node = node(&[&server.argument()]);
    let mut member = member(&node, r#""a""#);
    member.subscribe(r#""b""#);
    node.await_metric(SUBSCRIPTIONS, 2.0);
    let mut stranger = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    for (sequence, subject) in [(1, "text.b"), (2, "everyone"), (3, "text.a")] {
        let text = format!(r#"["data","a",{sequence}]"#);
        let envelope = envelope(1, sequence, "a", text.as_bytes());
        let publish = format!("PUB humble-broker.{subject} {}\r\n", envelope.len());
        stranger.write_all(&[publish.as_bytes(), &envelope, b"\r\n"].concat()).unwrap();
    }
    member.expect(r#"["data","a",3]"#);
    let malformed = "humble_broker_relay_dropped_total{direction=\"in\",reason=\"malformed\"}";
    assert!((node.metric(malformed) - 2.0).abs() < 0.5);
}

#[test]
fn what_is_too_large_for_the_server_is_counted_and_warned_of() {
    let server = Nats::start("max_payload: 64KB");
    let (here, there) = (node(&[&server.argument()]), node(&[&server.argument()]));
    here.await_log("the relay takes messages of up to 65536 bytes, limits.max_payload is 1000000");
    let (mut local, mut remote) = (member(&here, "1"), member(&there, "1"));
    let mut publisher = Client::connect(here.address, Way::WebSocket4);
    for length in [60_000, 70_000, 10] {
        let text = "x".repeat(length);
        publisher.emit(&format!("[\"publish\",1,\"{text}\"]"));
        local.expect(&format!("[\"data\",1,\"{text}\"]"));
        if length != 70_000 {
            remote.expect(&format!("[\"data\",1,\"{text}\"]"));
        }
    }
    here.await_metric("humble_broker_relay_dropped_total{direction=\"out\",reason=\"too_large\"}", 1.0);
    here.await_metric(PUBLISHED, 2.0);
    let ample = Nats::start("max_payload: 2MB");
    assert!(!node(&[&ample.argument()]).log().contains("the relay takes"));
}

#[test]
fn a_node_logs_in_in_every_way_and_is_told_when_it_may_not() {
    let files = Files::of(&Authority::new().issue());
    let (key, other) = (Nkey::new(Kind::User), Nkey::new(Kind::User));
    let (operated, credentials) = operated();
    files.write("password", "p \"w\n");
    files.write("wrong password", "p");
    files.write("seed", &format!("{}\n", key.seed()));
    files.write("wrong seed", &other.seed());
    files.write("credentials", &credentials);
    files.write("wrong credentials", &self::operated().1);
    let users = "authorization { users: [{ user: u, password: \"p \\\"w\" }] }".to_owned();
    let keys = format!("authorization {{ users: [{{ nkey: {} }}] }}", key.public());
    let cases = [
        (users, "password_file", "password", &["relay.nats.username=u"][..]),
        (keys, "nkey_file", "seed", &[]),
        (operated, "credentials_file", "credentials", &[]),
    ];
    for (configuration, key, file, more) in cases {
        let server = Nats::start(&configuration);
        let argument = server.argument();
        let with = |file: &str| {
            let file = format!("relay.nats.{key}={}", files.path(file));
            let mut settings = vec![argument.as_str(), file.as_str()];
            settings.extend(more);
            lone_node(&settings)
        };
        let right = with(file);
        right.await_metric(UP, 1.0);
        let wrong = with(&format!("wrong {file}"));
        wrong.await_log("the server refuses: Authorization Violation");
        // It tries again, and does not repeat itself; another file is read then.
        wrong.await_change("humble_broker_relay_reconnects_total", 0.0);
        let good = std::fs::read_to_string(files.path(file)).unwrap();
        files.write(&format!("wrong {file}"), &good);
        wrong.await_metric(UP, 1.0);
        assert_eq!(wrong.log().matches("Authorization Violation").count(), 1, "{}", wrong.log());
        assert!(!wrong.log().contains(good.trim()));
    }
}

#[test]
fn a_node_that_may_not_do_what_it_has_to_is_told() {
    for (permissions, expected) in [
        ("publish: \"humble-broker.>\", subscribe: \"x\"", "Permissions Violation for Subscription"),
        ("publish: \"x\", subscribe: \"humble-broker.>\"", "Permissions Violation for Publish"),
    ] {
        let server = Nats::start(&format!(
            "authorization {{ default_permissions {{ {permissions} }}, users: [{{ user: u, password: p }}] }}"
        ));
        let files = Files::of(&Authority::new().issue());
        files.write("password", "p");
        let file = format!("relay.nats.password_file={}", files.path("password"));
        let daemon = lone_node(&[&server.argument(), "relay.nats.username=u", &file]);
        daemon.await_log(expected);
        assert!(daemon.metric(UP).abs() < 1e-9);
    }
    // What it needs, and no more.
    let server = Nats::start(
        "authorization { default_permissions { publish: \"humble-broker.>\", subscribe: \"humble-broker.>\" }, users: [{ user: u, password: p }] }",
    );
    let files = Files::of(&Authority::new().issue());
    files.write("password", "p");
    let file = format!("relay.nats.password_file={}", files.path("password"));
    let nodes = [(); 2].map(|()| node(&[&server.argument(), "relay.nats.username=u", &file]));
    let mut there = member(&nodes[1], "\"r\"");
    Client::connect(nodes[0].address, Way::WebSocket4).ask(r#"["publish","r",1]"#);
    there.expect(r#"["data","r",1]"#);
}

#[test]
fn a_node_speaks_tls_and_knows_whom_it_trusts() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (servers, own) = (Files::of(&authority.issue()), Files::of(&authority.issue()));
    for files in [&servers, &own] {
        files.write("ca", &authority.pem);
        files.write("stranger", &stranger.pem);
    }
    let path = |name| servers.path(name);
    let identity = format!("cert_file: \"{}\", key_file: \"{}\"", path("certificate"), path("key"));
    let trusting = format!("tls {{ {identity} }}");
    let asking = format!("tls {{ {identity}, ca_file: \"{}\", verify: true }}", path("ca"));
    let key = |key: &str, file: &str| format!("relay.nats.tls.{key}={}", own.path(file));
    let (ca, other) = (key("ca", "ca"), key("ca", "stranger"));
    let (certificate, secret) = (key("certificate", "certificate"), key("key", "key"));
    let anonymous = Nats::start(&trusting);
    let plain = anonymous.argument();
    let encrypted = plain.replace("nats://", "tls://");
    let nodes = [node(&[&plain, &ca]), node(&[&encrypted, &ca])];
    let mut there = member(&nodes[1], "\"r\"");
    Client::connect(nodes[0].address, Way::WebSocket4).ask(r#"["publish","r",1]"#);
    there.expect(r#"["data","r",1]"#);
    let strict = Nats::start(&asking);
    node(&[&strict.argument(), &ca, &certificate, &secret]);
    let bare = Nats::start("");
    for (settings, expected) in [
        (&[&plain, &other][..], "no TLS: invalid peer certificate"),
        (&[&plain], "no TLS: invalid peer certificate"),
        (&[&strict.argument(), &ca], "no connection to the relay"),
        (&[&bare.argument(), &ca], "it does not offer TLS"),
        (&[&bare.argument().replace("nats://", "tls://")], "it does not offer TLS"),
    ] {
        let settings: Vec<&str> = settings.iter().map(|setting| setting.as_str()).collect();
        let daemon = lone_node(&settings);
        daemon.await_log(expected);
        assert!(daemon.metric(UP).abs() < 1e-9, "{settings:?}");
    }
}

/// The program, asked whether it would start so.
fn check(settings: &[&str]) -> Output {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    command().arg("--check-config").args(settings).output().unwrap()
}

#[test]
fn a_file_that_cannot_be_used_is_told_before_anything_starts() {
    let files = Files::of(&Authority::new().issue());
    files.write("nonsense", "nonsense");
    let nonsense = files.path("nonsense");
    let servers = "relay.nats.servers=nats://127.0.0.1:4222";
    for (key, more) in [
        ("credentials_file", vec![]),
        ("nkey_file", vec![]),
        ("password_file", vec!["relay.nats.username=u".to_owned()]),
        ("tls.ca", vec![]),
        ("tls.certificate", vec![format!("relay.nats.tls.key={}", files.path("key"))]),
        ("tls.key", vec![format!("relay.nats.tls.certificate={}", files.path("certificate"))]),
    ] {
        for file in [nonsense.as_str(), "/nonexistent"] {
            // Any text is a password.
            if key == "password_file" && file == nonsense {
                continue;
            }
            let file = format!("relay.nats.{key}={file}");
            let mut settings = vec![servers, file.as_str()];
            settings.extend(more.iter().map(String::as_str));
            let output = check(&settings);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{settings:?}: {text}");
            assert!(text.contains(&format!("relay.nats.{key}: ")), "{settings:?}: {text}");
        }
    }
    for prefix in ["", "a b", "a.*", ">", "a..b", ".a", "é"] {
        let output = check(&[servers, &format!("relay.nats.prefix=\"{prefix}\"")]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{prefix}: {text}");
        assert!(text.contains("is not the beginning of a subject"), "{prefix}: {text}");
    }
    assert!(check(&[servers, "relay.nats.prefix=a.b-c_D.0"]).status.success());
}
