//! Mistakes in `[access]`: each is shown where it is, and nothing that may be a secret with it.

use rcgen::PublicKeyData;

use super::revoked::sha256;
use super::signer::Signer;
use crate::support::daemon::command;
use crate::support::tls::Authority;

/// A public key of RSA that is too short, as nobody makes them any more.
const SHORT: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDKRIzIxKuyG6SndGQRT36UK84w\n\
    jw/XgEf50NU21WQDczkcvrXxE3i0fwafLsN57EPdTIQ8MMgl7hnixXxvcPlHDEfj\n\
    3ZACAmLTOzocmdeCPEx1a3et2gYKkAYpcx7kmWZQiHLUkl5rvYpN55C4KHx3OMoz\n\
    qGT6gGlujPcjHVv0PwIDAQAB\n\
    -----END PUBLIC KEY-----\n";
const ROLE: &str = "[access.roles.user]\n";

/// What the check of a configuration says of this one, without what every answer has.
fn check(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    std::fs::write(&file, text).unwrap();
    let output = command().args(["--check-config", "--config"]).arg(&file).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}\n{error}");
    let error = error.replace(&format!("{}:", file.display()), "");
    error.strip_prefix("socketio-humble-broker: ").unwrap().to_owned()
}

#[test]
fn what_contradicts_itself_is_shown_where_it_does() {
    let hash = "0".repeat(64);
    let hash = format!("token_sha256 = '{hash}'");
    let neither = "write `token_file` or `token_sha256`, and not both";
    let names = "write `san` or `subject`, and not both";
    let ways = "write one of `key_file`, `jwks_file` and `jwks_url`";
    let url = "jwks_url = 'https://id.example/keys'";
    let cases = [
        (
            "[access]".to_owned(),
            "1:1: nobody could connect; write `anonymous`, `tokens`, `jwt` or `certificates`",
        ),
        (ROLE.to_owned(), "1:2: nobody could connect"),
        (
            "[access]\nanonymous = 'guest'".to_owned(),
            "2:13: there is no such role; write its name as it stands in `[access.roles.…]`",
        ),
        (format!("[[access.tokens]]\nrole = 'user'\n{ROLE}"), &format!("1:1: {neither}")),
        (
            format!(
                "[[access.tokens]]\n{hash}\nrole = 'user'\n[[access.tokens]]\n{hash}\ntoken_file = 'a'\nrole = 'user'\n{ROLE}"
            ),
            &format!("4:1: {neither}"),
        ),
        (format!("[[access.tokens]]\n{hash}\nrole = 'users'\n{ROLE}"), "3:8: there is no such role"),
        (format!("[[access.tokens]]\n{hash}\n{ROLE}"), "1:1: missing key `role`"),
        (format!("[[access.certificates]]\nrole = 'user'\n{ROLE}"), &format!("1:1: {names}")),
        (
            format!("[[access.certificates]]\nsan = 'a'\nsubject = 'b'\nrole = 'user'\n{ROLE}"),
            &format!("1:1: {names}"),
        ),
        (
            format!("[[access.certificates]]\nsan = '{{a}}'\nrole = 'user'\n{ROLE}"),
            "1:1: a certificate has no claims",
        ),
        (
            format!("[[access.certificates]]\nsan = 'a'\nrole = 'user'\n{ROLE}"),
            "1:1: no client shows a certificate without `server.tls.client_ca`",
        ),
        (
            format!(
                "[server.tls]\ncertificate = 'a'\nkey = 'b'\nclient_ca = 'c'\n[[access.certificates]]\nsan = 'a'\nrole = 'x'\n{ROLE}"
            ),
            "7:8: there is no such role",
        ),
        (format!("[access.jwt]\nalgorithms = ['RS256']\n{ROLE}"), &format!("1:1: {ways}")),
        (format!("[access.jwt]\nalgorithms = ['RS256']\nkey_file = []\n{ROLE}"), &format!("1:1: {ways}")),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\nkey_file = 'a'\n{url}\n{ROLE}"),
            &format!("1:1: {ways}"),
        ),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\njwks_file = 'a'\n{url}\n{ROLE}"),
            &format!("1:1: {ways}"),
        ),
        (
            format!("[access.jwt]\nalgorithms = []\n{url}\n{ROLE}"),
            "2:14: no token could be valid; write at least one algorithm",
        ),
        (
            format!("[access.jwt]\nalgorithms = ['RS256', 'HS256']\n{url}\n{ROLE}"),
            "2:14: a secret that anyone can fetch is none; HMAC takes a `key_file`",
        ),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\nleeway = '11m'\n{url}\n{ROLE}"),
            "3:10: tokens would be taken that are long over; write at most `10m`",
        ),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\nrole = 'x'\n{url}\n{ROLE}"),
            "3:8: there is no such role",
        ),
    ];
    for (text, expected) in cases {
        let error = check(&text);
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
}

