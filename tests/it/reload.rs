//! Reloading: what it changes for clients that are there, and what it leaves alone when it fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::Client;
use crate::support::Reloading;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::http;
use crate::support::tls::Authority;
use crate::support::tls::Files;
use crate::support::vitals::pause;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// The code of the refusal with which an event is answered.
fn refusal(client: &mut Client, event: &str) -> String {
    let answer = client.ask(event);
    answer.strip_prefix("[{\"error\":\"").unwrap_or(&answer).split('"').next().unwrap_or_default().to_owned()
}

#[test]
fn limits_of_events_hold_for_clients_that_are_there() {
    let node = Reloading::start("");
    for way in [Way::WebSocket4, Way::Polling3] {
        node.load("");
        let mut client = Client::connect(node.daemon.address, way);
        client.subscribe("\"a\"");
        client.subscribe("\"bcdef\"");
        assert_eq!(client.ask("[\"publish\",\"x\",[[[1]]]]"), "[]");
        assert_eq!(client.ask_binary("[\"publish\",\"x\",{\"_placeholder\":true,\"num\":0}]", &[b"a"]), "[]");
        let report =
            node.load("[limits]\nrooms_per_client = 2\nroom_name_length = 4\nnesting = 2\nattachments = 0\n");
        assert_eq!(
            report,
            "reloaded: changed limits.attachments, limits.nesting, limits.room_name_length, \
             limits.rooms_per_client\n"
        );
        assert_eq!(refusal(&mut client, "[\"subscribe\",\"c\"]"), "too_many_rooms");
        assert_eq!(refusal(&mut client, "[\"subscribe\",\"fghij\"]"), "invalid_room");
        assert_eq!(refusal(&mut client, "[\"publish\",\"x\",[[[1]]]]"), "malformed");
        let attached = client.ask_binary("[\"publish\",\"x\",{\"_placeholder\":true,\"num\":0}]", &[b"a"]);
        assert!(attached.starts_with("[{\"error\":\"malformed\""), "{attached}");

        node.load("limits.events_per_second = 1");
        assert_eq!(client.ask("[\"publish\",\"bcdef\",1]"), "[]", "rooms are kept");
        client.expect("[\"data\",\"bcdef\",1]");
        assert_eq!(refusal(&mut client, "[\"publish\",\"a\",1]"), "rate_limited");
        node.load("limits.bytes_per_second = '10 B'\nlimits.events_per_second = 1000");
        assert_eq!(client.ask("[\"publish\",\"a\",1]"), "[]");
        client.expect("[\"data\",\"a\",1]");
    }
}

#[test]
fn more_or_fewer_clients_may_come_and_nobody_has_to_go() {
    let node = Reloading::start_with("limits.connections = 3", &["--admin-listen", "127.0.0.1:0"]);
    let address = node.daemon.address;
    let mut clients =
        [Way::WebSocket4, Way::WebSocket3, Way::WebSocket4].map(|way| Client::connect(address, way));
    assert_eq!(http::get(address, POLLING).status, 503);
    node.load("limits.connections = 5");
    let fourth = Client::connect(address, Way::WebSocket4);
    let mut polls = Client::connect(address, Way::Polling4);
    assert_eq!(http::get(address, POLLING).status, 503);

    node.load("limits.connections = 1");
    assert_eq!(http::get(address, POLLING).status, 503, "who is refused hears it");
    assert_eq!(http::get(node.daemon.admin, "/readyz").text(), "[\"connections_exhausted\"]");
    for client in clients.iter_mut().chain([&mut polls]) {
        // One that polls opens a connection for each request, and none of them has a place.
        assert_eq!(client.ask("[\"subscribe\",\"r\"]"), "[]");
    }
    drop(fourth);
    node.daemon.await_metric("humble_broker_connections{transport=\"websocket\",protocol=\"4\"}", 2.0);
    assert_eq!(http::get(address, POLLING).status, 503);
    node.load("limits.connections = 1000");
    let _fifth = Client::connect(address, Way::WebSocket4);

    node.load("limits.connections_per_ip = 2");
    let _two = [Client::connect(address, Way::WebSocket4), Client::connect(address, Way::WebSocket4)];
    assert_eq!(http::get(address, POLLING).status, 429);
    node.load("limits.connections_per_ip = 3\nlimits.connects_per_second = 1");
    let _third = Client::connect(address, Way::WebSocket4);
    node.load("limits.connects_per_second = 1");
    assert_eq!(http::get(address, POLLING).status, 429);
    node.load("");
    assert_eq!(http::get(address, POLLING).status, 200);
    for client in clients.iter_mut().chain([&mut polls]) {
        assert_eq!(client.ask("[\"publish\",\"q\",1]"), "[]", "those of the beginning are still there");
    }
    let refusal = node.fail("limits.connections = 100000000");
    assert!(refusal.contains("cannot serve limits.connections = 100000000 with "), "{refusal}");
}

