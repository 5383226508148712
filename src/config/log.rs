//! `[log]`: what is logged, and how.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::text;

/// What is logged, and how.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Log {
    /// The least urgent messages that are logged.
    ///
    /// Default: `"info"`. Takes effect: on reload.
    pub level: Filter,

    /// How a message is written.
    ///
    /// Default: `"auto"`. Takes effect: on reload.
    pub format: Format,
}

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `Journald` if standard error goes to the journal, as `JOURNAL_STREAM` says; else `Text`.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
    /// Structured entries in systemd's journal, instead of standard error.
    Journald,
}

/// The levels, the quietest first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What is logged, by level: `"info"`, `"info,socketioxide=warn"`.
///
/// There is always one level for everything that no `target=level` names: without one it is the
/// default, `info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Filter(String);

impl Filter {
    /// The general level, then the pairs, separated by commas, in small letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut general = None;
        let mut pairs = String::new();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((target, level)) => pairs.extend([",", target_of(target)?, "=", level_of(level)?]),
                None if general.replace(level_of(part)?).is_some() => {
                    return Err(format!(
                        "`{text}` has two general levels; write one, and `target=level` for the rest"
                    ));
                }
                None => {}
            }
        }
        let general = general.map_or_else(Self::default, |level| Self(level.to_owned()));
        Ok(Self(general.0 + &pairs))
    }
}

fn level_of(text: &str) -> Result<&'static str, String> {
    let level = LEVELS.into_iter().find(|level| level.eq_ignore_ascii_case(text.trim()));
    level.ok_or_else(|| format!("`{text}` is not a level; write one of {}", LEVELS.join(", ")))
}

fn target_of(text: &str) -> Result<&str, String> {
    let target = text.trim();
    let valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    if target.is_empty() || !target.chars().all(valid) {
        return Err(format!(
            "`{text}` is not a target; write a module, like `socketioxide` or `humble_broker::http`"
        ));
    }
    Ok(target)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Result<String, String> {
        text.parse::<Filter>().map(String::from)
    }

    #[test]
    fn a_filter_is_a_level_and_pairs() {
        let cases = [
            ("debug", "debug"),
            ("OFF", "off"),
            ("info,socketioxide=warn", "info,socketioxide=warn"),
            ("socketioxide=warn, info", "info,socketioxide=warn"),
            ("humble_broker::http=trace", "info,humble_broker::http=trace"),
            ("a = error , warn , b = TRACE", "warn,a=error,b=trace"),
        ];
        for (text, expected) in cases {
            assert_eq!(filter(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_not_a_filter_is_refused_with_the_way_to_write_one() {
        let level = "is not a level; write one of off, error, warn, info, debug, trace";
        for (text, part) in
            [("", ""), ("loud", "loud"), ("info,", ""), ("info,hyper=loud", "loud"), ("a=b=info", "b=info")]
        {
            assert_eq!(filter(text), Err(format!("`{part}` {level}")));
        }
        let target = "is not a target; write a module, like `socketioxide` or `humble_broker::http`";
        for (text, part) in [("=info", ""), ("a b=info", "a b"), ("[span]=info", "[span]")] {
            assert_eq!(filter(text), Err(format!("`{part}` {target}")));
        }
        let two = "`info,debug` has two general levels; write one, and `target=level` for the rest";
        assert_eq!(filter("info,debug"), Err(two.to_owned()));
    }
}
