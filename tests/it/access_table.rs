//! What everyone may do by each example of access: who, what, and the rule that decides.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use humble_broker::access::Access;
use humble_broker::access::Credentials;
use humble_broker::access::Identity;
use humble_broker::access::Secret;
use humble_broker::config::Config;
use humble_broker::config::Jwt;
use humble_broker::config::Sources;
use humble_broker::protocol::Room;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

/// Who shows nothing is `-`, and who shows a token of a file has its name.
const TOKENS: &str = "
    -                | subscribe | sensors.1       | refused: it shows nothing
    -                | broadcast |                 | refused: it shows nothing
    stranger         | publish   | sensors.1       | refused: nobody knows the token
    stranger         | broadcast |                 | refused: nobody knows the token
    sensors          | publish   | sensors.1       | allowed by sensors.*
    sensors          | publish   | sensors.1.raw   | allowed by sensors.*
    sensors          | publish   | sensors.        | allowed by sensors.*
    sensors          | publish   | sensors         | allowed by no pattern
    sensors          | publish   | sensor          | allowed by no pattern
    sensors          | publish   | Sensors.1       | allowed by no pattern
    sensors          | publish   | a.sensors.1     | allowed by no pattern
    sensors          | publish   | orders.1        | allowed by no pattern
    sensors          | publish   | 7               | allowed by no pattern
    sensors          | subscribe | sensors.1       | allowed by no pattern
    sensors          | subscribe | orders.1        | allowed by no pattern
    sensors          | broadcast |                 | the role may not broadcast
    next             | publish   | sensors.1       | allowed by sensors.*
    next             | publish   | orders.1        | allowed by no pattern
    next             | subscribe | sensors.1       | allowed by no pattern
    dashboard        | subscribe | sensors.1       | allowed by *
    dashboard        | subscribe | orders.1        | allowed by *
    dashboard        | subscribe | 7               | allowed by *
    dashboard        | subscribe | sensors.1.raw   | denied by sensors.*.raw
    dashboard        | subscribe | sensors.1.2.raw | denied by sensors.*.raw
    dashboard        | subscribe | sensors..raw    | denied by sensors.*.raw
    dashboard        | subscribe | sensors.raw     | allowed by *
    dashboard        | subscribe | sensors.1.rawer | allowed by *
    dashboard        | publish   | sensors.1       | allowed by no pattern
    dashboard        | broadcast |                 | the role may not broadcast
    operator         | subscribe | sensors.1.raw   | allowed by *
    operator         | publish   | orders.1        | allowed by orders.*
    operator         | publish   | sensors.1       | allowed by no pattern
    operator         | broadcast |                 | the role may broadcast
";

/// Who shows nothing is a reader.
const PUBLIC_READ: &str = "
    -                | subscribe | public.news     | allowed by public.*
    -                | subscribe | public.7        | allowed by public.*
    -                | subscribe | public.drafts   | denied by public.drafts
    -                | subscribe | public.drafts.a | denied by public.drafts.*
    -                | subscribe | public.draftsa  | allowed by public.*
    -                | subscribe | public          | allowed by no pattern
    -                | subscribe | private         | allowed by no pattern
    -                | subscribe | 7               | allowed by no pattern
    -                | publish   | public.news     | allowed by no pattern
    -                | publish   | private         | allowed by no pattern
    -                | broadcast |                 | the role may not broadcast
    stranger         | subscribe | public.news     | refused: nobody knows the token
    writer           | subscribe | public.drafts   | allowed by *
    writer           | subscribe | private         | allowed by *
    writer           | publish   | public.news     | allowed by public.*
    writer           | publish   | public.drafts   | allowed by public.*
    writer           | publish   | private         | allowed by no pattern
    writer           | broadcast |                 | the role may broadcast
";

