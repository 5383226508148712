//! HTTP requests that two servers in a row might read differently, and heads that are too much.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;

use humble_broker::protocol::Encoding;

use super::ANY;
use super::Group;
use super::Probe;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Json,
    settings: &[],
    probes: &[
        Probe { name: "a length and chunks at once", ways: ANY, times: 10, act: length_and_chunks },
        Probe { name: "two lengths", ways: ANY, times: 10, act: two_lengths },
        Probe { name: "lengths that are no numbers", ways: ANY, times: 5, act: odd_lengths },
        Probe { name: "chunks in disguise", ways: ANY, times: 5, act: disguised_chunks },
        Probe { name: "bare line feeds", ways: ANY, times: 10, act: bare_line_feeds },
        Probe { name: "folded headers", ways: ANY, times: 10, act: folded },
        Probe { name: "a space before the colon", ways: ANY, times: 10, act: space_before_colon },
        Probe { name: "a body where none is expected", ways: ANY, times: 10, act: body_of_a_get },
        Probe { name: "chunk sizes that overflow", ways: ANY, times: 10, act: chunk_overflow },
        Probe { name: "chunk extensions and trailers", ways: ANY, times: 5, act: chunk_extensions },
        Probe { name: "headers of a megabyte", ways: ANY, times: 5, act: huge_header },
        Probe { name: "a thousand headers", ways: ANY, times: 5, act: many_headers },
        Probe { name: "a query of a megabyte", ways: ANY, times: 5, act: huge_query },
        Probe { name: "control characters in a head", ways: ANY, times: 5, act: control_characters },
        Probe { name: "other protocols", ways: ANY, times: 5, act: other_protocols },
        Probe { name: "methods that nobody needs", ways: ANY, times: 5, act: odd_methods },
        Probe { name: "heads that come byte by byte", ways: ANY, times: 1, act: slow_heads },
        Probe { name: "a thousand requests in a row", ways: ANY, times: 1, act: pipelined },
        Probe { name: "connections that say nothing", ways: ANY, times: 1, act: silent },
        Probe { name: "bodies that are cut off", ways: ANY, times: 10, act: cut_off_bodies },
        Probe { name: "handshakes that are half a WebSocket", ways: ANY, times: 2, act: half_a_websocket },
    ],
};

#[test]
fn requests_that_others_might_misread_are_refused_or_read_as_one() {
    GROUP.run();
}

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
/// What a smuggler would have served: nobody else asks for it, and its answer is unmistakable.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nhost: smuggled\r\n\r\n";

/// Sends `bytes` and returns everything that is answered until the daemon closes the connection: after
/// what it cannot read, after a request that says so, or when nothing comes for a while.
fn exchange(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = http::connect(daemon.address);
    // Who is refused early may see its own sending fail.
    let _ = stream.write_all(bytes);
    read_all(&mut stream)
}

