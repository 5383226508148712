//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Failure;

/// Why a configuration cannot be used.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The file has been read and cannot be read again, as a pipe cannot.
    ReadOnce {
        /// The file.
        file: PathBuf,
    },
    /// The file says something wrong.
    InFile {
        /// The file.
        file: PathBuf,
        /// Where in the file.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// An environment variable or a flag says something wrong.
    InOverride {
        /// The variable or the flag, as the operator writes it.
        name: String,
        /// What is wrong.
        message: String,
    },
}

impl Error {
    pub(super) fn in_file(file: &Path, text: &str, span: Range<usize>, message: &str) -> Self {
        let place = Place::new(text, span);
        let (place, message) = match place.redacted() {
            Some(redacted) => (redacted, without_value(message)),
            None => (place, plain(message)),
        };
        Self::InFile { file: file.to_owned(), place, message }
    }

    pub(super) fn in_override(name: &str, message: &str) -> Self {
        let message = if is_of_secret(name) { without_value(message) } else { plain(message) };
        Self::InOverride { name: printable(name), message }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            Self::ReadOnce { .. } | Self::InFile { .. } | Self::InOverride { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "cannot read {}: there is no such file", file.display())
            }
            Self::Unreadable { file, error } => write!(f, "cannot read {}: {}", file.display(), error.kind()),
            Self::ReadOnce { file } => {
                write!(f, "cannot read {} again: it is not a regular file", file.display())
            }
            Self::InFile { file, place, message } => {
                writeln!(f, "{}:{}:{}: {message}", file.display(), place.line, place.column)?;
                place.show(f)
            }
            Self::InOverride { name, message } => write!(f, "{name}: {message}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Config(error.to_string())
    }
}

/// What serde says about Rust, and what it means to someone who writes TOML.
const WORDS: [(&str, &str); 11] = [
    ("unknown field `", "unknown key `"),
    ("missing field `", "missing key `"),
    ("unknown variant `", "unknown value `"),
    ("invalid type: map,", "invalid type: table,"),
    (", expected a sequence", ", expected an array"),
    (", expected a nonzero usize", ", expected a whole number from 1"),
    (", expected usize", ", expected a whole number from 0"),
    (", expected u32", ", expected a whole number from 0 to 4294967295"),
    (", expected u64", ", expected a whole number from 0"),
    (", expected u16", ", expected a whole number from 0 to 65535"),
    (", expected i64", ", expected a whole number"),
];

/// `message` in words for operators; it may quote what was written.
fn plain(message: &str) -> String {
    WORDS.iter().fold(printable(message), |message, (from, to)| message.replacen(from, to, 1))
}

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Whether what stands behind `key` may be a token, by mistake: where its hash or its file belongs, or
/// where nothing does.
fn is_of_secret(key: &str) -> bool {
    key.contains("token") && !key.trim_end().ends_with("token_file")
}

/// `message` without the text that it quotes.
fn without_value(message: &str) -> String {
    const BEGIN: &str = "string \"";
    let message = plain(message);
    match message.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.rsplit_once('"')?))) {
        Some((before, (_, after))) => format!("{before}{BEGIN}{REDACTED}\"{after}"),
        None => message,
    }
}

/// A stretch of a line of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The part of the line before the place.
    before: String,
    /// The part of the line from the place on.
    after: String,
    /// Characters that the place is wide, at least 1.
    width: usize,
}

impl Place {
    fn new(text: &str, span: Range<usize>) -> Self {
        let (before, after) = text.split_at(text.floor_char_boundary(span.start));
        let (marked, _) = after.split_at(after.floor_char_boundary(span.len()));
        let marked = marked.lines().next().unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let before = before.rsplit('\n').next().unwrap_or_default();
        let after = after.lines().next().unwrap_or_default();
        Self {
            line,
            column: before.chars().count() + 1,
            before: printable(before),
            after: printable(after),
            width: marked.chars().count().max(1),
        }
    }

    /// This place without the value on its line, if that may be a token.
    fn redacted(&self) -> Option<Self> {
        let text = format!("{}{}", self.before, self.after);
        let (key, _) = text.split_once('=').filter(|(key, _)| is_of_secret(key))?;
        let shown = format!("{key}= ");
        let (before, after) = shown.split_at_checked(self.before.len()).unwrap_or((&shown, ""));
        let after = format!("{after}{REDACTED}");
        let width = self.width.min(after.chars().count());
        Some(Self { line: self.line, column: self.column, before: before.to_owned(), after, width })
    }

