//! Access: who a client is, and what it may do.

mod certificate;
mod flaw;
mod glob;
mod identity;
mod index;
pub mod jwks;
mod jwt;
mod keys;
mod patterns;
mod pieces;
mod role;
mod tokens;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::config;
use crate::failure::Failure;

use certificate::Certificates;
use identity::Ruled;
use jwks::Jwks;
use jwt::Verifier;
use role::Role;
use tokens::Tokens;

pub use certificate::Authorities;
pub use certificate::Names;
pub use identity::Grant;
pub use identity::Identity;
pub use jwt::Invalid;
pub use role::Denial;
pub use tokens::Secret;

/// Longest token that is looked at, in bytes: what most servers take of one header.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// Roles by name.
type Roles = BTreeMap<String, Arc<Role>>;

/// Who clients are, by what they show.
#[derive(Debug)]
pub struct Access(Option<Rules>);

#[derive(Debug)]
struct Rules {
    anonymous: Option<Arc<Identity>>,
    tokens: Tokens,
    jwt: Option<Verifier>,
    certificates: Certificates,
    roles: Roles,
}

/// What a client shows.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A token, from the first place that has one.
    pub token: Option<Token>,
    /// The names in its certificate, which has been found valid.
    pub certificate: Option<Arc<Names>>,
}

/// A token, which nobody may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        Self(token.into())
    }
}

impl Token {
    /// What it is compared with.
    #[must_use]
    pub fn secret(&self) -> Secret {
        Secret::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Access {
    /// What `access` says, with every file that it names; without it everyone may do everything. Keys
    /// that `before` has fetched stay, if their address does; `authorities` vouch for certificates.
    pub fn read(
        access: Option<&config::Access>,
        authorities: Option<Arc<dyn Authorities>>,
        before: Option<&Self>,
    ) -> Result<Self, Failure> {
        let before = before.and_then(|before| before.0.as_ref());
        access.map(|access| Rules::read(access, authorities, before)).transpose().map(Self)
    }

    /// Whether there are rules at all.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.0.is_some()
    }

    /// Whether keys are to be fetched and none have been yet.
    #[must_use]
    pub fn awaits_keys(&self) -> bool {
        self.jwks().is_some_and(|jwks| jwks.is_missing())
    }

    /// Whether keys are to be fetched, none have been yet, and nobody has tried.
    #[must_use]
    pub fn is_about_to_have_keys(&self) -> bool {
        self.jwks().is_some_and(|jwks| jwks.is_missing() && jwks.is_new())
    }

    /// The keys that are to be fetched, if there are any.
    #[must_use]
    pub fn jwks(&self) -> Option<&Arc<Jwks>> {
        self.0.as_ref()?.jwt.as_ref()?.jwks()
    }

    /// Who shows `credentials`. It waits only when a token names a key that can be fetched now.
    pub async fn identify(&self, credentials: &Credentials) -> Result<Arc<Identity>, Invalid> {
        let identified = self.identify_now(credentials);
        match self.jwks() {
            Some(jwks) if matches!(identified, Err(Invalid::UnknownKey)) && jwks.refreshed().await => {
                self.identify_now(credentials)
            }
            _ => identified,
        }
    }

    /// Who shows `credentials`, with the keys that are there.
    pub fn identify_now(&self, credentials: &Credentials) -> Result<Arc<Identity>, Invalid> {
        let Some(rules) = &self.0 else { return Ok(Identity::everyone()) };
        if let Some(Token(token)) = &credentials.token {
            return rules.bearer(token);
        }
        let certificate = credentials.certificate.as_ref();
        let certified = certificate.and_then(|names| Some((names, rules.certificates.role(names)?)));
        match (certified, &rules.anonymous) {
            (Some((names, _)), _) if !rules.certificates.hold_good(names) => Err(Invalid::Certificate),
            (Some((names, (role, claims))), _) => {
                Ok(Identity::new(Ruled { expires: names.until(), ..Ruled::new(role, claims) }))
            }
            (None, Some(anonymous)) => Ok(anonymous.clone()),
            (None, None) => Err(Invalid::Nothing),
        }
    }
}

impl Rules {
    fn read(
        access: &config::Access,
        authorities: Option<Arc<dyn Authorities>>,
        before: Option<&Self>,
    ) -> Result<Self, Failure> {
        let roles: Roles =
            access.roles.iter().map(|(name, role)| (name.clone(), Arc::new(Role::new(name, role)))).collect();
        // The configuration is valid only if they are all there.
        let role = |name: &str| {
            roles
                .get(name)
                .cloned()
                .ok_or_else(|| Failure::Config(format!("access: there is no role `{name}`")))
        };
        let mut tokens = Tokens::default();
        for token in &access.tokens {
            let secret = match (&token.token_file, token.token_sha256) {
                (Some(file), _) => Secret::read("access.tokens.token_file", file)?,
                (None, Some(hash)) => hash.into(),
                (None, None) => continue,
            };
            if !tokens.add(secret, role(&token.role)?) {
                let reason = format!("the token of role `{}` is that of another role too", token.role);
                return Err(Failure::Config(format!("access.tokens: {reason}")));
            }
        }
        let certificates = access.certificates.iter().map(|entry| Ok((entry, role(&entry.role)?)));
        let certificates: Vec<_> = certificates.collect::<Result<_, Failure>>()?;
        let jwt = access.jwt.as_ref();
        let before = before.and_then(|before| before.jwt.as_ref());
        Ok(Self {
            anonymous: access.anonymous.as_deref().map(role).transpose()?.map(bare),
            tokens,
            jwt: jwt.map(|jwt| Verifier::read(jwt, before)).transpose()?,
            certificates: Certificates::new(certificates.into_iter(), authorities),
            roles,
        })
    }

