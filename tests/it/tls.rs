//! TLS: handshakes, certificates of both sides, and new ones while clients are connected.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::http;
use crate::support::tls::Authority;
use crate::support::tls::Files;
use crate::support::tls::Identity;
use crate::support::tls::TlsClient;
use crate::support::tls::VERSIONS;

const FAILED: &str = "humble_broker_connections_refused_total{reason=\"tls_handshake\"}";

/// A daemon that speaks TLS, and the metrics apart from it.
fn start(files: &Files, client_ca: bool, more: &[&str]) -> Daemon {
    let arguments = files.arguments(client_ca);
    let mut arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--admin-listen", "127.0.0.1:0"]);
    arguments.extend(more);
    Daemon::start(&arguments)
}

/// The certificate that a daemon shows.
fn shown(client: &TlsClient, daemon: &Daemon) -> Vec<u8> {
    let stream = client.connect(daemon.address).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn clients_of_every_kind_talk_over_both_versions_of_tls() {
    let authority = Authority::new();
    let daemon = start(&Files::of(&authority.issue()), false, &[]);
    let tunnels = VERSIONS.map(|version| {
        let client = TlsClient::new(&[version], &authority, None);
        let stream = client.connect(daemon.address).unwrap();
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
        client.tunnel(daemon.address)
    });
    let mut clients: Vec<_> =
        tunnels.iter().flat_map(|tunnel| Way::ALL.map(|way| Client::connect(tunnel.address, way))).collect();
    for client in &mut clients {
        client.subscribe("\"r\"");
    }
    let large = "x".repeat(200_000);
    let mut publisher = Client::connect(tunnels[0].address, Way::Upgrade4);
    for n in 0..20 {
        assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",[{n},\"{large}\"]]")), "[]");
    }
    for client in &mut clients {
        for n in 0..20 {
            client.expect(&format!("[\"data\",\"r\",[{n},\"{large}\"]]"));
        }
    }
    assert!(daemon.metric("humble_broker_sent_bytes_total") > 12.0 * 20.0 * 200_000.0);
}

#[test]
fn what_waits_for_a_slow_reader_comes_without_a_further_event() {
    let authority = Authority::new();
    let daemon = start(&Files::of(&authority.issue()), false, &["--set", "limits.send_queue=64 MB"]);
    let tunnel = TlsClient::new(&VERSIONS, &authority, None).tunnel(daemon.address);
    let message = "x".repeat(900_000);
    for way in [Way::WebSocket4, Way::Polling4] {
        let mut reader = Client::connect(tunnel.address, way);
        reader.subscribe("\"r\"");
        let mut publisher = Client::connect(tunnel.address, Way::WebSocket4);
        for _ in 0..30 {
            assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",\"{message}\"]")), "[]");
        }
        for _ in 0..30 {
            reader.expect(&format!("[\"data\",\"r\",\"{message}\"]"));
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_given_up_over_tls_too() {
    let authority = Authority::new();
    let more = ["--set", "limits.write_stall=1s", "--set", "limits.send_queue=200 MB"];
    let daemon = start(&Files::of(&authority.issue()), false, &more);
    let client = TlsClient::new(&VERSIONS, &authority, None);
    let tunnel = client.tunnel(daemon.address);
    let mut stalled = Client::connect(tunnel.address, Way::WebSocket4);
    stalled.subscribe("\"r\"");
    let mut publisher = Client::connect(tunnel.address, Way::WebSocket4);
    let message = "x".repeat(900_000);
    for _ in 0..40 {
        assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",\"{message}\"]")), "[]");
    }
    daemon.await_metric("humble_broker_rooms", 0.0);
    publisher.assert_silence();
    // Its queue and its stream are given up at the same age: either may be noticed first.
    let began = Instant::now();
    let gone = |reason| daemon.metric(&format!("humble_broker_disconnections_total{{reason=\"{reason}\"}}"));
    while gone("slow_consumer") + gone("write_stalled") < 0.5 {
        assert!(began.elapsed() < DEADLINE, "{}", daemon.log());
    }
}

