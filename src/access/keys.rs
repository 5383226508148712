//! Keys with which signatures are checked: from PEM, from secrets, and from sets of them (JWKS).

use jsonwebtoken::Algorithm;
use jsonwebtoken::AlgorithmFamily;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::DecodingKeyKind;
use jsonwebtoken::Validation;
use jsonwebtoken::jwk::AlgorithmParameters;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::jwk::KeyOperations;
use jsonwebtoken::jwk::PublicKeyUse;

use crate::access::flaw;
use crate::config;
use crate::config::FilePath;
use crate::config::Jwt;
use crate::failure::Failure;

/// Keys with which signatures are checked.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

/// One key, and what it checks.
#[derive(Debug)]
pub(super) struct Key {
    /// What tokens call it.
    id: Option<Box<str>>,
    pub(super) bytes: DecodingKey,
    /// What holds for its tokens: algorithms of its own kind only, whatever else is allowed.
    pub(super) validation: Validation,
}

impl Keys {
    /// The keys in files.
    pub(super) fn read(jwt: &Jwt) -> Result<Self, Failure> {
        let mut keys = Vec::new();
        for file in jwt.key_file.as_slice() {
            keys.push(from_file(jwt, file)?);
        }
        if let Some(file) = &jwt.jwks_file {
            const KEY: &str = "access.jwt.jwks_file";
            let set = Set::read(jwt, &file.read(KEY)?);
            let set = set.and_then(|set| set.flaw.map_or(Ok(set.keys), Err));
            let set = set.map_err(|reason| Failure::Config(format!("{KEY}: cannot use {file}: {reason}")))?;
            keys.extend(set.0);
        }
        Ok(Self(keys))
    }

    /// The keys that can have signed a token with this algorithm, by a key called `id`. One without a
    /// name may be any.
    pub(super) fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| {
            let named = key.id.as_deref().zip(id).is_none_or(|(known, id)| known == id);
            named && key.validation.algorithms.contains(&algorithm)
        })
    }
}

/// A set of keys, read.
#[derive(Debug, Default)]
pub(super) struct Set {
    /// Those that can check one of the algorithms.
    pub(super) keys: Keys,
    /// What is wrong with another, or that there are none of those.
    pub(super) flaw: Option<String>,
}

impl Set {
    pub(super) fn read(jwt: &Jwt, bytes: &[u8]) -> Result<Self, String> {
        // What the parser says may quote a secret.
        let wrong = |error: serde_json::Error| {
            format!(
                "it is not a set of keys (JWKS); see its line {}, column {}",
                error.line(),
                error.column()
            )
        };
        let jwks: JwkSet = serde_json::from_slice(bytes).map_err(wrong)?;
        let mut set = Self::default();
        for key in jwks.keys.iter().filter_map(|key| from_jwk(jwt, key)) {
            match flaw::of(&key.bytes) {
                None => set.keys.0.push(key),
                Some(flaw) => set.flaw = Some(format!("one of its keys {flaw}")),
            }
        }
        if set.keys.0.is_empty() && set.flaw.is_none() {
            set.flaw = Some("none of its keys is for one of `algorithms`".to_owned());
        }
        Ok(set)
    }
}

impl Key {
    /// A key for those of `algorithms` that are allowed; none if none is.
    fn new(jwt: &Jwt, id: Option<&str>, bytes: DecodingKey, algorithms: &[Algorithm]) -> Option<Self> {
        let allowed: Vec<_> = jwt.algorithms.iter().map(|allowed| algorithm(*allowed)).collect();
        let mut algorithms = algorithms.iter().copied().filter(|algorithm| allowed.contains(algorithm));
        let mut validation = Validation::new(algorithms.next()?);
        validation.algorithms.extend(algorithms);
        validation.leeway = jwt.leeway.get().as_secs();
        validation.validate_nbf = true;
        // A claim that is to be something must be there, and well written.
        if let Some(issuer) = &jwt.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if let Some(audience) = &jwt.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        Some(Self { id: id.map(Into::into), bytes, validation })
    }
}

