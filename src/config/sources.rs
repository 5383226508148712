//! Where a configuration comes from, and how its layers become one.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use toml::Value;
use toml::de::DeString;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::config::Error;
use crate::config::discretion::Discretion;

/// The file that is read, if it is there, when none is named.
pub const DEFAULT_FILE: &str = "/etc/socketio-humble-broker/broker.toml";

/// What the names of environment variables begin with. `CONFIG` after it names the file; everything
/// else is a section and a key.
const PREFIX: &str = "HUMBLE_BROKER_";

/// More parts than any key has, and fewer tables than the TOML parser takes within each other.
const MOST_PARTS: usize = 16;

/// What a configuration is loaded from.
///
/// It is made once, at the start; loading it again reads the file again and applies the same
/// environment variables and flags to it.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file that was named; it must exist.
    named: Option<PathBuf>,
    /// Whether what this names is read once more.
    again: bool,
    /// The environment, then the command line: the later wins.
    overrides: Vec<Override>,
}

impl Sources {
    /// The sources of a process with these flags and this environment.
    ///
    /// Every variable that begins with `HUMBLE_BROKER_` must be ours, so that a slip of the pen is
    /// not an option that silently has no effect.
    pub fn new(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: Vec<Override>,
    ) -> Result<Self, Error> {
        let mut sources = Self { named: None, again: false, overrides: Vec::new() };
        for (name, value) in environment {
            match name.to_string_lossy().strip_prefix(PREFIX) {
                Some("CONFIG") => sources.named = Some(value.into()),
                Some(key) => sources.overrides.push(Override::from_variable(key, value)?),
                None => {}
            }
        }
        sources.named = file.or(sources.named);
        sources.overrides.extend(flags);
        Ok(sources)
    }

    /// The file that is read when the configuration is loaded now; without one, the defaults hold.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let default = Path::new(DEFAULT_FILE);
        match &self.named {
            Some(file) => Some(file),
            None if is_absent(default) => None,
            None => Some(default),
        }
    }

    /// From now on the file that has been read must be there, and be one that can be read again: a
    /// reload must not take it for empty because somebody has moved it, or because it was a pipe.
    pub fn hold(&mut self) {
        self.named = self.file().map(Path::to_owned);
        self.again = self.named.is_some();
    }

    /// Reads the file.
    pub(super) fn read(&self) -> Result<Document<'_>, Error> {
        let Some(file) = self.file() else {
            return Ok(Document { file: Path::new(""), text: String::new() });
        };
        let unreadable = |error| Error::Unreadable { file: file.to_owned(), error };
        if self.again && !fs::metadata(file).map_err(unreadable)?.is_file() {
            return Err(Error::ReadOnce { file: file.to_owned() });
        }
        let bytes = fs::read(file).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            Error::in_text(file, &text, start..start, "this is not UTF-8, as all TOML must be")
        })?;
        Ok(Document { file, text })
    }

    /// The table of `document`, with everything set that the overrides set.
    pub(super) fn merge<'a>(&'a self, document: &'a Document<'_>) -> Result<Spanned<DeTable<'a>>, Error> {
        let mut table = DeTable::parse(&document.text).map_err(|error| {
            // Only a text that ends too early is wrong at no place in it.
            let span = error.span().unwrap_or(document.text.len()..document.text.len());
            Error::in_text(document.file, &document.text, span, error.message())
        })?;
        for (position, layer) in self.overrides.iter().enumerate() {
            let value = layer.value()?;
            layer.set(table.get_mut(), value, document.beyond(position));
        }
        Ok(table)
    }

    /// Names the source of what is wrong at `span` of `table`, which has been merged.
    pub(super) fn blame(
        &self,
        document: &Document<'_>,
        table: &DeTable<'_>,
        span: Option<Range<usize>>,
        message: &str,
    ) -> Error {
        let span = span.unwrap_or_default();
        let culprit = span
            .start
            .checked_sub(document.beyond(0).start)
            .and_then(|position| self.overrides.get(position));
        if let Some(layer) = culprit {
            layer.error(message)
        } else {
            let discretion = Discretion::of_place(table, &span);
            Error::in_file(document.file, &document.text, span, message, discretion)
        }
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file() {
            Some(file) => write!(f, "{}", file.display()),
            None => write!(f, "the defaults, as there is no {DEFAULT_FILE}"),
        }
    }
}

/// Whether there is certainly no such file; one that may not be looked at counts as there, as
/// passing over it would mean to run with defaults that nobody chose.
fn is_absent(file: &Path) -> bool {
    fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The file of a configuration, as it was read.
pub(super) struct Document<'a> {
    file: &'a Path,
    text: String,
}

