//! Unix sockets: who gets them, who may connect, and what becomes of the file; and how many may wait at a port.

use std::fs;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::http;
use crate::support::tls::Authority;
use crate::support::tls::Files;
use crate::support::tunnel::Tunnel;

/// A folder, and the path of a socket in it.
fn place() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s").to_str().unwrap().to_owned();
    (folder, path)
}

fn setting(path: &str) -> String {
    format!("server.unix_socket={path}")
}

/// A daemon whose clients come over a unix socket, and the metrics apart from them.
fn start(path: &str, more: &[&str]) -> Daemon {
    let arguments = ["--set", &setting(path), "--admin-listen", "127.0.0.1:0"];
    Daemon::start(&[&arguments, more].concat())
}

fn try_start(path: &str) -> Output {
    command().args(["--set", &setting(path), "--log-level", "off"]).output().unwrap()
}

fn connect(path: &str) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn tunnel(path: &str) -> Tunnel {
    let path = path.to_owned();
    Tunnel::open(move || tokio::net::UnixStream::connect(path.clone()))
}

fn is_socket(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[test]
fn clients_are_served_on_a_unix_socket_and_on_no_port() {
    let (_folder, path) = place();
    // Were the port listened on too, it would be taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let arguments = ["--set", &setting(&path), "--admin-listen", "127.0.0.1:0"];
    let daemon = Daemon::start_on(port, &arguments);
    assert_eq!(daemon.listen, format!("unix:{path}"));
    let tunnel = tunnel(&path);
    let mut clients = Way::ALL.map(|way| Client::connect(tunnel.address, way));
    for client in &mut clients {
        client.subscribe("\"r\"");
    }
    assert_eq!(Client::connect(tunnel.address, Way::WebSocket4).ask("[\"publish\",\"r\",1]"), "[]");
    for client in &mut clients {
        client.expect("[\"data\",\"r\",1]");
    }
    assert_eq!(http::get_over(&mut connect(&path), "/healthz").status, 404, "operators are elsewhere");
    assert!(daemon.metric("humble_broker_received_bytes_total") > 0.0);
}

#[test]
fn a_socket_has_the_mode_that_was_asked_for() {
    for (mode, expected) in [(None, 0o660), (Some("0600"), 0o600), (Some("0666"), 0o666)] {
        let (_folder, path) = place();
        let setting = mode.map(|mode| format!("server.unix_socket_mode={mode}"));
        let more: Vec<_> = setting.iter().flat_map(|setting| ["--set", setting]).collect();
        let _daemon = start(&path, &more);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, expected);
    }
    let (_folder, path) = place();
    let _daemon = Daemon::start(&["--admin-listen", &format!("unix:{path}")]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
}

#[test]
fn a_socket_goes_with_its_daemon() {
    let ((_folder, path), (_other, admin)) = (place(), place());
    let mut daemon = Daemon::start(&["--set", &setting(&path), "--admin-listen", &format!("unix:{admin}")]);
    assert!(is_socket(&path) && is_socket(&admin));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(!Path::new(&path).exists() && !Path::new(&admin).exists());
}

#[test]
fn a_socket_that_somebody_else_has_put_in_its_place_stays() {
    let (_folder, path) = place();
    let mut daemon = start(&path, &[]);
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(is_socket(&path));
}

#[test]
fn a_socket_that_nobody_answers_on_is_replaced() {
    let (_folder, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    assert!(is_socket(&path));
    let _daemon = start(&path, &[]);
    Client::connect(tunnel(&path).address, Way::WebSocket4).assert_silence();
}

#[test]
fn a_socket_that_is_in_use_is_left_alone() {
    let (_folder, path) = place();
    let daemon = start(&path, &[]);
    let refused = try_start(&path);
    let error = format!("socketio-humble-broker: cannot listen on unix:{path}: address in use\n");
    assert_eq!((refused.status.code(), refused.stderr.as_slice()), (Some(69), error.as_bytes()));
    let admin = format!("unix:{path}");
    let output = command().args(["--host", "127.0.0.1", "--port", "0", "--admin-listen", &admin]).output();
    assert_eq!(output.unwrap().status.code(), Some(69));
    assert_eq!(http::get_over(&mut connect(&path), &Way::Polling4.target("polling")).status, 200);
    drop(daemon);
}

#[test]
fn what_is_not_a_socket_is_never_deleted() {
    let (folder, path) = place();
    let refusal = |path: &str| {
        let output = try_start(path);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    fs::write(&path, "precious").unwrap();
    let error =
        format!("socketio-humble-broker: cannot listen on unix:{path}: what is there is not a socket\n");
    assert_eq!(refusal(&path), error);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let link = folder.path().join("link").to_str().unwrap().to_owned();
    symlink(&path, &link).unwrap();
    assert!(refusal(&link).ends_with("what is there is not a socket\n"));
    let inner = folder.path().join("folder").to_str().unwrap().to_owned();
    fs::create_dir(&inner).unwrap();
    assert!(refusal(&inner).ends_with("what is there is not a socket\n"));
    assert!(refusal(&format!("{inner}/none/s")).ends_with("there is no such directory\n"));
    assert!(Path::new(&link).exists() && Path::new(&inner).exists());
}

#[test]
fn a_start_that_fails_leaves_no_socket_behind() {
    let (_folder, path) = place();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = taken.local_addr().unwrap().to_string();
    let output = command().args(["--set", &setting(&path), "--admin-listen", &admin]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(!Path::new(&path).exists());
}

#[test]
fn the_health_check_asks_over_unix_sockets() {
    let ((_folder, path), (_other, admin)) = (place(), place());
    let admin_setting = format!("admin.listen=unix:{admin}");
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let tls = files.arguments(false);
    let public = setting(&path);
    let socket = ["--set", public.as_str()].map(str::to_owned).to_vec();
    let both = [socket.clone(), ["--set", admin_setting.as_str()].map(str::to_owned).to_vec()].concat();
    for arguments in [socket.clone(), both.clone(), [socket, tls.clone()].concat(), [both, tls].concat()] {
        let check = || command().arg("--healthcheck").args(&arguments).output().unwrap();
        let daemon = Daemon::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let asked = check();
        assert_eq!((asked.status.code(), asked.stderr.as_slice()), (Some(0), &b""[..]), "{asked:?}");
        drop(daemon);
        let asked = check();
        assert_eq!(asked.status.code(), Some(1), "{asked:?}");
        let error = String::from_utf8(asked.stderr).unwrap();
        assert!(error.starts_with("socketio-humble-broker: cannot ask unix:/"), "{error}");
    }
}

#[test]
fn operators_are_answered_on_a_unix_socket() {
    let (_folder, path) = place();
    let daemon = Daemon::start(&["--admin-listen", &format!("unix:{path}")]);
    assert_eq!(http::get_over(&mut connect(&path), "/readyz").status, 200);
    assert_eq!(http::get_over(&mut connect(&path), "/metrics").status, 200);
    assert_eq!(http::get(daemon.address, "/readyz").status, 404);
}

#[test]
fn a_thousand_may_come_at_once_and_wait_to_be_accepted() {
    const CLIENTS: usize = 1000;
    let daemon = Daemon::start(&[]);
    daemon.signal(Signal::SIGSTOP);
    // Whoever finds no place hears nothing, and tries again after a second.
    let waiting: Vec<_> = (0..CLIENTS)
        .map_while(|_| TcpStream::connect_timeout(&daemon.address, Duration::from_millis(900)).ok())
        .collect();
    daemon.signal(Signal::SIGCONT);
    assert_eq!(waiting.len(), CLIENTS);
}
