//! `token new` and `token sign`: tokens for who has none yet.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use clap::Subcommand;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use serde_json::Map;
use serde_json::Value;

use crate::access::Secret;
use crate::cli::unreadable;
use crate::failure::Failure;

/// What to do about a token.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Makes a random token, and its SHA-256 for the configuration
    ///
    /// Both are printed as TOML; the second line goes into `[[access.tokens]]`, the first to whoever is
    /// to show the token.
    New,
    /// Signs a JSON Web Token, to test a configuration with
    Sign(Box<Sign>),
}

/// What is to be signed, and how.
#[derive(Args, Debug)]
pub(super) struct Sign {
    /// File with the private key in PEM, or with the secret of HMAC
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,

    /// Algorithm, like RS256; by default the first that the key is for
    #[arg(long)]
    algorithm: Option<Algorithm>,

    /// What the key is called (`kid`)
    #[arg(long, value_name = "KID")]
    key_id: Option<String>,

    /// Role (`role`)
    #[arg(long)]
    role: Option<String>,

    /// Whose token it is (`sub`)
    #[arg(long)]
    sub: Option<String>,

    /// For how long it is valid, from now, like `1h`
    #[arg(long, value_name = "PERIOD", default_value = "1h")]
    expires: humantime::Duration,

    /// Who signs it (`iss`)
    #[arg(long)]
    issuer: Option<String>,

    /// For whom it is (`aud`)
    #[arg(long)]
    audience: Option<String>,

    /// Any other claim; the value is JSON, or else a string; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as `name=value`")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

impl Token {
    /// What is to be printed.
    pub(super) fn run(self) -> Result<String, Failure> {
        match self {
            Self::New => new(),
            Self::Sign(sign) => sign.run(),
        }
    }
}

/// A token of 256 random bits.
fn new() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)
        .map_err(|_| Failure::Unavailable("there is no randomness to be had".to_owned()))?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("token = \"{token}\"\ntoken_sha256 = \"{}\"\n", Secret::of(&token).to_hex()))
}

impl Sign {
    fn run(&self) -> Result<String, Failure> {
        let file = self.key_file.display();
        let unusable = |reason: &str| Failure::Config(format!("cannot use {file}: {reason}"));
        let bytes = fs::read(&self.key_file).map_err(|error| unreadable(&self.key_file, error))?;
        let (key, algorithms) = key(&bytes).map_err(unusable)?;
        let algorithm = match self.algorithm {
            Some(wanted) if algorithms.contains(&wanted) => wanted,
            Some(wanted) => return Err(unusable(&format!("it is no key for {wanted:?}"))),
            None => *algorithms.first().ok_or_else(|| unusable("it is for no algorithm"))?,
        };
        let header = Header { kid: self.key_id.clone(), ..Header::new(algorithm) };
        let token = jsonwebtoken::encode(&header, &self.payload()?, &key);
        token.map(|token| token + "\n").map_err(|error| unusable(&error.to_string()))
    }

    fn payload(&self) -> Result<Map<String, Value>, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let expires = now
            .checked_add(*self.expires)
            .ok_or_else(|| Failure::Usage("--expires is too long".to_owned()))?;
        let mut payload = Map::new();
        payload.insert("iat".to_owned(), now.as_secs().into());
        payload.insert("exp".to_owned(), expires.as_secs().into());
        let named =
            [("role", &self.role), ("sub", &self.sub), ("iss", &self.issuer), ("aud", &self.audience)];
        for (name, value) in named {
            if let Some(value) = value {
                payload.insert(name.to_owned(), value.as_str().into());
            }
        }
        payload.extend(self.claims.iter().cloned());
        Ok(payload)
    }
}

/// The key in a file, and what it can sign with.
fn key(bytes: &[u8]) -> Result<(EncodingKey, Vec<Algorithm>), &'static str> {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    if !String::from_utf8_lossy(bytes).contains("-----BEGIN ") {
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        return Ok((EncodingKey::from_secret(secret), vec![HS256, HS384, HS512]));
    }
    if let Ok(key) = EncodingKey::from_rsa_pem(bytes) {
        return Ok((key, vec![RS256, RS384, RS512, PS256, PS384, PS512]));
    }
    if let Ok(key) = EncodingKey::from_ed_pem(bytes) {
        return Ok((key, vec![EdDSA]));
    }
    let key = EncodingKey::from_ec_pem(bytes)
        .map_err(|_| "it is not a private key in PEM (PKCS #8, as `openssl genpkey` writes it)")?;
    // Which curve it is of is known when it signs.
    let is_for = |algorithm| jsonwebtoken::encode(&Header::new(algorithm), &(), &key).is_ok();
    let algorithms = [ES256, ES384].into_iter().filter(|algorithm| is_for(*algorithm)).collect();
    Ok((key, algorithms))
}