    /// Shows the line with carets under the place.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, before, after, width, column: _ } = self;
        let margin = " ".repeat(line.to_string().len());
        // A tab stays a tab, so that the carets stand under the place whatever its width.
        let indent: String = before.chars().map(|letter| if letter == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(*width);
        write!(f, "{margin} |\n{line} | {before}{after}\n{margin} | {indent}{carets}")
    }
}

/// `line` without what would steer a terminal, or be another line.
fn printable(line: &str) -> String {
    line.replace(|letter: char| letter.is_control() && letter != '\t', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Range<usize>) -> String {
        Error::in_file(Path::new("broker.toml"), text, span, "no").to_string()
    }

    #[test]
    fn an_error_in_a_file_shows_the_line_and_marks_the_place() {
        let text = "[limits]\nnesting = 1000\n";
        assert_eq!(shown(text, 19..23), "broker.toml:2:11: no\n  |\n2 | nesting = 1000\n  |           ^^^^");
    }

    #[test]
    fn the_margin_is_as_wide_as_the_line_number() {
        let text = "\n".repeat(9) + "x";
        assert_eq!(shown(&text, 9..10), "broker.toml:10:1: no\n   |\n10 | x\n   | ^");
    }

    #[test]
    fn columns_count_characters_and_tabs_stay_tabs() {
        assert_eq!(shown("\té = 1", 6..7), "broker.toml:1:6: no\n  |\n1 | \té = 1\n  | \t    ^");
    }

    #[test]
    fn a_place_that_spans_lines_is_marked_on_its_first() {
        assert_eq!(shown("a = [\n1]\r\n", 4..8), "broker.toml:1:5: no\n  |\n1 | a = [\n  |     ^");
    }

    #[test]
    fn a_place_at_the_end_or_beyond_it_is_still_a_place() {
        assert_eq!(shown("a", 1..1), "broker.toml:1:2: no\n  |\n1 | a\n  |  ^");
        assert_eq!(shown("a\n", 9..12), "broker.toml:2:1: no\n  |\n2 | \n  | ^");
        assert_eq!(shown("", 0..0), "broker.toml:1:1: no\n  |\n1 | \n  | ^");
    }

    #[test]
    fn what_may_be_a_token_is_not_shown() {
        for (text, span, expected) in [
            ("token = 'secret'", 0..5, "1:1: no\n  |\n1 | token = [redacted]\n  | ^^^^^"),
            (
                "token_sha256='secret'",
                13..21,
                "1:14: no\n  |\n1 | token_sha256= [redacted]\n  |              ^^^^^^^^",
            ),
            (
                "tokens = [{ token = 'secret' }]",
                20..28,
                "1:21: no\n  |\n1 | tokens = [redacted]\n  |          ^^^^^^^^",
            ),
            (
                "{ token = 'secret' }",
                10..18,
                "1:11: no\n  |\n1 | { token = [redacted]\n  |           ^^^^^^^^",
            ),
            ("token_file = 7", 13..14, "1:14: no\n  |\n1 | token_file = 7\n  |              ^"),
            ("[[access.tokens]]", 0..17, "1:1: no\n  |\n1 | [[access.tokens]]\n  | ^^^^^^^^^^^^^^^^^"),
        ] {
            assert_eq!(shown(text, span), format!("broker.toml:{expected}"), "{text}");
        }
        let message = "invalid type: string \"a\\\"secret\", expected a sequence";
        let hidden = "invalid type: string \"[redacted]\", expected an array";
        let error = Error::in_file(Path::new("a"), "tokens = 'secret'", 9..17, message).to_string();
        assert!(error.starts_with(&format!("a:1:10: {hidden}\n")), "{error}");
        assert!(!error.contains("secret"), "{error}");
        let error = Error::in_override("--set access.tokens", message);
        assert_eq!(error.to_string(), format!("--set access.tokens: {hidden}"));
    }

    #[test]
    fn a_line_cannot_steer_the_terminal() {
        assert!(shown("a\u{1b}[2Jb", 0..1).contains("\n1 | a\u{fffd}[2Jb\n"));
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        let error = Error::in_file(Path::new("broker.toml"), "", 0..0, "`\u{1b}[2J`\r\n is no host");
        assert!(error.to_string().starts_with("broker.toml:1:1: `\u{fffd}[2J`\u{fffd}\u{fffd} is no host\n"));
        let error = Error::in_override("--set a.\u{85}", "`\u{1b}[2J` is no host");
        assert_eq!(error.to_string(), "--set a.\u{fffd}: `\u{fffd}[2J` is no host");
    }
}
