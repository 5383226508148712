//! Files that the configuration names: where they are, or that the service manager has them.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::Error;
use crate::config::text;
use crate::failure::Failure;

/// The variable by which a service manager says where the credentials of a service are
/// (systemd.exec(5), `LoadCredential=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// How a path begins that is below it.
const FORMS: [&str; 2] = ["$CREDENTIALS_DIRECTORY", "${CREDENTIALS_DIRECTORY}"];

/// The path of a file, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FilePath(String);

impl FilePath {
    /// Where the file is.
    ///
    /// # Errors
    ///
    /// When it is among the credentials of a service, and this process has none.
    pub fn locate(&self) -> Result<PathBuf, String> {
        self.locate_in(env::var_os(CREDENTIALS))
    }

    /// What is in the file, which `key` names.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no regular file: a reload would wait for a pipe that nobody writes
    /// into, and hear no signal meanwhile.
    pub fn read(&self, key: &str) -> Result<Vec<u8>, Failure> {
        let named = |reason: &dyn fmt::Display| Failure::Config(format!("{key}: {reason}"));
        let file = self.locate().map_err(|reason| named(&reason))?;
        let unreadable = |error| named(&Error::Unreadable { file: file.clone(), error });
        if !fs::metadata(&file).map_err(unreadable)?.is_file() {
            return Err(named(&format!("cannot use {self}: it is not a regular file")));
        }
        fs::read(&file).map_err(unreadable)
    }

    fn locate_in(&self, credentials: Option<OsString>) -> Result<PathBuf, String> {
        let Some(name) = credential(&self.0) else { return Ok(self.0.as_str().into()) };
        // As with an empty one in a shell, the rest alone would be some other file.
        let folder = credentials.filter(|folder| !folder.is_empty()).ok_or_else(|| {
            let cause = "it is set for a service whose unit says `LoadCredential=`";
            format!("cannot read {self}: $CREDENTIALS_DIRECTORY is not set; {cause}")
        })?;
        Ok(PathBuf::from(folder).join(name))
    }
}

/// What is below the folder of the credentials, if `text` begins with it.
fn credential(text: &str) -> Option<&str> {
    FORMS.iter().find_map(|form| text.strip_prefix(form)?.strip_prefix('/'))
}

impl FromStr for FilePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = credential(text);
        // No other variable is looked up, and to take its name for that of a file helps nobody.
        let unknown = text.starts_with('$') && name.is_none();
        let nothing = name.unwrap_or(text).trim_start_matches('/').is_empty();
        if unknown || nothing || text.contains('\0') {
            let form = "write a path, which may begin with `$CREDENTIALS_DIRECTORY/` but no other variable";
            return Err(format!("`{text}` is not the path of a file; {form}"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn locate(text: &str, credentials: Option<&str>) -> Result<PathBuf, String> {
        text.parse::<FilePath>()?.locate_in(credentials.map(Into::into))
    }

    #[test]
    fn a_path_is_where_it_says() {
        for text in ["/etc/key.pem", "key.pem", "/run/$CREDENTIALS_DIRECTORY/key", "~/key"] {
            assert_eq!(locate(text, Some("/run/credentials")).as_deref(), Ok(Path::new(text)));
        }
    }

    #[test]
    fn a_credential_is_where_the_service_manager_says() {
        for text in ["$CREDENTIALS_DIRECTORY/key", "${CREDENTIALS_DIRECTORY}/key"] {
            let place = locate(text, Some("/run/credentials/broker.service"));
            assert_eq!(place.as_deref(), Ok(Path::new("/run/credentials/broker.service/key")));
            for nothing in [None, Some("")] {
                let refusal = locate(text, nothing).unwrap_err();
                assert!(
                    refusal.starts_with(&format!("cannot read {text}: $CREDENTIALS_DIRECTORY is not set"))
                );
            }
            assert_eq!(text.parse::<FilePath>().map(|file| file.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_not_the_path_of_a_file_is_refused_with_the_way_to_write_one() {
        for text in [
            "",
            "/",
            "$HOME/key",
            "$CREDENTIALS_DIRECTORY",
            "$CREDENTIALS_DIRECTORY/",
            "$CREDENTIALS_DIRECTORY_TWO/key",
            "${CREDENTIALS_DIRECTORY/key",
            "/a\0b",
        ] {
            let refusal = text.parse::<FilePath>().unwrap_err();
            assert!(refusal.starts_with(&format!("`{text}` is not the path of a file; write ")), "{refusal}");
        }
    }
}