#[test]
fn what_cannot_be_understood_is_shown_where_it_is() {
    let url = "jwks_url = 'https://id.example/keys'";
    let nothing = "2:16: this is the SHA-256 of nothing, which anyone could show; write that of the token";
    let cases = [
        (format!("[access.jwt]\n{url}\n{ROLE}"), "1:1: missing key `algorithms`"),
        (
            format!("[access.jwt]\nalgorithms = ['none']\n{url}\n{ROLE}"),
            "2:15: unknown value, expected one of `HS256`, ",
        ),
        (
            format!("[access.jwt]\nalgorithms = ['rs256']\n{url}\n{ROLE}"),
            "2:15: unknown value, expected one of `HS256`, ",
        ),
        (
            format!("[access.jwt]\nalgorithms = 'RS256'\n{url}\n{ROLE}"),
            "2:14: invalid type: string, expected an array",
        ),
        (format!("[access.jwt]\nalgorithms = ['RS256']\nleeway = '-1s'\n{url}\n{ROLE}"), "3:10: "),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\nlee = '1s'\n{url}\n{ROLE}"),
            "3:1: unknown key, expected one of `algorithms`, ",
        ),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\njwks_url = 'http://id.example/keys'\n{ROLE}"),
            "3:12: this is not an address; write one like `https://",
        ),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\njwks_url = '/keys'\n{ROLE}"),
            "3:12: this is not an address",
        ),
        (
            format!("[access.jwt]\nalgorithms = ['RS256']\nkey_file = 7\n{ROLE}"),
            "3:12: invalid type: integer, expected a file, or an array of files",
        ),
        (format!("[[access.tokens]]\ntoken_sha256 = '{}'\nrole = 'user'\n{ROLE}", sha256("")), nothing),
        (format!("[[access.tokens]]\ntoken_sha256 = '{}'\nrole = 'user'\n{ROLE}", sha256("\n")), nothing),
        (
            format!(
                "[[access.tokens]]\ntoken_sha256 = '{}'\nrole = 'user'\n{ROLE}",
                sha256("").to_uppercase()
            ),
            nothing,
        ),
        (
            "[access]\nanonymous = 'a'\n[access.roles.a]\nsubscribe = { allow = ['b', 'c}'] }".to_owned(),
            "4:29: this is not a pattern: `}` without `{`",
        ),
        (
            "[access]\nanonymous = 'a'\n[access.roles.a]\nsubscribe = ['b']".to_owned(),
            "4:13: invalid type: array, expected a table of `allow` and `deny`, like `{ allow = [\"public.*\"] }`",
        ),
        (
            "[access]\nanonymous = 'a'\n[access.roles.a]\nsubscribe = { allows = ['b'] }".to_owned(),
            "4:15: unknown key, expected `allow` or `deny`",
        ),
        (
            "[access]\nanonymous = 'a'\n[access.roles.a]\nlimits = { nesting = 7 }".to_owned(),
            "4:12: unknown key, expected one of `events_per_second`, ",
        ),
        (
            "[access]\nanonymous = 'a'\n[access.roles.a]\nbroadcasts = true".to_owned(),
            "4:1: unknown key, expected one of `subscribe`, ",
        ),
    ];
    for (text, expected) in cases {
        let error = check(&text);
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
}

