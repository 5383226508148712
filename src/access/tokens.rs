//! Static tokens: the same for everyone who has one, known by their SHA-256.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::digest::SHA256;

use crate::access::role::Role;
use crate::config::FilePath;
use crate::config::Sha256;
use crate::failure::Failure;

/// Fewest bytes of a token in a file, as one that can be guessed is none; `token new` makes them of 43.
const SHORTEST: usize = 16;

/// What a token is compared with: its SHA-256, so that it is in memory nowhere itself.
#[derive(Clone)]
pub struct Secret(Sha256);

impl Secret {
    /// The secret that `token` is.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        // Both are of 32 bytes.
        hash.copy_from_slice(digest::digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash.into())
    }

    /// The token in `file`, which `key` names.
    pub fn read(key: &str, file: &FilePath) -> Result<Self, Failure> {
        let bytes = file.read(key)?;
        match std::str::from_utf8(&bytes).map(str::trim) {
            Ok(token) if token.len() >= SHORTEST && !token.contains(char::is_whitespace) => {
                Ok(Self::of(token))
            }
            _ => {
                let form = format!("one token of at least {SHORTEST} characters, without white space in it");
                Err(Failure::Config(format!("{key}: {file} does not hold {form}")))
            }
        }
    }

    /// Whether it is `other`; how long that takes to say tells nothing.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }

    /// Its SHA-256 in hexadecimal, as `token_sha256` takes it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.into()
    }
}

impl From<Sha256> for Secret {
    fn from(hash: Sha256) -> Self {
        Self(hash)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Tokens, each with the role of who shows it.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<(Secret, Arc<Role>)>);

impl Tokens {
    /// Adds a token that gives whoever shows it this role; `false` if it gives another one already.
    #[must_use]
    pub(super) fn add(&mut self, secret: Secret, role: Arc<Role>) -> bool {
        let other = |(known, of): &(Secret, Arc<Role>)| known.is(&secret) && !Arc::ptr_eq(of, &role);
        let adds = !self.0.iter().any(other);
        if adds {
            self.0.push((secret, role));
        }
        adds
    }

    /// The role of who shows `token`. All are compared, whichever it is.
    pub(super) fn role(&self, token: &str) -> Option<&Arc<Role>> {
        let shown = Secret::of(token);
        self.0.iter().fold(None, |found, (secret, role)| {
            let same = secret.is(&shown);
            if same { found.or(Some(role)) } else { found }
        })
    }
}