/// The same, for a client that says that it will send no more.
fn exchange_and_stop(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = http::connect(daemon.address);
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        use std::io::ErrorKind::ConnectionReset;
        assert_eq!(error.kind(), ConnectionReset, "the connection must end: {error}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The statuses of all answers in what was received.
fn statuses(answers: &str) -> Vec<u16> {
    let after = answers.split("HTTP/1.").skip(1);
    after.map(|rest| rest[2..5].parse().unwrap()).collect()
}

/// Asserts that a request is refused with one of these statuses, and with nothing else.
fn assert_refused(daemon: &Daemon, bytes: &[u8], allowed: &[u16]) {
    let statuses = statuses(&exchange(daemon, bytes));
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    assert!(statuses.len() == 1 && allowed.contains(&statuses[0]), "{statuses:?} to {start:?}");
}

/// A request to a session that exists, with these headers and this body.
fn to_session(daemon: &Daemon, way: Way, headers: &str, body: &str) -> (Client, Vec<u8>) {
    let client = Client::connect(daemon.address, way);
    let target = client.polling_target();
    (client, format!("POST {target} HTTP/1.1\r\nhost: test\r\n{headers}\r\n{body}").into_bytes())
}

/// Asserts that a request to a session is refused as such, and that nothing behind it is served.
fn assert_not_read(daemon: &Daemon, way: Way, headers: &str, body: &str) {
    let (client, request) = to_session(daemon, way, headers, body);
    assert_refused(daemon, &request, &[400]);
    super::leave(daemon, client);
}

fn length_and_chunks(daemon: &Daemon, way: Way) {
    // RFC 9112, section 6.1: a server may refuse it, or go by the chunks and then close.
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let length = body.len();
    let headers = format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n");
    let (client, request) = to_session(daemon, way, &headers, &body);
    let answers = exchange(daemon, &request);
    assert_eq!(statuses(&answers).len(), 1, "{answers}");
    super::leave(daemon, client);
}

fn two_lengths(daemon: &Daemon, way: Way) {
    let body = format!("3{SMUGGLED}");
    let both = format!("content-length: 1\r\ncontent-length: {}\r\n", body.len());
    assert_not_read(daemon, way, &both, &body);
    assert_not_read(daemon, way, &format!("content-length: 1, {}\r\n", body.len()), &body);
}

fn odd_lengths(daemon: &Daemon, way: Way) {
    for length in ["-1", "+1", "0x1", "1e0", "1 1", "99999999999999999999", "", "one"] {
        assert_not_read(daemon, way, &format!("content-length: {length}\r\n"), "3");
    }
}

fn disguised_chunks(daemon: &Daemon, way: Way) {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    for encoding in ["xchunked", "chunked, identity", "identity", "gzip", "chunked;q=1", "\"chunked\""] {
        assert_not_read(daemon, way, &format!("transfer-encoding: {encoding}\r\n"), &body);
    }
    for header in
        ["transfer-encoding : chunked", "transfer\u{0}encoding: chunked", "transfer-encoding: chu\0nked"]
    {
        assert_not_read(daemon, way, &format!("{header}\r\n"), &body);
    }
    // In HTTP/1.0 there are no chunks.
    let (client, request) = to_session(daemon, way, "transfer-encoding: chunked\r\n", &body);
    let request =
        String::from_utf8(request).unwrap().replace("HTTP/1.1\r\nhost: test", "HTTP/1.0\r\nhost: test");
    assert_refused(daemon, request.as_bytes(), &[400]);
    super::leave(daemon, client);
}

fn bare_line_feeds(daemon: &Daemon, _: Way) {
    // RFC 9112, section 2.2: a server may take a line feed for the end of a line; it is one request.
    let answers = exchange(daemon, b"GET /healthz HTTP/1.1\nhost: test\nconnection: close\n\n");
    assert!([vec![200], vec![400]].contains(&statuses(&answers)), "{answers}");
    // A carriage return alone ends nothing.
    assert_refused(daemon, b"GET /healthz HTTP/1.1\rhost: test\r\r", &[400]);
    assert_refused(daemon, b"GET /healthz HTTP/1.1\r\nhost: te\rst\r\n\r\n", &[400]);
}

fn folded(daemon: &Daemon, way: Way) {
    // RFC 9112, section 5.2.
    for fold in ["x-folded: one\r\n two\r\n", "transfer-encoding:\r\n chunked\r\n", " x-first: 1\r\n"] {
        assert_not_read(daemon, way, &format!("{fold}content-length: 1\r\n"), "3");
    }
}

fn space_before_colon(daemon: &Daemon, way: Way) {
    // RFC 9112, section 5.1.
    for header in ["content-length : 1", "content-length\t: 1", "x y: 1", ": 1", "no colon"] {
        assert_not_read(daemon, way, &format!("{header}\r\n"), "3");
    }
}

fn body_of_a_get(daemon: &Daemon, _: Way) {
    // The body is announced, so what is in it is no request, whether anyone reads it or not.
    for target in ["/healthz", "/nowhere", "/metrics", "/socket.io/?EIO=4&transport=nothing"] {
        let length = SMUGGLED.len();
        let request =
            format!("GET {target} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}");
        // What comes behind the body is a request again, unless the daemon would rather close.
        let last = "GET /last HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        let answers = exchange(daemon, format!("{request}{last}").as_bytes());
        let answered = statuses(&answers);
        assert!(matches!(answered[..], [_] | [_, 404]), "{target}: {answers}");
    }
}

fn chunk_overflow(daemon: &Daemon, way: Way) {
    for size in ["10000000000000000", "fffffffffffffffff", "-1", "0x1", "g", "1 1", ""] {
        let body = format!("{size}\r\n3\r\n0\r\n\r\n");
        let (_client, request) = to_session(daemon, way, "transfer-encoding: chunked\r\n", &body);
        let answers = exchange(daemon, &request);
        let answered = statuses(&answers);
        // The session goes with a body that cannot be read.
        assert!([vec![400], vec![413], vec![]].contains(&answered), "{size}: {answers}");
    }
}

fn chunk_extensions(daemon: &Daemon, way: Way) {
    let (client, request) = to_session(
        daemon,
        way,
        "transfer-encoding: chunked\r\nconnection: close\r\ntrailer: content-length\r\n",
        "1;name=value;other=\"quoted\"\r\n3\r\n0\r\ncontent-length: 999\r\nx-trailer: 1\r\n\r\n",
    );
    assert_refused(daemon, &request, &[200]);
    let extension = "e".repeat(100_000);
    for body in [
        format!("1;{extension}\r\n3\r\n0\r\n\r\n"),
        format!("1\r\n3\r\n0\r\nx-trailer: {extension}\r\n\r\n"),
        format!("1\r\n3\r\n0\r\n{}\r\n", "x-trailer: 1\r\n".repeat(5_000)),
    ] {
        let (_client, request) = to_session(daemon, way, "transfer-encoding: chunked\r\n", &body);
        let answers = exchange(daemon, &request);
        assert!([vec![400], vec![413], vec![]].contains(&statuses(&answers)), "{answers}");
    }
    super::leave(daemon, client);
}

fn huge_header(daemon: &Daemon, _: Way) {
    let value = "v".repeat(1_000_000);
    assert_refused(
        daemon,
        format!("GET {OPEN} HTTP/1.1\r\nhost: test\r\nx: {value}\r\n\r\n").as_bytes(),
        &[431],
    );
    assert_refused(
        daemon,
        format!("GET {OPEN} HTTP/1.1\r\nhost: test\r\n{value}: x\r\n\r\n").as_bytes(),
        &[431],
    );
}

fn many_headers(daemon: &Daemon, _: Way) {
    let headers = "x-header: value\r\n".repeat(1_000);
    assert_refused(daemon, format!("GET {OPEN} HTTP/1.1\r\nhost: test\r\n{headers}\r\n").as_bytes(), &[431]);
}

fn huge_query(daemon: &Daemon, _: Way) {
    let value = "q".repeat(1_000_000);
    for target in [format!("{OPEN}&t={value}"), format!("/{value}"), format!("{OPEN}&sid={value}")] {
        assert_refused(
            daemon,
            format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes(),
            &[414, 431],
        );
    }
}

fn control_characters(daemon: &Daemon, _: Way) {
    for byte in (0..0x20).chain([0x7f]).filter(|byte| ![b'\t', b'\n', b'\r'].contains(byte)) {
        let in_value = [b"GET /healthz HTTP/1.1\r\nhost: test\r\nx: a", &[byte][..], b"b\r\n\r\n"].concat();
        assert_refused(daemon, &in_value, &[400]);
        let in_target = [b"GET /heal", &[byte][..], b"thz HTTP/1.1\r\nhost: test\r\n\r\n"].concat();
        assert_refused(daemon, &in_target, &[400]);
    }
}

fn other_protocols(daemon: &Daemon, _: Way) {
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat();
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        &hello,
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"EHLO mail.example\r\n",
        b"\x05\x01\x00",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nhost: test\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: test\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        &[0; 1_000],
        &[0xff; 1_000],
    ] {
        let answers = exchange(daemon, bytes);
        let answered = statuses(&answers);
        assert!(answered.iter().all(|status| (400..600).contains(status)), "{answers}");
    }
}

fn odd_methods(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let known = client.polling_target();
    let long = "M".repeat(10_000);
    for method in ["TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "PROPFIND", "get", long.as_str()] {
        for target in [OPEN, &known, "/healthz", "/metrics"] {
            let request = format!("{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
            assert_refused(daemon, request.as_bytes(), &[400, 404, 405, 431, 501]);
        }
    }
    super::leave(daemon, client);
}

fn slow_heads(daemon: &Daemon, _: Way) {
    let mut streams: Vec<_> = (0..50).map(|_| http::connect(daemon.address)).collect();
    for byte in b"GET /healthz HTTP/1.1\r\nhost" {
        for stream in &mut streams {
            // Who has run out of time may be gone already.
            let _ = stream.write_all(&[*byte]);
        }
    }
    for stream in &mut streams {
        let answered = statuses(&read_all(stream));
        assert!([vec![], vec![408]].contains(&answered), "{answered:?}");
    }
}

fn silent(daemon: &Daemon, _: Way) {
    let mut streams: Vec<_> = (0..100).map(|_| http::connect(daemon.address)).collect();
    for stream in &mut streams {
        assert_eq!(read_all(stream), "");
    }
}

fn pipelined(daemon: &Daemon, _: Way) {
    let one = "GET /nowhere HTTP/1.1\r\nhost: test\r\n\r\n";
    let last = "GET /nowhere HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answers = exchange(daemon, format!("{}{last}", one.repeat(999)).as_bytes());
    let answered = statuses(&answers);
    assert_eq!((answered.len(), answered.iter().all(|status| *status == 404)), (1_000, true));
}

fn cut_off_bodies(daemon: &Daemon, way: Way) {
    for (headers, body) in [
        ("content-length: 100\r\n", "42[\"publish\",\"bystander\","),
        ("transfer-encoding: chunked\r\n", "20\r\n42[\"publish\",\"bystander\","),
    ] {
        let (client, request) = to_session(daemon, way, headers, body);
        let answered = statuses(&exchange_and_stop(daemon, &request));
        assert!([vec![], vec![400], vec![413]].contains(&answered), "{answered:?}");
        // The session goes with it: nobody knows what else is missing.
        assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
    }
}

fn half_a_websocket(daemon: &Daemon, _: Way) {
    let target = "/socket.io/?EIO=4&transport=websocket";
    let start = format!(
        "GET {target} HTTP/1.1\r\nhost: test\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n"
    );
    for rest in [
        "\r\n",
        "sec-websocket-version: 13\r\n\r\n",
        "sec-websocket-version: 8\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "sec-websocket-version: 13\r\nsec-websocket-key: short\r\n\r\n",
    ] {
        assert_refused(daemon, format!("{start}{rest}").as_bytes(), &[400, 426]);
    }
    // With a body in front of the frames, which a handshake has not.
    let body = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\ncontent-length: 5\r\n\r\nhello";
    let answered = statuses(&exchange(daemon, format!("{start}{body}").as_bytes()));
    assert!([vec![101], vec![400]].contains(&answered), "{answered:?}");
}
