//! MessagePack written as JSON text, as `JSON.stringify` would write what JavaScript makes of it.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

use crate::protocol::Bounds;
use crate::relay::emitters::Output;
use crate::relay::emitters::date;
use crate::relay::emitters::msgpack::Item;
use crate::relay::emitters::msgpack::Reader;
use crate::telemetry::relay::Lost;

/// The JSON text of `value`, which is one value and a part of `payload`, and the attachments it refers to.
pub(super) fn from_msgpack(
    value: &[u8],
    payload: &Bytes,
    output: Output,
) -> Result<(Vec<u8>, VecDeque<Bytes>), Lost> {
    let mut writer = Writer {
        reader: Reader::new(value),
        payload,
        output,
        open: Vec::new(),
        text: Vec::new(),
        attachments: VecDeque::new(),
        attached: 0,
        has_mark: false,
    };
    writer.write()?;
    if writer.has_mark && !writer.attachments.is_empty() {
        // Clients would take an object of the message for one that stands for an attachment.
        return Err(Lost::Malformed);
    }
    Ok((writer.text, writer.attachments))
}

struct Writer<'a> {
    reader: Reader<'a>,
    payload: &'a Bytes,
    output: Output,
    /// The containers around what is being written, in place of recursion.
    open: Vec<Open>,
    text: Vec<u8>,
    attachments: VecDeque<Bytes>,
    /// Bytes of the attachments.
    attached: usize,
    /// Whether an object has the key that tells a placeholder.
    has_mark: bool,
}

struct Open {
    /// Values, or pairs, that have not been written.
    left: u32,
    is_first: bool,
    is_map: bool,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), Lost> {
        self.begin()?;
        while let Some(open) = self.open.last_mut() {
            let Open { is_map, .. } = *open;
            if open.left == 0 {
                self.text.push(if is_map { b'}' } else { b']' });
                self.open.pop();
                continue;
            }
            open.left -= 1;
            if !std::mem::replace(&mut open.is_first, false) {
                self.text.push(b',');
            }
            if is_map {
                let Item::Text(key) = self.reader.item()? else { return Err(Lost::Malformed) };
                self.has_mark |= key == "_placeholder";
                self.put(key)?;
                self.text.push(b':');
            }
            self.begin()?;
        }
        Ok(())
    }

    /// Writes a scalar, or what a container begins with.
    fn begin(&mut self) -> Result<(), Lost> {
        self.item()?;
        self.output.exceeds(self.text.len().saturating_add(self.attached))
    }

    fn item(&mut self) -> Result<(), Lost> {
        match self.reader.item()? {
            Item::Nil => self.put(()),
            Item::Boolean(value) => self.put(value),
            Item::Integer(value) => self.put(value),
            // What is no number is null.
            Item::Float(value) => self.put(value),
            Item::Text(value) => self.put(value),
            Item::Binary(value) => {
                let number = self.attachments.len();
                self.text.extend(format!(r#"{{"_placeholder":true,"num":{number}}}"#).bytes());
                self.attachments.push_back(self.payload.slice_ref(value));
                self.attached = self.attached.saturating_add(value.len());
                Ok(())
            }
            Item::Array(values) => self.open(values, false),
            Item::Map(pairs) => self.open(pairs, true),
            Item::Extension(date::EXTENSION, data) => self.put(date::written(data).ok_or(Lost::Malformed)?),
            Item::Extension(..) => Err(Lost::Unsupported),
        }
    }

    fn open(&mut self, left: u32, is_map: bool) -> Result<(), Lost> {
        if self.open.len() >= Bounds::MAX_NESTING {
            return Err(Lost::Malformed);
        }
        self.text.push(if is_map { b'{' } else { b'[' });
        self.open.push(Open { left, is_first: true, is_map });
        Ok(())
    }

    fn put(&mut self, scalar: impl Serialize) -> Result<(), Lost> {
        // Neither memory nor a scalar fails.
        serde_json::to_writer(&mut self.text, &scalar).map_err(|_| Lost::Malformed)
    }
}