#[test]
fn an_array_is_no_table() {
    let rules = "expected a table of `allow` and `deny`, like `{ allow = [\"public.*\"] }`";
    let tables = "expected an array of tables, each below its name in double brackets";
    for (text, line, expected) in [
        ("access = ['a']", 1, "array, expected a table"),
        ("[access]\ntokens = ['a']", 2, "string, expected a table"),
        ("[access]\ntokens = [['a', 'b', 'c']]", 2, "array, expected a table"),
        ("[access]\ntokens = 'a'", 2, &format!("string, {tables}")),
        ("[access.tokens]\nrole = 'a'", 1, &format!("table, {tables}")),
        ("[access.certificates]\nrole = 'a'", 1, &format!("table, {tables}")),
        ("[access]\ncertificates = [['a', 'b', 'c']]", 2, "array, expected a table"),
        ("[access]\njwt = [['RS256'], 'a']", 2, "array, expected a table"),
        ("[[access.jwt]]\nalgorithms = ['RS256']", 1, "array, expected a table"),
        ("[access]\nroles = ['a']", 2, "array, expected a table"),
        ("[access.roles]\na = [['b'], ['c'], true]", 2, "array, expected a table"),
        ("[[access.roles.a]]\nbroadcast = true", 1, "array, expected a table"),
        ("[access.roles.a]\nsubscribe = [['b']]", 2, &format!("array, {rules}")),
        ("[access.roles.a]\npublish = [['b'], ['c']]", 2, &format!("array, {rules}")),
        ("[access.roles.a]\nsubscribe = 'b'", 2, &format!("string, {rules}")),
        (
            "[access.roles.a]\nlimits = [5]",
            2,
            "array, expected a table of limits, like `{ events_per_second = 5 }`",
        ),
        ("server = ['::']", 1, "array, expected a table"),
        ("[server]\ntls = ['a', 'b']", 2, "array, expected a table"),
        ("limits = []", 1, "array, expected a table"),
    ] {
        let error = check(text);
        let (place, message) = error.split_once(": ").unwrap();
        assert!(place.starts_with(&format!("{line}:")), "{text}\n{error}");
        let message = message.lines().next().unwrap();
        assert_eq!(message, format!("invalid type: {expected}"), "{text}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn keys_that_cannot_be_used_are_named_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let (rsa, p256, p384) = (Signer::rsa(), Signer::p256(), Signer::p384());
    let ed = Signer::ed25519();
    let set = super::signer::set(&[p256.jwk(jsonwebtoken::Algorithm::ES256, "a")]);
    let short = super::signer::set(&[super::signer::short_rsa("short")]);
    let base64: String = rsa.public.lines().filter(|line| !line.starts_with('-')).collect();
    let two = format!("{}{}", rsa.public, p256.public);
    let p521 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let secret = "a secret that is long enough for 256 bits";
    for (algorithms, key, text, expected) in [
        ("'RS256'", "key_file", rsa.public.as_str(), None),
        ("'PS512', 'HS256'", "key_file", &rsa.public, None),
        ("'ES256'", "key_file", &p256.public, None),
        ("'ES384'", "key_file", &p384.public, None),
        ("'EdDSA'", "key_file", &ed.public, None),
        ("'HS256'", "key_file", secret, None),
        ("'ES256', 'RS256'", "jwks_file", &set, None),
        (
            "'HS256'",
            "key_file",
            &rsa.public,
            Some("it is a public key, and no such algorithm is in `algorithms`"),
        ),
        ("'ES256'", "key_file", &rsa.public, Some("it is a public key, and no such algorithm")),
        ("'ES256'", "key_file", &p384.public, Some("it is a public key, and no such algorithm")),
        ("'ES384'", "key_file", &p256.public, Some("it is a public key, and no such algorithm")),
        (
            "'ES256', 'ES384'",
            "key_file",
            &p521.public_key_pem(),
            Some("its curve is neither P-256 nor P-384"),
        ),
        (
            "'RS256'",
            "key_file",
            secret,
            Some("it is not PEM, so it can only be a secret, and no such algorithm"),
        ),
        ("'HS256'", "key_file", &secret[..31], Some("at least 32 bytes (RFC 7518, 3.2), this one 31")),
        (
            "'HS256', 'HS384'",
            "key_file",
            &secret[..40],
            Some("at least 48 bytes (RFC 7518, 3.2), this one 40"),
        ),
        (
            "'HS512'",
            "key_file",
            &format!("{}\r\n", "x".repeat(63)),
            Some("at least 64 bytes (RFC 7518, 3.2), this one 63"),
        ),
        ("'HS256'", "key_file", "", Some("at least 32 bytes (RFC 7518, 3.2), this one 0")),
        ("'ES256'", "key_file", "", Some("it is not PEM")),
        ("'ES256'", "key_file", &private, Some("it is a private key; checking takes the public one")),
        ("'HS256'", "key_file", &private, Some("it is a private key; checking takes the public one")),
        (
            "'RS256', 'ES256'",
            "key_file",
            &two,
            Some("it holds more than one key; write each into a file of its own"),
        ),
        (
            "'RS256'",
            "key_file",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            Some("it is not a public key of RSA"),
        ),
        (
            "'HS256'",
            "key_file",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            Some("it is not a public key of RSA"),
        ),
        (
            "'HS256'",
            "key_file",
            &set,
            Some("it is JSON, and never a secret; a set of keys belongs into `jwks_file`"),
        ),
        ("'RS256'", "key_file", &set, Some("it is JSON, and never a secret")),
        (
            "'HS256'",
            "key_file",
            &base64,
            Some("it is a key in DER, and never a secret; write a public key in PEM"),
        ),
        (
            "'RS256'",
            "key_file",
            SHORT,
            Some("it is an RSA key of 1024 bits; one that can be used has 2048 to 8192"),
        ),
        (
            "'RS256'",
            "jwks_file",
            &short,
            Some("one of its keys is an RSA key of 1024 bits; one that can be used"),
        ),
        ("'EdDSA'", "jwks_file", &set, Some("none of its keys is for one of `algorithms`")),
        (
            "'ES256'",
            "jwks_file",
            &p256.public,
            Some("it is not a set of keys (JWKS); see its line 1, column "),
        ),
        ("'ES256'", "jwks_file", "{\"keys\":[]}", Some("none of its keys is for one of `algorithms`")),
    ] {
        let file = write("key", text);
        let config = format!("[access.jwt]\nalgorithms = [{algorithms}]\n{key} = '{file}'\n{ROLE}");
        let path = write("broker.toml", &config);
        let output = command().args(["--check-config", "--config", &path]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let Some(expected) = expected else {
            assert_eq!(output.status.code(), Some(0), "{config}: {error}");
            continue;
        };
        let start = format!("socketio-humble-broker: access.jwt.{key}: cannot use {file}: ");
        let reason = error.strip_prefix(&start).unwrap_or_else(|| panic!("{config}: {error}"));
        assert!(reason.contains(expected), "{config}: {error}");
        assert!(text.is_empty() || !error.contains(text.trim()), "{error}");
    }
}

#[test]
fn a_certificate_or_a_key_in_der_is_never_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pair = rcgen::KeyPair::generate().unwrap();
    std::fs::write(path("certificate"), Authority::new().pem).unwrap();
    std::fs::write(path("key"), pair.subject_public_key_info()).unwrap();
    let cases = ["HS256", "ES384", "RS256"]
        .map(|algorithm| ["certificate", "key"].map(|name| (algorithm, path(name))));
    for (algorithm, file) in cases.concat() {
        let config = format!("[access.jwt]\nalgorithms = ['{algorithm}']\nkey_file = '{file}'\n{ROLE}");
        std::fs::write(path("broker.toml"), config).unwrap();
        let output = command().args(["--check-config", "--config", &path("broker.toml")]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{algorithm}");
        assert!(error.contains("it is "), "{algorithm}: {error}");
    }
}
