//! Patterns: which names are meant, by what stands at each place.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::text;

/// Longest pattern, in bytes: twice as long as rooms are by default, for the escapes.
const LONGEST: usize = 2048;

/// A pattern of names: `*` is any run of characters, `{claim}` what the token says of its bearer,
/// and `\` takes from the next of `*{}\` what it would mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

/// What stands at one place of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These characters.
    Text(Box<str>),
    /// Any run of characters, an empty one too; no two follow each other.
    Any,
    /// The value of this claim, whatever characters are in it.
    Claim(Box<str>),
}

impl Pattern {
    /// What it is made of; no two texts follow each other.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// This pattern, with other characters in the place of those that stand for themselves.
    #[must_use]
    pub fn with_text(&self, change: impl Fn(&str) -> String) -> Self {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Part::Text(change(text).into()),
            other => other.clone(),
        });
        Self { text: self.text.clone(), parts: parts.collect() }
    }

    /// Whether it speaks of what tokens say.
    #[must_use]
    pub fn has_claims(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Claim(_)))
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(format!("a pattern has 1 to {LONGEST} bytes, this one {}", text.len()));
        }
        let wrong = |what: &str| {
            format!(r"`{text}` is not a pattern: {what}; `\` before one of `*{{}}\` takes it for itself")
        };
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text.chars());
        while let Some(character) = rest.next() {
            let part = match character {
                '\\' => match rest.next() {
                    Some(escaped @ ('*' | '{' | '}' | '\\')) => {
                        literal.push(escaped);
                        continue;
                    }
                    _ => return Err(wrong(r"nothing that `\` could escape follows it")),
                },
                '*' => Part::Any,
                '{' => {
                    let (claim, after) =
                        rest.as_str().split_once('}').ok_or_else(|| wrong("`{` without `}`"))?;
                    if claim.is_empty() || claim.contains(['*', '{', '\\']) {
                        return Err(wrong("between `{` and `}` stands the name of a claim"));
                    }
                    rest = after.chars();
                    Part::Claim(claim.into())
                }
                '}' => return Err(wrong("`}` without `{`")),
                other => {
                    literal.push(other);
                    continue;
                }
            };
            flush(&mut literal, &mut parts);
            if part != Part::Any || parts.last() != Some(&Part::Any) {
                parts.push(part);
            }
        }
        flush(&mut literal, &mut parts);
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Text(std::mem::take(literal).into()));
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<Part> {
        text.parse::<Pattern>().unwrap().parts
    }

    fn literal(text: &str) -> Part {
        Part::Text(text.into())
    }

    fn claim(name: &str) -> Part {
        Part::Claim(name.into())
    }

    #[test]
    fn a_pattern_is_text_stars_and_claims() {
        assert_eq!(parts("a.b"), [literal("a.b")]);
        assert_eq!(parts("*"), [Part::Any]);
        assert_eq!(parts("a.***b*"), [literal("a."), Part::Any, literal("b"), Part::Any]);
        assert_eq!(parts("{tenant}.{sub}*"), [claim("tenant"), literal("."), claim("sub"), Part::Any]);
        assert_eq!(parts("{https://a.example/b c}é"), [claim("https://a.example/b c"), literal("é")]);
        assert_eq!(parts(r"\*\{\}\\{a}"), [literal(r"*{}\"), claim("a")]);
    }

    #[test]
    fn what_is_not_a_pattern_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "a pattern has 1 to 2048 bytes, this one 0"),
            (&"a".repeat(2049), "a pattern has 1 to 2048 bytes, this one 2049"),
            ("a{b", "`{` without `}`"),
            ("a{}", "the name of a claim"),
            ("{a*}", "the name of a claim"),
            ("{{a}}", "the name of a claim"),
            ("a}", "`}` without `{`"),
            (r"a\", r"nothing that `\` could escape follows it"),
            (r"\a", r"nothing that `\` could escape follows it"),
        ] {
            let refusal = text.parse::<Pattern>().unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn it_is_printed_as_it_was_written() {
        for text in ["a.**", r"\*{a}"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
    }
}
