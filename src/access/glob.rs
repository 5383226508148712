//! One pattern, compiled: whether it means a name.

use crate::access::patterns::ClaimNames;
use crate::access::patterns::Claims;
use crate::access::patterns::Missing;
use crate::config::Part;
use crate::config::Pattern;

/// One pattern.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pattern: Pattern,
    glob: Glob,
    /// The claims that it speaks of.
    pub(super) claims: Vec<usize>,
    /// What it means whatever is claimed.
    open: Glob,
}

impl Entry {
    pub(super) fn new(pattern: &Pattern, names: &mut ClaimNames) -> Self {
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

    pub(super) fn means(&self, name: &str, claims: &Claims, missing: Missing) -> bool {
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