#[test]
fn http_1_1_is_the_only_protocol_that_is_agreed_on() {
    let authority = Authority::new();
    let daemon = start(&Files::of(&authority.issue()), false, &[]);
    for version in VERSIONS {
        let client = TlsClient::new(&[version], &authority, None);
        for (offered, agreed) in
            [(vec![], None), (vec!["http/1.1"], Some("http/1.1")), (vec!["h2", "http/1.1"], Some("http/1.1"))]
        {
            let mut stream = client.clone().offering(&offered).connect(daemon.address).unwrap();
            assert_eq!(stream.conn.alpn_protocol(), agreed.map(str::as_bytes));
            let response = http::get_over(&mut stream, &Way::Polling4.target("polling"));
            assert_eq!(response.status, 200);
        }
        let error = client.offering(&["h2"]).connect(daemon.address).unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    }
    daemon.await_metric(FAILED, 2.0);
}

#[test]
fn a_client_certificate_is_welcome_and_a_foreign_one_is_not() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.issue());
    files.write("client_ca", &clients.pem);
    let daemon = start(&files, true, &[]);
    let (own, foreign) = (clients.issue(), Authority::new().issue());
    for version in VERSIONS {
        let answer = |own: Option<&Identity>| {
            let mut stream = TlsClient::new(&[version], &authority, own).connect(daemon.address)?;
            http::send(&mut stream, "GET", &Way::Polling4.target("polling"), &[], b"");
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        };
        for own in [None, Some(&own)] {
            assert!(answer(own).unwrap().starts_with("HTTP/1.1 200 "));
        }
        assert!(answer(Some(&foreign)).is_err());
    }
    daemon.await_metric(FAILED, 2.0);
}

#[test]
fn a_reload_changes_the_certificate_and_leaves_old_connections_alone() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (first, second) = (authority.issue(), authority.issue());
    let files = Files::of(&first);
    files.write("client_ca", &authority.pem);
    let daemon = start(&files, true, &[]);
    let client = TlsClient::new(&VERSIONS, &authority, None);
    let tunnel = client.tunnel(daemon.address);
    let mut old = Client::connect(tunnel.address, Way::WebSocket4);
    old.subscribe("\"r\"");
    assert_eq!(shown(&client, &daemon), first.der().to_vec());

    files.replace(&second);
    files.write("client_ca", &clients.pem);
    assert_eq!(shown(&client, &daemon), first.der().to_vec(), "nobody has asked for a reload");
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("reloaded ");
    assert_eq!(shown(&client, &daemon), second.der().to_vec());
    // The new authority counts too.
    let known = TlsClient::new(&VERSIONS, &authority, Some(&clients.issue()));
    let response =
        http::get_over(&mut known.connect(daemon.address).unwrap(), &Way::Polling4.target("polling"));
    assert_eq!(response.status, 200);

    let mut new = Client::connect(tunnel.address, Way::Upgrade4);
    assert_eq!(new.ask("[\"publish\",\"r\",1]"), "[]");
    old.expect("[\"data\",\"r\",1]");
    old.assert_silence();
}

#[test]
fn a_reload_of_files_that_cannot_be_used_keeps_the_old_credentials() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(), authority.issue());
    let files = Files::of(&first);
    let daemon = start(&files, false, &[]);
    let client = TlsClient::new(&VERSIONS, &authority, None);
    let tunnel = client.tunnel(daemon.address);
    let mut old = Client::connect(tunnel.address, Way::WebSocket4);

    files.write("key", &second.key);
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("what was in force stays in force: server.tls.key: cannot use ");
    assert_eq!(shown(&client, &daemon), first.der().to_vec());
    fs::remove_file(files.path("certificate")).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("what was in force stays in force: server.tls.certificate: cannot read ");
    assert_eq!(shown(&client, &daemon), first.der().to_vec());
    old.assert_silence();
    assert_eq!(daemon.log().matches("ERROR").count(), 2, "{}", daemon.log());

    files.replace(&second);
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("reloaded ");
    assert_eq!(shown(&client, &daemon), second.der().to_vec());
}

