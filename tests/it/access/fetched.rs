//! Keys that are fetched: others when there are others, and the old ones while there is no getting any.

use std::time::Duration;
use std::time::Instant;

use jsonwebtoken::Algorithm::ES256;
use serde_json::json;
use tempfile::TempDir;

use super::key_server::Answer;
use super::key_server::KeyServer;
use super::signer::AUDIENCE;
use super::signer::ISSUER;
use super::signer::Signer;
use super::signer::claims;
use super::signer::set;
use super::signer::short_rsa;
use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Reloading;
use crate::support::Way;
use crate::support::tls::Authority;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

const FETCHED: &str = "the keys of access.jwt.jwks_url have been fetched";
const FAILED: &str = "cannot fetch the keys of access.jwt.jwks_url: ";
const UNUSABLE: &str = "not all keys of access.jwt.jwks_url can be used: ";
const NO_KEYS: &str = "humble_broker_connections_refused_total{reason=\"no_keys\"}";

/// A broker that fetches its keys from a server of ours, whose authority it trusts.
struct Fetching {
    node: Reloading,
    authority: Authority,
    server: KeyServer,
    _folder: TempDir,
}

impl Fetching {
    fn start(answer: Answer) -> Self {
        let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
        let trusted = folder.path().join("trusted.pem");
        std::fs::write(&trusted, &authority.pem).unwrap();
        let server = KeyServer::start(&authority.issue(), answer);
        let prologue = format!("export SSL_CERT_FILE='{}'", trusted.display());
        let node = Reloading::start_after(&prologue, &rules(&server.url(), 30), &[]);
        Self { node, authority, server, _folder: folder }
    }

    /// Has it fetch the keys now: other rules of tokens are a reason to, and nothing else but time is.
    fn fetch(&self, leeway: usize) {
        self.node.load(&rules(&self.server.url(), leeway));
    }

    fn connect(&self, token: &str) -> Result<Client, String> {
        Client::connect_as(self.node.daemon.address, Way::WebSocket4, token)
    }

    /// Waits until it has logged `text` this many times.
    fn await_log(&self, text: &str, times: usize) {
        let began = Instant::now();
        while self.node.daemon.log().matches(text).count() < times {
            assert!(began.elapsed() < DEADLINE, "`{text}` is not in the log {times} times");
            std::thread::yield_now();
        }
    }
}

fn rules(url: &str, leeway: usize) -> String {
    format!(
        "[access]\nanonymous = 'guest'\n\
         [access.jwt]\nalgorithms = ['ES256']\njwks_url = '{url}'\nleeway = '{leeway}s'\n\
         issuer = '{ISSUER}'\naudience = '{AUDIENCE}'\n\
         [access.roles.guest]\nsubscribe = {{ allow = ['public'] }}\n\
         [access.roles.user]\nsubscribe = {{ allow = ['*'] }}\n"
    )
}

#[test]
fn keys_are_fetched_at_the_start_and_tokens_that_name_another_do_not_make_it_ask_on_and_on() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let first = set(&[old.jwk(ES256, "old")]);
    let both = set(&[old.jwk(ES256, "old"), new.jwk(ES256, "new")]);
    let broker = Fetching::start(Answer::Keys(first));
    broker.await_log(FETCHED, 1);
    let good = claims(&json!({}));
    let (by_old, by_new) = (old.sign_as(ES256, "old", &good), new.sign_as(ES256, "new", &good));
    let mut client = broker.connect(&by_old).unwrap();
    client.subscribe("\"a\"");

    broker.server.answer(Answer::Keys(both));
    for _ in 0..3 {
        let told = broker.connect(&by_new).err();
        assert_eq!(told.as_deref(), Some("44{\"message\":\"unauthorized\"}"));
    }
    assert_eq!(broker.server.asked(), 1, "a minute has not passed");
    broker.fetch(31);
    broker.await_log(FETCHED, 2);
    broker.connect(&by_new).unwrap();
    // Who is there stays there, in its rooms.
    client.assert_silence();
    assert_eq!(client.ask("[\"subscribe\",\"a\"]"), "[]");

    // A key that has been withdrawn is no longer valid for those either who are there.
    let mut other = broker.connect(&by_new).unwrap();
    broker.server.answer(Answer::Keys(set(&[new.jwk(ES256, "new")])));
    broker.fetch(32);
    client.await_end();
    broker.await_log(FETCHED, 3);
    other.assert_silence();
    assert_eq!(broker.connect(&by_old).err().as_deref(), Some("44{\"message\":\"unauthorized\"}"));
    assert_eq!(broker.server.asked(), 3);
}

