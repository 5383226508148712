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
            let set = Self::from_set(jwt, &file.read(KEY)?);
            let set = set.map_err(|reason| Failure::Config(format!("{KEY}: cannot use {file}: {reason}")))?;
            keys.extend(set.0);
        }
        Ok(Self(keys))
    }

    /// The keys of a set, as far as they can check one of the algorithms.
    pub(super) fn from_set(jwt: &Jwt, bytes: &[u8]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is not a set of keys (JWKS): {error}"))?;
        let keys: Vec<_> = set.keys.iter().filter_map(|key| from_jwk(jwt, key)).collect();
        if keys.is_empty() {
            return Err("none of its keys is for one of `algorithms`".to_owned());
        }
        Ok(Self(keys))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
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

    fn read(algorithms: &str, keys: &[Value]) -> Result<Keys, String> {
        Keys::from_set(&jwt(algorithms), json!({ "keys": keys }).to_string().as_bytes())
    }

    /// What each of these keys checks.
    fn checks(algorithms: &str, keys: &[Value]) -> Vec<Vec<Algorithm>> {
        let keys = read(algorithms, keys).map(|keys| keys.0).unwrap_or_default();
        keys.into_iter().map(|key| key.validation.algorithms).collect()
    }

    #[test]
    fn a_key_of_a_set_checks_what_it_is_for_and_what_is_allowed() {
        use Algorithm::*;
        let nothing = json!({});
        let rsa = json!({"kty": "RSA", "n": X, "e": "AQAB"});
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
        let keys = read("['ES256']", &keys).unwrap();
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
            let error = Keys::from_set(&jwt("['ES256']"), bytes.as_bytes()).unwrap_err();
            assert!(error.starts_with("it is not a set of keys (JWKS): "), "{bytes}: {error}");
        }
        let none = read("['ES256']", &[]).unwrap_err();
        assert_eq!(none, "none of its keys is for one of `algorithms`");
    }
}
