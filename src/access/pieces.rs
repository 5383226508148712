//! An index of patterns by what names must have somewhere in them, for those that share their ends.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;

/// The numbers of patterns, each by a text that every name has which it means.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Finds all texts at once; none if there are none, or more than it can take.
    automaton: Option<AhoCorasick>,
    /// Those of each text.
    patterns: Vec<Vec<usize>>,
}

impl Pieces {
    /// Of patterns with these texts and numbers.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = (&'a str, usize)>) -> Self {
        let mut texts = BTreeMap::<_, Vec<_>>::new();
        for (text, number) in patterns {
            texts.entry(text).or_default().push(number);
        }
        let automaton = (!texts.is_empty()).then(|| AhoCorasick::new(texts.keys()).ok()).flatten();
        Self { automaton, patterns: texts.into_values().collect() }
    }

    /// The number of a pattern that `means` finds to be right, of those whose text is in `name`.
    pub(super) fn find(&self, name: &str, means: impl Fn(usize) -> bool) -> Option<usize> {
        let right = |numbers: &Vec<usize>| numbers.iter().copied().find(|number| means(*number));
        match &self.automaton {
            Some(automaton) => automaton
                .find_overlapping_iter(name)
                .find_map(|found| self.patterns.get(found.pattern().as_usize()).and_then(right)),
            None => self.patterns.iter().find_map(right),
        }
    }
}
