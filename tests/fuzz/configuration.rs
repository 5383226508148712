//! The configuration: a file and what overrides it.
//!
//! An input is the text of a file. Behind a line `----` there may be overrides, one a line, as variables
//! `HUMBLE_BROKER_…=…` or as values of `--set`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use humble_broker::config::Config;
use humble_broker::config::Error;
use humble_broker::config::Sources;
use tempfile::TempDir;

thread_local! {
    /// Where the file of each input is written in turn: in memory, if there is such a place.
    static FOLDER: TempDir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
}

pub fn check(input: &[u8]) {
    let separator = b"\n----\n";
    let at = input.windows(separator.len()).position(|window| window == separator);
    let (text, overrides) = at.map_or((input, &b""[..]), |at| (&input[..at], &input[at + separator.len()..]));
    FOLDER.with(|folder| {
        let file = folder.path().join("broker.toml");
        match load(&file, text, overrides) {
            Ok(config) => check_printed(&file, &config),
            Err(error) => check_error(&error, text),
        }
    });
}

/// Loads `text` as `file`, with `overrides` that can be told from their first letters.
fn load(file: &Path, text: &[u8], overrides: &[u8]) -> Result<Config, Error> {
    fs::write(file, text).unwrap();
    let (mut environment, mut settings) = (Vec::new(), Vec::new());
    for line in overrides.split(|byte| *byte == b'\n') {
        let name = line.iter().position(|byte| *byte == b'=');
        match name {
            Some(end)
                if line.starts_with(b"HUMBLE_BROKER_") && !line.starts_with(b"HUMBLE_BROKER_CONFIG=") =>
            {
                let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
                environment.push((os(&line[..end]), os(&line[end + 1..])));
            }
            _ => settings.extend(String::from_utf8_lossy(line).parse()),
        }
    }
    Config::load(&Sources::new(Some(file.to_owned()), environment, settings)?)
}

/// What is accepted is printed as a file that means the same.
fn check_printed(file: &Path, config: &Config) {
    let text = toml::to_string(config).unwrap();
    match load(file, text.as_bytes(), b"") {
        Ok(again) => assert_eq!(&again, config),
        Err(error) => panic!("{error}"),
    }
}

/// What is wrong is shown in one line, and in a file at a place that is there, with three more if it may be seen.
fn check_error(error: &Error, text: &[u8]) {
    let shown = error.to_string();
    assert!(!shown.contains(|letter: char| letter.is_control() && !"\n\t".contains(letter)), "{shown:?}");
    match error {
        Error::InFile { place, message, .. } => {
            let text = String::from_utf8_lossy(text);
            let line = text.split('\n').nth(place.line - 1).unwrap();
            assert!((1..=line.chars().count() + 1).contains(&place.column), "{shown}");
            assert!(!message.is_empty() && [1, 4].contains(&shown.split('\n').count()), "{shown}");
        }
        Error::InOverride { name, message } => {
            assert!(!name.is_empty() && !message.is_empty() && shown.split('\n').count() == 1, "{shown}");
        }
        Error::Unreadable { .. } | Error::ReadOnce { .. } => panic!("{shown}"),
    }
}
