//! The placeholders that stand for binary attachments in JSON text.

use super::Fault;

/// Watches a JSON text for placeholders, which must match the attachments that came with it.
///
/// A placeholder is an object `{"_placeholder":true,"num":n}`; receivers put attachment `n` in its
/// place. What they disagree about is refused. Of a number that is no index, Python raises, newer
/// JavaScript parsers throw and older ones deliver `undefined`; of a `_placeholder` that is neither a
/// boolean nor null, Python and older JavaScript parsers take every "true" one for a placeholder.
///
/// Without attachments there are no placeholders: the same objects are data, and nothing is watched.
pub(super) struct Placeholders {
    /// Per attachment, whether a placeholder stands for it.
    referenced: Vec<bool>,
    /// The objects around the value that is being read, the innermost last.
    objects: Vec<Object>,
}

impl Placeholders {
    /// Watches for the placeholders of `attachments` attachments.
    pub(super) fn new(attachments: usize) -> Self {
        Self { referenced: vec![false; attachments], objects: Vec::new() }
    }

    /// An object begins.
    pub(super) fn open(&mut self) {
        if self.is_watching() {
            self.objects.push(Object::default());
        }
    }

    /// The member of the innermost object that comes next has the key `text`.
    pub(super) fn key(&mut self, text: &[u8]) {
        if let Some(object) = self.objects.last_mut() {
            object.key = Key::from_json(text);
        }
    }

    /// The member that was just named has the value `text`, or one that begins so.
    pub(super) fn value(&mut self, text: &[u8]) {
        let Some(object) = self.objects.last_mut() else { return };
        object.holds_container |= matches!(text, [b'[' | b'{', ..]);
        // Of members with the same key the last one counts, as in every receiver's parser.
        match object.key {
            Key::Mark => object.mark = Mark::from_json(text),
            Key::Number => object.number = serde_json::from_slice(text).ok(),
            Key::Other => {}
        }
    }

    /// The innermost object ends.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        let Some(object) = self.objects.pop() else { return Ok(()) };
        match object.mark {
            Mark::Absent => Ok(()),
            // Receivers would drop what it holds without a look, attachments included.
            Mark::Present if object.holds_container => Err(Fault::Placeholder),
            Mark::Present => self.refer_to(object.number).ok_or(Fault::Placeholder),
            Mark::Unclear => Err(Fault::Placeholder),
        }
    }

    /// The text ends. A placeholder counts even where a later member of the same key displaces it:
    /// receivers never miss an attachment, so this is for the sender's own sake.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.referenced.iter().all(|&referenced| referenced) {
            Ok(())
        } else {
            Err(Fault::UnusedAttachment)
        }
    }

    fn is_watching(&self) -> bool {
        !self.referenced.is_empty()
    }

    fn refer_to(&mut self, number: Option<usize>) -> Option<()> {
        *self.referenced.get_mut(number?)? = true;
        Some(())
    }
}

/// An object that may turn out to be a placeholder; only its end will tell.
#[derive(Default)]
struct Object {
    key: Key,
    mark: Mark,
    number: Option<usize>,
    holds_container: bool,
}

/// What a key means in a placeholder.
#[derive(Default)]
enum Key {
    #[default]
    Other,
    /// `_placeholder`
    Mark,
    /// `num`
    Number,
}

impl Key {
    /// `text` is a JSON string; receivers see it decoded.
    fn from_json(text: &[u8]) -> Self {
        match text {
            br#""_placeholder""# => Self::Mark,
            br#""num""# => Self::Number,
            _ if text.contains(&b'\\') => Self::from_escaped_json(text),
            _ => Self::Other,
        }
    }

    fn from_escaped_json(text: &[u8]) -> Self {
        // A lone surrogate cannot be decoded, but neither key has one.
        match serde_json::from_slice::<String>(text).as_deref() {
            Ok("_placeholder") => Self::Mark,
            Ok("num") => Self::Number,
            _ => Self::Other,
        }
    }
}

/// What the value of `_placeholder` says about its object.
#[derive(Default)]
enum Mark {
    /// It is an ordinary object.
    #[default]
    Absent,
    /// It is a placeholder.
    Present,
    /// It is one or the other, depending on who reads it.
    Unclear,
}

impl Mark {
    fn from_json(text: &[u8]) -> Self {
        match text {
            b"true" => Self::Present,
            b"false" | b"null" => Self::Absent,
            _ => Self::Unclear,
        }
    }
}
