//! The PROXY protocol: from trusted proxies it must come, from others it must not.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::http;
use crate::support::tls::Authority;
use crate::support::tls::Files;
use crate::support::tls::TlsClient;
use crate::support::tls::VERSIONS;
use crate::support::tunnel::Tunnel;

const FAILED: &str = "humble_broker_connections_refused_total{reason=\"proxy_header\"}";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A daemon that expects headers from `proxies`, and the metrics apart from it.
fn start(proxies: &str, more: &[&str]) -> Daemon {
    let proxies = format!("server.trusted_proxies={proxies}");
    let arguments =
        ["--set", &proxies, "--set", "server.proxy_protocol=true", "--admin-listen", "127.0.0.1:0"];
    Daemon::start(&[&arguments, more].concat())
}

/// Headers of every kind.
fn headers() -> Vec<Vec<u8>> {
    let v2 = |command: u8, family: u8, rest: &[u8]| {
        [V2, &[command, family, 0, u8::try_from(rest.len()).unwrap()], rest].concat()
    };
    vec![
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4660 80\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 4660 80\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 4660 80\r\n".to_vec(),
        v2(0x21, 0x11, &[192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0, 80]),
        v2(0x21, 0x21, &[7; 36]),
        v2(0x21, 0x21, &[7; 136]),
        v2(0x20, 0x00, &[]),
    ]
}

/// The request of a handshake.
fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    http::send(&mut bytes, "GET", &Way::Polling4.target("polling"), &[], b"");
    bytes
}

#[test]
fn a_header_of_either_version_comes_before_http() {
    let daemon = start("['127.0.0.1']", &[]);
    for header in headers() {
        let mut stream = http::connect(daemon.address);
        stream.write_all(&[header.clone(), request()].concat()).unwrap();
        assert_eq!(http::receive(&mut stream).status, 200, "{header:?}");
        let mut stream = http::connect(daemon.address);
        for byte in [header, request()].concat() {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(http::receive(&mut stream).status, 200);
    }
    assert!(daemon.metric(FAILED).abs() < 0.5);
}

#[test]
fn tls_comes_behind_the_header() {
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let tls = files.arguments(false);
    let daemon = start("['127.0.0.0/8']", &tls.iter().map(String::as_str).collect::<Vec<_>>());
    let client = TlsClient::new(&VERSIONS, &authority, None);
    for header in headers() {
        let mut stream = http::connect(daemon.address);
        stream.write_all(&header).unwrap();
        let mut stream = client.over(stream).unwrap();
        assert_eq!(http::get_over(&mut stream, &Way::Polling4.target("polling")).status, 200);
    }
    assert!(client.connect(daemon.address).is_err(), "no header");
    daemon.await_metric(FAILED, 1.0);
}

/// A tunnel from `source`, which sends `header` first.
fn tunnel(source: &str, header: &'static [u8], address: SocketAddr) -> Tunnel {
    let source: SocketAddr = source.parse().unwrap();
    Tunnel::open(move || async move {
        let socket = TcpSocket::new_v4()?;
        socket.bind(source)?;
        let mut stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(header).await?;
        Ok(stream)
    })
}

#[test]
fn clients_of_every_kind_come_through_a_proxy_and_past_it() {
    let daemon = start("['127.0.0.2']", &[]);
    let proxied = tunnel("127.0.0.2:0", b"PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\n", daemon.address);
    for address in [proxied.address, daemon.address] {
        for way in Way::ALL {
            Client::connect(address, way).assert_silence();
        }
    }
}

#[test]
fn a_peer_that_is_not_trusted_cannot_forge_a_header() {
    let daemon = start("['10.0.0.0/8', 'unix']", &[]);
    for header in headers() {
        let mut stream = http::connect(daemon.address);
        stream.write_all(&[header.clone(), request()].concat()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{header:?}");
    }
    assert_eq!(http::get(daemon.address, &Way::Polling4.target("polling")).status, 200);
    assert!(daemon.metric(FAILED).abs() < 0.5, "it was not asked for one");
}

#[test]
fn a_proxy_that_sends_no_header_or_a_wrong_one_is_closed_in_time_and_counted() {
    let daemon = start("['127.0.0.1']", &["--set", "limits.header_timeout=500ms"]);
    let proxied = tunnel("127.0.0.1:0", b"PROXY UNKNOWN\r\n", daemon.address);
    let mut bystander = Client::connect(proxied.address, Way::WebSocket4);
    let cases: [&[u8]; 9] = [
        b"",
        b"PROXY",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4660 80",
        &[V2, &[0x21, 0x11, 0, 12, 192]].concat(),
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 nowhere 4660 80\r\n",
        &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
        &[V2, &[0x21, 0x11, 0xff, 0xff]].concat(),
        &[V2, &[0x31, 0x11, 0, 0]].concat(),
    ];
    let began = Instant::now();
    let mut peers = cases.map(|bytes| {
        let mut peer = http::connect(daemon.address);
        peer.write_all(bytes).unwrap();
        peer
    });
    bystander.assert_silence();
    for peer in &mut peers {
        let mut answer = Vec::new();
        // What nobody has read makes the end a reset.
        let _ = peer.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
    assert!(began.elapsed() >= Duration::from_millis(500) && began.elapsed() < DEADLINE / 2);
    daemon.await_metric(FAILED, 9.0);
    bystander.assert_silence();
}

#[test]
fn the_header_and_the_handshake_behind_it_have_one_deadline() {
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let tls = files.arguments(false);
    let mut more: Vec<_> = tls.iter().map(String::as_str).collect();
    more.extend(["--set", "limits.header_timeout=500ms"]);
    let daemon = start("['127.0.0.1']", &more);
    let mut peer = http::connect(daemon.address);
    peer.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    daemon.await_metric("humble_broker_connections_refused_total{reason=\"tls_handshake\"}", 1.0);
}

#[test]
fn peers_of_the_unix_socket_are_trusted_if_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let setting = format!("server.unix_socket={}", path.display());
    for (proxies, trusted) in [("['unix']", true), ("['0.0.0.0/0', '::/0']", false)] {
        let _daemon = start(proxies, &["--set", &setting]);
        for (header, accepted) in
            [(&b"PROXY TCP4 192.0.2.1 192.0.2.2 4660 80\r\n"[..], trusted), (b"", !trusted)]
        {
            let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&[header, &request()].concat()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(answer.starts_with(b"HTTP/1.1 200"), accepted, "{proxies}: {header:?}");
        }
    }
}

#[test]
fn the_health_check_of_a_trusted_machine_says_that_it_asks_for_itself() {
    for proxies in ["['127.0.0.1']", "['10.0.0.0/8']"] {
        let setting = format!("server.trusted_proxies={proxies}");
        let arguments = ["--set", &setting, "--set", "server.proxy_protocol=true"];
        let daemon = Daemon::start(&arguments);
        let port = daemon.address.port().to_string();
        let asked = command()
            .args(["--healthcheck", "--host", "127.0.0.1", "--port", &port])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    }
}

#[test]
fn forwarded_addresses_of_any_form_are_taken_without_harm() {
    let daemon = Daemon::start(&["--set", "server.trusted_proxies=['127.0.0.1']"]);
    for value in ["192.0.2.1", "192.0.2.1, 127.0.0.1", "unknown", "", ",,,", "[::1]:80, \u{e9}"] {
        let headers = [("x-forwarded-for", value)];
        let response = http::request(daemon.address, "GET", &Way::Polling4.target("polling"), &headers, b"");
        assert_eq!(response.status, 200, "{value}");
    }
}
