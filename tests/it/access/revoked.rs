//! Other rules while clients are there: who is no longer allowed goes, and nobody keeps what it may not.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::digest;
use humble_broker::protocol::Generation;
use humble_broker::wire::payload::Packet;

use super::refusal;
use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Reloading;
use crate::support::Way;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

const REVOKED: &str = "humble_broker_disconnections_total{reason=\"revoked\"}";
const UNAUTHORIZED: &str = "humble_broker_connections_refused_total{reason=\"unauthorized\"}";
const FORBIDDEN: &str = "humble_broker_events_total{event=\"subscribe\",outcome=\"forbidden\"}";

const ROLES: &str = r#"
[access.roles.guest]
subscribe = { allow = ["public"] }
[access.roles.reader]
subscribe = { allow = ["news.*", "public"] }
[access.roles.writer]
subscribe = { allow = ["*"] }
publish = { allow = ["*"] }
broadcast = true
"#;

/// These tokens, each with its role.
fn tokens(tokens: &[(&str, &str)]) -> String {
    let hash = |token: &str| -> String {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let entry = |(token, role): &(&str, &str)| {
        format!("[[access.tokens]]\ntoken_sha256 = '{}'\nrole = '{role}'\n", hash(token))
    };
    tokens.iter().map(entry).collect()
}

fn told(refused: Result<Client, String>) -> String {
    refused.err().unwrap_or_else(|| "nothing, as it is let in".to_owned())
}

#[test]
fn of_many_tokens_one_is_revoked_and_only_its_clients_go() {
    let both = tokens(&[("alpha", "reader"), ("beta", "reader"), ("gamma", "writer")]) + ROLES;
    let one = tokens(&[("beta", "reader"), ("gamma", "writer")]) + ROLES;
    for way in Way::ALL {
        let node = Reloading::start(&both);
        let address = node.daemon.address;
        let mut enter = |token| {
            let mut client = Client::connect_as(address, way, token).unwrap();
            client.subscribe("\"news.a\"");
            client.subscribe("\"public\"");
            client
        };
        let mut alphas = [enter("alpha"), enter("alpha")];
        let mut betas = [enter("beta"), enter("beta")];
        let mut writer = Client::connect_as(address, way, "gamma").unwrap();
        node.load(&one);
        assert_eq!(writer.ask("[\"publish\",\"news.a\",1]"), "[]");
        for alpha in &mut alphas {
            alpha.await_end();
        }
        for beta in &mut betas {
            beta.expect("[\"data\",\"news.a\",1]");
            beta.assert_silence();
        }
        assert_eq!(node.daemon.metric(REVOKED), 2.0, "{way:?}");
        assert_eq!(node.daemon.metric("humble_broker_subscriptions"), 4.0, "{way:?}");
        let expected = match way.generation() {
            Generation::V3 => "44\"unauthorized\"",
            Generation::V4 => "44{\"message\":\"unauthorized\"}",
        };
        assert_eq!(told(Client::connect_as(address, way, "alpha")), expected);
        assert_eq!(node.daemon.metric(UNAUTHORIZED), 1.0);
        // And back again.
        node.load(&both);
        Client::connect_as(address, way, "alpha").unwrap().subscribe("\"news.a\"");
        betas[0].assert_silence();
    }
}

#[test]
fn a_pattern_less_means_the_rooms_that_it_has_meant_are_left_and_no_others() {
    let text = tokens(&[("alpha", "reader"), ("gamma", "writer")]) + ROLES;
    let node = Reloading::start(&text);
    for way in [Way::WebSocket4, Way::Polling3] {
        node.load(&text);
        let (gone, forbidden) = (node.daemon.metric(REVOKED), node.daemon.metric(FORBIDDEN));
        let mut reader = Client::connect_as(node.daemon.address, way, "alpha").unwrap();
        let mut writer = Client::connect_as(node.daemon.address, way, "gamma").unwrap();
        for room in ["\"news.a\"", "\"news.b\"", "\"public\""] {
            reader.subscribe(room);
            writer.subscribe(room);
        }
        node.load(&text.replace("\"news.*\", ", "\"news.b\", "));
        for room in ["news.a", "news.b", "public"] {
            assert_eq!(writer.ask(&format!("[\"publish\",\"{room}\",1]")), "[]");
            writer.expect(&format!("[\"data\",\"{room}\",1]"));
        }
        reader.expect("[\"data\",\"news.b\",1]");
        reader.expect("[\"data\",\"public\",1]");
        reader.assert_silence();
        assert_eq!(refusal(&mut reader, "[\"subscribe\",\"news.a\"]"), "forbidden");
        assert_eq!(node.daemon.metric(FORBIDDEN) - forbidden, 1.0);
        // A prohibition does the same, and the token may get another role.
        node.load(&text.replace(
            "\"public\"] }\n[access.roles.writer]",
            "\"public\"], deny = ['*.b'] }\n[access.roles.writer]",
        ));
        assert_eq!(writer.ask("[\"publish\",\"news.b\",2]"), "[]");
        reader.assert_silence();
        node.load(&text.replace("role = 'reader'", "role = 'guest'"));
        assert_eq!(writer.ask("[\"publish\",\"public\",3]"), "[]");
        reader.expect("[\"data\",\"public\",3]");
        assert_eq!(refusal(&mut reader, "[\"subscribe\",\"news.b\"]"), "forbidden");
        // What it has left it is not back in when the rules are as they were.
        node.load(&text);
        assert_eq!(writer.ask("[\"publish\",\"news.a\",4]"), "[]");
        reader.assert_silence();
        assert_eq!(node.daemon.metric(REVOKED) - gone, 0.0, "nobody had to go");
    }
}

#[test]
fn rules_where_there_were_none_hold_for_those_who_are_there_and_none_let_everyone_in_again() {
    let rules = tokens(&[("alpha", "reader")]) + ROLES;
    for way in [Way::WebSocket4, Way::WebSocket3, Way::Polling4] {
        let node = Reloading::start("");
        let address = node.daemon.address;
        let mut nobody = Client::connect(address, way);
        let mut reader = Client::connect_as(address, way, "alpha").unwrap();
        for client in [&mut nobody, &mut reader] {
            client.subscribe("\"news.a\"");
            client.subscribe("\"other\"");
        }
        node.load(&rules);
        nobody.await_end();
        assert_eq!(refusal(&mut reader, "[\"publish\",\"news.a\",1]"), "forbidden");
        assert_eq!(refusal(&mut reader, "[\"subscribe\",\"other\"]"), "forbidden");
        assert_eq!(refusal(&mut reader, "[\"broadcast\",1]"), "forbidden");
        assert_eq!(node.daemon.metric("humble_broker_subscriptions"), 1.0);
        // Whoever shows nothing is a guest now.
        node.load(&format!("access.anonymous = 'guest'\n{rules}"));
        let mut guest = Client::connect(address, way);
        guest.subscribe("\"public\"");
        assert_eq!(refusal(&mut guest, "[\"subscribe\",\"news.a\"]"), "forbidden");

        node.load("");
        for client in [&mut guest, &mut reader] {
            client.subscribe("\"other\"");
            client.subscribe("\"news.a\"");
            assert_eq!(client.ask("[\"publish\",\"nowhere\",1]"), "[]");
        }
        Client::connect(address, way);
        Client::connect_as(address, way, "no-such-token").unwrap();
        assert_eq!(node.daemon.metric(REVOKED), 1.0);
    }
}

#[test]
fn rules_that_cannot_be_used_leave_the_old_ones_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("token"), "alpha-alpha-alpha\n").unwrap();
    std::fs::write(file("short"), "alpha\n").unwrap();
    std::fs::write(file("two"), "alpha-alpha-alpha\nbeta-beta-beta-beta\n").unwrap();
    std::fs::write(file("empty"), "").unwrap();
    let entry =
        |name: &str| format!("[[access.tokens]]\ntoken_file = '{}'\nrole = 'reader'\n{ROLES}", file(name));
    let good = entry("token");
    let node = Reloading::start(&good);
    let mut reader = Client::connect_as(node.daemon.address, Way::WebSocket4, "alpha-alpha-alpha").unwrap();
    reader.subscribe("\"news.a\"");
    let jwt = |line: &str| format!("{good}[access.jwt]\nalgorithms = ['HS256']\n{line}\n");
    let cases = [
        (entry("missing"), "access.tokens.token_file: cannot read "),
        (entry("short"), "does not hold one token of at least 16 characters"),
        (entry("two"), "does not hold one token of at least 16 characters"),
        (entry("empty"), "does not hold one token of at least 16 characters"),
        (good.replace("role = 'reader'", "role = 'nobody'"), "there is no role `nobody`"),
        (good.replace("\"news.*\"", "\"news.{\""), "is not a pattern"),
        (good.replace("token_file", "token"), "unknown key `token`"),
        (jwt(&format!("key_file = '{}'", file("missing"))), "access.jwt.key_file: cannot read "),
        (jwt(&format!("key_file = '{}'", file("token"))), "has at least 32 bytes"),
        (jwt(""), "write one of `key_file`, `jwks_file` and `jwks_url`"),
        ("[access]\n".to_owned(), "nobody could connect"),
    ];
    for (text, reason) in cases {
        let error = node.fail(&text);
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(!error.contains("alpha"), "{error}");
        reader.assert_silence();
        assert_eq!(refusal(&mut reader, "[\"subscribe\",\"other\"]"), "forbidden");
        Client::connect_as(node.daemon.address, Way::WebSocket4, "alpha-alpha-alpha").unwrap();
        assert_eq!(
            told(Client::connect_as(node.daemon.address, Way::WebSocket4, "beta-beta-beta-beta")),
            "44{\"message\":\"unauthorized\"}"
        );
    }
    // The file is read anew, though the configuration has not changed.
    std::fs::write(file("token"), "beta-beta-beta-beta").unwrap();
    node.load(&good);
    reader.await_end();
    Client::connect_as(node.daemon.address, Way::WebSocket4, "beta-beta-beta-beta").unwrap();
}

