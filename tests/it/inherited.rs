//! Sockets that somebody else listens on already, and hands over to the daemon.

use std::fs::File;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command_with;
use crate::support::http;
use crate::support::tunnel::Tunnel;

/// A port that is listened on, and its address.
fn port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn clients_and_operators_come_over_the_sockets_that_were_passed() {
    let ((public, clients), (admin, operators)) = (port(), port());
    // Nothing that the configuration names is listened on: it is taken, and nobody minds.
    let (taken, other) = port();
    let other = other.to_string();
    let daemon =
        Daemon::start_with([admin.into(), public.into()], "admin:public", &["--admin-listen", &other]);
    assert_eq!((daemon.address, daemon.admin), (clients, operators));
    assert_eq!(http::get(operators, "/readyz").status, 200);
    assert_eq!(http::get(clients, "/readyz").status, 404, "operators are elsewhere");
    let mut clients = Way::ALL.map(|way| Client::connect(clients, way));
    for client in &mut clients {
        client.subscribe("\"r\"");
    }
    assert_eq!(clients[0].ask("[\"publish\",\"r\",1]"), "[]");
    for client in &mut clients {
        client.expect("[\"data\",\"r\",1]");
    }
    let log = daemon.log();
    assert!(log.contains("clients come over a socket that was passed, and not where `server` says"), "{log}");
    assert!(log.contains("operators come over a socket that was passed"), "{log}");
    drop(taken);
}

#[test]
fn what_was_not_passed_is_listened_on_as_configured() {
    let (admin, operators) = port();
    let daemon = Daemon::start_with([admin.into()], "admin", &[]);
    assert_eq!(daemon.admin, operators);
    Client::connect(daemon.address, Way::WebSocket4).assert_silence();
    let (public, clients) = port();
    let daemon = Daemon::start_with([public.into()], "public", &["--admin-listen", "127.0.0.1:0"]);
    assert_eq!(daemon.address, clients);
    assert_eq!(http::get(daemon.admin, "/readyz").status, 200);
    let (public, clients) = port();
    let daemon = Daemon::start_with([public.into()], "public", &[]);
    assert_eq!((daemon.address, daemon.admin), (clients, clients));
}

#[test]
fn the_file_of_a_unix_socket_that_was_passed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let [path, own] = ["passed", "own"].map(|name| folder.path().join(name));
    let setting = format!("server.unix_socket={}", own.display());
    let listener = UnixListener::bind(&path).unwrap();
    let admin = ["--set", &setting, "--admin-listen", "127.0.0.1:0"];
    let mut daemon = Daemon::start_with([listener.try_clone().unwrap().into()], "public", &admin);
    assert_eq!(daemon.listen, format!("unix:{}", path.display()));
    assert!(!own.exists());
    let place = path.clone();
    let tunnel = Tunnel::open(move || tokio::net::UnixStream::connect(place.clone()));
    let mut client = Client::connect(tunnel.address, Way::WebSocket4);
    assert_eq!(client.ask("[\"subscribe\",\"r\"]"), "[]");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    // It waits for a successor, as it could not if nobody listened.
    let mut waiting = UnixStream::connect(&path).unwrap();
    waiting.set_read_timeout(Some(DEADLINE)).unwrap();
    let next = Daemon::start_with([listener.into()], "public", &admin);
    assert_eq!(http::get_over(&mut waiting, &Way::Polling4.target("polling")).status, 200);
    drop(next);
}

#[test]
fn who_connects_during_a_drain_waits_for_the_next_daemon() {
    let (public, clients) = port();
    let passed = || [public.try_clone().unwrap().into()];
    let admin = ["--admin-listen", "127.0.0.1:0", "--set", "drain.timeout=10m"];
    let mut daemon = Daemon::start_with(passed(), "public", &admin);
    // It holds the drain up until it polls, over the connection that it has.
    let silent = Client::connect(clients, Way::Polling4);
    let mut kept = http::connect(clients);
    http::ask(&mut kept, "GET", "/", "");
    assert_eq!(http::receive_one(&mut kept).status, 404);
    daemon.signal(Signal::SIGTERM);
    // It comes each second, and those who come within a quarter of one are let in yet.
    for _ in 0..2 {
        while !daemon.notification().unwrap().contains("1 of 1 sessions left") {}
    }
    let mut early = http::connect(clients);
    http::send(&mut early, "GET", &Way::Polling4.target("polling"), &[], b"");
    // The answer comes from whoever listens then.
    let answer = std::thread::spawn(move || http::receive(&mut early).status);
    let target = silent.polling_target();
    http::ask(&mut kept, "GET", &target, "");
    let last = http::receive_one(&mut kept).status;
    assert_eq!(last, 400, "what was connected is served to the end, here with the end of its session");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!answer.is_finished(), "nobody has refused it");
    let next = Daemon::start_with(passed(), "public", &admin);
    assert_eq!(answer.join().unwrap(), 200);
    drop(next);
}

#[test]
fn a_socket_that_the_daemon_has_no_use_for_ends_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let connected = UnixStream::pair().unwrap().0;
    let open: OwnedFd = File::open("/dev/null").unwrap().into();
    let datagrams = UnixDatagram::bind(folder.path().join("datagrams")).unwrap();
    let useless: [(&str, OwnedFd); 4] = [
        ("UDP", UdpSocket::bind("127.0.0.1:0").unwrap().into()),
        ("unix datagrams", datagrams.into()),
        ("a connection", connected.into()),
        ("no socket", open),
    ];
    for (kind, socket) in useless {
        let output = command_with([socket], "public").args(["--port", "0"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{kind}: {error}");
        assert_eq!(
            error,
            "socketio-humble-broker: cannot use the sockets that were passed: `public` is not a socket that \
             connections come from; pass one of TCP or a unix stream socket\n",
            "{kind}"
        );
    }
    for (names, reason) in [
        ("web", "`web` is no name that the broker knows; name them `public` and `admin`"),
        ("public:public", "there are 1 of them, and 2 names; name them "),
    ] {
        let output = command_with([port().0.into()], names).args(["--port", "0"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{error}");
        let expected = format!("socketio-humble-broker: cannot use the sockets that were passed: {reason}");
        assert!(error.starts_with(&expected), "{error}");
    }
    let both = [port().0.into(), port().0.into()];
    let output = command_with(both, "public:public").args(["--port", "0"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.ends_with("cannot use the sockets that were passed: two are called `public`\n"), "{error}");
}