#[test]
fn the_old_keys_stay_in_force_however_fetching_fails() {
    let signer = Signer::p256();
    let keys = set(&[signer.jwk(ES256, "key")]);
    let broker = Fetching::start(Answer::Keys(keys.clone()));
    broker.await_log(FETCHED, 1);
    let elsewhere = KeyServer::start(&broker.authority.issue(), Answer::Keys(keys.clone()));
    let token = signer.sign_as(ES256, "key", &claims(&json!({})));
    let mut client = broker.connect(&token).unwrap();
    let (good, foreign) = (broker.authority.issue(), Authority::new().issue());
    let ok = |body: &str| Answer::Status("200 OK", body.to_owned());
    let location = format!("302 Found\r\nlocation: {}", elsewhere.url());
    let cases = [
        (
            Answer::Status("500 Internal Server Error", keys.clone()),
            &good,
            "the answer is 500 Internal Server Error",
        ),
        (Answer::Status("404 Not Found", String::new()), &good, "the answer is 404 Not Found"),
        (Answer::Status("204 No Content", String::new()), &good, "the answer is 204 No Content"),
        (Answer::Status(location.leak(), keys.clone()), &good, "the answer is 302 Found"),
        (ok("not a set of keys"), &good, "it is not a set of keys (JWKS); see its line 1, column 2"),
        (ok(""), &good, "it is not a set of keys (JWKS); see its line 1, column 0"),
        (ok("[]"), &good, "it is not a set of keys (JWKS); see its line 1, column "),
        (ok("{\"keys\":{}}"), &good, "it is not a set of keys (JWKS); see its line 1, column "),
        (ok(&format!("{}{keys}", " ".repeat(256 * 1024))), &good, "the answer cannot be read: length limit"),
        (Answer::Endless, &good, "the answer cannot be read: length limit"),
        (Answer::Plain, &good, ""),
        (Answer::Keys(keys.clone()), &foreign, ""),
        (Answer::Silent, &good, "no answer within 5 s"),
        (Answer::Stuck, &good, "no answer within 5 s"),
        (Answer::NoHandshake, &good, "no answer within 5 s"),
    ];
    let (mut leeway, mut failures) = (100, 0);
    for (answer, identity, reason) in cases {
        broker.server.answer(answer);
        broker.server.show(identity);
        let began = Instant::now();
        broker.fetch(leeway);
        failures += 1;
        broker.await_log(FAILED, failures);
        // Nothing is waited for much longer than it says.
        assert!(began.elapsed() < Duration::from_secs(10), "{reason}");
        let log = broker.node.daemon.log();
        let told = log.rsplit(FAILED).next().unwrap().lines().next().unwrap().to_owned();
        assert!(told.starts_with(reason) && !told.is_empty(), "{reason}: {told}");
        client.assert_silence();
        broker.connect(&token).unwrap_or_else(|told| panic!("{reason}: {told}"));

        broker.server.answer(Answer::Keys(keys.clone()));
        broker.server.show(&good);
        broker.fetch(leeway + 1);
        broker.await_log(FETCHED, 1 + failures);
        leeway += 2;
    }
    assert_eq!(elsewhere.asked(), 0, "a redirection has been followed");
}

#[test]
fn a_set_without_keys_takes_them_all_back() {
    let (signer, other) = (Signer::p256(), Signer::ed25519());
    let keys = set(&[signer.jwk(ES256, "key")]);
    let token = signer.sign_as(ES256, "key", &claims(&json!({})));
    let broker = Fetching::start(Answer::Keys(keys.clone()));
    broker.await_log(FETCHED, 1);
    let mut guest = Client::connect(broker.node.daemon.address, Way::WebSocket4);
    let others = set(&[other.jwk(jsonwebtoken::Algorithm::EdDSA, "key")]);
    for (number, without) in [set(&[]), others].into_iter().enumerate() {
        let mut client = broker.connect(&token).unwrap();
        broker.server.answer(Answer::Keys(without));
        broker.fetch(100 + 2 * number);
        client.await_end();
        broker.await_log(&format!("{UNUSABLE}none of its keys is for one of `algorithms`"), 1 + number);
        // Refused for good, as there is nothing to wait for.
        for _ in 0..3 {
            assert_eq!(broker.connect(&token).err().as_deref(), Some("44{\"message\":\"unauthorized\"}"));
        }
        assert_eq!(broker.server.asked(), 2 + 2 * number, "that does not make it ask on and on");
        broker.server.answer(Answer::Keys(keys.clone()));
        broker.fetch(101 + 2 * number);
        broker.await_log(FETCHED, 3 + 2 * number);
        guest.assert_silence();
    }
    broker.connect(&token).unwrap();
}

