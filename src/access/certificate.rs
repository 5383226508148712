//! Certificates of clients: the names in them, the roles that names have, and until when they hold.

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use x509_parser::extensions::GeneralName;
use x509_parser::objects::oid_registry;
use x509_parser::objects::oid2abbrev;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::AttributeTypeAndValue;
use x509_parser::x509::X509Name;

use crate::access::patterns::ClaimNames;
use crate::access::patterns::Claims;
use crate::access::patterns::Missing;
use crate::access::patterns::Patterns;
use crate::access::role::Role;
use crate::config;

/// Bytes with which characters begin a name as RFC 4514 does not allow them unescaped.
const SPECIAL: [char; 7] = ['"', '+', ',', ';', '<', '>', '\\'];

/// Whose certificates clients may show.
pub trait Authorities: fmt::Debug + Send + Sync {
    /// Whether a certificate is valid now, by these authorities and those that follow it in its chain.
    fn vouch_for(&self, chain: &[Box<[u8]>]) -> bool;
}

/// What is known of a certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of its subject, as in RFC 4514.
    subject: Option<Box<str>>,
    /// Of its subject, otherwise: of DNS, e-mail addresses and URIs.
    alternative: Vec<Box<str>>,
    /// When it ends.
    until: Option<SystemTime>,
    /// The certificate, and those of the authorities between it and one that is known, in DER.
    chain: Vec<Box<[u8]>>,
}

impl Names {
    /// What is in a certificate that has been found valid, the first of `chain`, in DER.
    #[must_use]
    pub fn of<C: AsRef<[u8]>>(chain: &[C]) -> Self {
        let first = chain.first().map_or(&[][..], AsRef::as_ref);
        let Ok((_, certificate)) = X509Certificate::from_der(first) else { return Self::default() };
        let until = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let alternative = alternative.map_or(&[][..], |extension| &extension.value.general_names);
        Self {
            subject: text(certificate.subject()).map(Into::into),
            alternative: alternative
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                        Some((*name).into())
                    }
                    _ => None,
                })
                .collect(),
            // The last second still counts.
            until: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(until.saturating_add(1))),
            chain: chain.iter().map(|certificate| certificate.as_ref().into()).collect(),
        }
    }

    /// When the certificate ends, if that is a moment that can be told.
    pub(super) fn until(&self) -> Option<SystemTime> {
        self.until
    }
}

/// A name as in RFC 4514, the last part first; none if something in it cannot be written so.
fn text(name: &X509Name<'_>) -> Option<String> {
    let mut text = String::new();
    for parts in name.iter_rdn().collect::<Vec<_>>().into_iter().rev() {
        for (number, part) in parts.iter().enumerate() {
            if !text.is_empty() {
                text.push(if number == 0 { ',' } else { '+' });
            }
            write_part(&mut text, part)?;
        }
    }
    (!text.is_empty()).then_some(text)
}

fn write_part(text: &mut String, part: &AttributeTypeAndValue<'_>) -> Option<()> {
    let kind = part.attr_type();
    match oid2abbrev(kind, oid_registry()) {
        Ok(short) => text.push_str(short),
        Err(_) => text.push_str(&kind.to_id_string()),
    }
    text.push('=');
    let value = part.as_str().ok()?;
    for (place, character) in value.char_indices() {
        let first = place == 0 && [' ', '#'].contains(&character);
        let last = character == ' ' && place + 1 == value.len();
        if character.is_control() {
            // Whatever is made of it, it could pass for something else.
            return None;
        }
        if first || last || SPECIAL.contains(&character) {
            text.push('\\');
        }
        text.write_char(character).ok()?;
    }
    Some(())
}

/// `name` with what is escaped in it written as numbers, as RFC 4514 allows too. So what separates the
/// parts of a name is never in one: or else `*` could take the `\` before it, and `CN=*,O=Example` mean
/// someone of another organisation who is called `x,O=Example`.
fn sealed(name: &str) -> String {
    let mut text = String::new();
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        text.push(character);
        let escaped = rest.clone().next().filter(|next| SPECIAL.contains(next) || [' ', '#'].contains(next));
        if let ('\\', Some(escaped)) = (character, escaped) {
            rest.next();
            // Writing to a `String` does not fail.
            let _ = write!(text, "{:02X}", u32::from(escaped));
        }
    }
    text
}

/// Which certificates have which role, and who vouches for them.
#[derive(Debug)]
pub(super) struct Certificates {
    entries: Vec<Entry>,
    /// Nobody's, where nobody shows any.
    authorities: Option<Arc<dyn Authorities>>,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    pattern: Patterns,
    role: Arc<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Subject,
    Alternative,
}

impl Certificates {
    pub(super) fn new<'a>(
        entries: impl Iterator<Item = (&'a config::Certificate, Arc<Role>)>,
        authorities: Option<Arc<dyn Authorities>>,
    ) -> Self {
        let mut all = Vec::new();
        for (entry, role) in entries {
            for (kind, pattern) in [(Kind::Subject, &entry.subject), (Kind::Alternative, &entry.san)] {
                if let Some(pattern) = pattern {
                    let pattern = match kind {
                        Kind::Subject => pattern.with_text(sealed),
                        Kind::Alternative => pattern.clone(),
                    };
                    let pattern = Patterns::new(&[pattern], &mut ClaimNames::default());
                    all.push(Entry { kind, pattern, role: role.clone() });
                }
            }
        }
        Self { entries: all, authorities }
    }

    /// Whether who has shown a certificate may still come with it. It was valid when the connection
    /// began, which may be long ago, and with other authorities.
    pub(super) fn hold_good(&self, names: &Names) -> bool {
        self.authorities.as_ref().is_some_and(|authorities| authorities.vouch_for(&names.chain))
    }

