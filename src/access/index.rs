//! An index of patterns by what names must begin with, end with or have in them, so that few are looked at.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::Hash;

use crate::access::patterns::Claims;
use crate::access::pieces::Pieces;

/// What stands at one place of what names must begin with; or end with, backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// These bytes.
    Text(Box<[u8]>),
    /// The value of the claim with this number.
    Claim(usize),
}

/// What names must begin with; or end with, backwards.
pub(super) type Path = Vec<Step>;

/// What every name has that a pattern means.
#[derive(Debug)]
pub(super) struct Marks<'a> {
    pub(super) head: Path,
    pub(super) tail: Path,
    /// What stands somewhere between them.
    pub(super) pieces: Vec<&'a str>,
}

/// As many patterns as this with the same head are looked at sooner than a name is searched for pieces.
const FEW: usize = 16;

/// The numbers of patterns, each by that mark which it shares with fewest others.
#[derive(Debug, Default)]
pub(super) struct Index {
    heads: Node,
    tails: Node,
    pieces: Pieces,
}

impl Index {
    /// Of patterns with these marks; their places are their numbers.
    pub(super) fn new(marks: &[Marks<'_>]) -> Self {
        let heads = counted(marks.iter().map(|marks| &marks.head));
        let tails = counted(marks.iter().map(|marks| &marks.tail));
        let pieces = counted(marks.iter().flat_map(|marks| &marks.pieces));
        let (mut by_head, mut by_tail, mut by_piece) = (Vec::new(), Vec::new(), Vec::new());
        for (number, Marks { head, tail, pieces: own }) in marks.iter().enumerate() {
            let (head_shared, tail_shared) = (heads.get(head), tails.get(tail));
            let shared = head_shared.min(tail_shared).copied().unwrap_or_default();
            let piece = own.iter().min_by_key(|piece| (pieces.get(*piece), Reverse(piece.len())));
            match piece.filter(|piece| shared > FEW && pieces.get(*piece).is_some_and(|few| *few < shared)) {
                Some(piece) => by_piece.push((*piece, number)),
                None if tail_shared < head_shared => by_tail.push((&tail[..], number)),
                None => by_head.push((&head[..], number)),
            }
        }
        Self {
            heads: Node::new(by_head),
            tails: Node::new(by_tail),
            pieces: Pieces::new(by_piece.into_iter()),
        }
    }

    /// The number of a pattern that `means` finds to be right, of those whose mark `name` has.
    pub(super) fn find(&self, name: &str, claims: &Claims, means: impl Fn(usize) -> bool) -> Option<usize> {
        let head = |claim| claims.get(claim).map(str::bytes);
        let tail = |claim| claims.get(claim).map(|value| value.bytes().rev());
        let by_head = self.heads.find(&name.bytes(), &head, &means);
        let by_end = by_head.or_else(|| self.tails.find(&name.bytes().rev(), &tail, &means));
        by_end.or_else(|| self.pieces.find(name, &means))
    }
}

/// How often each is there.
fn counted<T: Eq + Hash>(all: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

/// Patterns whose paths begin with the same steps, by those that follow.
#[derive(Debug, Default)]
struct Node {
    /// Those whose path ends here.
    here: Vec<usize>,
    /// Those whose next step is a text.
    ///
    /// The texts are sorted, and each knows the longest other that it begins with. The last one that is
    /// not above a name begins with every text that the name begins with: all of those lie between, and
    /// what lies between a string and one that begins with it begins with it too.
    texts: Vec<Key>,
    /// Those whose next step is a claim.
    claims: Vec<(usize, Node)>,
}

#[derive(Debug)]
struct Key {
    bytes: Box<[u8]>,
    parent: Option<usize>,
    node: Node,
}

impl Node {
    fn new(patterns: Vec<(&[Step], usize)>) -> Self {
        let mut here = Vec::new();
        let (mut texts, mut claims) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (path, number) in patterns {
            match path.split_first() {
                None => here.push(number),
                Some((Step::Text(text), rest)) => texts.entry(text).or_default().push((rest, number)),
                Some((Step::Claim(claim), rest)) => claims.entry(*claim).or_default().push((rest, number)),
            }
        }
        let mut keys: Vec<Key> = Vec::new();
        for (bytes, patterns) in texts {
            let mut parent = keys.len().checked_sub(1);
            while let Some(key) = parent.and_then(|parent| keys.get(parent)) {
                if bytes.starts_with(&key.bytes) {
                    break;
                }
                parent = key.parent;
            }
            keys.push(Key { bytes: bytes.clone(), parent, node: Self::new(patterns) });
        }
        let claims = claims.into_iter().map(|(claim, patterns)| (claim, Self::new(patterns))).collect();
        Self { here, texts: keys, claims }
    }

    /// The number of a pattern that `means` finds to be right, of those whose path `name` begins with.
    fn find<N, V>(
        &self,
        name: &N,
        value: &impl Fn(usize) -> Option<V>,
        means: &impl Fn(usize) -> bool,
    ) -> Option<usize>
    where
        N: Iterator<Item = u8> + Clone,
        V: Iterator<Item = u8>,
    {
        if let Some(number) = self.here.iter().find(|number| means(**number)) {
            return Some(*number);
        }
        let not_above = |key: &Key| key.bytes.iter().copied().le(name.clone());
        let mut place = self.texts.partition_point(not_above).checked_sub(1);
        while let Some(key) = place.and_then(|place| self.texts.get(place)) {
            let rest = after(name, key.bytes.iter().copied());
            if let Some(number) = rest.and_then(|rest| key.node.find(&rest, value, means)) {
                return Some(number);
            }
            place = key.parent;
        }
        let mut claims = self.claims.iter();
        claims.find_map(|(claim, node)| node.find(&after(name, value(*claim)?)?, value, means))
    }
}

/// What follows `begin`, if `name` begins with it.
fn after<N: Iterator<Item = u8> + Clone>(name: &N, begin: impl Iterator<Item = u8>) -> Option<N> {
    let mut rest = name.clone();
    for byte in begin {
        if rest.next() != Some(byte) {
            return None;
        }
    }
    Some(rest)
}