impl Document<'_> {
    /// The span of the override at `position`: past the end of the text, so that a span alone tells
    /// where a value comes from.
    fn beyond(&self, position: usize) -> Range<usize> {
        let start = self.text.len() + 1 + position;
        start..start
    }
}

/// One key that is set by an environment variable or a flag.
#[derive(Clone, Debug)]
pub struct Override {
    /// The variable or the flag, as the operator writes it, without the value.
    name: String,
    /// The tables on the way to the key.
    tables: Vec<String>,
    key: String,
    text: String,
}

impl Override {
    /// The setting of `section.key` to `value` by the flag `name`.
    #[must_use]
    pub fn from_flag(name: &str, section: &str, key: &str, value: &Value) -> Self {
        Self {
            name: name.to_owned(),
            tables: vec![section.to_owned()],
            key: key.to_owned(),
            text: value.to_string(),
        }
    }

    /// The setting by `HUMBLE_BROKER_<key>`, such as `LIMITS__MAX_PAYLOAD`.
    fn from_variable(key: &str, value: OsString) -> Result<Self, Error> {
        let name = format!("{PREFIX}{key}");
        let Some((tables, key)) = path(&key.to_ascii_lowercase(), "__") else {
            let message = format!("names no key; write it like `{PREFIX}SERVER__PORT`");
            return Err(Error::in_override(&name, &message, Discretion::Open));
        };
        match value.into_string() {
            Ok(text) => Ok(Self { name, tables, key, text }),
            Err(_) => Err(Error::in_override(&name, "its value is not UTF-8", Discretion::Open)),
        }
    }

    /// The value: TOML if it is that, otherwise the text itself, so that sizes and addresses need
    /// no quotes that a shell would take away.
    fn value(&self) -> Result<DeValue<'_>, Error> {
        match DeValue::parse(&self.text) {
            Ok(value) => Ok(value.into_inner()),
            // `['a]` can only have been meant as TOML; `[::1]:9091` is an address.
            Err(error) if is_enclosed(&self.text) => {
                Err(self.error(&format!("this is not a value: {}", error.message())))
            }
            Err(_) => Ok(DeValue::String(self.text.as_str().into())),
        }
    }

    fn error(&self, message: &str) -> Error {
        let way = self.tables.iter().chain([&self.key]);
        Error::in_override(&self.name, message, Discretion::of_way(way))
    }

    fn set<'a>(&'a self, mut table: &mut DeTable<'a>, value: DeValue<'a>, span: Range<usize>) {
        for name in &self.tables {
            let inner = table
                .entry(Spanned::new(span.clone(), DeString::from(name)))
                .or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
            match inner.get_mut() {
                DeValue::Table(inner) => table = inner,
                // Not a table where one belongs: that error is the one to report, and it stays.
                _ => return,
            }
        }
        table.insert(Spanned::new(span.clone(), DeString::from(&self.key)), placed(value, &span));
    }
}

impl FromStr for Override {
    type Err = String;

    /// Parses the value of `--set`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('=').and_then(|(name, value)| Some((name, path(name.trim(), ".")?, value)));
        let Some((name, (tables, key), value)) = parts else {
            return Err("write it as `section.key=value`".to_owned());
        };
        Ok(Self { name: format!("--set {}", name.trim()), tables, key, text: value.trim().to_owned() })
    }
}

fn is_enclosed(text: &str) -> bool {
    let pairs = [('[', ']'), ('{', '}'), ('"', '"'), ('\'', '\'')];
    pairs.into_iter().any(|(first, last)| text.starts_with(first) && text.ends_with(last))
}

/// The tables and the key of a name whose parts stand between `separator`s: at least two, and no more
/// than a file could nest, as what reads and drops tables is recursive.
fn path(name: &str, separator: &str) -> Option<(Vec<String>, String)> {
    let mut tables: Vec<String> = name.split(separator).map(str::to_owned).collect();
    let complete = (2..=MOST_PARTS).contains(&tables.len()) && tables.iter().all(|part| !part.is_empty());
    let key = tables.pop().filter(|_| complete)?;
    Some((tables, key))
}

/// `value` with everything in it at `span`.
fn placed<'a>(value: DeValue<'a>, span: &Range<usize>) -> Spanned<DeValue<'a>> {
    let inside = |value: Spanned<DeValue<'a>>| placed(value.into_inner(), span);
    let value = match value {
        DeValue::Array(values) => DeValue::Array(values.into_iter().map(inside).collect()),
        DeValue::Table(table) => {
            let key = |key: Spanned<DeString<'a>>| Spanned::new(span.clone(), key.into_inner());
            DeValue::Table(table.into_iter().map(|(name, value)| (key(name), inside(value))).collect())
        }
        simple => simple,
    };
    Spanned::new(span.clone(), value)
}