/// What one client of those that come and go has seen.
#[derive(Default)]
struct Seen {
    open: AtomicUsize,
    secret: AtomicUsize,
    sessions: AtomicUsize,
}

/// Comes, asks for the room again and again, and goes, until it is `over`.
fn come_and_go(address: SocketAddr, token: &str, over: &AtomicBool, seen: &Seen) {
    while !over.load(SeqCst) {
        let mut socket = WebSocket::open(address, &Way::WebSocket4.target("websocket"));
        socket.send(&format!("40{{\"token\":\"{token}\"}}"));
        let mut connected = hear(&mut socket, "40{", seen);
        for id in 0..30 {
            if !connected {
                break;
            }
            socket.send(&format!("42{id}[\"subscribe\",\"room\"]"));
            connected = hear(&mut socket, &format!("43{id}["), seen);
        }
        seen.sessions.fetch_add(1, SeqCst);
    }
}

/// Reads up to an answer; whether there was one.
fn hear(socket: &mut WebSocket, answer: &str, seen: &Seen) -> bool {
    loop {
        match socket.next() {
            Incoming::Text(text) if text.starts_with(answer) => return true,
            Incoming::Text(text) => {
                seen.open.fetch_add(text.matches("open").count(), SeqCst);
                seen.secret.fetch_add(text.matches("secret").count(), SeqCst);
                if text == "2" {
                    socket.send("3");
                }
            }
            _ => return false,
        }
    }
}

