//! Contradictions: what is wrong between keys that are each written well, and where to say so.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

/// Something that is wrong between keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    /// The way to the value that it is said of.
    place: Vec<Step>,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

/// One step on the way to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Of a table.
    Key(&'static str),
    /// Of an array, counted from 0.
    Index(usize),
}

impl Contradiction {
    pub(super) fn new(place: Vec<Step>, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }

    /// Where the value stands, or what is nearest to it, if it is a default.
    pub(super) fn span(&self, table: &Spanned<DeTable<'_>>) -> Option<Range<usize>> {
        let (first, others) = self.place.split_first()?;
        let Step::Key(key) = *first else { return None };
        let mut value = table.get_ref().get(key)?;
        for step in others {
            let next = match (value.get_ref(), *step) {
                (DeValue::Table(table), Step::Key(key)) => table.get(key),
                (DeValue::Array(array), Step::Index(number)) => array.get(number),
                _ => None,
            };
            match next {
                Some(next) => value = next,
                None => break,
            }
        }
        Some(value.span())
    }
}