    /// Who shows `token`: one of those that are the same for everyone, or one that is signed.
    fn bearer(&self, token: &str) -> Result<Arc<Identity>, Invalid> {
        if token.len() > LONGEST_TOKEN {
            return Err(Invalid::TooLong);
        }
        match (self.tokens.role(token), &self.jwt) {
            (Some(role), _) => Ok(bare(role.clone())),
            (None, Some(jwt)) => jwt.identify(token, &self.roles),
            (None, None) => Err(Invalid::Unknown),
        }
    }
}

/// Somebody of whom nothing is known but the role.
fn bare(role: Arc<Role>) -> Arc<Identity> {
    let claims = role.claims.values(|_| None);
    Identity::new(Ruled::new(role, claims))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use tokio::time::Duration;
    use tokio::time::Instant;

    use super::*;

    /// The public key of RFC 7517, appendix A.1.
    const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"key","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

    fn access() -> Access {
        let text = "[jwt]\nalgorithms = ['ES256']\njwks_url = 'https://id.example/keys'\n[roles.user]";
        Access::read(Some(&toml::from_str(text).unwrap()), None, None).unwrap()
    }

    /// How a token with this header is refused, and after how long.
    async fn refusal(access: &Access, header: &str) -> (Invalid, u64) {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.{}", encode(header), encode("{}"), encode("signature"));
        let credentials = Credentials { token: Some(token.as_str().into()), certificate: None };
        let began = Instant::now();
        let invalid = access.identify(&credentials).await.unwrap_err();
        (invalid, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_key_that_nobody_knows_is_a_reason_to_look_for_others() {
        let access = access();
        let jwks = access.jwks().unwrap();
        jwks.fetched(Ok(KEYS)).unwrap();
        // Within a minute of the last time nobody is waited for, and nobody is told to come back.
        let new = r#"{"alg":"ES256","kid":"new"}"#;
        assert_eq!(refusal(&access, new).await, (Invalid::UnknownKey, 0));
        assert!(!access.awaits_keys() && !access.is_about_to_have_keys());
        tokio::time::advance(Duration::from_mins(1)).await;
        for algorithm in ["HS256", "RS256", "ES384", "EdDSA"] {
            for kid in ["key", "new"] {
                let header = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"{kid}\"}}");
                let (invalid, seconds) = refusal(&access, &header).await;
                assert_eq!(
                    (invalid.to_string().as_str(), seconds),
                    ("its algorithm is none of `algorithms`", 0)
                );
            }
        }
        let (invalid, seconds) = refusal(&access, r#"{"alg":"ES256","kid":"key"}"#).await;
        assert_eq!((invalid.to_string().as_str(), seconds), ("its signature is wrong", 0));
        // This one waits for a fetch, which nobody makes here.
        assert_eq!(refusal(&access, new).await, (Invalid::UnknownKey, 6));
    }
}