#[test]
fn nobody_has_a_right_that_a_reload_has_taken_however_it_comes_and_asks() {
    let may = tokens(&[("alpha", "reader"), ("beta", "beta"), ("gamma", "writer")])
        + &ROLES.replace("\"news.*\"", "\"room\"")
        + "[access.roles.beta]\nsubscribe = { allow = ['*'] }\n";
    // Both ways of losing it: the role of one may not any more, and the other is nobody any more.
    let may_not = tokens(&[("alpha", "reader"), ("gamma", "writer")])
        + ROLES
        + "[access.roles.beta]\nsubscribe = { allow = ['*'] }\n";
    let node = Reloading::start(&may);
    let mut writer = Client::connect_as(node.daemon.address, Way::WebSocket4, "gamma").unwrap();
    let (over, seen, mut rounds) = (AtomicBool::new(false), Seen::default(), 0);
    std::thread::scope(|scope| {
        for token in ["alpha", "beta", "alpha", "beta"] {
            let (address, over, seen) = (node.daemon.address, &over, &seen);
            scope.spawn(move || come_and_go(address, token, over, seen));
        }
        let began = Instant::now();
        let stop = Stop(&over);
        while (began.elapsed() < Duration::from_secs(4) || rounds < 10) && began.elapsed() < DEADLINE {
            node.load(&may_not);
            for n in 0..5 {
                assert_eq!(writer.ask(&format!("[\"publish\",\"room\",\"secret {n}\"]")), "[]");
            }
            assert_eq!(node.daemon.metric("humble_broker_rooms"), 0.0, "somebody is still there");
            node.load(&may);
            node.daemon.await_metric("humble_broker_rooms", 1.0);
            for n in 0..5 {
                assert_eq!(writer.ask(&format!("[\"publish\",\"room\",\"open {n}\"]")), "[]");
            }
            rounds += 1;
        }
        drop(stop);
    });
    let count = |count: &AtomicUsize| count.load(SeqCst);
    assert_eq!(count(&seen.secret), 0, "in {rounds} rounds");
    assert!(
        rounds >= 10 && count(&seen.sessions) > 10,
        "{rounds} rounds, {} sessions",
        count(&seen.sessions)
    );
    assert!(count(&seen.open) > 0, "nobody was ever in the room");
    assert!(!node.daemon.log().contains("panicked"));
}

