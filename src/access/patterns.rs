//! Patterns, compiled: which of many, if any, means this name.
//!
//! A check must cost little however many there are, as it is made for every event. So a pattern is
//! only looked at when what it begins with, or what it ends with, is there.

use std::collections::HashMap;

use crate::config::Part;
use crate::config::Pattern;

/// The claims that patterns speak of; a claim is a number from there on.
#[derive(Debug, Default)]
pub(super) struct ClaimNames(Vec<Box<str>>);

impl ClaimNames {
    fn number(&mut self, name: &str) -> usize {
        self.0.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.0.push(name.into());
            self.0.len() - 1
        })
    }

    /// What somebody's token says of these claims.
    pub(super) fn values(&self, value: impl Fn(&str) -> Option<Box<str>>) -> Claims {
        Claims(self.0.iter().map(|name| value(name)).collect())
    }
}

/// What a token says of the claims that patterns speak of.
#[derive(Debug, Default)]
pub(super) struct Claims(Box<[Option<Box<str>>]>);

impl Claims {
    fn get(&self, number: usize) -> Option<&str> {
        self.0.get(number)?.as_deref()
    }
}

/// What a pattern is taken for when it speaks of a claim that the token has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It means no name: nobody may anything because of what a token does not say.
    MeansNothing,
    /// It means any: nobody escapes a prohibition by what a token does not say.
    MeansAnything,
}

/// Many patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    entries: Vec<Entry>,
    /// Their numbers, by what they begin with.
    heads: Keys,
    /// Their numbers, by what they end with, backwards.
    tails: Keys,
}

impl Patterns {
    pub(super) fn new(patterns: &[Pattern], claims: &mut ClaimNames) -> Self {
        let mut ends = Ends::default();
        for pattern in patterns {
            ends.count(pattern);
        }
        let (mut heads, mut tails) = (HashMap::new(), HashMap::new());
        for (number, pattern) in patterns.iter().enumerate() {
            let (keys, key) = match ends.rarer(pattern) {
                End::Head(key) => (&mut heads, key),
                End::Tail(key) => (&mut tails, key),
            };
            keys.entry(key).or_insert_with(Vec::new).push(number);
        }
        let entries = patterns.iter().map(|pattern| Entry::new(pattern, claims)).collect();
        Self { entries, heads: Keys::new(heads), tails: Keys::new(tails) }
    }

    /// A pattern that means `name`, if one does.
    pub(super) fn find(&self, name: &str, claims: &Claims, missing: Missing) -> Option<&Pattern> {
        let heads = self.heads.of(name.bytes());
        let tails = self.tails.of(name.bytes().rev());
        heads
            .chain(tails)
            .filter_map(|number| self.entries.get(number))
            .find(|entry| entry.means(name, claims, missing))
            .map(|entry| &entry.pattern)
    }
}

/// By what a pattern is looked up.
enum End {
    Head(Box<[u8]>),
    Tail(Box<[u8]>),
}

/// How many patterns share each end.
#[derive(Default)]
struct Ends {
    heads: HashMap<Box<[u8]>, usize>,
    tails: HashMap<Box<[u8]>, usize>,
}

impl Ends {
    fn count(&mut self, pattern: &Pattern) {
        *self.heads.entry(head(pattern)).or_default() += 1;
        *self.tails.entry(tail(pattern)).or_default() += 1;
    }

    fn rarer(&self, pattern: &Pattern) -> End {
        let (head, tail) = (head(pattern), tail(pattern));
        if self.tails.get(&tail) < self.heads.get(&head) { End::Tail(tail) } else { End::Head(head) }
    }
}

/// What every name that `pattern` means begins with.
fn head(pattern: &Pattern) -> Box<[u8]> {
    match pattern.parts().first() {
        Some(Part::Text(text)) => text.as_bytes().into(),
        _ => Box::default(),
    }
}

/// What every name that `pattern` means ends with, backwards.
fn tail(pattern: &Pattern) -> Box<[u8]> {
    match pattern.parts().last() {
        Some(Part::Text(text)) => text.bytes().rev().collect(),
        _ => Box::default(),
    }
}

/// Patterns by strings of which names must begin with one.
///
/// The keys are sorted, and each knows the longest other that it begins with. The last key that is
/// not above a name begins with every key that the name begins with: all of those lie between, and
/// what lies between a string and one that begins with it begins with it too.
#[derive(Debug, Default)]
struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    bytes: Box<[u8]>,
    parent: Option<usize>,
    /// The numbers of the patterns.
    entries: Vec<usize>,
}

impl Keys {
    fn new(entries: HashMap<Box<[u8]>, Vec<usize>>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort();
        let mut keys: Vec<Key> = Vec::new();
        for (bytes, entries) in entries {
            let mut parent = keys.len().checked_sub(1);
            while let Some(key) = parent.and_then(|parent| keys.get(parent)) {
                if bytes.starts_with(&key.bytes) {
                    break;
                }
                parent = key.parent;
            }
            keys.push(Key { bytes, parent, entries });
        }
        Self(keys)
    }