    /// The role of who shows a certificate with these names, and what patterns of the role may say of it.
    pub(super) fn role(&self, names: &Names) -> Option<(Arc<Role>, Claims)> {
        self.entries.iter().find_map(|entry| {
            let candidates = match entry.kind {
                Kind::Subject => names.subject.as_slice(),
                Kind::Alternative => &names.alternative,
            };
            let means =
                |name: &str| entry.pattern.find(name, &Claims::default(), Missing::MeansNothing).is_some();
            let name = candidates.iter().find(|name| match entry.kind {
                Kind::Subject => means(&sealed(name)),
                Kind::Alternative => means(name),
            })?;
            let claims = entry.role.claims.values(|claim| {
                let is_it = claim == if entry.kind == Kind::Subject { "subject" } else { "san" };
                is_it.then(|| name.clone())
            });
            Some((entry.role.clone(), claims))
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use rcgen::DistinguishedName;
    use rcgen::DnType;
    use rcgen::DnValue;
    use rcgen::KeyPair;
    use rcgen::SanType;
    use rcgen::string::BmpString;

    use super::*;

    fn names(change: impl FnOnce(&mut CertificateParams)) -> Names {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Names::of(&[params.self_signed(&key).unwrap().der()])
    }

    fn subject(parts: &[(DnType, DnValue)]) -> Option<Box<str>> {
        names(|params| {
            for (kind, value) in parts {
                params.distinguished_name.push(kind.clone(), value.clone());
            }
        })
        .subject
    }

    fn common(name: &str) -> Option<Box<str>> {
        subject(&[(DnType::CommonName, name.into())])
    }

    #[test]
    fn a_subject_is_written_as_in_rfc_4514() {
        for (name, expected) in [
            ("pump 7", "CN=pump 7"),
            ("a,b+c\"d;e<f>g\\h", "CN=a\\,b\\+c\\\"d\\;e\\<f\\>g\\\\h"),
            ("#1", "CN=\\#1"),
            ("1#", "CN=1#"),
            (" a b ", "CN=\\ a b\\ "),
            (" ", "CN=\\ "),
            ("  ", "CN=\\ \\ "),
            ("a=b", "CN=a=b"),
            ("é *{}", "CN=é *{}"),
        ] {
            assert_eq!(common(name).as_deref(), Some(expected), "{name:?}");
        }
        let parts = [
            (DnType::CountryName, "DE".into()),
            (DnType::OrganizationName, "Example, Inc.".into()),
            (DnType::CommonName, "pump".into()),
        ];
        assert_eq!(subject(&parts).as_deref(), Some("CN=pump,O=Example\\, Inc.,C=DE"));
        let odd = DnType::CustomDnType(vec![1, 2, 3, 4]);
        assert_eq!(subject(&[(odd, "x".into())]).as_deref(), Some("1.2.3.4=x"));
    }

    #[test]
    fn a_subject_that_cannot_be_written_so_is_none() {
        assert_eq!(subject(&[]), None);
        for name in ["a\0.example", "a\nb", "\u{85}"] {
            assert_eq!(common(name), None, "{name:?}");
        }
        let wide = DnValue::BmpString(BmpString::try_from("pump").unwrap());
        assert_eq!(subject(&[(DnType::CommonName, wide)]), None);
        assert_eq!(Names::of::<&[u8]>(&[]), Names::default());
        assert_eq!(Names::of(&[b"\x30\x03\x02\x01\x00"]), Names::default());
    }

    #[test]
    fn alternative_names_are_those_that_are_text() {
        let all = names(|params| {
            params.subject_alt_names = vec![
                SanType::IpAddress("192.0.2.1".parse().unwrap()),
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::Rfc822Name("a@example".try_into().unwrap()),
                SanType::URI("spiffe://example/a".try_into().unwrap()),
            ];
        });
        assert_eq!(
            all.alternative.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["a.example", "a@example", "spiffe://example/a"]
        );
    }

    /// Whether a certificate with this subject has the role of those that `pattern` means.
    fn means(pattern: &str, subject: &str) -> bool {
        let text = format!("subject = {}\nrole = 'a'", toml::Value::from(pattern));
        let entry: config::Certificate = toml::from_str(&text).unwrap();
        let role = Arc::new(Role::new("a", &config::Role::default()));
        let certificates = Certificates::new(std::iter::once((&entry, role)), None);
        certificates.role(&Names { subject: Some(subject.into()), ..Names::default() }).is_some()
    }

    #[test]
    fn a_wildcard_in_a_subject_never_takes_the_escape_of_what_follows_it() {
        for (pattern, subject, expected) in [
            (r"CN=*,O=Example", r"CN=a,O=Example", true),
            (r"CN=*,O=Example", r"CN=a\,b,O=Example", true),
            (r"CN=*,O=Example", r"CN=a\,O=Example", false),
            (r"CN=*,O=Example", r"CN=a\\,O=Example", true),
            (r"CN=*,O=Example", r"CN=a\\\,O=Example", false),
            (r"CN=*,O=Example", r"CN=a\+OU=b,O=Example", true),
            (r"CN=*+OU=b", r"CN=a+OU=b", true),
            (r"CN=*+OU=b", r"CN=a\+OU=b", false),
            (r"CN=a\\,b*", r"CN=a\,bc", true),
            (r"CN=a\\,b*", r"CN=a,bc", false),
            (r"CN=a\\2Cb*", r"CN=a\,bc", true),
            (r"CN=a\\\\\\,b", r"CN=a\\\,b", true),
            (r"CN=\\#1\\ ", r"CN=\#1\ ", true),
            (r"*", r"CN=a\,b", true),
        ] {
            assert_eq!(means(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
