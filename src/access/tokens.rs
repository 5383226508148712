//! Static tokens: the same for everyone who has one, known by their SHA-256.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use crate::access::role::Role;
use crate::config::FilePath;
use crate::failure::Failure;

/// Fewest bytes of a token in a file, as one that can be guessed is none; `token new` makes them of 43.
const SHORTEST: usize = 16;

/// Tokens by their SHA-256.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<(Hash, Arc<Role>)>);

type Hash = [u8; 32];

impl Tokens {
    pub(super) fn add(&mut self, hash: Hash, role: Arc<Role>) {
        self.0.push((hash, role));
    }

    /// The role of who shows `token`. All are compared, whichever it is.
    pub(super) fn role(&self, token: &str) -> Option<&Arc<Role>> {
        let hash = sha256(token.as_bytes());
        self.0.iter().fold(None, |found, (known, role)| {
            let same = verify_slices_are_equal(known, &hash).is_ok();
            if same { found.or(Some(role)) } else { found }
        })
    }
}

/// The SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    // Both are of 32 bytes.
    hash.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// The SHA-256 of the token in `file`, which `key` names.
pub(super) fn read(key: &str, file: &FilePath) -> Result<Hash, Failure> {
    let bytes = file.read(key)?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok(token) if token.len() >= SHORTEST && !token.contains(char::is_whitespace) => {
            Ok(sha256(token.as_bytes()))
        }
        _ => {
            let form = format!("one token of at least {SHORTEST} characters, without white space in it");
            Err(Failure::Config(format!("{key}: {file} does not hold {form}")))
        }
    }
}
