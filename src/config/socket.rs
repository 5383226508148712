//! Unix sockets: where they are, and who may connect.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::text;

/// Bytes that the path of a socket may have on Linux, whose addresses have 108 with the zero at the
/// end (unix(7)).
const LONGEST: usize = 107;

/// The path of a unix socket: absolute, and not longer than the system's addresses are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SocketPath(PathBuf);

impl SocketPath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for SocketPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') || text.ends_with('/') || text.len() > LONGEST || text.contains('\0') {
            let form = "write an absolute path of at most 107 bytes, like `/run/humble-broker/broker.sock`";
            return Err(format!("`{text}` is not the path of a socket; {form}"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl<'de> Deserialize<'de> for SocketPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

/// The permissions of a unix socket: who may write to it may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct SocketMode(u32);

impl SocketMode {
    /// For the broker's own user.
    pub const OWNER: Self = Self(0o600);
    /// For the broker's own user and group.
    pub const OWNER_AND_GROUP: Self = Self(0o660);

    /// The bits, as chmod(2) takes them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for SocketMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('0').filter(|digits| digits.len() == 3);
        let bits = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|digits| u32::from_str_radix(digits, 8).ok());
        // `0o660` in TOML is the number 432: only as text can it be told from a mistake.
        bits.map(Self).ok_or_else(|| {
            format!("`{text}` is not a mode; write a zero and three octal digits in quotes, like `\"0660\"`")
        })
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<SocketMode> for String {
    fn from(mode: SocketMode) -> Self {
        mode.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_an_absolute_path() {
        for text in ["/run/broker.sock", "/a", "/run/my broker/s"] {
            assert_eq!(text.parse::<SocketPath>().map(|path| path.to_string()), Ok(text.to_owned()));
        }
        assert!(format!("/{}", "a".repeat(106)).parse::<SocketPath>().is_ok());
        for text in ["", "/", "broker.sock", "./broker.sock", "/run/", "unix:/run/a", "/a\0b"] {
            let refusal = text.parse::<SocketPath>().unwrap_err();
            assert!(refusal.contains("is not the path of a socket; write an absolute path"), "{refusal}");
        }
        assert!(format!("/{}", "a".repeat(107)).parse::<SocketPath>().is_err());
    }

    #[test]
    fn a_mode_is_four_octal_digits() {
        for (text, bits) in [("0660", 0o660), ("0600", 0o600), ("0777", 0o777), ("0000", 0)] {
            let mode: SocketMode = text.parse().unwrap();
            assert_eq!((mode.bits(), mode.to_string().as_str()), (bits, text));
        }
        for text in ["", "660", "432", "0680", "1660", "00660", "0o660", "rw-rw----", "0+66"] {
            let refusal = text.parse::<SocketMode>().unwrap_err();
            assert!(refusal.starts_with(&format!("`{text}` is not a mode; write a zero and")), "{refusal}");
        }
    }
}
