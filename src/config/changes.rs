//! Reloading: which keys of a new configuration hold at once, and which wait for a restart.

use toml::Table;
use toml::Value;

use crate::config::Config;

/// A configuration that takes the place of another while the broker runs.
#[derive(Debug)]
pub struct Reloaded {
    /// What holds from now on.
    pub config: Config,
    /// The keys that differ from what held before, and hold now.
    pub changed: Vec<String>,
    /// The keys that differ from what holds now, and will not hold before a restart.
    pub needs_restart: Vec<String>,
}

impl Reloaded {
    pub(super) fn new(old: &Config, config: Config, wanted: &Config) -> Self {
        let changed = differences(old, &config);
        let needs_restart = differences(&config, wanted);
        Self { config, changed, needs_restart }
    }
}

/// The keys on which two configurations differ, as `section.key`.
fn differences(one: &Config, other: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    compare("", &table(one), &table(other), &mut keys);
    keys
}

/// Every section is a table, and so this cannot fail; a key that were lost here would be missing in
/// what is printed too.
fn table(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}

fn compare(path: &str, one: &Table, other: &Table, keys: &mut Vec<String>) {
    let added = other.iter().filter(|(key, _)| !one.contains_key(*key));
    for (key, _) in one.iter().chain(added) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (one.get(key), other.get(key)) {
            (Some(Value::Table(one)), Some(Value::Table(other))) => compare(&path, one, other, keys),
            (one, other) if one != other => keys.push(path),
            _ => {}
        }
    }
}
