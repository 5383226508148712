//! `[access.jwt]`: tokens that somebody else signs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;
use serde::de::SeqAccess;
use serde::de::Visitor;

use crate::config::Contradiction;
use crate::config::Delay;
use crate::config::FilePath;
use crate::config::contradiction::Step;
use crate::config::text;

/// Longest leeway: clocks that differ by more are to be set.
const LONGEST_LEEWAY: Duration = Duration::from_mins(10);

/// Tokens that somebody else signs: JSON Web Tokens. Exactly one of the three ways to the keys is set.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Jwt {
    /// Algorithms that are taken, and no others.
    pub algorithms: Vec<Algorithm>,

    /// File, or files, with a public key each, in PEM; or with the secret of HMAC, of which a line break
    /// at its end does not count.
    #[serde(default, skip_serializing_if = "Files::is_empty")]
    pub key_file: Files,

    /// File with a set of keys (JWKS, RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<FilePath>,

    /// Address of such a set: `https` only. It is fetched when the broker starts, every 10 minutes, and when
    /// a token names a key that is not in it, at most once a minute; while it cannot be, the keys that were
    /// there stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<HttpsUrl>,

    /// What `iss` must be; without it, it may be anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,

    /// What `aud` must be or hold; without it, tokens that are for somebody, by having an `aud`, are
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,

    /// By how much the clocks of who signs and of this machine may differ; ten minutes at most.
    ///
    /// Default: `"30s"`.
    #[serde(default = "leeway")]
    pub leeway: Delay,

    /// Claim that names the role.
    ///
    /// Default: `"role"`.
    #[serde(default = "role_claim")]
    pub role_claim: String,

    /// Role of tokens without that claim; without it they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

fn leeway() -> Delay {
    Delay::seconds(30)
}

fn role_claim() -> String {
    "role".to_owned()
}

impl Jwt {
    /// What is wrong between keys.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        let wrong = |key: Option<&'static str>, message: &str| {
            let place =
                [Step::Key("access"), Step::Key("jwt")].into_iter().chain(key.map(Step::Key)).collect();
            Some(Contradiction::new(place, message))
        };
        let ways = [!self.key_file.is_empty(), self.jwks_file.is_some(), self.jwks_url.is_some()];
        if ways.into_iter().filter(|way| *way).count() != 1 {
            return wrong(None, "write one of `key_file`, `jwks_file` and `jwks_url`");
        }
        if self.algorithms.is_empty() {
            return wrong(Some("algorithms"), "no token could be valid; write at least one algorithm");
        }
        if self.leeway.get() > LONGEST_LEEWAY {
            return wrong(Some("leeway"), "tokens would be taken that are long over; write at most `10m`");
        }
        if self.jwks_url.is_some() && self.algorithms.iter().any(|algorithm| algorithm.is_hmac()) {
            return wrong(
                Some("algorithms"),
                "a secret that anyone can fetch is none; HMAC takes a `key_file`",
            );
        }
        None
    }
}

/// How a token may be signed (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "they are called as in the standard")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// Whether who can check a signature can also make one.
    #[must_use]
    pub fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

/// One file, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(Vec<FilePath>);

impl Files {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The files.
    #[must_use]
    pub fn as_slice(&self) -> &[FilePath] {
        &self.0
    }
}

impl Serialize for Files {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral)
    }
}

struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Files;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file, or an array of files")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Files, E> {
        text.parse().map(|file| Files(vec![file])).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Files, A::Error> {
        let mut files = Vec::new();
        while let Some(file) = elements.next_element()? {
            files.push(file);
        }
        Ok(Files(files))
    }
}

/// An address of the web, encrypted, without a password in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct HttpsUrl(Uri);

impl HttpsUrl {
    /// The address.
    #[must_use]
    pub fn as_uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for HttpsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_good = |uri: &Uri| {
            let authority = uri.authority().map_or("@", |authority| authority.as_str());
            uri.scheme_str() == Some("https") && !authority.contains('@')
        };
        match text.parse::<Uri>() {
            Ok(uri) if is_good(&uri) => Ok(Self(uri)),
            _ => Err(format!(
                "`{text}` is not an address; write one like `https://id.example/keys`, without a password"
            )),
        }
    }
}

impl From<HttpsUrl> for String {
    fn from(url: HttpsUrl) -> Self {
        url.0.to_string()
    }
}

impl<'de> Deserialize<'de> for HttpsUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}
