//! `[access]`: who clients are, and what each may do.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use serde::Deserialize;
use serde::Serialize;

use crate::config::Capacity;
use crate::config::Contradiction;
use crate::config::FilePath;
use crate::config::Jwt;
use crate::config::Pattern;
use crate::config::Sha256;
use crate::config::contradiction::Step;
use crate::config::table;

/// Who clients are, and what each may do.
///
/// Who a client is, is a role: that of its token, or else that of its certificate, or else that of
/// those without either. What no role allows is refused.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Access {
    /// Role of clients that show nothing; without one they are refused.
    ///
    /// Default: none. Takes effect: on reload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<String>,

    /// Tokens that are the same for everyone who has one, each with its role; a role may have several,
    /// so that one can take the place of another.
    ///
    /// Default: none. Takes effect: on reload.
    #[serde(deserialize_with = "table::several", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<StaticToken>,

    /// Tokens that somebody else signs.
    ///
    /// Default: none. Takes effect: on reload.
    #[serde(deserialize_with = "table::optional", skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,

    /// Certificates that clients show, by the names in them; the first that fits counts. They must be
    /// of an authority in `server.tls.client_ca`.
    ///
    /// Default: none. Takes effect: on reload.
    #[serde(deserialize_with = "table::several", skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,

    /// What each role may do.
    ///
    /// Default: none. Takes effect: on reload.
    #[serde(deserialize_with = "table::named")]
    pub roles: BTreeMap<String, Role>,
}

/// A token that is the same for everyone who has it. Exactly one of the first two keys is set.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct StaticToken {
    /// File with the token and nothing else; white space around it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<FilePath>,

    /// SHA-256 of the token, in hexadecimal: with it, the configuration holds no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<Sha256>,

    /// Role of who shows it.
    pub role: String,
}

/// Certificates and the role of who shows one. Exactly one of the first two keys is set.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Certificate {
    /// Pattern of an alternative name of the subject: a DNS name, an e-mail address or a URI. What the
    /// name is can be used in the patterns of the role as `{san}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub san: Option<Pattern>,

    /// Pattern of the whole name of the subject as in RFC 4514, like `CN=pump 7,O=Example`. What the
    /// name is can be used in the patterns of the role as `{subject}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Pattern>,

    /// Role of who shows it.
    pub role: String,
}

/// What a role may do.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Role {
    /// Rooms it may subscribe to.
    ///
    /// Default: none.
    #[serde(deserialize_with = "table::one")]
    pub subscribe: Rules,

    /// Rooms it may publish to.
    ///
    /// Default: none.
    #[serde(deserialize_with = "table::one")]
    pub publish: Rules,

    /// Whether it may broadcast.
    ///
    /// Default: `false`.
    pub broadcast: bool,

    /// Quotas that take the place of those in `[limits]`.
    ///
    /// Default: none.
    #[serde(deserialize_with = "table::one")]
    pub limits: RoleLimits,
}

/// Names of rooms: those that `allow` means, but not those that `deny` means.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table of `allow` and `deny`, like `{ allow = [\"public.*\"] }`"
)]
pub struct Rules {
    /// What may be done.
    pub allow: Vec<Pattern>,

    /// What of it may not.
    pub deny: Vec<Pattern>,
}

/// Quotas of one role; what is not set is as in `[limits]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of limits, like `{ events_per_second = 5 }`")]
pub struct RoleLimits {
    /// As `limits.events_per_second`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,

    /// As `limits.bytes_per_second`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Capacity>,

    /// As `limits.rooms_per_client`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms_per_client: Option<NonZeroUsize>,
}

impl Access {
    /// What is wrong between keys.
    pub(super) fn contradiction(&self, has_client_ca: bool) -> Option<Contradiction> {
        let own = self.contradictions(has_client_ca);
        let roles = self.named_roles().into_iter().find_map(|(mut place, role)| {
            if self.roles.contains_key(role) {
                return None;
            }
            place.insert(0, Step::Key("access"));
            Some(Contradiction::new(
                place,
                "there is no such role; write its name as it stands in `[access.roles.…]`",
            ))
        });
        own.or(roles)
    }

    fn contradictions(&self, has_client_ca: bool) -> Option<Contradiction> {
        use Step::Index;
        use Step::Key;
        if self.anonymous.is_none()
            && self.tokens.is_empty()
            && self.jwt.is_none()
            && self.certificates.is_empty()
        {
            let message = "nobody could connect; write `anonymous`, `tokens`, `jwt` or `certificates`";
            return Some(Contradiction::new(vec![Key("access")], message));
        }
        for (number, token) in self.tokens.iter().enumerate() {
            if token.token_file.is_some() == token.token_sha256.is_some() {
                let place = vec![Key("access"), Key("tokens"), Index(number)];
                return Some(Contradiction::new(place, "write `token_file` or `token_sha256`, and not both"));
            }
        }
        for (number, certificate) in self.certificates.iter().enumerate() {
            let place = || vec![Key("access"), Key("certificates"), Index(number)];
            if certificate.san.is_some() == certificate.subject.is_some() {
                return Some(Contradiction::new(place(), "write `san` or `subject`, and not both"));
            }
            if [&certificate.san, &certificate.subject].into_iter().flatten().any(Pattern::has_claims) {
                return Some(Contradiction::new(place(), "a certificate has no claims"));
            }
            if !has_client_ca {
                return Some(Contradiction::new(
                    place(),
                    "no client shows a certificate without `server.tls.client_ca`",
                ));
            }
        }
        self.jwt.as_ref().and_then(Jwt::contradiction)
    }

    /// The roles that are named, and where.
    fn named_roles(&self) -> Vec<(Vec<Step>, &str)> {
        use Step::Index;
        use Step::Key;
        let anonymous = self.anonymous.iter().map(|role| (vec![Key("anonymous")], role.as_str()));
        let tokens = self.tokens.iter().enumerate();
        let tokens = tokens
            .map(|(number, token)| (vec![Key("tokens"), Index(number), Key("role")], token.role.as_str()));
        let certificates = self.certificates.iter().enumerate().map(|(number, certificate)| {
            (vec![Key("certificates"), Index(number), Key("role")], certificate.role.as_str())
        });
        let jwt =
            self.jwt.iter().filter_map(|jwt| Some((vec![Key("jwt"), Key("role")], jwt.role.as_deref()?)));
        anonymous.chain(tokens).chain(certificates).chain(jwt).collect()
    }
}
