//! Login: how a node says to a server of NATS who it is.

use serde::Serialize;

use crate::config;
use crate::failure::Failure;
use crate::relay::connection::Broken;
use crate::relay::files;
use crate::relay::files::unusable;
use crate::relay::nats::nkey::Nkey;

/// Who this node is, as its files say now.
pub(super) enum Login {
    Nobody,
    Password {
        user: String,
        password: String,
    },
    Key(Nkey),
    /// A signed token that names the key.
    Token {
        token: String,
        key: Nkey,
    },
}

/// What is sent first. docs.nats.io has each.
#[derive(Default, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol has them so")]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'a str,
    version: &'a str,
    protocol: u8,
    /// Whether what this node publishes comes back to it.
    echo: bool,
    headers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl Login {
    /// Reads the files that the configuration names.
    pub(super) fn read(config: &config::Nats) -> Result<Self, Failure> {
        if let Some(file) = &config.credentials_file {
            const KEY: &str = "relay.nats.credentials_file";
            let text = files::text(KEY, file)?;
            let (token, seed) = credentials(&text)
                .ok_or_else(|| unusable(KEY, file, &"it has not a token and a seed, as `nsc` writes them"))?;
            let key = Nkey::from_seed(seed).map_err(|reason| unusable(KEY, file, &reason))?;
            return Ok(Self::Token { token: token.to_owned(), key });
        }
        if let Some(file) = &config.nkey_file {
            const KEY: &str = "relay.nats.nkey_file";
            let key = Nkey::from_seed(files::text(KEY, file)?.trim())
                .map_err(|reason| unusable(KEY, file, &reason))?;
            return Ok(Self::Key(key));
        }
        if let (Some(user), Some(file)) = (&config.username, &config.password_file) {
            let password = files::password("relay.nats.password_file", file)?;
            return Ok(Self::Password { user: user.clone(), password });
        }
        Ok(Self::Nobody)
    }

    /// What is sent first, with `nonce` signed if there is a key.
    pub(super) fn connect(&self, nonce: &str, tls_required: bool) -> Result<String, Broken> {
        let mut connect = Connect {
            tls_required,
            name: env!("CARGO_PKG_NAME"),
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            ..Connect::default()
        };
        match self {
            Self::Nobody => {}
            Self::Password { user, password } => {
                connect.user = Some(user);
                connect.pass = Some(password);
            }
            Self::Key(key) => {
                connect.nkey = Some(key.public());
                connect.sig = Some(key.sign(nonce));
            }
            Self::Token { token, key } => {
                connect.jwt = Some(token);
                connect.sig = Some(key.sign(nonce));
            }
        }
        serde_json::to_string(&connect).map_err(|error| error.to_string())
    }
}

/// The token and the seed, which stand between lines of dashes.
fn credentials(text: &str) -> Option<(&str, &str)> {
    let mut parts = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line.starts_with("---") && line.contains("BEGIN") {
            parts.push(lines.by_ref().find(|line| !line.is_empty())?);
        }
    }
    match parts[..] {
        [token, seed] if !token.starts_with('-') => Some((token, seed)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

    #[test]
    fn the_token_and_the_seed_of_a_credentials_file_are_found() {
        for end in ["\n", "\r\n"] {
            let text = format!(
                "-----BEGIN NATS USER JWT-----{end}eyJ0.a-b.c_d{end}------END NATS USER JWT------{end}{end}\
                 ************************* IMPORTANT *************************{end}\
                 NKEYs are sensitive and should be treated as secrets.{end}{end}\
                 -----BEGIN USER NKEY SEED-----{end}{SEED}{end}------END USER NKEY SEED------{end}"
            );
            assert_eq!(credentials(&text), Some(("eyJ0.a-b.c_d", SEED)));
        }
        for text in [
            "",
            SEED,
            "-----BEGIN NATS USER JWT-----\neyJ0\n",
            "-----BEGIN A-----\n---END---\n---BEGIN---\nb",
        ] {
            assert_eq!(credentials(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_sent_first_says_who_it_is_and_nothing_else() {
        let key = || Nkey::from_seed(SEED).unwrap();
        let password = Login::Password { user: "a\"".to_owned(), password: "b\r\n".to_owned() };
        for (login, has) in [
            (Login::Nobody, &[][..]),
            (password, &[r#""user":"a\"""#, r#""pass":"b\r\n""#]),
            (Login::Key(key()), &[r#""nkey":"UDXU4"#, r#""sig":""#]),
            (Login::Token { token: "t".to_owned(), key: key() }, &[r#""jwt":"t""#, r#""sig":""#]),
        ] {
            let text = login.connect("nonce", false).unwrap();
            assert!(has.iter().all(|part| text.contains(part)), "{text}");
            let keys = ["\"user\"", "\"pass\"", "\"nkey\"", "\"jwt\"", "\"sig\""];
            assert_eq!(keys.iter().filter(|key| text.contains(**key)).count(), has.len(), "{text}");
            assert!(!text.contains(['\r', '\n']), "{text}");
        }
    }
}
