//! Signed tokens: every algorithm with its own keys, and whatever somebody might try instead.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::Algorithm::ES256;
use jsonwebtoken::Algorithm::ES384;
use jsonwebtoken::Algorithm::EdDSA;
use jsonwebtoken::Algorithm::HS256;
use jsonwebtoken::Algorithm::HS384;
use jsonwebtoken::Algorithm::HS512;
use jsonwebtoken::Algorithm::PS256;
use jsonwebtoken::Algorithm::PS384;
use jsonwebtoken::Algorithm::PS512;
use jsonwebtoken::Algorithm::RS256;
use jsonwebtoken::Algorithm::RS384;
use jsonwebtoken::Algorithm::RS512;
use serde_json::json;
use tempfile::TempDir;

use super::signer::AUDIENCE;
use super::signer::ISSUER;
use super::signer::Signer;
use super::signer::claims;
use super::signer::encode;
use super::signer::from_now;
use super::signer::set;
use crate::support::Client;
use crate::support::Reloading;
use crate::support::Way;

const SECRET: &str = "a secret of at least as many bytes as the longest hash, which is 64";

/// What may be done with a valid token.
const ROLES: &str = r#"
[access.roles.user]
subscribe = { allow = ["public.*", "user.{sub}.*"], deny = ["public.internal"] }
publish = { allow = ["user.{sub}.*"] }
"#;

/// A broker that takes tokens, and what it says of those that it refuses.
pub(super) struct Broker {
    node: Reloading,
    refused: usize,
}

impl Broker {
    pub(super) fn start(algorithms: &[Algorithm], keys: &str, more: &str) -> Self {
        Self::start_for_all(algorithms, keys, &format!("audience = '{AUDIENCE}'\n{more}"))
    }

    /// One that is nobody in particular, if `more` does not say who it is.
    pub(super) fn start_for_all(algorithms: &[Algorithm], keys: &str, more: &str) -> Self {
        let text = format!(
            "[access.jwt]\nalgorithms = {:?}\n{keys}\nissuer = '{ISSUER}'\n{more}\n{ROLES}",
            algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect::<Vec<_>>(),
        );
        Self { node: Reloading::start_with(&text, &["--log-level", "debug"]), refused: 0 }
    }

    pub(super) fn accept(&self, what: &str, token: &str) -> Client {
        Client::connect_as(self.node.daemon.address, Way::WebSocket4, token)
            .unwrap_or_else(|told| panic!("{what}: {told}: {}", self.node.daemon.log()))
    }

