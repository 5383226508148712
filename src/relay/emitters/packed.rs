//! JSON text written as MessagePack.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use crate::telemetry::relay::Lost;

/// What begins a string, binary or a container whose length has four bytes.
const TEXT: u8 = 0xdb;
const BINARY: u8 = 0xc6;
const ARRAY: u8 = 0xdd;
const MAP: u8 = 0xdf;

/// The MessagePack of the JSON text `value`, in which objects stand for `parts`, each for one of them and
/// each of them once; with at most about `most` bytes.
pub(super) fn from_json(value: &str, parts: &[Bytes], most: usize) -> Result<Vec<u8>, Lost> {
    let mut writer =
        Writer { text: Vec::new(), most, is_too_large: false, parts, used: vec![false; parts.len()] };
    let mut text = serde_json::Deserializer::from_str(value);
    // However deep things are nested, it ends at 128 levels.
    let written = Next(&mut writer).deserialize(&mut text).and_then(|_| text.end());
    match written {
        Ok(()) if writer.used.iter().all(|used| *used) => Ok(writer.text),
        _ if writer.is_too_large => Err(Lost::TooLarge),
        _ => Err(Lost::Malformed),
    }
}

struct Writer<'a> {
    text: Vec<u8>,
    most: usize,
    is_too_large: bool,
    parts: &'a [Bytes],
    /// Which of them have their place.
    used: Vec<bool>,
}

/// What a value says if it stands in an object that may stand for a part.
enum Scalar {
    True,
    /// Nothing that could mean yes.
    No,
    Number(u64),
    Other,
}

impl Writer<'_> {
    fn put<E: Error>(&mut self, pieces: &[&[u8]]) -> Result<(), E> {
        self.is_too_large |=
            self.text.len() + pieces.iter().map(|piece| piece.len()).sum::<usize>() > self.most;
        if self.is_too_large {
            return Err(E::custom("too large"));
        }
        pieces.iter().for_each(|piece| self.text.extend_from_slice(piece));
        Ok(())
    }

    fn put_bytes<E: Error>(&mut self, marker: u8, bytes: &[u8]) -> Result<(), E> {
        match (marker, u8::try_from(bytes.len())) {
            (TEXT, Ok(length @ ..32)) => self.put(&[&[0xa0 | length], bytes]),
            (_, Ok(length)) => self.put(&[&[marker - 2, length], bytes]),
            _ => self.put(&[&[marker], &length(bytes.len()), bytes]),
        }
    }

    /// Writes what begins a container; its length is not known until it ends.
    fn begin<E: Error>(&mut self, marker: u8) -> Result<usize, E> {
        let start = self.text.len();
        self.put(&[&[marker], &length(0)])?;
        Ok(start)
    }

    fn end(&mut self, start: usize, count: usize) {
        if let Some(place) = self.text.get_mut(start + 1..start + 5) {
            place.copy_from_slice(&length(count));
        }
    }

    /// Writes a part in place of the object that has begun at `start`.
    fn replace<E: Error>(&mut self, start: usize, number: Option<u64>) -> Result<(), E> {
        let number = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX);
        match (self.parts.get(number), self.used.get_mut(number)) {
            (Some(part), Some(used)) if !*used => {
                *used = true;
                let part = part.clone();
                self.text.truncate(start);
                self.put_bytes(BINARY, &part)
            }
            _ => Err(E::custom("it stands for no part, or for one that has its place")),
        }
    }
}

/// The length of a string or a container: a JSON text of more than 4 GiB is none that came so far.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Writes the value that comes next.
struct Next<'w, 'a>(&'w mut Writer<'a>);

impl<'de> DeserializeSeed<'de> for Next<'_, '_> {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Next<'_, '_> {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        self.0.put(&[&[0xc0]]).map(|()| Scalar::No)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        self.0.put(&[&[0xc2 | u8::from(value)]])?;
        Ok(if value { Scalar::True } else { Scalar::No })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        match (u8::try_from(value), u32::try_from(value)) {
            (Ok(value @ ..0x80), _) => self.0.put(&[&[value]])?,
            (_, Ok(value)) => self.0.put(&[&[0xce], &value.to_be_bytes()])?,
            _ => self.0.put(&[&[0xcf], &value.to_be_bytes()])?,
        }
        Ok(Scalar::Number(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        match i32::try_from(value) {
            Ok(value) => self.0.put(&[&[0xd2], &value.to_be_bytes()])?,
            Err(_) => self.0.put(&[&[0xd3], &value.to_be_bytes()])?,
        }
        Ok(Scalar::Other)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
        self.0.put(&[&[0xcb], &value.to_be_bytes()]).map(|()| Scalar::Other)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
        self.0.put_bytes(TEXT, value.as_bytes()).map(|()| Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Scalar, A::Error> {
        let start = self.0.begin(ARRAY)?;
        let mut count = 0;
        while values.next_element_seed(Next(self.0))?.is_some() {
            count += 1;
        }
        self.0.end(start, count);
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Scalar, A::Error> {
        let start = self.0.begin(MAP)?;
        let (mut count, mut mark, mut number) = (0, Scalar::No, None);
        // It is looked at as those do who get it as JSON: without parts nothing stands for one.
        while let Some(key) = pairs.next_key::<std::borrow::Cow<'de, str>>()? {
            self.0.put_bytes::<A::Error>(TEXT, key.as_bytes())?;
            let value = pairs.next_value_seed(Next(self.0))?;
            match (&*key, value) {
                ("_placeholder", value) => mark = value,
                ("num", Scalar::Number(value)) => number = Some(value),
                ("num", _) => number = None,
                _ => {}
            }
            count += 1;
        }
        self.0.end(start, count);
        if !self.0.parts.is_empty() {
            match mark {
                Scalar::No => {}
                Scalar::True if count == 2 => self.0.replace(start, number)?,
                _ => return Err(A::Error::custom("it stands for a part or not, depending on who reads it")),
            }
        }
        Ok(Scalar::Other)
    }
}
