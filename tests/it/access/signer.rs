//! Keys that a test makes, and tokens that it signs with them.

use std::fs;
use std::path::Path;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto;
use jsonwebtoken::jwk::Jwk;
use rcgen::KeyPair;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rcgen::PKCS_ECDSA_P384_SHA384;
use rcgen::PKCS_ED25519;
use rcgen::PKCS_RSA_SHA256;
use rcgen::SignatureAlgorithm;
use serde_json::Value;
use serde_json::json;

/// Who is known by `claims`.
pub const ISSUER: &str = "https://id.example";
pub const AUDIENCE: &str = "broker";

/// A key that signs.
pub struct Signer {
    key: EncodingKey,
    /// What a broker checks with: a public key in PEM, or the secret itself.
    pub public: String,
    /// What is public, as it is without PEM.
    raw: Vec<u8>,
}

impl Signer {
    /// A key pair of RSA.
    pub fn rsa() -> Self {
        Self::pair(&PKCS_RSA_SHA256, EncodingKey::from_rsa_pem)
    }

    /// A key pair on the curve P-256.
    pub fn p256() -> Self {
        Self::pair(&PKCS_ECDSA_P256_SHA256, EncodingKey::from_ec_pem)
    }

    /// A key pair on the curve P-384.
    pub fn p384() -> Self {
        Self::pair(&PKCS_ECDSA_P384_SHA384, EncodingKey::from_ec_pem)
    }

    /// A key pair of Ed25519.
    pub fn ed25519() -> Self {
        Self::pair(&PKCS_ED25519, EncodingKey::from_ed_pem)
    }

    /// A secret.
    pub fn secret(secret: &str) -> Self {
        Self::from_bytes(secret.as_bytes())
    }

    /// A secret that may not be text.
    pub fn from_bytes(secret: &[u8]) -> Self {
        let public = String::from_utf8_lossy(secret).into_owned();
        Self { key: EncodingKey::from_secret(secret), public, raw: Vec::new() }
    }

    fn pair(
        kind: &'static SignatureAlgorithm,
        read: impl Fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>,
    ) -> Self {
        let pair = KeyPair::generate_for(kind).unwrap();
        Self {
            key: read(pair.serialize_pem().as_bytes()).unwrap(),
            public: pair.public_key_pem(),
            raw: pair.public_key_raw().to_vec(),
        }
    }

    /// Writes what a broker checks with to `name` in `folder`, and gives back the path.
    pub fn write(&self, folder: &Path, name: &str) -> String {
        let file = folder.join(name);
        fs::write(&file, &self.public).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// The public key as one of a set, called `id`.
    pub fn jwk(&self, algorithm: Algorithm, id: &str) -> Value {
        let mut jwk = match algorithm {
            // The library does not make one of the keys that `rcgen` makes.
            Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&self.raw)}),
            _ => serde_json::to_value(Jwk::from_encoding_key(&self.key, algorithm).unwrap()).unwrap(),
        };
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with these claims.
    pub fn sign(&self, algorithm: Algorithm, claims: &str) -> String {
        self.sign_with(algorithm, &format!("{{\"alg\":\"{algorithm:?}\",\"typ\":\"JWT\"}}"), claims)
    }

    /// A token with these claims, of the key called `id`.
    pub fn sign_as(&self, algorithm: Algorithm, id: &str, claims: &str) -> String {
        self.sign_with(algorithm, &json!({"alg": format!("{algorithm:?}"), "kid": id}).to_string(), claims)
    }

    /// A token with this header and these claims, whatever they say.
    pub fn sign_with(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

/// A part of a token.
pub fn encode(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A moment, as tokens write it.
pub fn from_now(seconds: f64) -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + seconds
}

/// Claims that are good, but for these changes; what is null is left out.
pub fn claims(changes: &Value) -> String {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "role": "user",
        "iat": from_now(-10.0).floor(),
        "exp": from_now(600.0).floor(),
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims.to_string()
}

/// A set of keys.
pub fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// A public key of RSA of 1024 bits, as one of a set, called `id`.
pub fn short_rsa(id: &str) -> Value {
    json!({"kty": "RSA", "kid": id, "n": encode([0xff; 128]), "e": "AQAB"})
}