/// Ends the others, even when this thread panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn clients_of_message_pack_show_their_token_and_hear_the_refusal_in_their_own_form() {
    let text = format!("socketio.parser = 'msgpack'\n{}{ROLES}", tokens(&[("alpha", "reader")]));
    let node = Reloading::start(&text);
    let enter = |way: Way, auth: &[u8]| {
        if way.generation() == Generation::V3 {
            return Client::open_with(node.daemon.address, way, std::str::from_utf8(auth).unwrap());
        }
        let mut client = Client::open(node.daemon.address, way);
        let (fields, data): (&[u8], &[u8]) =
            if auth.is_empty() { (b"\x82", b"") } else { (b"\x83", b"\xa4data") };
        client.send_binary(&[fields, b"\xa4type\x00\xa3nsp\xa1/", data, auth].concat());
        client
    };
    for way in [Way::WebSocket4, Way::Polling4] {
        let mut client = enter(way, b"\x81\xa5token\xa5alpha");
        assert!(client.binary().starts_with(b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xb0"));
        client.send_binary(b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa9subscribe\xa5other\xa2id\x07");
        let answer = client.binary();
        assert!(answer.windows(9).any(|window| window == b"forbidden"), "{answer:x?}");
        for wrong in [
            &b""[..],
            b"\x80",
            b"\xc0",
            b"\x81\xa5token\xa4alph",
            b"\x81\xa5token\xa0",
            b"\x81\xa5token\x07",
            b"\x81\xa5token\xc4\x05alpha",
            b"\x81\xa5token\x91\xa5alpha",
            b"\x82\xa5token\xa5alpha\xa5token\xa5alpha",
            b"\x81\xa5Token\xa5alpha",
            b"\xa5alpha",
            b"\x91\xa5alpha",
        ] {
            let mut client = enter(way, wrong);
            let expected = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x81\xa7message\xacunauthorized";
            assert_eq!(client.packet(), Packet::Binary(expected.to_vec().into()), "{way:?} {wrong:x?}");
            client.await_end();
        }
    }
    for way in [Way::WebSocket3, Way::Polling3] {
        let mut client = enter(way, b"&token=alpha");
        let connected = client.binary();
        assert!(connected.windows(6).any(|window| window == b"\xa4type\x00"), "{connected:x?}");
        for wrong in [&b"&token=beta"[..], b"&token=", b"&other=alpha"] {
            let mut client = enter(way, wrong);
            let expected = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xacunauthorized";
            assert_eq!(client.packet(), Packet::Binary(expected.to_vec().into()), "{way:?} {wrong:x?}");
            client.await_end();
        }
    }
}