#[test]
fn a_key_that_is_too_short_is_left_out_and_said_once() {
    let signer = Signer::p256();
    let short = short_rsa("short");
    let broker = Fetching::start(Answer::Keys(set(&[short.clone(), signer.jwk(ES256, "key")])));
    broker.await_log(FETCHED, 1);
    assert!(!broker.node.daemon.log().contains(UNUSABLE), "nobody would use it");
    let rules = |leeway| rules(&broker.server.url(), leeway).replace("['ES256']", "['ES256', 'RS256']");
    broker.node.load(&rules(31));
    broker.await_log(&format!("{UNUSABLE}one of its keys is an RSA key of 1024 bits; "), 1);
    broker.connect(&signer.sign_as(ES256, "key", &claims(&json!({})))).unwrap();
    assert_eq!(broker.node.daemon.log().matches(UNUSABLE).count(), 1);
}

#[test]
fn without_any_keys_who_has_a_token_comes_back_and_everyone_else_comes_in() {
    let signer = Signer::p256();
    let broker = Fetching::start(Answer::Status("503 Service Unavailable", String::new()));
    broker.await_log(FAILED, 1);
    let token = signer.sign_as(ES256, "key", &claims(&json!({})));
    let mut guest = Client::connect(broker.node.daemon.address, Way::WebSocket4);
    guest.subscribe("\"public\"");
    let turned_away = || {
        let mut socket = WebSocket::open(broker.node.daemon.address, &Way::WebSocket4.target("websocket"));
        assert!(socket.text().starts_with('0'));
        socket.send(&format!("40{{\"token\":\"{token}\"}}"));
        // Were it told a word, it would not come back.
        let incoming = socket.next();
        if incoming == Incoming::Close(Some(1001)) {
            return true;
        }
        assert!(matches!(&incoming, Incoming::Text(text) if text.starts_with("40{\"sid\"")), "{incoming:?}");
        false
    };
    assert!(turned_away());
    broker.node.daemon.await_metric(NO_KEYS, 1.0);
    broker.server.answer(Answer::Keys(set(&[signer.jwk(ES256, "key")])));
    let began = Instant::now();
    while turned_away() {
        assert!(began.elapsed() < DEADLINE, "{}", broker.node.daemon.log());
    }
    broker.await_log(FETCHED, 1);
    assert_eq!(broker.node.daemon.log().matches(FAILED).count(), 1, "it is said once");
    guest.assert_silence();
}

#[test]
fn nobody_keeps_what_a_token_has_given_when_there_are_no_keys_at_another_address() {
    let signer = Signer::p256();
    let keys = set(&[signer.jwk(ES256, "key")]);
    let broker = Fetching::start(Answer::Keys(keys.clone()));
    broker.await_log(FETCHED, 1);
    let other = KeyServer::start(&broker.authority.issue(), Answer::Keys(keys));
    let token = signer.sign_as(ES256, "key", &claims(&json!({})));
    let mut guest = Client::connect(broker.node.daemon.address, Way::WebSocket4);
    let mut client = broker.connect(&token).unwrap();
    client.subscribe("\"a\"");
    // The same keys at another address: nobody has to go.
    broker.node.load(&rules(&other.url(), 30));
    broker.await_log(FETCHED, 2);
    client.assert_silence();
    // None at all.
    other.answer(Answer::Status("500 Internal Server Error", String::new()));
    broker.server.answer(Answer::Status("500 Internal Server Error", String::new()));
    broker.node.load(&rules(&broker.server.url(), 30));
    client.await_end();
    guest.assert_silence();
    broker.node.daemon.await_metric("humble_broker_disconnections_total{reason=\"revoked\"}", 1.0);
}