    /// Why a token is refused, which the client is not told.
    pub(super) fn reason(&mut self, what: &str, token: &str) -> String {
        const LINE: &str = "a client is refused: ";
        let told = Client::connect_as(self.node.daemon.address, Way::WebSocket4, token).err();
        assert_eq!(told.as_deref(), Some("44{\"message\":\"unauthorized\"}"), "{what}");
        loop {
            let log = self.node.daemon.log();
            let mut reasons = log.split(LINE).skip(1 + self.refused);
            if let Some((reason, _)) = reasons.next().and_then(|rest| rest.split_once('\n')) {
                self.refused += 1;
                return reason.to_owned();
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn every_algorithm_is_taken_with_its_own_key_and_with_no_other() {
    let folder = TempDir::new().unwrap();
    let secret = Signer::secret(SECRET);
    let (rsa, p256, p384, ed) = (Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed25519());
    let files: Vec<_> = [("secret", &secret), ("rsa", &rsa), ("p256", &p256), ("p384", &p384), ("ed", &ed)]
        .map(|(name, signer)| signer.write(folder.path(), name))
        .into();
    let known = [
        (&secret, Signer::secret(&"x".repeat(64)), vec![HS256, HS384, HS512]),
        (&rsa, Signer::rsa(), vec![RS256, RS384, RS512, PS256, PS384, PS512]),
        (&p256, Signer::p256(), vec![ES256]),
        (&p384, Signer::p384(), vec![ES384]),
        (&ed, Signer::ed25519(), vec![EdDSA]),
    ];
    let algorithms: Vec<_> = known.iter().flat_map(|(_, _, algorithms)| algorithms.clone()).collect();
    assert_eq!(algorithms.len(), 12);
    let mut broker = Broker::start(&algorithms, &format!("key_file = {files:?}"), "");
    for (signer, stranger, algorithms) in &known {
        for algorithm in algorithms {
            let what = format!("{algorithm:?}");
            let mut client = broker.accept(&what, &signer.sign(*algorithm, &claims(&json!({}))));
            client.subscribe("\"user.ann.inbox\"");
            let reason = broker.reason(&what, &stranger.sign(*algorithm, &claims(&json!({}))));
            assert_eq!(reason, "its signature is wrong", "{what}");
        }
    }
    // Whatever is public is no secret, in whatever form it is taken for one.
    for signer in [&rsa, &p256, &p384, &ed] {
        let pem = signer.public.as_str();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64_STANDARD.decode(&body).unwrap();
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), body.as_bytes(), &der] {
            for algorithm in [HS256, HS384, HS512] {
                let token = Signer::from_bytes(secret).sign(algorithm, &claims(&json!({})));
                let reason = broker.reason("a public key as a secret", &token);
                assert_eq!(reason, "its signature is wrong", "{algorithm:?}");
            }
        }
    }
}

#[test]
fn an_algorithm_that_the_key_could_do_is_refused_unless_it_is_allowed() {
    let folder = TempDir::new().unwrap();
    let rsa = Signer::rsa();
    let file = rsa.write(folder.path(), "rsa");
    let mut broker = Broker::start(&[RS256], &format!("key_file = '{file}'"), "");
    broker.accept("RS256", &rsa.sign(RS256, &claims(&json!({}))));
    for algorithm in [RS384, RS512, PS256, PS384, PS512] {
        let reason = broker.reason("RSA", &rsa.sign(algorithm, &claims(&json!({}))));
        assert_eq!(reason, "its algorithm is none of `algorithms`", "{algorithm:?}");
        // And when it only says that it is the one that is allowed.
        let token = rsa.sign_with(algorithm, r#"{"alg":"RS256"}"#, &claims(&json!({})));
        assert_eq!(broker.reason("RSA", &token), "its signature is wrong", "{algorithm:?}");
    }
    let confused = Signer::secret(&rsa.public);
    let token = confused.sign(HS256, &claims(&json!({})));
    assert_eq!(broker.reason("a public key as a secret", &token), "its algorithm is none of `algorithms`");
    let token = confused.sign_with(HS256, r#"{"alg":"RS256"}"#, &claims(&json!({})));
    assert_eq!(broker.reason("the signature of another kind", &token), "its signature is wrong");
}

#[test]
fn a_token_that_somebody_has_tampered_with_is_refused() {
    let folder = TempDir::new().unwrap();
    let signer = Signer::p256();
    let file = signer.write(folder.path(), "p256");
    let mut broker = Broker::start(&[ES256, HS256], &format!("key_file = ['{file}']"), "");
    let good = signer.sign(ES256, &claims(&json!({})));
    broker.accept("a good one", &good);
    let parts: Vec<_> = good.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    let admin = encode(claims(&json!({"role": "admin"})));
    let none = |name: &str| encode(format!("{{\"alg\":\"{name}\",\"typ\":\"JWT\"}}"));
    let with = |header: &str| signer.sign_with(ES256, header, &claims(&json!({})));
    let raw = |claims: &str| signer.sign_with(ES256, r#"{"alg":"ES256"}"#, claims);
    let (exp, role) =
        (from_now(600.0).floor(), "\"aud\":\"broker\",\"iss\":\"https://id.example\",\"role\":\"user\"");
    let cases = [
        ("nothing at all", String::new(), "it is no signed token"),
        ("only points", "..".to_owned(), "what it says is not well written"),
        ("one point", ".".to_owned(), "it is no signed token"),
        ("four parts", format!("{good}.{signature}"), "it is no signed token"),
        ("a point behind it", format!("{good}."), "it is no signed token"),
        ("no signature", format!("{header}.{body}."), "its signature is wrong"),
        ("no signature, and no point", format!("{header}.{body}"), "it is no signed token"),
        ("cut short", good[..good.len() - 1].to_owned(), ""),
        ("cut in the middle", good[..good.len() / 2].to_owned(), "it is no signed token"),
        ("one character more", format!("{good}A"), ""),
        ("other claims", format!("{header}.{admin}.{signature}"), "its signature is wrong"),
        ("a signature of zeros", format!("{header}.{body}.{}", encode([0; 64])), "its signature is wrong"),
        ("a signature in DER", format!("{header}.{body}.{}", encode([0x30; 70])), "its signature is wrong"),
        ("padding", format!("{header}=.{body}.{signature}"), "it is no signed token"),
        ("another alphabet", format!("{header}.{body}.{}+/", &signature[..84]), ""),
        ("none", format!("{}.{body}.", none("none")), "what it says is not well written"),
        (
            "none with the signature",
            format!("{}.{body}.{signature}", none("none")),
            "what it says is not well written",
        ),
        ("NONE", format!("{}.{body}.", none("NONE")), "what it says is not well written"),
        ("nOnE", format!("{}.{body}.", none("nOnE")), "what it says is not well written"),
        ("an empty algorithm", format!("{}.{body}.", none("")), "what it says is not well written"),
        ("lower case", with(r#"{"alg":"es256"}"#), "what it says is not well written"),
        ("no algorithm", with(r#"{"typ":"JWT"}"#), "what it says is not well written"),
        ("two algorithms", with(r#"{"alg":"ES256","alg":"ES256"}"#), "what it says is not well written"),
        ("an array of algorithms", with(r#"{"alg":["ES256"]}"#), "what it says is not well written"),
        ("another algorithm", with(r#"{"alg":"ES384"}"#), "its algorithm is none of `algorithms`"),
        ("a header that is an array", with(r#"["ES256"]"#), "what it says is not well written"),
        ("a header that is no JSON", with("ES256"), "what it says is not well written"),
        (
            "a critical header",
            with(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#),
            "it has critical headers",
        ),
        ("an empty list of them", with(r#"{"alg":"ES256","crit":[]}"#), "it has critical headers"),
        (
            "a key that is not a string",
            with(r#"{"alg":"ES256","kid":7}"#),
            "what it says is not well written",
        ),
        ("claims that are no object", raw("[]"), "what it says is not well written"),
        ("claims that are no JSON", raw("role=admin"), "what it says is not well written"),
        (
            "something behind the claims",
            raw(&format!("{{{role},\"exp\":{exp}}} {{}}")),
            "what it says is not well written",
        ),
        (
            "a claim twice",
            raw(&format!("{{{role},\"exp\":{exp},\"role\":\"user\"}}")),
            "what it says is not well written",
        ),
        (
            "a claim twice, escaped",
            raw(&format!("{{{role},\"exp\":{exp},\"r\\u006fle\":\"user\"}}")),
            "what it says is not well written",
        ),
        ("two ends", raw(&format!("{{\"exp\":1,{role},\"exp\":{exp}}}")), ""),
        (
            "not UTF-8",
            format!("{header}.{}.{signature}", encode(b"{\"role\":\"\xff\"}")),
            "its signature is wrong",
        ),
    ];
    for (what, token, expected) in cases {
        let reason = broker.reason(what, &token);
        assert!(reason.starts_with(expected) && !reason.is_empty(), "{what}: {reason}");
    }
    // Longer than a header can be, however it is made longer, and as long as a message can be.
    for length in [8 * 1024 + 1, 500_000] {
        let padded = signer.sign(ES256, &claims(&json!({"pad": "x".repeat(length)})));
        assert_eq!(broker.reason("huge", &padded), "it is no signed token");
        assert_eq!(broker.reason("huge", &"x".repeat(length)), "it is no signed token");
        assert_eq!(broker.reason("huge", &format!("{good}{}", "A".repeat(length))), "it is no signed token");
    }
    // As long as possible.
    let longest = signer.sign(ES256, &claims(&json!({"pad": "x".repeat(5_700)})));
    assert!(longest.len() > 7_800 && longest.len() <= 8 * 1024, "{}", longest.len());
    broker.accept("a long one", &longest);
}

#[test]
fn what_a_key_is_called_is_a_name_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (Signer::ed25519(), Signer::ed25519());
    let keys = set(&[first.jwk(EdDSA, "first"), second.jwk(EdDSA, "../../second")]);
    let file = folder.path().join("keys.json");
    std::fs::write(&file, keys).unwrap();
    let mut broker = Broker::start(&[EdDSA], &format!("jwks_file = '{}'", file.display()), "");
    let good = claims(&json!({}));
    broker.accept("by name", &first.sign_as(EdDSA, "first", &good));
    broker.accept("by an odd name", &second.sign_as(EdDSA, "../../second", &good));
    broker.accept("without a name", &second.sign(EdDSA, &good));
    let token = first.sign_as(EdDSA, "../../second", &good);
    assert_eq!(broker.reason("the other's name", &token), "its signature is wrong");
    let long = "k".repeat(5_000);
    for id in [
        "",
        "FIRST",
        "first ",
        "/dev/null",
        "../../../../../../dev/null",
        "file:///dev/zero",
        "https://127.0.0.1:1/keys",
        "' OR '1'='1",
        "first'; DROP TABLE keys; --",
        "$(id)",
        "first\0",
        "*",
        &long,
    ] {
        let empty = Signer::secret("").sign_as(HS256, id, &good);
        assert_eq!(broker.reason(id, &empty), "its algorithm is none of `algorithms`");
        let token = first.sign_as(EdDSA, id, &good);
        assert_eq!(broker.reason(id, &token), "no key can have signed the token", "{id}");
    }
    // Nor is a key taken from the token.
    let stranger = Signer::ed25519();
    let header = json!({"alg": "EdDSA", "jwk": stranger.jwk(EdDSA, "first"), "jku": "https://127.0.0.1:1/"});
    let token = stranger.sign_with(EdDSA, &header.to_string(), &good);
    assert_eq!(broker.reason("a key of its own", &token), "its signature is wrong");
    // What is not known in a header does not matter.
    let token = first.sign_with(EdDSA, r#"{"alg":"EdDSA","typ":"at+jwt","cty":"x","odd":{"a":[1]}}"#, &good);
    broker.accept("unknown headers", &token);
}

#[test]
fn a_key_takes_the_place_of_another_without_anyone_being_refused() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Signer::rsa(), Signer::rsa());
    let (old_file, new_file) = (old.write(folder.path(), "old"), new.write(folder.path(), "new"));
    let mut broker = Broker::start(&[RS256], &format!("key_file = ['{old_file}']"), "");
    let text = std::fs::read_to_string(broker.node.file()).unwrap();
    let good = claims(&json!({}));
    let mut first = broker.accept("the old key", &old.sign(RS256, &good));
    first.subscribe("\"public.a\"");
    assert_eq!(broker.reason("too early", &new.sign(RS256, &good)), "its signature is wrong");

    broker.node.load(&text.replace(&format!("['{old_file}']"), &format!("['{old_file}', '{new_file}']")));
    let mut second = broker.accept("the new key", &new.sign(RS256, &good));
    broker.accept("still the old key", &old.sign(RS256, &good));
    first.assert_silence();

    broker.node.load(&text.replace(&old_file, &new_file));
    first.await_end();
    second.assert_silence();
    broker.accept("the new key", &new.sign(RS256, &good));
    assert_eq!(broker.reason("too late", &old.sign(RS256, &good)), "its signature is wrong");
}