/// The key in `file`.
fn from_file(jwt: &Jwt, file: &FilePath) -> Result<Key, Failure> {
    const KEY: &str = "access.jwt.key_file";
    let bytes = file.read(KEY)?;
    let unusable = |reason: &str| Failure::Config(format!("{KEY}: cannot use {file}: {reason}"));
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    let text = String::from_utf8_lossy(&bytes);
    let is_pem = text.contains("-----BEGIN ");
    // A public key is never a secret: anyone could sign with it.
    let (key, algorithms) = if is_pem { from_pem(&text).map_err(unusable)? } else { from_secret(secret) };
    if let Some(flaw) = flaw::of(&key) {
        return Err(unusable(&format!("it {flaw}")));
    }
    if !is_pem && jwt.algorithms.iter().any(|algorithm| algorithm.is_hmac()) {
        let longest = jwt.algorithms.iter().map(|algorithm| shortest_secret(*algorithm)).max().unwrap_or(0);
        if secret.len() < longest {
            let reason = format!(
                "a secret for these algorithms has at least {longest} bytes (RFC 7518, 3.2), this one {}",
                secret.len()
            );
            return Err(unusable(&reason));
        }
    }
    let kind = if is_pem { "it is a public key" } else { "it is not PEM, so it can only be a secret" };
    Key::new(jwt, None, key, &algorithms)
        .ok_or_else(|| unusable(&format!("{kind}, and no such algorithm is in `algorithms`")))
}

fn from_secret(secret: &[u8]) -> (DecodingKey, Vec<Algorithm>) {
    (DecodingKey::from_secret(secret), AlgorithmFamily::Hmac.algorithms().to_vec())
}

fn from_pem(text: &str) -> Result<(DecodingKey, Vec<Algorithm>), &'static str> {
    if text.contains("PRIVATE KEY-----") {
        return Err(
            "it is a private key; checking takes the public one, as `openssl pkey -pubout` writes it",
        );
    }
    if text.matches("-----BEGIN ").count() > 1 {
        return Err("it holds more than one key; write each into a file of its own");
    }
    let bytes = text.as_bytes();
    let key = DecodingKey::from_rsa_pem(bytes)
        .or_else(|_| DecodingKey::from_ec_pem(bytes))
        .or_else(|_| DecodingKey::from_ed_pem(bytes))
        .map_err(|_| "it is not a public key of RSA, of an elliptic curve or of Ed25519 in PEM")?;
    let algorithms = match (key.family(), key.kind()) {
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => match point.len() {
            P256_POINT => vec![Algorithm::ES256],
            P384_POINT => vec![Algorithm::ES384],
            _ => return Err("its curve is neither P-256 nor P-384"),
        },
        (family, _) => family.algorithms().to_vec(),
    };
    Ok((key, algorithms))
}

/// Bytes of a point on these curves, not compressed (SEC 1, 2.3.3).
const P256_POINT: usize = 1 + 2 * 32;
const P384_POINT: usize = 1 + 2 * 48;

