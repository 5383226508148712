//! The end: sessions end as clients need it to come back, and what was accepted is delivered.

use std::net::Shutdown;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::PidfdGetfdFlags;
use rustix::process::pidfd_getfd;
use rustix::process::pidfd_open;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::vitals::pause;
use crate::support::websocket::Incoming;

#[test]
fn a_websocket_ends_with_1001_and_nothing_that_keeps_clients_away() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start(&[]);
        let mut clients = [Way::WebSocket3, Way::WebSocket4, Way::Upgrade3, Way::Upgrade4]
            .map(|way| Client::connect(daemon.address, way));
        daemon.signal(signal);
        for client in &mut clients {
            // Neither `41` nor `1` before it.
            assert_eq!(client.socket().next(), Incoming::Close(Some(1001)));
            assert_eq!(client.socket().next(), Incoming::End);
        }
        assert!(daemon.wait().success(), "{}", daemon.log());
    }
}

#[test]
fn a_polling_client_gets_what_is_queued_and_then_400() {
    let mut daemon = Daemon::start(&[]);
    for way in [Way::Polling3, Way::Polling4] {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        for n in 0..40 {
            client.emit(&format!("[\"publish\",\"r\",{n}]"));
        }
        let mut waiting = Client::connect(daemon.address, way);
        let mut poll = http::connect(daemon.address);
        http::send(&mut poll, "GET", &waiting.polling_target(), &[], b"");
        if way == Way::Polling4 {
            daemon.signal(Signal::SIGTERM);
            assert_eq!(http::receive(&mut poll).status, 400, "a poll that waits is the next poll");
            for n in 0..40 {
                client.expect(&format!("[\"data\",\"r\",{n}]"));
            }
            assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
        } else {
            waiting.emit("[\"subscribe\",\"x\"]");
            waiting.send("41");
            client.send("1");
            waiting.send("1");
        }
    }
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn everything_accepted_is_delivered_before_the_end() {
    let mut daemon = Daemon::start(&[]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut subscribers = Way::ALL.map(|way| Client::connect(daemon.address, way));
    for subscriber in &mut subscribers {
        subscriber.subscribe("\"r\"");
    }
    let filler = "x".repeat(1_000);
    for n in 0..1_000 {
        publisher.emit(&format!("[\"publish\",\"r\",[{n},\"{filler}\"]]"));
    }
    assert_eq!(publisher.ask("[\"unsubscribe\",0]"), "[]");
    daemon.signal(Signal::SIGTERM);
    std::thread::scope(|scope| {
        for subscriber in &mut subscribers {
            let filler = &filler;
            scope.spawn(move || {
                for n in 0..1_000 {
                    subscriber.expect(&format!("[\"data\",\"r\",[{n},\"{filler}\"]]"));
                }
            });
        }
    });
    for subscriber in subscribers {
        if let Ok(id) = std::panic::catch_unwind(|| subscriber.polling_target()) {
            assert_eq!(http::get(daemon.address, &id).status, 400);
        }
    }
    drop(publisher);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn an_event_during_the_end_is_refused_as_shutting_down() {
    let mut daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    daemon.signal(Signal::SIGTERM);
    // Answered as usual until the session is being ended, and refused until the connection closes.
    let mut id = 0;
    let refusal = loop {
        id += 1;
        client.send(&format!("42{id}[\"subscribe\",\"r\"]"));
        let arguments = client.acknowledgement(id);
        if arguments != "[]" {
            break arguments;
        }
    };
    assert!(refusal.starts_with("[{\"error\":\"shutting_down\",\"message\":\""), "{refusal}");
    drop(client);
    assert!(daemon.wait().success());
}

#[test]
fn nobody_new_is_let_in_during_the_end() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=30s"]);
    // It does not poll, so the drain waits for it.
    let old = Client::connect(daemon.address, Way::Polling4);
    let mut open =
        [Client::open(daemon.address, Way::WebSocket4), Client::open(daemon.address, Way::WebSocket4)];
    daemon.signal(Signal::SIGTERM);
    loop {
        let ready = http::get(daemon.admin, "/readyz");
        if ready.status == 503 {
            assert_eq!(ready.text(), "[\"draining\"]");
            break;
        }
    }
    assert_eq!(http::get(daemon.admin, "/healthz").status, 200);
    let refused = http::get(daemon.address, &Way::Polling4.target("polling"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    for socket in &mut open {
        // A CONNECT that comes after the drain began closes the transport, without a refusal.
        socket.socket().send("40");
        assert_eq!(socket.socket().next(), Incoming::Close(Some(1001)));
    }
    assert_eq!(http::get(daemon.address, &old.polling_target()).status, 400);
    assert!(daemon.wait().success());
}

#[test]
fn a_notice_comes_before_the_end_and_clients_are_served_meanwhile() {
    let mut daemon = Daemon::start(&["--set", "drain.notice=3s"]);
    let mut old = Client::connect(daemon.address, Way::WebSocket4);
    old.subscribe("\"r\"");
    let mut open = Client::open(daemon.address, Way::WebSocket4);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.notification().is_some_and(|state| state.contains("STOPPING=1")));
    let ready = http::get(daemon.admin, "/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (503, "[\"draining\"]"));
    assert!((daemon.metric("humble_broker_draining") - 1.0).abs() < 1e-9);
    let mut new = Client::connect(daemon.address, Way::Polling4);
    assert_eq!(new.ask("[\"publish\",\"r\",1]"), "[]");
    old.expect("[\"data\",\"r\",1]");
    // From the end of the notice on there are no new sessions.
    let began = Instant::now();
    while http::get(daemon.address, &Way::Polling4.target("polling")).status == 200 {
        assert!(began.elapsed() < DEADLINE);
    }
    open.socket().send("40");
    assert_eq!(open.socket().next(), Incoming::Close(Some(1001)));
    assert_eq!(old.socket().next(), Incoming::Close(Some(1001)));
    assert_eq!(http::get(daemon.address, &new.polling_target()).status, 400);
    drop((old, open));
    assert!(daemon.wait().success(), "{}", daemon.log());
}

/// Waits for the end of a session, to which it is served; says how often that was, when it was served
/// last, and when it ended.
fn follow(mut client: Client, connected: bool, address: std::net::SocketAddr) -> (u32, Instant, Instant) {
    let (mut times, mut last) = (0, Instant::now());
    if client.polls() {
        let target = client.polling_target();
        while http::get(address, &target).status == 200 {
            // Between the last packets and the 400 there is nobody to take it.
            pause(Duration::from_millis(5));
            http::request(address, "POST", &target, &[], b"421[\"subscribe\",\"r\"]");
            (times, last) = (times + 1, Instant::now());
        }
        return (times, last, Instant::now());
    }
    loop {
        pause(Duration::from_millis(5));
        if connected {
            client.socket().send("421[\"subscribe\",\"r\"]");
        }
        match client.socket().next() {
            Incoming::Text(text) if text == "431[]" => (times, last) = (times + 1, Instant::now()),
            Incoming::Text(_) => {}
            Incoming::Close(Some(1001)) => return (times, last, Instant::now()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sessions_end_one_after_the_other_and_are_served_until_their_turn() {
    const GAP: Duration = Duration::from_millis(100);
    const SLACK: Duration = Duration::from_millis(700);
    // Forty sessions, ten of which have not entered the namespace.
    let ways = [Way::WebSocket3, Way::Polling4, Way::Upgrade4];
    let mut daemon = Daemon::start(&["--set", "drain.spread=4s", "--set", "drain.timeout=1m"]);
    let address = daemon.address;
    let mut clients: Vec<_> = (0..10)
        .flat_map(|_| ways.map(|way| (Client::connect(address, way), true)))
        .chain((0..10).map(|_| (Client::open(address, Way::WebSocket4), false)))
        .collect();
    for (client, connected) in &mut clients {
        if *connected && client.polls() {
            client.send("421[\"subscribe\",\"r\"]");
        }
    }
    let sessions = clients.len();
    daemon.signal(Signal::SIGTERM);
    let began = Instant::now();
    let mut ends = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|(client, connected)| scope.spawn(move || (connected, follow(client, connected, address))))
            .collect();
        // Progress can be watched.
        loop {
            let left = daemon.metric("humble_broker_drain_connections_remaining");
            if 1.0 < left && left < 39.0 {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{left} of {sessions} sessions are left");
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    ends.sort_by_key(|(_, (_, _, end))| *end);
    // The first turns come at once, before anyone is heard.
    for (connected, (times, last, end)) in ends.iter().filter(|(_, (_, _, end))| *end > began + SLACK) {
        if *connected {
            assert!(*times > 0);
            assert!(*end - *last < SLACK, "not served for {:?} before its end", *end - *last);
        }
    }
    let after: Vec<_> = ends.iter().map(|(_, (_, _, end))| *end - began).collect();
    for (turn, after) in (0..).zip(&after) {
        // The refusals of its last tenth of a second come before the end of each.
        let due = GAP * turn + Duration::from_millis(100);
        assert!(*after + SLACK > due && *after < due + SLACK, "turn {turn} after {after:?}, not {due:?}");
    }
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("cutting off"), "{}", daemon.log());
}

#[test]
fn a_few_clients_are_not_kept_waiting_for_their_turn() {
    let mut daemon = Daemon::start(&["--set", "drain.spread=1h", "--set", "drain.timeout=2h"]);
    let mut clients =
        [Way::WebSocket3, Way::WebSocket4, Way::Upgrade4].map(|way| Client::connect(daemon.address, way));
    daemon.signal(Signal::SIGINT);
    for client in &mut clients {
        assert_eq!(client.socket().next(), Incoming::Close(Some(1001)));
    }
    drop(clients);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn the_service_manager_hears_how_far_the_end_has_come() {
    let mut daemon = Daemon::start(&["--set", "drain.notice=1h", "--set", "drain.timeout=2h"]);
    let _clients = [Way::WebSocket4, Way::Polling4].map(|way| Client::connect(daemon.address, way));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.notification().is_some_and(|state| state.contains("STOPPING=1")));
    for _ in 0..2 {
        let told = daemon.notification().unwrap();
        assert_eq!(told, "STATUS=draining, 2 of 2 sessions left\nEXTEND_TIMEOUT_USEC=10000000\n");
    }
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
}

#[test]
fn operators_are_answered_for_longer_than_clients() {
    let mut daemon = Daemon::start(&["--admin-listen", "127.0.0.1:0"]);
    // It is served for a while longer, and with it the listener for operators.
    let _idle = http::connect(daemon.address);
    daemon.signal(Signal::SIGTERM);
    loop {
        let operators = TcpStream::connect(daemon.admin).is_ok();
        let clients = TcpStream::connect(daemon.address).is_ok();
        assert!(operators || !clients, "operators are refused, and clients are not");
        if !clients {
            break;
        }
    }
    assert!(daemon.wait().success());
}

#[test]
fn a_drain_that_runs_out_of_time_ends_all_the_same() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=300ms"]);
    let _silent = Client::connect(daemon.address, Way::Polling4);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(daemon.log().contains("run out of time"), "{}", daemon.log());
}

#[test]
fn without_time_to_drain_everybody_is_cut_off_at_once() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=0s", "--set", "drain.spread=1h"]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    let polls = Client::connect(daemon.address, Way::Polling4);
    let mut poll = http::connect(daemon.address);
    http::send(&mut poll, "GET", &polls.polling_target(), &[], b"");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(client.socket().next(), Incoming::End, "without a word");
    assert_eq!(http::receive(&mut poll).status, 400);
    assert!(daemon.wait().success());
    assert!(daemon.log().contains("run out of time"), "{}", daemon.log());
}

#[test]
fn a_polling_client_that_is_gone_without_a_word_is_not_waited_for() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=10m"]);
    let _silent = [Way::Polling3, Way::Polling4].map(|way| Client::connect(daemon.address, way));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(!daemon.log().contains("cutting off"), "{}", daemon.log());
}

#[test]
fn a_polling_client_for_which_messages_wait_is_waited_for_longer() {
    let mut daemon = Daemon::start(&["--admin-listen", "127.0.0.1:0"]);
    let _silent = Client::connect(daemon.address, Way::Polling4);
    let mut late = Client::connect(daemon.address, Way::Polling4);
    late.subscribe("\"r\"");
    late.emit("[\"publish\",\"r\",1]");
    daemon.signal(Signal::SIGTERM);
    daemon.await_metric("humble_broker_drain_connections_remaining", 2.);
    daemon.await_metric("humble_broker_drain_connections_remaining", 1.);
    late.expect("[\"data\",\"r\",1]");
    assert_eq!(http::get(daemon.address, &late.polling_target()).status, 400);
    assert!(daemon.wait().success());
    assert!(!daemon.log().contains("cutting off"), "{}", daemon.log());
}

#[test]
fn clients_that_left_before_they_connected_are_not_waited_for() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=10m", "--set", "socketio.connect_timeout=10m"]);
    drop(Client::open(daemon.address, Way::WebSocket4));
    Client::open(daemon.address, Way::Polling4).send("1");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(!daemon.log().contains("cutting off"), "{}", daemon.log());
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    for settings in [
        ["--set", "drain.notice=0s", "--set", "drain.spread=0s"],
        ["--set", "drain.notice=1h", "--set", "drain.spread=0s"],
        ["--set", "drain.notice=0s", "--set", "drain.spread=1h"],
    ] {
        let mut daemon = Daemon::start(&[&settings[..], &["--set", "drain.timeout=2h"]].concat());
        let _silent = [(); 3].map(|()| Client::connect(daemon.address, Way::Polling4));
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.notification().is_some_and(|state| state.contains("STOPPING=1")));
        daemon.signal(Signal::SIGINT);
        assert!(daemon.wait().success());
        daemon.await_log("SIGINT again");
    }
}

/// Ends, in the daemon's hands, the socket that listens at `address`.
fn break_listener(daemon: &Daemon, address: std::net::SocketAddr) {
    let process = Pid::from_raw(daemon.process().cast_signed()).unwrap();
    let port = format!("0100007F:{:04X} 00000000:0000 0A ", address.port());
    let sockets = std::fs::read_to_string(format!("/proc/{}/net/tcp", daemon.process())).unwrap();
    let listening = sockets.lines().find(|line| line.contains(&port)).unwrap();
    let inode = listening.split_whitespace().nth(9).unwrap();
    let files = std::fs::read_dir(format!("/proc/{}/fd", daemon.process())).unwrap();
    let socket = std::path::PathBuf::from(format!("socket:[{inode}]"));
    let file = files
        .map(|file| file.unwrap().path())
        .find(|file| std::fs::read_link(file).is_ok_and(|target| target == socket));
    let number = file.unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
    let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
    let listener = pidfd_getfd(process, number, PidfdGetfdFlags::empty()).unwrap();
    TcpStream::from(listener).shutdown(Shutdown::Both).unwrap();
}

#[test]
fn a_task_that_ends_by_itself_brings_a_drain_and_exit_70_and_the_log_says_which() {
    for task in ["public listener", "admin listener"] {
        let mut daemon = Daemon::start(&["--admin-listen", "127.0.0.1:0"]);
        let mut clients = [Way::WebSocket3, Way::WebSocket4].map(|way| Client::connect(daemon.address, way));
        let address = if task == "admin listener" { daemon.admin } else { daemon.address };
        break_listener(&daemon, address);
        assert!(daemon.notification().is_some_and(|state| state.contains("STOPPING=1")));
        for client in &mut clients {
            assert_eq!(client.socket().next(), Incoming::Close(Some(1001)), "as after a signal");
        }
        drop(clients);
        assert_eq!(daemon.wait().code(), Some(70), "{}", daemon.log());
        let log = daemon.log();
        assert!(log.contains(&format!("the {task} ended by itself: shutting down")), "{log}");
        assert!(log.contains("stopped"), "{log}");
    }
}