#[test]
fn limits_of_requests_hold_for_new_connections() {
    let node = Reloading::start("");
    let address = node.daemon.address;
    let mut old = http::connect(address);
    let long = "x".repeat(9_000);
    http::ask(&mut old, "GET", "/healthz", &format!("x-long: {long}\r\n"));
    assert_eq!(http::receive_one(&mut old).status, 200);
    node.load(
        "[limits]\nheader_size = '8 KiB'\nrequests_per_connection = 1\nheader_timeout = '200ms'\n\
         body_timeout = '200ms'",
    );
    assert_eq!(http::request(address, "GET", "/healthz", &[("x-long", &long)], b"").status, 431);
    http::ask(&mut old, "GET", "/healthz", "");
    assert_eq!(http::receive_one(&mut old).header("connection"), None, "it was accepted before");
    let mut new = http::connect(address);
    http::ask(&mut new, "GET", "/healthz", "");
    assert_eq!(http::receive_one(&mut new).header("connection"), Some("close"));
    assert!(http::rest(&mut http::connect(address)).is_empty(), "closed, as no head comes");

    // A body that does not come in time: the old connection is judged by what holds now.
    let client = Client::connect(address, Way::Polling4);
    http::ask(&mut old, "POST", &client.polling_target(), "content-length: 10\r\n");
    assert_eq!(http::receive_one(&mut old).status, 408);
}

#[test]
fn origins_change_for_new_requests() {
    let node = Reloading::start("server.allowed_origins = ['https://a.example']");
    let status = |origin: &str| {
        let polling = http::request(node.daemon.address, "GET", POLLING, &[("origin", origin)], b"");
        let granted = polling.header("access-control-allow-origin").map(str::to_owned);
        assert_eq!(granted.as_deref(), (polling.status == 200).then_some(origin));
        polling.status
    };
    assert_eq!((status("https://a.example"), status("https://b.example")), (200, 403));
    node.load("server.allowed_origins = ['https://b.example']");
    assert_eq!((status("https://a.example"), status("https://b.example")), (403, 200));
}

#[test]
fn send_queues_change_for_clients_that_are_there() {
    let node = Reloading::start("");
    let mut publisher = Client::connect(node.daemon.address, Way::WebSocket4);
    let mut slow = Client::connect(node.daemon.address, Way::Polling4);
    slow.subscribe("\"r\"");
    // A polling client that does not poll has all of it in its queue.
    let message = format!("[\"publish\",\"r\",\"{}\"]", "x".repeat(1_000));
    node.load("limits.send_queue = '5 KB'\nlimits.slow_consumer = 'drop'");
    for _ in 0..10 {
        assert_eq!(publisher.ask(&message), "[]");
    }
    let dropped = node.daemon.metric("humble_broker_messages_dropped_total{reason=\"slow_consumer\"}");
    assert!((4.0..=8.0).contains(&dropped), "{dropped}");
    node.load("limits.send_queue = '1 MB'\nlimits.slow_consumer = 'drop'");
    for _ in 0..100 {
        assert_eq!(publisher.ask(&message), "[]");
    }
    let after = node.daemon.metric("humble_broker_messages_dropped_total{reason=\"slow_consumer\"}");
    assert!((after - dropped).abs() < 0.5, "{after}");
    node.load("limits.send_queue = '5 KB'");
    assert_eq!(publisher.ask(&message), "[]");
    node.daemon.await_metric("humble_broker_disconnections_total{reason=\"slow_consumer\"}", 1.0);
}

#[test]
fn small_messages_fill_a_queue_that_was_raised() {
    let node = Reloading::start("limits.send_queue = '1 KB'");
    let mut publisher = Client::connect(node.daemon.address, Way::WebSocket4);
    let mut slow = Client::connect(node.daemon.address, Way::Polling4);
    slow.subscribe("0");
    node.load("limits.send_queue = '1 MB'");
    for n in 0..5_000 {
        publisher.emit(&format!("[\"publish\",0,{n}]"));
    }
    assert_eq!(publisher.ask("[\"unsubscribe\",0]"), "[]");
    for n in 0..5_000 {
        slow.expect(&format!("[\"data\",0,{n}]"));
    }
}

