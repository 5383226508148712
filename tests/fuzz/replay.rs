//! What `cargo test` runs: the kept corpus of a target, and inputs made from it by chance.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;

/// How many inputs are made from the corpus of a target.
const MADE: usize = 3000;

/// The longest input that is made, as in `scripts/fuzz.sh`.
const LONGEST: usize = 4096;

/// Runs `check` on every kept input of `target`, and on inputs made from them.
///
/// The same inputs are made each time, unless `FUZZ_SEED` names another number to begin with.
pub fn replay(target: &str, check: fn(&[u8])) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fuzz/corpus/{target}.txt"));
    let corpus: Vec<Vec<u8>> = fs::read_to_string(file).unwrap().lines().map(unescaped).collect();
    assert!(!corpus.is_empty(), "the corpus of `{target}` is empty");
    for (line, input) in (1..).zip(&corpus) {
        let _shown = Shown { origin: format!("{target}.txt:{line}"), input };
        check(input);
    }
    let seed = env::var("FUZZ_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut chance = Chance(seed);
    for number in 1..=MADE {
        let input = made(&corpus, &mut chance);
        let _shown = Shown { origin: format!("input {number} of FUZZ_SEED={seed}"), input: &input };
        check(&input);
    }
}

/// The input that a line of a corpus stands for: ASCII, the rest as `\n`, `\x1e` and the like.
fn unescaped(line: &str) -> Vec<u8> {
    let (mut input, mut letters) = (Vec::new(), line.chars());
    while let Some(letter) = letters.next() {
        let byte = match (letter, letter == '\\') {
            (_, true) => match letters.next().unwrap() {
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                '\\' => b'\\',
                'x' => u8::from_str_radix(&letters.by_ref().take(2).collect::<String>(), 16).unwrap(),
                other => panic!("`\\{other}` stands for nothing"),
            },
            (letter, false) => u8::try_from(letter).unwrap(),
        };
        input.push(byte);
    }
    input
}

/// An input that is shown should its check panic.
struct Shown<'a> {
    origin: String,
    input: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}: b\"{}\"", self.origin, self.input.escape_ascii());
        }
    }
}

/// One input of `corpus`, changed in a few places.
fn made(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = chance.pick(corpus).clone();
    for _ in 0..=chance.below(4) {
        let start = chance.below(input.len() + 1);
        let end = (start + chance.below(9)).min(input.len());
        let new = match chance.below(5) {
            // A part is lost, doubled, or replaced by one of another input, by a bit or by anything.
            0 => Vec::new(),
            1 => input[start..end].repeat(2),
            2 => {
                let other = chance.pick(corpus);
                let from = chance.below(other.len() + 1);
                other[from..(from + chance.below(40)).min(other.len())].to_vec()
            }
            3 => input[start..end].iter().map(|byte| byte ^ (1 << chance.below(8))).collect(),
            _ => (0..chance.below(5)).map(|_| chance.byte()).collect(),
        };
        input.splice(start..end, new);
    }
    input.truncate(LONGEST);
    input
}

/// Numbers that look random (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