/// Who shows a signed token is written as its claims. It has those that it needs besides, unless they are
/// there; `key` is the key that signs it, and `kid` what it is called.
const JWT: &str = r#"
    -                         | subscribe | news        | refused: it shows nothing
    stranger                  | subscribe | news        | refused: it is no signed token
    sub=jo                    | subscribe | news        | allowed by news
    sub=jo                    | subscribe | news.sport  | allowed by news.*
    sub=jo                    | subscribe | newsroom    | allowed by no pattern
    sub=jo                    | subscribe | inbox.jo    | allowed by inbox.{sub}
    sub=jo                    | subscribe | inbox.joe   | allowed by no pattern
    sub=jo                    | subscribe | inbox.jo.a  | allowed by no pattern
    sub=jo                    | subscribe | inbox.*     | allowed by no pattern
    sub=jo                    | subscribe | inbox.{sub} | allowed by no pattern
    sub=jo                    | subscribe | outbox.jo   | allowed by no pattern
    sub=jo                    | publish   | outbox.jo   | allowed by outbox.{sub}
    sub=jo                    | publish   | outbox.al   | allowed by no pattern
    sub=jo                    | publish   | inbox.jo    | allowed by no pattern
    sub=jo                    | publish   | news        | allowed by no pattern
    sub=jo                    | broadcast |             | the role may not broadcast
    sub=jo role=user          | publish   | outbox.jo   | allowed by outbox.{sub}
    sub=*                     | subscribe | inbox.*     | allowed by inbox.{sub}
    sub=*                     | subscribe | inbox.jo    | allowed by no pattern
    sub=jo*                   | subscribe | inbox.joe   | allowed by no pattern
    sub={sub}                 | subscribe | inbox.{sub} | allowed by inbox.{sub}
    sub=auth0|5f7c            | subscribe | inbox.auth0 | allowed by no pattern
    sub=jo.doe                | subscribe | inbox.jo    | allowed by no pattern
    sub=7                     | subscribe | inbox.7     | allowed by inbox.{sub}
    sub=7.5                   | subscribe | inbox.7.5   | allowed by no pattern
    sub=""                    | subscribe | inbox.      | allowed by no pattern
    sub=["jo"]                | subscribe | inbox.jo    | refused: what it says is not well written
    sub=null                  | subscribe | inbox.null  | allowed by no pattern
    name=jo                   | subscribe | news        | allowed by news
    name=jo                   | subscribe | inbox.      | allowed by no pattern
    sub=jo role=editor        | publish   | news.sport  | allowed by news.*
    sub=jo role=editor        | publish   | inbox.al    | allowed by inbox.*
    sub=jo role=editor        | publish   | outbox.jo   | allowed by no pattern
    sub=jo role=editor        | subscribe | outbox.al   | allowed by outbox.*
    sub=jo role=editor        | subscribe | inbox.al    | allowed by no pattern
    sub=jo role=editor        | broadcast |             | the role may not broadcast
    sub=jo role=Editor        | subscribe | news        | refused: there is no such role
    sub=jo role=["editor"]    | subscribe | news        | refused: the claim of its role is not a string
    sub=jo subscribe=["news"] | subscribe | news        | allowed by news
    sub=jo subscribe=["news"] | subscribe | news.sport  | the token's own patterns do not mean it
    sub=jo subscribe=["news"] | publish   | outbox.jo   | allowed by outbox.{sub}
    sub=jo subscribe=["*"]    | subscribe | news.sport  | allowed by news.*
    sub=jo subscribe=["*"]    | subscribe | inbox.al    | allowed by no pattern
    sub=jo subscribe=[]       | subscribe | news        | the token's own patterns do not mean it
    sub=jo publish=["a*"]     | publish   | outbox.jo   | the token's own patterns do not mean it
    sub=jo publish="*"        | publish   | outbox.jo   | refused: publish is not an array of patterns without claims
    sub=jo publish=["{sub}"]  | publish   | outbox.jo   | refused: publish is not an array of patterns without claims
    sub=jo aud=other          | subscribe | news        | refused: aud is not what access.jwt.audience says
    sub=jo iss=other          | subscribe | news        | refused: iss is not what access.jwt.issuer says
    sub=jo exp=1600000000     | subscribe | news        | refused: it has expired
    sub=jo exp=soon           | subscribe | news        | refused: exp is missing
    sub=jo nbf=9999999999     | subscribe | news        | refused: it is not valid yet
    sub=jo iat=9999999999     | subscribe | news        | refused: it is from the future
    sub=jo key=stranger       | subscribe | news        | refused: its signature is wrong
    sub=jo kid=other          | subscribe | news        | refused: no key can have signed the token
"#;