#[test]
fn a_peer_that_does_not_get_through_the_handshake_is_closed_in_time() {
    let authority = Authority::new();
    let daemon = start(&Files::of(&authority.issue()), false, &["--set", "limits.header_timeout=500ms"]);
    let tunnel = TlsClient::new(&VERSIONS, &authority, None).tunnel(daemon.address);
    let mut bystander = Client::connect(tunnel.address, Way::WebSocket4);
    let began = Instant::now();
    let mut peers: Vec<_> = [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ]
    .map(|bytes| {
        let mut peer = http::connect(daemon.address);
        peer.write_all(bytes).unwrap();
        peer
    })
    .into();
    bystander.assert_silence();
    for peer in &mut peers {
        let mut answer = Vec::new();
        // At the end of its time the connection may be reset, as it has sent what nobody read.
        let _ = peer.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert!(began.elapsed() >= Duration::from_millis(500) && began.elapsed() < DEADLINE / 2);
    daemon.await_metric(FAILED, 4.0);
    bystander.assert_silence();
}

#[test]
fn a_daemon_that_ends_does_not_wait_for_a_handshake() {
    let authority = Authority::new();
    let mut daemon = start(&Files::of(&authority.issue()), false, &["--set", "limits.header_timeout=10m"]);
    let mut silent = http::connect(daemon.address);
    let client = TlsClient::new(&VERSIONS, &authority, None);
    assert!(client.connect(daemon.address).is_ok(), "the silent one has been accepted before");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_is_listened_on() {
    let authority = Authority::new();
    let good = authority.issue();
    let files = Files::of(&good);
    files.write("client_ca", &authority.pem);
    files.write("empty", "");
    files.write("words", "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n");
    files.write("cut", good.certificate.split("-----END").next().unwrap());
    files.write("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.write("other", &authority.issue().key);
    files.write("encrypted", &good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    files.write("broken", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let path = |name| files.path(name);
    for (key, name, reason) in [
        ("certificate", "missing", "cannot read {}: there is no such file"),
        ("certificate", "", "cannot use {}: it is not a regular file"),
        ("certificate", "empty", "cannot use {}: it has no certificate"),
        ("certificate", "key", "cannot use {}: it has no certificate"),
        ("certificate", "words", "cannot use {}: it is not PEM"),
        ("certificate", "cut", "cannot use {}: it ends before one of its parts does"),
        ("certificate", "nonsense", "cannot use {}: "),
        ("key", "missing", "cannot read {}: there is no such file"),
        ("key", "certificate", "cannot use {}: it has no private key that is not encrypted"),
        ("key", "encrypted", "cannot use {}: it has no private key that is not encrypted"),
        ("key", "broken", "cannot use {}: "),
        ("key", "other", "cannot use {}: it is not the key of the certificate in "),
        ("client_ca", "missing", "cannot read {}: there is no such file"),
        ("client_ca", "empty", "cannot use {}: it has no certificate"),
        ("client_ca", "nonsense", "cannot use {}: "),
    ] {
        let setting = format!("server.tls.{key}={}", path(name));
        for action in [None, Some("--check-config")] {
            // Nobody has this address: whoever listens before it reads ends with 69.
            let output = command()
                .args(["--host", "192.0.2.1", "--port", "0", "--log-level", "off"])
                .args(files.arguments(true))
                .args(["--set", &setting])
                .args(action)
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{setting}: {error}");
            let expected =
                format!("socketio-humble-broker: server.tls.{key}: {}", reason.replace("{}", &path(name)));
            assert!(error.starts_with(&expected), "{setting}: {error}");
            assert_eq!(error.lines().count(), 1, "{setting}: {error}");
        }
    }
    let checked = command().arg("--check-config").args(files.arguments(true)).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn the_health_check_asks_over_tls() {
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let arguments = files.arguments(false);
    let daemon = Daemon::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let check = |arguments: &[String]| {
        let port = daemon.address.port().to_string();
        command()
            .args(["--healthcheck", "--host", "127.0.0.1", "--port", &port])
            .args(arguments)
            .output()
            .unwrap()
    };
    let asked = check(&arguments);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    assert!(asked.stderr.is_empty());
    assert_eq!(check(&[]).status.code(), Some(1), "a check that does not know of TLS");
}

#[test]
fn one_address_does_not_take_all_places_with_handshakes_that_do_not_go_on() {
    let authority = Authority::new();
    let more = [
        "--set",
        "limits.connections=20",
        "--set",
        "limits.connections_per_ip=1",
        "--set",
        "limits.header_timeout=1h",
        "--set",
        "server.trusted_proxies=['127.0.0.1']",
        "--set",
        "server.proxy_protocol=true",
    ];
    let daemon = start(&Files::of(&authority.issue()), false, &more);
    let client = TlsClient::new(&VERSIONS, &authority, None);
    let open = |address: &str| {
        let mut stream = http::connect(daemon.address);
        let header = format!("PROXY TCP4 {address} 192.0.2.255 4711 443\r\n");
        stream.write_all(header.as_bytes()).map(|()| stream)
    };
    let silent: Vec<_> = (0..40).map(|_| open("192.0.2.1").unwrap()).collect();
    let began = Instant::now();
    let polling = Way::Polling4.target("polling");
    // Until it is known whose they are, and until those that are refused have been told so, they are there.
    let answer = || {
        let mut stream = client.over(open("192.0.2.2").ok()?).ok()?;
        Some(http::get_over(&mut stream, &polling).status)
    };
    while answer() != Some(200) {
        assert!(began.elapsed() < DEADLINE, "no place for another address");
    }
    drop(silent);
}

#[test]
fn credentials_of_a_service_are_where_its_manager_says() {
    let authority = Authority::new();
    let identity = authority.issue();
    let files = Files::of(&identity);
    files.write("client_ca", &authority.issue().certificate);
    let folder = files.path("certificate").replace("/certificate", "");
    let forms = [("certificate", "$CREDENTIALS_DIRECTORY"), ("key", "${CREDENTIALS_DIRECTORY}")];
    let settings: Vec<_> = [forms[0], forms[1], ("client_ca", "$CREDENTIALS_DIRECTORY")]
        .into_iter()
        .flat_map(|(name, form)| ["--set".to_owned(), format!("server.tls.{name}={form}/{name}")])
        .collect();
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let daemon = Daemon::start_after(&format!("export CREDENTIALS_DIRECTORY={folder}"), &settings);
    assert_eq!(shown(&TlsClient::new(&VERSIONS, &authority, None), &daemon), identity.der().to_vec());
    let check = || {
        let mut check = command();
        check.arg("--check-config").args(&settings);
        check
    };
    assert!(check().env("CREDENTIALS_DIRECTORY", &folder).output().unwrap().status.success());
    let output = check().env_remove("CREDENTIALS_DIRECTORY").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    let expected = "cannot read $CREDENTIALS_DIRECTORY/client_ca: $CREDENTIALS_DIRECTORY is not set; it is set for a \
                    service whose unit says `LoadCredential=`\n";
    assert_eq!(error, format!("socketio-humble-broker: server.tls.client_ca: {expected}"));
    let output = check().arg("--set=server.tls.key=$HOME/key").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(
        error.contains("--set server.tls.key: `$HOME/key` is not the path of a file; write a path"),
        "{error}"
    );
}
