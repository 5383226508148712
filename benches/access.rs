//! What it costs to ask whether a client may publish to a room, with a thousand patterns.
//!
//! `cargo bench --bench access`. It is asked for every event, so it should take well under a microsecond.

#![expect(clippy::unwrap_used, reason = "what a benchmark is made of is written here")]

use std::fs;
use std::sync::Arc;

use divan::Bencher;
use divan::black_box;
use humble_broker::access::Access;
use humble_broker::access::Credentials;
use humble_broker::access::Identity;
use humble_broker::protocol::Room;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use serde_json::json;

const PATTERNS: usize = 1000;
const SECRET: &[u8] = b"a secret of at least 32 bytes, as it must be";

/// Shapes of patterns, and a room that the one with the number 777 means.
const SHAPES: [(&str, &str, &str); 11] = [
    ("exact", "room.N", "room.777"),
    ("prefix", "room.N.*", "room.777.some.longer.name"),
    ("suffix", "*.roomN", "some.longer.name.room777"),
    ("between", "room.N.*.end", "room.777.some.longer.name.end"),
    ("claim", "user.{sub}.topicN", "user.somebody.topic777"),
    ("claim_prefix", "user.{sub}.N.*", "user.somebody.777.some.longer.name"),
    ("claim_first", "{sub}.N.*", "somebody.777.some.longer.name"),
    ("two_claims", "{tenant}.N.{sub}.*", "somewhere.777.somebody.name"),
    ("inside", "*.N.*", "some.longer.777.name"),
    ("far_inside", "room.*.N.*.end", "room.some.777.name.end"),
    ("claim_inside", "*.{sub}.*.N.*", "some.somebody.longer.777.name"),
];

fn main() {
    divan::main();
}

/// Somebody whose role has a thousand patterns of this shape, to allow and to deny.
fn identity(shape: &str) -> Arc<Identity> {
    let patterns =
        |shape: &str| (0..PATTERNS).map(|n| shape.replace('N', &n.to_string())).collect::<Vec<_>>();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let config = json!({
        "jwt": { "algorithms": ["HS256"], "key_file": secret.to_str().unwrap() },
        "roles": { "user": { "publish": {
            "allow": patterns(shape),
            // They are looked up as well, and mean nothing.
            "deny": patterns(&format!("{shape}-")),
        } } },
    });
    let access = Access::read(Some(&serde_json::from_value(config).unwrap()), None, None).unwrap();
    let claims = json!({ "exp": u32::MAX, "role": "user", "sub": "somebody", "tenant": "somewhere" });
    let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap();
    let credentials = Credentials { token: Some(token.as_str().into()), certificate: None };
    access.identify_now(&credentials).unwrap()
}

fn check(bencher: Bencher<'_, '_>, shape: &str, is_allowed: bool) {
    let (_, pattern, room) = SHAPES.into_iter().find(|(name, ..)| *name == shape).unwrap();
    let identity = identity(pattern);
    let room = Room::Text(room.replace("777", if is_allowed { "777" } else { "77x7" }).into());
    assert_eq!(identity.may_publish(&room).is_ok(), is_allowed, "{shape}");
    bencher.bench_local(|| black_box(&identity).may_publish(black_box(&room)).is_ok());
}

#[divan::bench(args = SHAPES.map(|(name, ..)| name))]
fn allowed(bencher: Bencher<'_, '_>, shape: &str) {
    check(bencher, shape, true);
}

#[divan::bench(args = SHAPES.map(|(name, ..)| name))]
fn forbidden(bencher: Bencher<'_, '_>, shape: &str) {
    check(bencher, shape, false);
}
