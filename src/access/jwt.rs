//! Signed tokens: JSON Web Tokens, whether they are valid and what they say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::Value;

use crate::access::Roles;
use crate::access::identity::Identity;
use crate::access::identity::Own;
use crate::access::identity::Ruled;
use crate::access::jwks::Jwks;
use crate::access::keys::Keys;
use crate::access::keys::algorithm;
use crate::access::role::Role;
use crate::config;
use crate::config::Pattern;
use crate::failure::Failure;

/// What checks signed tokens.
#[derive(Debug)]
pub(super) struct Verifier {
    config: config::Jwt,
    keys: Source,
}

/// Where the keys come from.
#[derive(Debug)]
enum Source {
    Files(Keys),
    Url(Arc<Jwks>),
}

/// Why a token is not valid; it is logged at `debug`, and no client is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Invalid {
    /// There is no token, nor anything else.
    Nothing,
    /// It is none of ours: neither a static token nor signed.
    Unknown,
    /// It is longer than any token we take.
    TooLong,
    /// The certificate has ended, or the authorities are others now.
    Certificate,
    /// There is no key that can have signed it.
    UnknownKey,
    /// What the library says of it, or what is wrong with its claims.
    Because(String),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("it shows nothing"),
            Self::Unknown => f.write_str("nobody knows the token"),
            Self::TooLong => f.write_str("the token is too long"),
            Self::Certificate => f.write_str("the certificate is not valid any more"),
            Self::UnknownKey => f.write_str("no key can have signed the token"),
            Self::Because(reason) => f.write_str(reason),
        }
    }
}

impl Verifier {
    /// What checks tokens as `jwt` says. Keys that `before` has fetched from the same address stay until
    /// they have been fetched again.
    pub(super) fn read(jwt: &config::Jwt, before: Option<&Self>) -> Result<Self, Failure> {
        let keys = match &jwt.jwks_url {
            None => Source::Files(Keys::read(jwt)?),
            Some(url) => Source::Url(match before.and_then(Self::jwks) {
                Some(jwks) if before.is_some_and(|before| before.config == *jwt) => jwks.clone(),
                before => Arc::new(Jwks::new(url.as_uri().clone(), jwt.clone(), before.map(|jwks| &**jwks))),
            }),
        };
        Ok(Self { config: jwt.clone(), keys })
    }

    /// The keys that are fetched, if they are.
    pub(super) fn jwks(&self) -> Option<&Arc<Jwks>> {
        match &self.keys {
            Source::Files(_) => None,
            Source::Url(jwks) => Some(jwks),
        }
    }

    /// Who shows `token`.
    pub(super) fn identify(&self, token: &str, roles: &Roles) -> Result<Arc<Identity>, Invalid> {
        let now = SystemTime::now();
        let claims = match &self.keys {
            Source::Files(keys) => self.verify(keys, token)?,
            Source::Url(jwks) => self.verify(&jwks.fetched_last().set.keys, token)?,
        };
        self.not_from_the_future(&claims, now)?;
        self.of_one_issuer(&claims)?;
        self.for_nobody_else(&claims)?;
        let role = self.role(&claims, roles)?;
        let ruled = Ruled {
            claims: role.claims.values(|name| claims.text(name)),
            subscribe: claims.patterns("subscribe")?,
            publish: claims.patterns("publish")?,
            expires: Some(self.expires(&claims, now)?),
            role,
        };
        Ok(Identity::new(ruled))
    }