#[test]
fn the_drain_is_the_one_that_was_loaded_last() {
    let mut node = Reloading::start("drain.timeout = '10m'");
    node.load("drain.timeout = '0s'");
    let _silent = Client::connect(node.daemon.address, Way::Polling4);
    node.daemon.signal(Signal::SIGTERM);
    assert!(node.daemon.wait().success());
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let tls = format!(
        "[server.tls]\ncertificate = '{}'\nkey = '{}'\n",
        files.path("certificate"),
        files.path("key")
    );
    let good = format!("admin.listen = '127.0.0.1:0'\nlimits.nesting = 9\n{tls}");
    let node = Reloading::start(&good);
    let log = |text: &str| node.daemon.await_log(text);

    let refusal = node.fail(&format!("limits.nesting = 8\nlimits.rooms_per_client = 0\n{tls}"));
    let place = format!("socketio-humble-broker: {}:2:27: ", node.file().display());
    assert!(refusal.starts_with(&place), "{refusal}");
    log("reload refused, what was in force stays in force: ");
    assert!(node.fail(&format!("limits.bogus = 8\n{tls}")).contains("unknown key `bogus`"));
    assert!(node.fail("[").contains("broker.toml:1:"), "not TOML");

    files.write("key", "no key");
    let refusal = node.fail(&format!("limits.nesting = 7\n{tls}"));
    assert!(refusal.contains("server.tls.key: cannot use "), "{refusal}");
    let missing = format!("limits.nesting = 6\n{}", tls.replace("certificate\'", "certificate-of-nobody\'"));
    let refusal = node.fail(&missing);
    assert!(refusal.contains("server.tls.certificate: cannot read "), "{refusal}");
    fs::remove_file(files.path("key")).unwrap();
    mkfifo(files.path("key").as_str(), Mode::S_IRWXU).unwrap();
    let refusal = node.fail(&good);
    assert!(refusal.ends_with("key: it is not a regular file\n"), "{refusal}");
    fs::remove_file(files.path("key")).unwrap();

    fs::remove_file(node.file()).unwrap();
    let output = node.reload();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read "));
    // Nobody writes into it: who reads it waits, and who reads it later would take it for empty.
    mkfifo(&node.file(), Mode::S_IRWXU).unwrap();
    let output = node.reload();
    assert_eq!(output.status.code(), Some(78));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.ends_with("broker.toml again: it is not a regular file\n"), "{stderr}");
    fs::remove_file(node.file()).unwrap();

    node.daemon.await_metric("humble_broker_config_last_reload_success", 0.0);
    node.daemon.await_metric("humble_broker_config_reloads_total{outcome=\"failed\"}", 8.0);
    // Had any of them been applied in part, the depth would have changed now or before.
    files.replace(&authority.issue());
    assert_eq!(node.load(&good), "reloaded: no key has changed\n");
}

#[test]
fn keys_that_wait_for_a_restart_are_named_once_until_they_do_not() {
    let node = Reloading::start("");
    let report =
        node.load("[server]\nworkers = 1\n[socketio]\nparser = 'msgpack'\n[limits]\nmax_payload = '1 KiB'");
    let waiting = "waiting for a restart: limits.max_payload, server.workers, socketio.parser";
    assert_eq!(report, "reloaded: nothing has changed that can while it runs\n".to_owned() + waiting + "\n");
    node.daemon.await_log(waiting);
    let warnings = node.daemon.log().lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, 1, "{}", node.daemon.log());
    let await_metric = |value| {
        for key in ["limits.max_payload", "server.workers", "socketio.parser"] {
            let name = format!("humble_broker_config_needs_restart{{key=\"{key}\"}}");
            node.daemon.await_metric(&name, value);
        }
    };
    await_metric(1.0);
    assert_eq!(node.load(""), "reloaded: no key has changed\n");
    await_metric(0.0);
}

#[test]
fn the_log_changes_its_level_and_format() {
    let node = Reloading::start("");
    node.load("log.level = 'debug'\nlog.format = 'json'");
    node.daemon.await_log("\"message\":\"reloaded ");
    node.load("log.level = 'warn'");
    let before = node.daemon.log().len();
    node.load("limits.nesting = 5\nlog.level = 'warn'");
    node.load("limits.nesting = 5");
    let after = node.daemon.log();
    assert_eq!(after[before..].lines().count(), 1, "only what is said at info again: {}", &after[before..]);
}

#[test]
fn what_the_command_line_says_survives_a_reload() {
    let node = Reloading::start_with("limits.nesting = 9", &["--set", "limits.rooms_per_client=1"]);
    assert_eq!(
        node.load("limits.rooms_per_client = 5\nlimits.nesting = 8"),
        "reloaded: changed limits.nesting\n"
    );
    let mut client = Client::connect(node.daemon.address, Way::WebSocket4);
    client.subscribe("1");
    assert_eq!(refusal(&mut client, "[\"subscribe\",2]"), "too_many_rooms");
}