const TENANTS: &str = r"
    -                          | subscribe | a.news        | refused: it shows nothing
    tenant=a role=member       | subscribe | a.news        | allowed by {tenant}.*
    tenant=a role=member       | subscribe | a.b.c         | allowed by {tenant}.*
    tenant=a role=member       | subscribe | a             | allowed by no pattern
    tenant=a role=member       | subscribe | b.news        | allowed by no pattern
    tenant=a role=member       | subscribe | ab.news       | allowed by no pattern
    tenant=a role=member       | subscribe | a.admin.logs  | denied by {tenant}.admin.*
    tenant=a role=member       | subscribe | a.admin       | allowed by {tenant}.*
    tenant=a role=member       | subscribe | b.admin.logs  | allowed by no pattern
    tenant=a role=member       | publish   | a.chat        | allowed by {tenant}.*
    tenant=a role=member       | publish   | a.notices     | denied by {tenant}.notices
    tenant=a role=member       | publish   | a.notices.x   | allowed by {tenant}.*
    tenant=a role=member       | publish   | a.admin.logs  | denied by {tenant}.admin.*
    tenant=a role=member       | publish   | b.chat        | allowed by no pattern
    tenant=a role=member       | broadcast |               | the role may not broadcast
    tenant=* role=member       | subscribe | a.news        | allowed by no pattern
    tenant=* role=member       | subscribe | *.news        | allowed by {tenant}.*
    tenant=7 role=member       | subscribe | 7.news        | allowed by {tenant}.*
    role=member                | subscribe | a.news        | allowed by no pattern
    role=member                | subscribe | .news         | allowed by no pattern
    role=member                | subscribe | a.admin.logs  | denied by {tenant}.admin.*
    role=member                | publish   | a.notices     | denied by {tenant}.notices
    tenant=a role=admin        | subscribe | a.admin.logs  | allowed by {tenant}.*
    tenant=a role=admin        | publish   | a.notices     | allowed by {tenant}.*
    tenant=a role=admin        | subscribe | b.admin.logs  | allowed by no pattern
    tenant=a role=admin        | publish   | b.notices     | allowed by no pattern
    tenant=a role=admin        | broadcast |               | the role may not broadcast
    tenant=a sub=1 role=device | publish   | a.device.1    | allowed by {tenant}.device.{sub}
    tenant=a sub=1 role=device | publish   | a.device.2    | allowed by no pattern
    tenant=a sub=1 role=device | publish   | b.device.1    | allowed by no pattern
    tenant=a sub=1 role=device | publish   | a.device.1.x  | allowed by no pattern
    tenant=a sub=1 role=device | subscribe | a.commands.1  | allowed by {tenant}.commands.{sub}
    tenant=a sub=1 role=device | subscribe | a.device.1    | allowed by no pattern
    tenant=a sub=1 role=device | subscribe | a.commands.2  | allowed by no pattern
    tenant=a role=device       | publish   | a.device.     | allowed by no pattern
    sub=1 role=device          | publish   | a.device.1    | allowed by no pattern
    tenant=a                   | subscribe | a.news        | refused: it names no role
    tenant=a role=member aud=b | subscribe | a.news        | refused: aud is not what access.jwt.audience says
    tenant=a role=member key=stranger | subscribe | a.news | refused: its signature is wrong
";

/// What the key of the examples is called.
const KEY_ID: &str = "2026-11";

/// Keys that sign, by the algorithm and the name that rows have for them.
static KEYS: LazyLock<BTreeMap<(&str, &str), KeyPair>> = LazyLock::new(|| {
    let algorithms = [("ES256", &rcgen::PKCS_ECDSA_P256_SHA256), ("EdDSA", &rcgen::PKCS_ED25519)];
    let key = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let keys = |(name, algorithm)| [((name, "own"), key(algorithm)), ((name, "stranger"), key(algorithm))];
    algorithms.into_iter().flat_map(keys).collect()
});

/// An example, with the files that it names.
struct Example {
    config: humble_broker::config::Access,
    access: Access,
    /// What signs its tokens.
    algorithm: Algorithm,
    _folder: TempDir,
}

impl Example {
    fn read(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for role in ["sensors", "dashboard", "operator", "writer"] {
            fs::write(path(&format!("{role}.token")), token_of(role) + "\n").unwrap();
        }
        fs::write(path("tenants.pem"), KEYS[&("EdDSA", "own")].public_key_pem()).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples").join(name);
        let text = fs::read_to_string(file).unwrap();
        let text = text.replace("/etc/socketio-humble-broker", folder.path().to_str().unwrap());
        let text = text.replace(&"0".repeat(64), &Secret::of(&token_of("next")).to_hex());
        fs::write(path("broker.toml"), text).unwrap();
        let nothing = std::iter::empty::<(std::ffi::OsString, std::ffi::OsString)>();
        let sources = Sources::new(Some(path("broker.toml")), nothing, Vec::new()).unwrap();
        let config = Config::load(&sources).unwrap().access.unwrap();
        let access = Access::read(Some(&config), None, None).unwrap();
        if let Some(jwks) = access.jwks() {
            assert!(jwks.fetched(Ok(set())).is_ok());
        }
        let algorithm = if access.jwks().is_some() { Algorithm::ES256 } else { Algorithm::EdDSA };
        Self { config, access, algorithm, _folder: folder }
    }

