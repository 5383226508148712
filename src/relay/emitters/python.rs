//! What python-socketio's `RedisManager` publishes: one JSON object. Before version 5.15 it was something else,
//! which is not read: pickles are programs.

use std::borrow::Cow;
use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::Encoding;
use crate::protocol::Room;
use crate::relay::Incoming;
use crate::relay::emitters::Output;
use crate::relay::emitters::emission::Emission;
use crate::relay::emitters::emission::Parts;
use crate::relay::emitters::emission::ROOMS;
use crate::relay::emitters::emission::Written;
use crate::relay::emitters::packed;
use crate::telemetry::relay::Lost;

/// The object. What is not needed of it is not looked at.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    binary: Option<&'a RawValue>,
    #[serde(borrow, default)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow, default)]
    room: Option<&'a RawValue>,
    #[serde(borrow, default)]
    skip_sid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    callback: Option<&'a RawValue>,
}

/// Reads what it has published.
pub(super) fn read(payload: &Bytes, output: Output) -> Result<Incoming, Lost> {
    output.cannot_hold(payload)?;
    let message: Message<'_> = parsed(str::from_utf8(payload).map_err(|_| Lost::Malformed)?)?;
    let namespace = message.namespace.map(|text| parsed::<Cow<'_, str>>(text.get())).transpose()?;
    if message.method != "emit" || message.callback.is_some() || namespace.is_some_and(|name| name != "/") {
        return Err(Lost::Unsupported);
    }
    let event = parsed(message.event.ok_or(Lost::Malformed)?.get())?;
    let data = message.data.ok_or(Lost::Malformed)?;
    let is_binary = message.binary.is_some_and(|is_binary| is_binary.get() != "false");
    let (arguments, parts) = if is_binary { with_parts(data)? } else { (parsed(data.get())?, Vec::new()) };
    let rooms = match message.room {
        // Everyone; an empty list is nobody.
        None => Vec::new(),
        Some(room) => match names(room)? {
            rooms if rooms.is_empty() => return Err(Lost::Unsupported),
            rooms => rooms,
        },
    };
    let except = message.skip_sid.map(names).transpose()?.unwrap_or_default();
    Emission { event, arguments, rooms, except }.incoming(output, &Parts::Beside(parts))
}

/// The arguments that come first in `data`, and the binary parts behind them.
fn with_parts(data: &RawValue) -> Result<(Vec<&RawValue>, Vec<Bytes>), Lost> {
    let mut data = parsed::<VecDeque<&RawValue>>(data.get())?;
    let arguments = parsed(data.pop_front().ok_or(Lost::Malformed)?.get())?;
    let part = |text: &RawValue| {
        let text = parsed::<Cow<'_, str>>(text.get())?;
        STANDARD.decode(&*text).map(Bytes::from).map_err(|_| Lost::Malformed)
    };
    Ok((arguments, data.into_iter().map(part).collect::<Result<_, _>>()?))
}

/// A name, or several.
fn names(text: &RawValue) -> Result<Vec<Box<str>>, Lost> {
    let each = match text.get().as_bytes() {
        [b'[', ..] => parsed::<Vec<&RawValue>>(text.get())?,
        _ => vec![text],
    };
    if each.len() > ROOMS {
        return Err(Lost::Unsupported);
    }
    each.into_iter()
        .map(|name| match name.room() {
            Some(Room::Text(name)) => Ok(name),
            Some(Room::Integer(number)) => Ok(number.to_string().into()),
            None => Err(Lost::Malformed),
        })
        .collect()
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Lost> {
    serde_json::from_str(text).map_err(|_| Lost::Malformed)
}

impl Written for &RawValue {
    fn room(self) -> Option<Room> {
        match self.get().as_bytes() {
            [b'"', ..] => parsed(self.get()).ok().map(Room::Text),
            _ => self.get().parse().ok().map(Room::Integer),
        }
    }

    fn encode(self, output: Output, parts: &Parts) -> Result<(Vec<u8>, VecDeque<Bytes>), Lost> {
        let parts = match parts {
            Parts::Beside(parts) => &parts[..],
            Parts::Within(_) => &[],
        };
        if output.encoding == Encoding::Msgpack {
            return Ok((packed::from_json(self.get(), parts, output.most)?, VecDeque::new()));
        }
        output.exceeds(parts.iter().fold(self.get().len(), |sum, part| sum.saturating_add(part.len())))?;
        if !parts.is_empty() {
            // What comes of it is not needed: only whether each part has its place.
            packed::from_json(self.get(), parts, usize::MAX)?;
        }
        Ok((self.get().into(), parts.iter().cloned().collect()))
    }
}