#[test]
fn a_hangup_reloads_and_the_service_manager_hears_when_it_is_done() {
    let node = Reloading::start("");
    for (text, end) in
        [("limits.nesting = 5", "changed limits.nesting"), ("limits.nesting = 0", "reload refused")]
    {
        fs::write(node.file(), text).unwrap();
        node.daemon.signal(Signal::SIGHUP);
        let began = node.daemon.notification().unwrap();
        let now: Vec<_> = began.lines().collect();
        assert!(now.contains(&"RELOADING=1") && now.iter().any(|line| line.starts_with("MONOTONIC_USEC=")));
        let ended = node.daemon.notification().unwrap();
        assert!(ended.starts_with("READY=1\nSTATUS=serving clients on "), "{ended}");
        node.daemon.await_log(end);
    }
}

#[test]
fn the_control_socket_is_for_the_user_of_the_broker_and_for_reloads() {
    let mut node = Reloading::start("");
    let mode = fs::metadata(node.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let ask = |method: &str, target: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(node.socket()).unwrap();
        http::send(&mut stream, method, target, &[("connection", "close")], b"");
        http::receive(&mut stream).status
    };
    assert_eq!((ask("GET", "/reload"), ask("GET", "/metrics"), ask("POST", "/reload")), (405, 404, 200));
    assert_eq!(http::request(node.daemon.address, "POST", "/reload", &[], b"").status, 404);

    // The socket may be found in the configuration, wherever that is said.
    let socket = format!("admin.control_socket={}", node.socket().display());
    let found = command().args(["reload", "--set", &socket]).output().unwrap();
    assert_eq!(found.status.code(), Some(0));
    for arguments in [&["reload"][..], &["--check-config", "reload", "--socket", "/a"]] {
        assert_eq!(command().args(arguments).output().unwrap().status.code(), Some(64));
    }
    node.daemon.signal(Signal::SIGTERM);
    assert!(node.daemon.wait().success());
    assert!(!node.socket().exists());
    let output = node.reload();
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8(output.stderr).unwrap().contains("control.sock for a reload: "));
}

#[test]
fn a_broker_that_drains_does_not_reload() {
    let mut node = Reloading::start("drain.timeout = '10m'");
    let silent = Client::connect(node.daemon.address, Way::Polling4);
    node.daemon.signal(Signal::SIGTERM);
    node.daemon.await_metric("humble_broker_draining", 1.0);
    let output = node.reload();
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8(output.stderr).unwrap().contains("it is shutting down"));
    node.daemon.signal(Signal::SIGHUP);
    node.daemon.await_log("SIGHUP: not reloading");
    assert_eq!(http::get(node.daemon.address, &silent.polling_target()).status, 400);
    assert!(node.daemon.wait().success());
}

#[test]
fn reloads_under_load_lose_no_message_and_no_connection() {
    const CLIENTS: usize = 1_000;
    const MESSAGES: usize = 150;
    let node = Reloading::start("");
    let address = node.daemon.address;
    let mut subscribers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut socket = WebSocket::open(address, "/socket.io/?EIO=4&transport=websocket");
            assert!(socket.text().starts_with('0'));
            socket.send("40");
            socket
        })
        .collect();
    for socket in &mut subscribers {
        assert!(socket.text().starts_with("40"));
        socket.send("420[\"subscribe\",\"r\"]");
        assert_eq!(socket.text(), "430[]");
    }
    // Before there are reloads that let nobody else in.
    let mut publisher = Client::connect(address, Way::WebSocket4);
    let over = AtomicBool::new(false);
    let reloads = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for n in 0..MESSAGES {
                assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",{n}]")), "[]");
            }
            over.store(true, SeqCst);
        });
        let mut reloads = 0;
        while !over.load(SeqCst) && !publisher.is_finished() {
            reloads += 1;
            match reloads % 3 {
                0 => drop(node.fail("limits.nesting = 'many'")),
                1 => drop(node.load(
                    "[limits]\nnesting = 5\nsend_queue = '2 MB'\nconnections = 10\n[log]\nlevel = 'debug'",
                )),
                _ => drop(node.load("[limits]\nconnections_per_ip = 5\nevents_per_second = 1000000")),
            }
        }
        publisher.join().unwrap();
        reloads
    });
    drop(publisher);
    assert!(reloads >= 3, "{reloads}");
    for socket in &mut subscribers {
        for n in 0..MESSAGES {
            assert_eq!(socket.next(), Incoming::Text(format!("42[\"data\",\"r\",{n}]")));
        }
    }
    pause(std::time::Duration::from_millis(100));
    node.daemon.await_metric("humble_broker_connections{transport=\"websocket\",protocol=\"4\"}", 1_000.0);
}