    /// The numbers of the patterns whose keys `name` begins with.
    fn of(&self, name: impl Iterator<Item = u8> + Clone) -> impl Iterator<Item = usize> {
        let not_above = |key: &Key| key.bytes.iter().copied().le(name.clone());
        let last = self.0.partition_point(not_above).checked_sub(1);
        std::iter::successors(last.and_then(|last| self.0.get(last)), |key| self.0.get(key.parent?))
            .filter(move |key| key.bytes.iter().copied().eq(name.clone().take(key.bytes.len())))
            .flat_map(|key| key.entries.iter().copied())
    }
}

/// One pattern.
#[derive(Debug)]
struct Entry {
    pattern: Pattern,
    glob: Glob,
    /// The claims that it speaks of.
    claims: Vec<usize>,
    /// What it means whatever is claimed.
    open: Glob,
}

impl Entry {
    fn new(pattern: &Pattern, names: &mut ClaimNames) -> Self {
        let (mut claims, mut parts, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for part in pattern.parts() {
            match part {
                Part::Text(text) => {
                    parts.push(Some(Piece::Text(text.clone())));
                    open.push(Some(Piece::Text(text.clone())));
                }
                Part::Claim(name) => {
                    let claim = names.number(name);
                    claims.push(claim);
                    parts.push(Some(Piece::Claim(claim)));
                    open.push(None);
                }
                Part::Any => {
                    parts.push(None);
                    open.push(None);
                }
            }
        }
        Self { pattern: pattern.clone(), glob: Glob::new(parts), claims, open: Glob::new(open) }
    }

    fn means(&self, name: &str, claims: &Claims, missing: Missing) -> bool {
        let lacks = || self.claims.iter().any(|claim| claims.get(*claim).is_none());
        let glob = if missing == Missing::MeansAnything && lacks() { &self.open } else { &self.glob };
        glob.means(name, claims)
    }
}

/// What a name begins with, what follows somewhere, what it ends with.
#[derive(Debug)]
struct Glob {
    first: Run,
    middle: Vec<Run>,
    /// None if there is no gap: then nothing follows the first.
    last: Option<Run>,
}

/// What stands between two gaps.
type Run = Vec<Piece>;

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Claim(usize),
}

impl Piece {
    fn text<'a>(&'a self, claims: &'a Claims) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Claim(claim) => claims.get(*claim),
        }
    }
}

impl Glob {
    /// Of these pieces, with a gap where there is none.
    fn new(parts: Vec<Option<Piece>>) -> Self {
        let (mut first, mut others) = (Run::new(), Vec::<Run>::new());
        for part in parts {
            match part {
                Some(piece) => others.last_mut().unwrap_or(&mut first).push(piece),
                None => others.push(Run::new()),
            }
        }
        let last = others.pop();
        Self { first, middle: others, last }
    }

    fn means(&self, name: &str, claims: &Claims) -> bool {
        let Some(rest) = after(name, &self.first, claims) else { return false };
        let Some(last) = &self.last else { return rest.is_empty() };
        let Some(rest) = before(rest, last, claims) else { return false };
        // The first place at which a run stands leaves most for the others.
        self.middle.iter().try_fold(rest, |rest, run| after_somewhere(rest, run, claims)).is_some()
    }
}

/// What follows `run`, if `name` begins with it.
fn after<'a>(name: &'a str, run: &[Piece], claims: &Claims) -> Option<&'a str> {
    run.iter().try_fold(name, |rest, piece| rest.strip_prefix(piece.text(claims)?))
}

/// What stands before `run`, if `name` ends with it.
fn before<'a>(name: &'a str, run: &[Piece], claims: &Claims) -> Option<&'a str> {
    run.iter().rev().try_fold(name, |rest, piece| rest.strip_suffix(piece.text(claims)?))
}

