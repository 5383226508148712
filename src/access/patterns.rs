//! Patterns, compiled: which of many, if any, means this name.
//!
//! A check must cost little however many there are, as it is made for every event. So a pattern is
//! only looked at when what it begins with, what it ends with or something between is there.

use crate::access::glob::Entry;
use crate::access::index::Index;
use crate::access::index::Marks;
use crate::access::index::Path;
use crate::access::index::Step;
use crate::config::Part;
use crate::config::Pattern;

/// The claims that patterns speak of; a claim is a number from there on.
#[derive(Debug, Default)]
pub(super) struct ClaimNames(Vec<Box<str>>);

impl ClaimNames {
    pub(super) fn number(&mut self, name: &str) -> usize {
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
    pub(super) fn get(&self, number: usize) -> Option<&str> {
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
    /// The claims that they speak of.
    claims: Vec<usize>,
    /// Where each is looked up when the claims that it speaks of are known.
    index: Index,
    /// Where it is when they are not, and what it speaks of may be anything.
    open: Index,
}

impl Patterns {
    pub(super) fn new(patterns: &[Pattern], names: &mut ClaimNames) -> Self {
        let entries: Vec<_> = patterns.iter().map(|pattern| Entry::new(pattern, names)).collect();
        let mut claims: Vec<_> = entries.iter().flat_map(|entry| entry.claims.iter().copied()).collect();
        claims.sort_unstable();
        claims.dedup();
        let (mut marks, mut open) = (Vec::new(), Vec::new());
        for pattern in patterns {
            let (head, tail) = (head(pattern, names), tail(pattern, names));
            open.push(Marks {
                head: without_claims(&head),
                tail: without_claims(&tail),
                pieces: pieces(pattern, |part| matches!(part, Part::Any | Part::Claim(_))),
            });
            marks.push(Marks { head, tail, pieces: pieces(pattern, |part| *part == Part::Any) });
        }
        Self { entries, claims, index: Index::new(&marks), open: Index::new(&open) }
    }

    /// A pattern that means `name`, if one does.
    pub(super) fn find(&self, name: &str, claims: &Claims, missing: Missing) -> Option<&Pattern> {
        let lacks = || self.claims.iter().any(|claim| claims.get(*claim).is_none());
        let index = if missing == Missing::MeansAnything && lacks() { &self.open } else { &self.index };
        let entry = |number: usize| self.entries.get(number);
        let number = index.find(name, claims, |number| {
            entry(number).is_some_and(|entry| entry.means(name, claims, missing))
        })?;
        entry(number).map(|entry| &entry.pattern)
    }
}

/// What every name that `pattern` means begins with.
fn head(pattern: &Pattern, names: &mut ClaimNames) -> Path {
    path(pattern.parts().iter(), names, |text| text.as_bytes().into())
}

/// What every name that `pattern` means ends with, backwards.
fn tail(pattern: &Pattern, names: &mut ClaimNames) -> Path {
    path(pattern.parts().iter().rev(), names, |text| text.bytes().rev().collect())
}

/// What every name that `pattern` means has somewhere between these, if gaps are where this says.
fn pieces(pattern: &Pattern, is_gap: impl Fn(&Part) -> bool) -> Vec<&str> {
    let mut runs: Vec<_> = pattern.parts().split(is_gap).skip(1).collect();
    runs.pop();
    let pieces = runs.into_iter().flatten().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        Part::Claim(_) | Part::Any => None,
    });
    pieces.collect()
}

fn path<'a>(
    parts: impl Iterator<Item = &'a Part>,
    names: &mut ClaimNames,
    bytes: impl Fn(&str) -> Box<[u8]>,
) -> Path {
    let steps = parts.map_while(|part| match part {
        Part::Text(text) => Some(Step::Text(bytes(text))),
        Part::Claim(name) => Some(Step::Claim(names.number(name))),
        Part::Any => None,
    });
    steps.collect()
}

fn without_claims(path: &[Step]) -> Path {
    path.iter().take_while(|step| matches!(step, Step::Text(_))).cloned().collect()
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
        let many = ["a", "a.b", "a.b.c", "*z", "*.z", "b*", "bo*", "", "bob*"];
        let many: Vec<_> = many.into_iter().filter(|text| !text.is_empty()).collect();
        for (name, expected) in [
            ("a", Some("a")),
            ("a.b", Some("a.b")),
            ("a.b.d", None),
            ("bz", Some("b*")),
            ("boc", Some("bo*")),
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
            texts in prop::collection::vec("([ab.é]|[*]|[{][pqr][}]){1,6}", 0..48),
            // All of them then share their ends.
            between in any::<bool>(),
            name in "[ab.é]{0,9}",
            anything in any::<bool>(),
        ) {
            let missing = if anything { Missing::MeansAnything } else { Missing::MeansNothing };
            let said = |claim: &str| match claim { "p" => Some("a"), "q" => Some("b.a"), _ => None };
            let patterns: Vec<_> = texts
                .iter()
                .map(|text| pattern(&if between { format!("a*{text}*b") } else { text.clone() }))
                .collect();
            let mut names = ClaimNames::default();
            let compiled = Patterns::new(&patterns, &mut names);
            let claims = names.values(|claim| said(claim).map(Into::into));
            let name = if between { format!("a{name}b") } else { name };
            // A pattern that lacks one claim of two is open in both.
            let open = |pattern: &Pattern| missing == Missing::MeansAnything
                && pattern.parts().iter().any(|part| matches!(part, Part::Claim(name) if &**name == "r"));
            let means = |pattern: &Pattern| {
                let said: &dyn Fn(&str) -> Option<&'static str> = if open(pattern) { &|_| None } else { &said };
                naive(pattern.parts(), &name, said, missing)
            };
            let found = compiled.find(&name, &claims, missing);
            prop_assert_eq!(found.is_some(), patterns.iter().any(means), "{:?}", found);
            prop_assert!(found.is_none_or(|found| patterns.contains(found) && means(found)), "{:?}", found);
        }
    }
}