fn from_jwk(jwt: &Jwt, jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !signs || !verifies {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
        AlgorithmParameters::OctetKey(_) => AlgorithmFamily::Hmac.algorithms().to_vec(),
        AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        _ => return None,
    };
    if let Some(only) = &common.key_algorithm {
        algorithms.retain(|algorithm| format!("{algorithm:?}") == only.to_string());
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    if key.family() == AlgorithmFamily::Hmac {
        let length = key.try_get_as_bytes().ok()?.len();
        let allowed = jwt.algorithms.iter().filter(|allowed| length >= shortest_secret(**allowed));
        let long_enough: Vec<_> = allowed.map(|allowed| algorithm(*allowed)).collect();
        algorithms.retain(|algorithm| long_enough.contains(algorithm));
    }
    Key::new(jwt, common.key_id.as_deref(), key, &algorithms)
}

/// Fewest bytes of a secret: as many as the hash has (RFC 7518, 3.2).
fn shortest_secret(algorithm: config::Algorithm) -> usize {
    match algorithm {
        config::Algorithm::HS256 => 32,
        config::Algorithm::HS384 => 48,
        config::Algorithm::HS512 => 64,
        _ => 0,
    }
}

/// The library's name of an algorithm.
pub(super) fn algorithm(algorithm: config::Algorithm) -> Algorithm {
    match algorithm {
        config::Algorithm::HS256 => Algorithm::HS256,
        config::Algorithm::HS384 => Algorithm::HS384,
        config::Algorithm::HS512 => Algorithm::HS512,
        config::Algorithm::RS256 => Algorithm::RS256,
        config::Algorithm::RS384 => Algorithm::RS384,
        config::Algorithm::RS512 => Algorithm::RS512,
        config::Algorithm::PS256 => Algorithm::PS256,
        config::Algorithm::PS384 => Algorithm::PS384,
        config::Algorithm::PS512 => Algorithm::PS512,
        config::Algorithm::ES256 => Algorithm::ES256,
        config::Algorithm::ES384 => Algorithm::ES384,
        config::Algorithm::EdDSA => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    fn jwt(algorithms: &str) -> Jwt {
        toml::from_str(&format!("algorithms = {algorithms}\njwks_file = '/dev/null'")).unwrap()
    }

    /// The key of RFC 7517, appendix A.1, with these changes.
    fn curve(changes: &Value) -> Value {
        changed(json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y}), changes)
    }

    fn secret(bytes: usize, changes: &Value) -> Value {
        use base64::Engine;
        let secret = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(vec![7; bytes]);
        changed(json!({"kty": "oct", "k": secret}), changes)
    }

    fn changed(mut jwk: Value, changes: &Value) -> Value {
        jwk.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        jwk
    }

    fn read(algorithms: &str, keys: &[Value]) -> Set {
        Set::read(&jwt(algorithms), json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    /// What each of these keys checks.
    fn checks(algorithms: &str, keys: &[Value]) -> Vec<Vec<Algorithm>> {
        let keys = read(algorithms, keys).keys;
        keys.0.into_iter().map(|key| key.validation.algorithms).collect()
    }

    #[test]
    fn a_key_of_a_set_checks_what_it_is_for_and_what_is_allowed() {
        use Algorithm::*;
        let nothing = json!({});
        let rsa = json!({"kty": "RSA", "n": X.repeat(8), "e": "AQAB"});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        for (algorithms, key, expected) in [
            ("['ES256']", curve(&nothing), vec![ES256]),
            ("['ES256', 'RS256', 'HS256', 'EdDSA']", curve(&nothing), vec![ES256]),
            ("['ES384', 'RS256', 'HS256']", curve(&nothing), vec![]),
            ("['ES256']", curve(&json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"]})), vec![ES256]),
            (
                "['ES256']",
                curve(&json!({"key_ops": ["sign", "verify"], "x5t": "a", "odd": [1]})),
                vec![ES256],
            ),
            ("['ES256']", curve(&json!({"use": "enc"})), vec![]),
            ("['ES256']", curve(&json!({"use": "other"})), vec![]),
            ("['ES256']", curve(&json!({"key_ops": ["sign"]})), vec![]),
            ("['ES256']", curve(&json!({"key_ops": []})), vec![]),
            ("['ES256', 'ES384']", curve(&json!({"alg": "ES384"})), vec![]),
            ("['ES256', 'HS256']", curve(&json!({"alg": "HS256"})), vec![]),
            ("['ES256', 'ES384']", curve(&json!({"crv": "P-521"})), vec![]),
            ("['ES256']", curve(&json!({"crv": "secp256k1"})), vec![]),
            ("['ES256']", curve(&json!({"x": "!"})), vec![]),
            ("['RS256', 'PS512', 'HS256']", rsa.clone(), vec![RS256, PS512]),
            ("['RS256', 'PS512']", changed(rsa.clone(), &json!({"alg": "RS256"})), vec![RS256]),
            ("['RS256']", changed(rsa.clone(), &json!({"alg": "RSA-OAEP"})), vec![]),
            ("['HS256', 'ES256']", rsa, vec![]),
            ("['EdDSA', 'HS256']", ed.clone(), vec![EdDSA]),
            ("['EdDSA']", changed(ed, &json!({"crv": "X25519"})), vec![]),
            ("['HS256', 'HS384', 'HS512']", secret(64, &nothing), vec![HS256, HS384, HS512]),
            ("['HS256', 'HS384', 'HS512']", secret(63, &nothing), vec![HS256, HS384]),
            ("['HS256', 'HS384', 'HS512']", secret(32, &nothing), vec![HS256]),
            ("['HS256', 'HS384', 'HS512']", secret(31, &nothing), vec![]),
            ("['HS256']", secret(0, &nothing), vec![]),
            ("['HS256', 'ES256']", secret(64, &json!({"alg": "ES256"})), vec![]),
            ("['RS256', 'ES256']", secret(64, &nothing), vec![]),
        ] {
            let mut found = checks(algorithms, std::slice::from_ref(&key)).concat();
            found.sort_by_key(|algorithm| format!("{algorithm:?}"));
            let mut expected = expected;
            expected.sort_by_key(|algorithm| format!("{algorithm:?}"));
            assert_eq!(found, expected, "{algorithms} {key}");
        }
    }

    #[test]
    fn a_key_that_is_not_understood_leaves_the_others_of_its_set() {
        let good = curve(&json!({"kid": "good"}));
        for odd in [
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
            json!({"kty": "EC", "crv": "P-256"}),
            json!({"kty": "oct", "k": "not base64!"}),
            curve(&json!({"crv": "brainpoolP256r1"})),
            curve(&json!({"alg": "XS256"})),
            curve(&json!({"key_ops": ["odd"]})),
        ] {
            let keys = [odd.clone(), good.clone()];
            let last = checks("['ES256']", &keys).pop();
            assert_eq!(last, Some(vec![Algorithm::ES256]), "{odd}");
        }
    }

    #[test]
    fn a_token_is_checked_with_the_key_that_it_names_or_with_any_if_it_names_none() {
        let keys = [curve(&json!({"kid": "a"})), curve(&json!({"kid": "b"})), curve(&json!({}))];
        let Set { keys, flaw } = read("['ES256']", &keys);
        assert_eq!(flaw, None);
        let count = |algorithm, id| keys.candidates(algorithm, id).count();
        assert_eq!(count(Algorithm::ES256, None), 3);
        // One that has no name may be the one that is meant.
        assert_eq!(count(Algorithm::ES256, Some("a")), 2);
        assert_eq!(count(Algorithm::ES256, Some("A")), 1);
        assert_eq!(count(Algorithm::ES256, Some("")), 1);
        assert_eq!(count(Algorithm::HS256, Some("a")), 0);
        assert_eq!(count(Algorithm::ES384, None), 0);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bytes in ["", "{}", "[]", "{\"keys\":7}", "{\"keys\":[", "null", "{\"keys\":[]} x"] {
            let error = Set::read(&jwt("['ES256']"), bytes.as_bytes()).unwrap_err();
            assert!(
                error.starts_with("it is not a set of keys (JWKS); see its line 1, column "),
                "{bytes}: {error}"
            );
        }
        let secret = "{\"keys\":\n \"SECRET\"}";
        let error = Set::read(&jwt("['HS256']"), secret.as_bytes()).unwrap_err();
        assert_eq!(error, "it is not a set of keys (JWKS); see its line 2, column 9");
    }

    #[test]
    fn a_set_without_a_key_that_can_be_used_is_a_set_and_says_so() {
        for keys in [vec![], vec![curve(&json!({"use": "enc"}))], vec![json!({"kty": "AKP"})]] {
            let Set { keys, flaw } = read("['ES256']", &keys);
            assert!(keys.0.is_empty());
            assert_eq!(flaw.as_deref(), Some("none of its keys is for one of `algorithms`"));
        }
    }

    #[test]
    fn a_key_that_is_too_short_or_public_leaves_the_others_of_its_set() {
        use base64::Engine;
        let encode = |bytes: &[u8]| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let rsa = |bytes: usize| json!({"kty": "RSA", "n": encode(&vec![0xff; bytes]), "e": "AQAB"});
        let oct = |secret: &str| json!({"kty": "oct", "k": encode(secret.as_bytes())});
        let flawed = |algorithms: &str, bad: Value, good: Value| {
            let Set { keys, flaw } = read(algorithms, &[bad, good]);
            assert_eq!(keys.0.len(), 1);
            flaw
        };
        assert_eq!(
            flawed("['RS256']", rsa(128), rsa(256)).as_deref(),
            Some("one of its keys is an RSA key of 1024 bits; one that can be used has 2048 to 8192")
        );
        assert_eq!(flawed("['ES256']", rsa(128), curve(&json!({}))), None, "nobody would use it");
        let set = format!("{{\"keys\":[{{\"kty\":\"RSA\",\"n\":\"{X}\"}}]}}");
        assert_eq!(
            flawed("['HS256']", oct(&set), secret(32, &json!({}))).as_deref(),
            Some("one of its keys is JSON, and never a secret; a set of keys belongs into `jwks_file`")
        );
    }
}