/// What follows the first place at which `run` stands in `name`.
fn after_somewhere<'a>(name: &'a str, run: &[Piece], claims: &Claims) -> Option<&'a str> {
    if let [piece] = run {
        return name.split_once(piece.text(claims)?).map(|(_, rest)| rest);
    }
    let places = name.char_indices().map(|(at, _)| at).chain([name.len()]);
    places.filter_map(|at| name.get(at..)).find_map(|rest| after(rest, run, claims))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    /// The first of `patterns` that is found to mean `name`.
    fn find(patterns: &[&str], said: &[(&str, &str)], name: &str, missing: Missing) -> Option<String> {
        let patterns: Vec<_> = patterns.iter().map(|text| pattern(text)).collect();
        let mut names = ClaimNames::default();
        let compiled = Patterns::new(&patterns, &mut names);
        let claims = names
            .values(|claim| said.iter().find(|(name, _)| *name == claim).map(|(_, value)| (*value).into()));
        compiled.find(name, &claims, missing).map(ToString::to_string)
    }

    fn means(text: &str, name: &str) -> bool {
        find(&[text], &[], name, Missing::MeansNothing).is_some()
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (text, names, others) in [
            ("a", vec!["a"], vec!["", "aa", "b"]),
            ("*", vec!["", "a", "é.*"], vec![]),
            ("a.*", vec!["a.", "a.b", "a.b.c"], vec!["a", "b.a."]),
            ("*.a", vec![".a", "b.a", ".a.a"], vec!["a", ".a."]),
            ("a*b*c", vec!["abc", "a.b.c", "abcbc"], vec!["acb", "ac", "abcd"]),
            ("a*a", vec!["aa", "aba"], vec!["a"]),
            ("*aab*", vec!["aaab", "aab."], vec!["aa", "abab"]),
            (r"\*", vec!["*"], vec!["a", ""]),
        ] {
            for name in names {
                assert!(means(text, name), "{text} {name}");
            }
            for name in others {
                assert!(!means(text, name), "{text} {name}");
            }
        }
    }

    #[test]
    fn a_claim_stands_for_itself_whatever_is_in_it() {
        let said = [("sub", "*"), ("tenant", "a.b")];
        let mine = |name| find(&["user.{sub}.*", "{tenant}"], &said, name, Missing::MeansNothing);
        assert_eq!(mine("user.*.x").as_deref(), Some("user.{sub}.*"));
        assert_eq!(mine("user.me.x"), None);
        assert_eq!(mine("a.b").as_deref(), Some("{tenant}"));
        assert_eq!(mine("{tenant}"), None);
    }

    #[test]
    fn a_claim_that_is_missing_allows_nothing_and_denies_anything() {
        for name in ["user..x", "user.a.x", "user.{sub}.x", "user.a.b.x"] {
            assert_eq!(find(&["user.{sub}.x"], &[], name, Missing::MeansNothing), None);
            assert!(find(&["user.{sub}.x"], &[], name, Missing::MeansAnything).is_some(), "{name}");
        }
        assert_eq!(find(&["user.{sub}.x"], &[], "user.x", Missing::MeansAnything), None);
        assert!(find(&["{a}*{b}"], &[("a", "x")], "", Missing::MeansAnything).is_some());
    }

    #[test]
    fn names_are_found_by_what_they_begin_or_end_with() {
        let many = ["a", "a.b", "a.b.c", "*z", "*.z", "b*", "ba*", "", "bab*"];
        let many: Vec<_> = many.into_iter().filter(|text| !text.is_empty()).collect();
        for (name, expected) in [
            ("a", Some("a")),
            ("a.b", Some("a.b")),
            ("a.b.d", None),
            ("bz", Some("b*")),
            ("bac", Some("ba*")),
            ("c.z", Some("*.z")),
            ("c", None),
        ] {
            assert_eq!(find(&many, &[], name, Missing::MeansNothing).as_deref(), expected, "{name}");
        }
    }

    /// Whether `name` is these parts, tried in every way.
    fn naive(
        parts: &[Part],
        name: &str,
        said: &dyn Fn(&str) -> Option<&'static str>,
        missing: Missing,
    ) -> bool {
        let Some((part, others)) = parts.split_first() else { return name.is_empty() };
        let text = match part {
            Part::Text(text) => Some(&**text),
            Part::Claim(claim) if said(claim).is_some() => said(claim),
            Part::Claim(_) if missing == Missing::MeansNothing => return false,
            Part::Claim(_) | Part::Any => None,
        };
        match text {
            Some(text) => name.strip_prefix(text).is_some_and(|rest| naive(others, rest, said, missing)),
            None => (0..=name.len())
                .filter_map(|at| name.get(at..))
                .any(|rest| naive(others, rest, said, missing)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn they_mean_what_a_naive_matcher_finds(
            texts in prop::collection::vec("([ab.é]|[*]|[{][pqr][}]){1,6}", 0..8),
            name in "[ab.é]{0,9}",
            anything in any::<bool>(),
        ) {
            let missing = if anything { Missing::MeansAnything } else { Missing::MeansNothing };
            let said = |claim: &str| match claim { "p" => Some("a"), "q" => Some("b.a"), _ => None };
            let patterns: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
            let mut names = ClaimNames::default();
            let compiled = Patterns::new(&patterns, &mut names);
            let claims = names.values(|claim| said(claim).map(Into::into));
            // A pattern that lacks one claim of two is open in both.
            let open = |pattern: &Pattern| missing == Missing::MeansAnything
                && pattern.parts().iter().any(|part| matches!(part, Part::Claim(name) if &**name == "r"));
            let expected = patterns.iter().any(|pattern| {
                let said: &dyn Fn(&str) -> Option<&'static str> = if open(pattern) { &|_| None } else { &said };
                naive(pattern.parts(), &name, said, missing)
            });
            let found = compiled.find(&name, &claims, missing);
            prop_assert_eq!(found.is_some(), expected, "{:?}", found);
        }
    }
}
