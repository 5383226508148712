//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

use crate::config::discretion::Discretion;
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
    /// Of the text itself, which is not TOML. What it would have meant is not known, so none of it is shown.
    pub(super) fn in_text(file: &Path, text: &str, span: Range<usize>, message: &str) -> Self {
        let place = Place::new(text, &span, None);
        Self::InFile { file: file.to_owned(), place, message: plain(message) }
    }

    /// Of what is written at `span`.
    pub(super) fn in_file(
        file: &Path,
        text: &str,
        span: Range<usize>,
        message: &str,
        discretion: Discretion,
    ) -> Self {
        let excerpt = (discretion == Discretion::Open).then(|| Excerpt::new(text, &span)).flatten();
        let place = Place::new(text, &span, excerpt);
        Self::InFile { file: file.to_owned(), place, message: discretion.of_message(&plain(message)) }
    }

    pub(super) fn in_override(name: &str, message: &str, discretion: Discretion) -> Self {
        Self::InOverride { name: printable(name), message: discretion.of_message(&plain(message)) }
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
                write!(f, "{}:{}:{}: {message}", file.display(), place.line, place.column)?;
                place.excerpt.as_ref().map_or(Ok(()), |excerpt| excerpt.show(place.line, f))
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
const WORDS: [(&str, &str); 13] = [
    ("unknown field `", "unknown key `"),
    ("missing field `", "missing key `"),
    ("unknown variant `", "unknown value `"),
    ("invalid type: map,", "invalid type: table,"),
    ("invalid type: sequence,", "invalid type: array,"),
    (", expected a map", ", expected a table"),
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

/// A place in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is shown of the line.
    excerpt: Option<Excerpt>,
}

impl Place {
    fn new(text: &str, span: &Range<usize>, excerpt: Option<Excerpt>) -> Self {
        let (before, _) = text.split_at(text.floor_char_boundary(span.start));
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column, excerpt }
    }
}

/// A stretch of a line of a file, and what leads to it.
#[derive(Debug, PartialEq, Eq)]
struct Excerpt {
    /// The part of the line before the stretch.
    before: String,
    /// The stretch, and the brackets that close after it.
    after: String,
    /// Characters that the stretch is wide, at least 1.
    width: usize,
}

impl Excerpt {
    /// The first line of what is at `span`; none if before it there is anything but its key, such as
    /// another value of a table in one line.
    fn new(text: &str, span: &Range<usize>) -> Option<Self> {
        let (before, after) = text.split_at(text.floor_char_boundary(span.start));
        let (mut marked, rest) = after.split_at(after.floor_char_boundary(span.len()));
        let before = before.rsplit('\n').next().unwrap_or_default();
        if !is_lead(before, rest.trim_start().starts_with(['=', '.'])) {
            return None;
        }
        let mut closing = rest.len() - rest.trim_start_matches([']', '}']).len();
        marked = marked.lines().next().unwrap_or_default();
        if before.contains('=') && marked.starts_with(['[', '{']) && marked.len() > 2 {
            // Where one value belongs there are others, of which nobody knows what they are.
            (marked, closing) = (marked.get(..1).unwrap_or_default(), 0);
        }
        Some(Self {
            before: printable(before),
            after: printable(marked) + rest.get(..closing).unwrap_or_default(),
            width: marked.chars().count().max(1),
        })
    }

    /// Shows the stretch as of this line, with carets below it.
    fn show(&self, line: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, width } = self;
        let margin = " ".repeat(line.to_string().len());
        // A tab stays a tab, so that the carets stand under the place whatever its width.
        let indent: String = before.chars().map(|letter| if letter == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(*width);
        write!(f, "\n{margin} |\n{line} | {before}{after}\n{margin} | {indent}{carets}")
    }
}

/// Whether `before` leads to one place and no more: there is no other value in it, but of the same array.
fn is_lead(before: &str, is_of_key: bool) -> bool {
    let is_name =
        |text: &str| text.chars().all(|letter| letter.is_alphanumeric() || " \t_-.[".contains(letter));
    match before.split_once('=') {
        _ if is_of_key => is_name(before),
        Some((name, values)) => is_name(name) && !values.contains('='),
        None => !before.contains([']', '}', '{']),
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
        Error::in_file(Path::new("broker.toml"), text, span, "no", Discretion::Open).to_string()
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
    fn of_a_line_no_more_is_shown_than_leads_to_the_place() {
        for (text, span, expected) in [
            ("acces.tokens = ['SECRET']", 0..5, "1:1: no\n  |\n1 | acces\n  | ^^^^^"),
            ("a = ['b', 'c'] # SECRET", 10..13, "1:11: no\n  |\n1 | a = ['b', 'c']\n  |           ^^^"),
            ("host = ['SECRET']", 7..17, "1:8: no\n  |\n1 | host = [\n  |        ^"),
            ("host = { a = 'SECRET' }", 7..23, "1:8: no\n  |\n1 | host = {\n  |        ^"),
            ("[a]", 0..3, "1:1: no\n  |\n1 | [a]\n  | ^^^"),
            ("s = { a = 'SECRET', b = 7 }", 24..25, "1:25: no"),
            ("s = {\na = 'SECRET', b = 7 }", 20..21, "2:15: no"),
            ("s = {\na = 'SECRET', b = 7 }", 24..25, "2:19: no"),
            ("s = { a = [\n'SECRET'], b = 7 }", 23..24, "2:12: no"),
            ("s = { a = [\n'SECRET'], b = 7 }", 27..28, "2:16: no"),
            ("a = [\n'b', 'c']", 11..14, "2:6: no\n  |\n2 | 'b', 'c']\n  |      ^^^"),
        ] {
            assert_eq!(shown(text, span), format!("broker.toml:{expected}"), "{text}");
        }
    }

    #[test]
    fn nothing_is_shown_of_what_may_be_a_secret_or_anything() {
        let discreet = Discretion::Discreet;
        let message = "invalid type: string \"SECRET\", expected a sequence";
        let hidden = "invalid type: string, expected an array";
        let error = Error::in_file(Path::new("a"), "tokens = 'SECRET'", 9..17, message, discreet);
        assert_eq!(error.to_string(), format!("a:1:10: {hidden}"));
        let error = Error::in_override("--set access.tokens", message, discreet);
        assert_eq!(error.to_string(), format!("--set access.tokens: {hidden}"));
        let error = Error::in_text(Path::new("a"), "tokens = SECRET", 9..15, "no string");
        assert_eq!(error.to_string(), "a:1:10: no string");
    }

    #[test]
    fn a_line_cannot_steer_the_terminal() {
        assert!(shown("a\u{1b}[2Jb", 0..6).contains("\n1 | a\u{fffd}[2Jb\n"));
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        let error = Error::in_text(Path::new("broker.toml"), "", 0..0, "`\u{1b}[2J`\r\n is no host");
        assert_eq!(error.to_string(), "broker.toml:1:1: `\u{fffd}[2J`\u{fffd}\u{fffd} is no host");
        let error = Error::in_override("--set a.\u{85}", "`\u{1b}[2J` is no host", Discretion::Open);
        assert_eq!(error.to_string(), "--set a.\u{fffd}: `\u{fffd}[2J` is no host");
    }
}
