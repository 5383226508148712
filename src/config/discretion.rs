//! What an error may repeat of a configuration, in which somebody may have put a secret where none belongs.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

/// What an error may repeat of what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discretion {
    /// The value, and of its line what leads to it: no secret belongs there.
    Open,
    /// Nothing. It is said where something is wrong, and what would be right.
    Discreet,
}

impl Discretion {
    /// Of what is at the end of this way of keys: `access` and all below it is discreet, and so is whatever
    /// is called a token, and an address, into which somebody may have put a password.
    pub(super) fn of_way(mut keys: impl Iterator<Item = impl AsRef<str>>) -> Self {
        let is_discreet = keys.any(|key| {
            let key = key.as_ref().to_ascii_lowercase();
            ["access", "url", "servers"].contains(&key.as_str()) || key.contains("token")
        });
        if is_discreet { Self::Discreet } else { Self::Open }
    }

    /// Of what is at `span` of `table`. What is at no place that it has is discreet.
    pub(super) fn of_place(table: &DeTable<'_>, span: &Range<usize>) -> Self {
        way(table, span).map_or(Self::Discreet, |keys| Self::of_way(keys.into_iter()))
    }

    /// `message`, as far as it may be told.
    pub(super) fn of_message(self, message: &str) -> String {
        match self {
            Self::Open => message.to_owned(),
            Self::Discreet => without_quotes(message),
        }
    }
}

/// The keys on the way to `span`, the last one first.
fn way<'a>(table: &'a DeTable<'_>, span: &Range<usize>) -> Option<Vec<&'a str>> {
    let holds = |place: &Range<usize>| place.start <= span.start && span.end <= place.end;
    table.iter().find_map(|(key, value)| {
        let here = || (holds(&key.span()) || holds(&value.span())).then(Vec::new);
        let mut keys = way_within(value, span).or_else(here)?;
        keys.push(key.get_ref());
        Some(keys)
    })
}

fn way_within<'a>(value: &'a Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Vec<&'a str>> {
    match value.get_ref() {
        DeValue::Table(table) => way(table, span),
        DeValue::Array(values) => values.iter().find_map(|value| way_within(value, span)),
        _ => None,
    }
}

/// `message` without what it quotes: it begins with that, as ours do, or it is serde's, or it quotes nothing.
fn without_quotes(message: &str) -> String {
    if let Some(quoted) = message.strip_prefix('`') {
        let form = quoted.rsplit_once("` is ").map_or("not what belongs here", |(_, form)| form);
        return format!("this is {form}");
    }
    match message.rsplit_once(", expected ") {
        Some((found, expected)) => {
            let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_and_tokens_are_discreet_wherever_they_are_and_however_they_are_written() {
        for (text, expected) in [
            ("limits = { nesting = MARK }", Discretion::Open),
            ("[server.tls]\nkey = MARK", Discretion::Open),
            ("access = MARK", Discretion::Discreet),
            ("access.tokens = [MARK]", Discretion::Discreet),
            ("access = { tokens = [\n{ token_sha256 = MARK }] }", Discretion::Discreet),
            ("\"acc\\u0065ss\" = [[[MARK]]]", Discretion::Discreet),
            ("[access.roles.a]\nsubscribe = MARK", Discretion::Discreet),
            ("[[access.tokens]]\nrole = 'a'\n[[access.tokens]]\nb = MARK", Discretion::Discreet),
            ("[access]\njwt = 1\n[limits]\nnesting = MARK", Discretion::Open),
            ("[a]\n[limits]\nnesting = 1\n[access]\njwt = MARK", Discretion::Discreet),
            ("[server]\naccess = { a = MARK }", Discretion::Discreet),
            ("[admin]\ntoken_file = MARK", Discretion::Discreet),
            ("[admin]\nmyToken = MARK", Discretion::Discreet),
        ] {
            let start = text.find("MARK").unwrap();
            let text = text.replace("MARK", "7777");
            let table = DeTable::parse(&text).unwrap();
            let found = Discretion::of_place(table.get_ref(), &(start..start + 4));
            assert_eq!(found, expected, "{text}");
            assert_eq!(Discretion::of_place(table.get_ref(), &(999..999)), Discretion::Discreet);
        }
    }

    #[test]
    fn what_a_message_quotes_is_left_out() {
        for (message, expected) in [
            (
                "invalid type: string \"a\\\"SECRET\", expected an array",
                "invalid type: string, expected an array",
            ),
            ("invalid type: integer `7`, expected a table", "invalid type: integer, expected a table"),
            ("invalid type: map, expected a string", "invalid type: map, expected a string"),
            ("unknown key `a, expected SECRET`, expected `b`", "unknown key, expected `b`"),
            ("`a` is not SECRET` is not a path; write one", "this is not a path; write one"),
            ("`, expected SECRET` is not a path", "this is not a path"),
            ("`0s` is no time at all; write at least `1ms`", "this is no time at all; write at least `1ms`"),
            ("`SECRET` cannot be", "this is not what belongs here"),
            ("missing key `role`", "missing key `role`"),
        ] {
            assert_eq!(Discretion::Discreet.of_message(message), expected);
            assert_eq!(Discretion::Open.of_message(message), message);
        }
    }
}
