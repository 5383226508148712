//! The words of JSON text: strings, numbers and what stands between them.

use super::Fault;

/// The most characters an integer may have, its sign included.
///
/// python-engineio 4 raises for more (`_safe_int`), and so does Python itself from 4,301 digits on,
/// which concerns python-engineio 3. What has a fraction or an exponent may be as long as it likes.
const LONGEST_INTEGER: usize = 100;

/// A place in a JSON text, and the steps from there.
///
/// It is strict (RFC 8259) and keeps nothing of what it reads but where it lies.
pub(super) struct Scanner<'a> {
    /// The whole text.
    text: &'a [u8],
    /// What has not been read, always the end of `text`.
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// Begins at the start of `text`, which must be UTF-8.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, rest: text }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What has been read since `start` was the rest.
    pub(super) fn since(&self, start: &'a [u8]) -> &'a [u8] {
        start.get(..start.len() - self.rest.len()).unwrap_or_default()
    }

    /// Reads a value that is not a container.
    pub(super) fn scalar(&mut self) -> Result<(), Fault> {
        match self.rest.first() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.expect_all(b"true"),
            Some(b'f') => self.expect_all(b"false"),
            _ => self.expect_all(b"null"),
        }
    }

    /// Reads a string, quotes included.
    pub(super) fn string(&mut self) -> Result<(), Fault> {
        self.expect(b'"')?;
        loop {
            self.plain_characters();
            if self.skip(b'"') {
                return Ok(());
            }
            // What is neither the end nor an escape is a bare control character.
            self.expect(b'\\')?;
            self.escape()?;
        }
    }

    /// Reads the characters of a string that stand for themselves, as far as they go.
    pub(super) fn plain_characters(&mut self) -> &'a [u8] {
        let start = self.rest;
        self.rest = after_plain_characters(start);
        self.since(start)
    }

    /// Reads what follows a backslash. That surrogates stand in pairs is asked of rooms only: in a
    /// message receivers take what they get.
    fn escape(&mut self) -> Result<(), Fault> {
        if self.skip(b'u') {
            for _ in 0..4 {
                self.expect_any(u8::is_ascii_hexdigit)?;
            }
            Ok(())
        } else {
            self.expect_any(|byte| br#""\/bfnrt"#.contains(byte))
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.rest;
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        let length = self.since(start).len();
        let mut is_integer = true;
        if self.skip(b'.') {
            is_integer = false;
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            is_integer = false;
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        if is_integer && length > LONGEST_INTEGER {
            return Err(Fault::LongInteger { limit: LONGEST_INTEGER });
        }
        Ok(())
    }

    /// Reads one digit or more.
    fn digits(&mut self) -> Result<(), Fault> {
        self.expect_any(u8::is_ascii_digit)?;
        self.rest = after(self.rest, u8::is_ascii_digit);
        Ok(())
    }

    /// Reads the space between words, if there is any.
    pub(super) fn skip_whitespace(&mut self) {
        // Most texts have none.
        if let Some(b' ' | b'\t' | b'\n' | b'\r') = self.rest.first() {
            self.rest = after(self.rest, |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        }
    }

    /// Reads `byte`, if it comes next.
    pub(super) fn skip(&mut self, byte: u8) -> bool {
        self.expect(byte).is_ok()
    }

    /// Reads `byte`, which must come next.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        self.expect_any(|&next| next == byte)
    }

    fn expect_any(&mut self, expected: impl Fn(&u8) -> bool) -> Result<(), Fault> {
        match self.rest.split_first() {
            Some((next, rest)) if expected(next) => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.fault()),
        }
    }

    fn expect_all(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.rest = self.rest.strip_prefix(bytes).ok_or_else(|| self.fault())?;
        Ok(())
    }

    /// The text is not JSON from here on.
    pub(super) fn fault(&self) -> Fault {
        Fault::Json { offset: self.since(self.text).len() }
    }
}

/// What comes after the longest run of `expected` bytes that `text` begins with.
fn after(text: &[u8], expected: impl Fn(&u8) -> bool) -> &[u8] {
    let length = text.iter().take_while(|byte| expected(byte)).count();
    text.get(length..).unwrap_or_default()
}

/// What comes after the bytes at the beginning of `text` that stand for themselves in a string.
///
/// Most of a large message is such text. Without a branch per byte the compiler looks at a whole
/// chunk at once.
fn after_plain_characters(text: &[u8]) -> &[u8] {
    let is_plain = |&byte: &u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    let (chunks, _) = text.as_chunks::<16>();
    let plain = chunks.iter().take_while(|chunk| chunk.iter().fold(true, |all, byte| all & is_plain(byte)));
    after(text.get(plain.count() * 16..).unwrap_or_default(), is_plain)
}
