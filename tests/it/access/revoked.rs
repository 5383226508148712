//! Other rules while clients are there: who is no longer allowed goes, and nobody keeps what it may not.

use aws_lc_rs::digest;
use humble_broker::protocol::Generation;

use super::refusal;
use crate::support::Client;
use crate::support::Reloading;
use crate::support::Way;
use crate::support::http;

const REVOKED: &str = "humble_broker_disconnections_total{reason=\"revoked\"}";
const UNAUTHORIZED: &str = "humble_broker_connections_refused_total{reason=\"unauthorized\"}";
const FORBIDDEN: &str = "humble_broker_events_total{event=\"subscribe\",outcome=\"forbidden\"}";

pub(super) const ROLES: &str = r#"
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
pub(super) fn tokens(tokens: &[(&str, &str)]) -> String {
    let entry = |(token, role): &(&str, &str)| {
        format!("[[access.tokens]]\ntoken_sha256 = '{}'\nrole = '{role}'\n", sha256(token))
    };
    tokens.iter().map(entry).collect()
}

/// The SHA-256 of `token`, as it is written.
pub(super) fn sha256(token: &str) -> String {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    hash.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
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
        let enter = |token| {
            let mut client = Client::connect_as(address, way, token).unwrap();
            client.subscribe("\"news.a\"");
            client.subscribe("\"public\"");
            client
        };
        let mut alphas = [enter("alpha"), enter("alpha")];
        let mut betas = [enter("beta"), enter("beta")];
        let mut writer = Client::connect_as(address, way, "gamma").unwrap();
        let report = node.load(&one);
        assert!(report.ends_with("; 2 clients are no longer allowed, and disconnected\n"), "{report}");
        assert_eq!(writer.ask("[\"publish\",\"news.a\",1]"), "[]");
        for alpha in &mut alphas {
            alpha.await_end();
        }
        for beta in &mut betas {
            beta.expect("[\"data\",\"news.a\",1]");
            beta.assert_silence();
        }
        node.daemon.await_metric(REVOKED, 2.0);
        node.daemon.await_metric("humble_broker_subscriptions", 4.0);
        let expected = match way.generation() {
            Generation::V3 => "44\"unauthorized\"",
            Generation::V4 => "44{\"message\":\"unauthorized\"}",
        };
        assert_eq!(told(Client::connect_as(address, way, "alpha")), expected);
        node.daemon.await_metric(UNAUTHORIZED, 1.0);
        // And back again.
        node.load(&both);
        Client::connect_as(address, way, "alpha").unwrap().subscribe("\"news.a\"");
        betas[0].assert_silence();
    }
}

#[test]
fn who_is_revoked_between_its_polls_gets_nothing_of_what_comes_later() {
    let both = tokens(&[("alpha", "reader"), ("gamma", "writer")]) + ROLES;
    for (way, upgrades) in [(Way::Polling3, false), (Way::Polling4, false), (Way::Polling4, true)] {
        let node = Reloading::start(&both);
        let mut alpha = Client::connect_as(node.daemon.address, way, "alpha").unwrap();
        let mut writer = Client::connect_as(node.daemon.address, Way::WebSocket4, "gamma").unwrap();
        assert_eq!(writer.ask("[\"broadcast\",\"before\"]"), "[]");
        node.load(&(tokens(&[("gamma", "writer")]) + ROLES));
        assert_eq!(writer.ask("[\"broadcast\",\"after\"]"), "[]");
        if upgrades {
            alpha.upgrade();
            alpha.expect("[\"broadcast\",\"before\"]");
        } else {
            let polled = http::get(node.daemon.address, &alpha.polling_target()).text();
            assert!(polled.contains("before") && !polled.contains("after"), "{way:?}: {polled}");
        }
        alpha.await_end();
    }
}

#[test]
fn who_is_revoked_and_does_not_poll_any_more_takes_up_no_place_for_long() {
    // A client can send heartbeats and not poll. This one is not asked for any.
    let text = |those: &[_]| format!("{}{ROLES}\n[socketio]\nping_timeout = '10m'", tokens(those));
    let node = Reloading::start(&text(&[("alpha", "reader"), ("beta", "reader")]));
    let enter = |token| Client::connect_as(node.daemon.address, Way::Polling4, token).unwrap();
    let (_alpha, mut beta) = (enter("alpha"), enter("beta"));
    node.load(&text(&[("beta", "reader")]));
    node.daemon.await_metric("humble_broker_connections{transport=\"polling\",protocol=\"4\"}", 1.0);
    node.daemon.await_metric(REVOKED, 1.0);
    beta.subscribe("\"news.a\"");
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
        node.daemon.await_metric(FORBIDDEN, forbidden + 1.0);
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
        assert!(node.daemon.metric(REVOKED) - gone < 0.5, "nobody had to go");
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
        node.daemon.await_metric("humble_broker_subscriptions", 1.0);
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
        node.daemon.await_metric(REVOKED, 1.0);
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
        (
            format!("[[access.tokens]]\ntoken_file = '{}'\nrole = 'writer'\n{good}", file("token")),
            "is that of another role too",
        ),
        (good.replace("role = 'reader'", "role = 'nobody'"), "there is no such role"),
        (good.replace("\"news.*\"", "\"news.{\""), "is not a pattern"),
        (good.replace("token_file", "token"), "unknown key, expected one of `token_file`"),
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
    let report = node.load(&good);
    assert!(report.contains("no key has changed; 1 client is no longer allowed"), "{report}");
    reader.await_end();
    Client::connect_as(node.daemon.address, Way::WebSocket4, "beta-beta-beta-beta").unwrap();
}