    /// The claims of `token`, if one of `keys` has signed it and it is valid now.
    fn verify(&self, keys: &Keys, token: &str) -> Result<Claims, Invalid> {
        let library = |error: jsonwebtoken::errors::Error| Invalid::Because(in_words(error.kind()));
        let header = jsonwebtoken::decode_header(token).map_err(library)?;
        // What must be understood, and is not, makes it invalid (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(because("it has critical headers"));
        }
        // Whatever its key is, there is nothing to wait for.
        if !self.config.algorithms.iter().any(|allowed| algorithm(*allowed) == header.alg) {
            return Err(because("its algorithm is none of `algorithms`"));
        }
        let mut outcome = Err(Invalid::UnknownKey);
        for key in keys.candidates(header.alg, header.kid.as_deref()) {
            match jsonwebtoken::decode(token, &key.bytes, &key.validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => outcome = Err(library(error)),
            }
        }
        outcome
    }

    fn role(&self, claims: &Claims, roles: &Roles) -> Result<Arc<Role>, Invalid> {
        let name = match (claims.0.get(&self.config.role_claim), &self.config.role) {
            (Some(Value::String(name)), _) | (None, Some(name)) => name,
            (Some(_), _) => return Err(because("the claim of its role is not a string")),
            (None, None) => return Err(because("it names no role")),
        };
        roles.get(name.as_str()).cloned().ok_or_else(|| because("there is no such role"))
    }

    /// The library does not look at `iat`.
    fn not_from_the_future(&self, claims: &Claims, now: SystemTime) -> Result<(), Invalid> {
        match claims.0.get("iat").map(moment) {
            Some(None) => Err(because("`iat` is not a time")),
            Some(Some(issued)) if issued > now + self.config.leeway.get() => {
                Err(because("it is from the future"))
            }
            _ => Ok(()),
        }
    }

    /// The library takes a list too, if one of it is the issuer, and of two nobody knows which has signed.
    fn of_one_issuer(&self, claims: &Claims) -> Result<(), Invalid> {
        match (&self.config.issuer, claims.0.get("iss")) {
            (Some(_), Some(Value::Array(_))) => Err(because("`iss` is not well written")),
            _ => Ok(()),
        }
    }

    /// The library takes an audience that is not well written for none.
    fn for_nobody_else(&self, claims: &Claims) -> Result<(), Invalid> {
        let is_for_somebody = claims.0.get("aud").is_some_and(|audience| !audience.is_null());
        match self.config.audience {
            None if is_for_somebody => Err(Invalid::Because(in_words(&ErrorKind::InvalidAudience))),
            _ => Ok(()),
        }
    }

    /// When the token ends: at the moment it says, or if that is over by less than clocks may differ,
    /// when that too is over.
    fn expires(&self, claims: &Claims, now: SystemTime) -> Result<SystemTime, Invalid> {
        let expires = claims.0.get("exp").and_then(moment).ok_or_else(|| because("`exp` is not a time"))?;
        let end = if expires > now { expires } else { expires + self.config.leeway.get() };
        // The library counts whole seconds.
        if end > now { Ok(end) } else { Err(because("it has expired")) }
    }
}

fn because(reason: &str) -> Invalid {
    Invalid::Because(reason.to_owned())
}

/// What the library finds wrong with a token.
fn in_words(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => "it is no signed token",
        ErrorKind::Json(_) => "what it says is not well written",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "`iss` is not what `access.jwt.issuer` says",
        ErrorKind::InvalidAudience => "`aud` is not what `access.jwt.audience` says",
        ErrorKind::MissingRequiredClaim(claim) => return format!("`{claim}` is missing"),
        ErrorKind::InvalidClaimFormat(claim) => return format!("`{claim}` is not well written"),
        other => return format!("{other:?}"),
    }
    .to_owned()
}

/// A time as claims write it (RFC 7519, `NumericDate`).
fn moment(value: &Value) -> Option<SystemTime> {
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// What a token says, each claim once.
#[derive(Debug)]
struct Claims(BTreeMap<String, Value>);

impl Claims {
    /// The value of a claim that can stand in a pattern; an empty one could make it mean something else.
    fn text(&self, name: &str) -> Option<Box<str>> {
        match self.0.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.as_str().into()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// The patterns that the token carries itself; they have no claims.
    fn patterns(&self, name: &str) -> Result<Option<Own>, Invalid> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let wrong = || Invalid::Because(format!("`{name}` is not an array of patterns without claims"));
        let patterns: Option<Vec<Pattern>> =
            value.as_array().ok_or_else(wrong)?.iter().map(|text| text.as_str()?.parse().ok()).collect();
        match patterns {
            Some(patterns) if !patterns.iter().any(Pattern::has_claims) => Ok(Some(Own::new(&patterns))),
            _ => Err(wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry()? {
            // Of two, whoever made the token and we might mean different ones.
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim is there twice"));
            }
        }
        Ok(Claims(claims))
    }
}
