//! What nobody may learn: tokens, from anything that is written; and what is wrong with one, from when it
//! is refused.

use std::time::Duration;
use std::time::Instant;

use jsonwebtoken::Algorithm::HS256;
use serde_json::json;
use tempfile::TempDir;

use super::signer::AUDIENCE;
use super::signer::ISSUER;
use super::signer::Signer;
use super::signer::claims;
use super::signer::from_now;
use crate::support::Client;
use crate::support::Reloading;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::WebSocket;

const REFUSED: &str = "44{\"message\":\"unauthorized\"}";

/// A broker, and a token of each kind: a static one, a signed one, and some that are wrong.
struct Broker {
    node: Reloading,
    good: Vec<String>,
    wrong: Vec<String>,
    _folder: TempDir,
}

fn start(arguments: &[&str]) -> Broker {
    let (folder, signer) = (TempDir::new().unwrap(), Signer::secret(&"hmac-secret".repeat(4)));
    let file = signer.write(folder.path(), "secret");
    let token = folder.path().join("token");
    std::fs::write(&token, "static-token-for-everyone").unwrap();
    let node = Reloading::start_with(
        &format!(
            "[access.jwt]\nalgorithms = ['HS256']\nkey_file = '{file}'\n\
             issuer = '{ISSUER}'\naudience = '{AUDIENCE}'\n\
             [[access.tokens]]\ntoken_file = '{}'\nrole = 'user'\n\
             [access.roles.user]\nsubscribe = {{ allow = ['public.*'] }}\n",
            token.display()
        ),
        arguments,
    );
    let stranger = Signer::secret(&"another-secret".repeat(4));
    Broker {
        node,
        good: vec!["static-token-for-everyone".to_owned(), signer.sign(HS256, &claims(&json!({})))],
        wrong: vec![
            "static-token-of-nobody-here".to_owned(),
            stranger.sign(HS256, &claims(&json!({"sub": "stranger"}))),
            signer.sign(HS256, &claims(&json!({"sub": "late", "exp": from_now(-100.0)}))),
            signer.sign(HS256, &claims(&json!({"sub": "odd", "role": "no-role-of-ours"}))),
            signer.sign_with(HS256, r#"{"alg":"secret-algorithm"}"#, &claims(&json!({}))),
            signer.sign_with(
                HS256,
                r#"{"alg":"HS256","kid":"secret-key-name"}"#,
                &claims(&json!({"exp": "secret-end"})),
            ),
        ],
        _folder: folder,
    }
}

#[test]
fn no_token_is_in_any_log_however_it_is_shown() {
    for format in ["text", "json"] {
        let broker = start(&["--log-level", "trace", "--set", &format!("log.format={format}")]);
        let address = broker.node.daemon.address;
        for (token, is_good) in broker
            .good
            .iter()
            .map(|token| (token, true))
            .chain(broker.wrong.iter().map(|token| (token, false)))
        {
            for way in Way::ALL {
                let outcome = Client::connect_as(address, way, token);
                assert_eq!(outcome.is_ok(), is_good, "{way:?}");
                if let Ok(mut client) = outcome {
                    client.subscribe("\"public.a\"");
                    assert_eq!(super::refusal(&mut client, "[\"subscribe\",\"private\"]"), "forbidden");
                }
            }
            // In the query of the newer generation, in a header, and where none belongs.
            let query = Client::open_with(address, Way::Polling4, &format!("&token={token}")).enter(None);
            assert_eq!(query.is_ok(), is_good);
            let bearer = format!("Bearer {token}");
            for (target, headers) in [
                (Way::Polling3.target("polling"), vec![("authorization", bearer.as_str())]),
                (Way::Polling4.target("polling"), vec![("authorization", &bearer), ("cookie", token)]),
                (format!("{}&sid={token}", Way::Polling4.target("polling")), vec![]),
                (format!("{}&transport={token}", Way::Polling4.target("other")), vec![]),
                (format!("/nowhere?token={token}"), vec![]),
                (format!("/healthz?token={token}"), vec![("authorization", &bearer)]),
                (format!("/metrics?token={token}"), vec![("authorization", &bearer)]),
                (format!("/{token}"), vec![("origin", token)]),
            ] {
                http::request(address, "GET", &target, &headers, b"");
            }
            http::request(address, "POST", &format!("/socket.io/?token={token}"), &[], b"x");
            let _ =
                WebSocket::try_open(address, &format!("/socket.io/?EIO=9&transport=websocket&token={token}"));
            // Where it is a mistake of the client.
            for auth in [
                format!("[\"{token}\"]"),
                format!("{{\"token\":[\"{token}\"]}}"),
                format!("{{\"token\":\"{token}\""),
            ] {
                let mut socket = WebSocket::open(address, &Way::WebSocket4.target("websocket"));
                socket.send(&format!("40{auth}"));
                socket.text();
                socket.next();
            }
        }
        broker.node.load(&std::fs::read_to_string(broker.node.file()).unwrap());
        broker.node.load("");
        let metrics = http::get(broker.node.daemon.admin, "/metrics").text();
        let log = broker.node.daemon.log();
        assert!(log.contains("a client is refused") && log.contains("subscribe refused"), "{log}");
        for token in broker.good.iter().chain(&broker.wrong) {
            // Nor is any part of it: whoever has the signature of a token can guess the rest.
            for part in token.split('.').chain([&token[token.len() - 16..], &token[..16]]) {
                let is_common = part.starts_with("eyJ") && part.len() < 20;
                assert!(is_common || !log.contains(part), "{part} is in the log:\n{log}");
                assert!(is_common || !metrics.contains(part), "{part} is in the metrics");
            }
        }
        for word in ["secret", "no-role-of-ours", "stranger", "eyJ"] {
            let found = log.lines().find(|line| line.contains(word));
            assert_eq!(found, None, "{word}");
        }
    }
}

#[test]
fn a_refusal_comes_as_late_whatever_is_wrong() {
    let broker = start(&[]);
    let address = broker.node.daemon.address;
    let cases: Vec<_> = broker.wrong.iter().map(String::as_str).chain(["", "x"]).collect();
    let mut times = vec![Vec::new(); cases.len() + 1];
    for _ in 0..5 {
        // One after the other, so that what slows the machine down slows all of them down.
        for (token, times) in cases.iter().map(|token| Some(*token)).chain([None]).zip(&mut times) {
            let client = Client::open(address, Way::WebSocket4);
            let began = Instant::now();
            let auth = token.map(|token| json!({ "token": token }).to_string());
            assert_eq!(client.enter(auth.as_deref()).err().as_deref(), Some(REFUSED));
            times.push(began.elapsed());
        }
    }
    let mut medians = Vec::new();
    for times in &mut times {
        times.sort();
        assert!(times[0] >= Duration::from_millis(100), "{times:?}");
        medians.push(times[times.len() / 2]);
    }
    medians.sort();
    let latest = medians[0] + Duration::from_millis(50);
    assert!(medians.iter().all(|median| *median < latest), "{medians:?}");
}