    /// Who it is that `shown` describes, or why it is nobody.
    fn identify(&self, shown: &str) -> Result<std::sync::Arc<Identity>, String> {
        let token = match (shown, &self.config.jwt) {
            ("-", _) => None,
            (claims, Some(jwt)) if claims.contains('=') => Some(self.sign(jwt, claims)),
            (name, _) => Some(token_of(name)),
        };
        let credentials = Credentials { token: token.as_deref().map(Into::into), certificate: None };
        self.access.identify_now(&credentials).map_err(|invalid| invalid.to_string())
    }

    fn sign(&self, jwt: &Jwt, claims: &str) -> String {
        let later = SystemTime::now() + Duration::from_hours(1);
        let mut payload = Map::new();
        payload.insert("exp".into(), later.duration_since(UNIX_EPOCH).unwrap().as_secs().into());
        for (claim, value) in [("iss", &jwt.issuer), ("aud", &jwt.audience)] {
            payload.extend(value.iter().map(|value| (claim.to_owned(), value.as_str().into())));
        }
        let (mut key, mut header) = ("own", Header::new(self.algorithm));
        header.kid = Some(KEY_ID.to_owned());
        for claim in claims.split_whitespace() {
            let (name, value) = claim.split_once('=').unwrap();
            let json = || serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            match name {
                "key" => key = value,
                "kid" => header.kid = Some(value.to_owned()),
                "role" => drop(payload.insert(jwt.role_claim.clone(), json())),
                _ => drop(payload.insert(name.to_owned(), json())),
            }
        }
        let pem =
            KEYS[&(if self.algorithm == Algorithm::ES256 { "ES256" } else { "EdDSA" }, key)].serialize_pem();
        let key = match self.algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_ed_pem(pem.as_bytes()),
        };
        jsonwebtoken::encode(&header, &payload, &key.unwrap()).unwrap()
    }

    /// What becomes of it when whoever `shown` describes does this.
    fn decide(&self, shown: &str, action: &str, room: &str) -> String {
        let identity = match self.identify(shown) {
            Ok(identity) => identity,
            Err(reason) => return format!("refused: {reason}"),
        };
        let room = room.parse().map_or_else(|_| Room::Text(room.into()), Room::Integer);
        let decision = match action {
            "subscribe" => identity.may_subscribe(&room),
            "publish" => identity.may_publish(&room),
            "broadcast" => identity.may_broadcast(),
            other => panic!("{other} is no action"),
        };
        decision.map_or_else(|denial| denial.to_string(), |grant| grant.to_string())
    }
}

fn token_of(name: &str) -> String {
    format!("the-token-of-{name}")
}

/// The set of keys of the identity provider.
fn set() -> String {
    // A point that is not compressed (SEC 1, 2.3.3): 4, x, y.
    let point = KEYS[&("ES256", "own")].der_bytes();
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let key = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
        "x": text(&point[1..33]), "y": text(&point[33..]),
    });
    json!({ "keys": [key] }).to_string()
}

#[test]
fn everyone_may_do_what_the_examples_say_and_nothing_else() {
    let (mut rows, mut wrong) = (0, Vec::new());
    for (name, table) in [
        ("access-tokens.toml", TOKENS),
        ("access-public-read.toml", PUBLIC_READ),
        ("access-jwt.toml", JWT),
        ("access-tenants.toml", TENANTS),
    ] {
        let example = Example::read(name);
        for row in table.lines().filter(|row| !row.trim().is_empty()) {
            let columns: Vec<_> = row.rsplitn(4, '|').map(str::trim).collect();
            let [expected, room, action, shown] = columns[..] else { panic!("{row}: four columns") };
            let decision = example.decide(shown, action, room).replace('`', "");
            if decision != expected {
                wrong.push(format!("{name}: {row}\n    but: {decision}"));
            }
            rows += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(rows >= 140, "{rows}");
}

#[test]
fn the_table_is_about_every_example_of_access() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("access-")).collect();
    names.sort();
    let known = ["access-jwt.toml", "access-public-read.toml", "access-tenants.toml", "access-tokens.toml"];
    assert_eq!(names, known);
}
