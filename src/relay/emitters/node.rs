//! What `@socket.io/redis-emitter` and `@socket.io/redis-adapter` publish: an array of who publishes, a packet,
//! and for whom it is, in MessagePack.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::protocol::Encoding;
use crate::protocol::Room;
use crate::relay::Incoming;
use crate::relay::emitters::Output;
use crate::relay::emitters::emission::Emission;
use crate::relay::emitters::emission::Parts;
use crate::relay::emitters::emission::ROOMS;
use crate::relay::emitters::emission::Written;
use crate::relay::emitters::json;
use crate::relay::emitters::msgpack::Item;
use crate::relay::emitters::msgpack::Reader;
use crate::telemetry::relay::Lost;

/// The packet types of events: without binary parts, and with some, which older emitters told apart.
const EVENTS: [i128; 2] = [2, 5];

/// Reads what one of them has published.
pub(super) fn read(payload: &Bytes, output: Output) -> Result<Incoming, Lost> {
    output.cannot_hold(payload)?;
    let mut reader = Reader::new(payload);
    if reader.array_header()? != 3 {
        return Err(Lost::Malformed);
    }
    reader.value()?; // Who publishes: none of us ever does.
    let mut packet = Packet::read(&mut reader)?;
    let options = Options::read(&mut reader)?;
    reader.end()?;
    if packet.is_unsupported || options.is_local {
        return Err(Lost::Unsupported);
    }
    let mut arguments = packet.arguments()?;
    let Some(Value(name)) = arguments.pop_front() else { return Err(Lost::Malformed) };
    let Item::Text(event) = Reader::new(name).item()? else { return Err(Lost::Malformed) };
    let Options { rooms, except, .. } = options;
    Emission { event: event.into(), arguments: arguments.into(), rooms, except }
        .incoming(output, &Parts::Within(payload.clone()))
}

#[derive(Default)]
struct Packet<'a> {
    /// The event array.
    data: Option<Reader<'a>>,
    /// It is no event, one of another namespace, or one that wants an answer.
    is_unsupported: bool,
}

impl<'a> Packet<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Lost> {
        let mut packet = Self::default();
        let mut is_event = false;
        reader.map(|key, reader| {
            match key {
                "type" => {
                    is_event = matches!(reader.item()?, Item::Integer(kind) if EVENTS.contains(&kind));
                }
                "nsp" => packet.is_unsupported |= reader.item()? != Item::Text("/"),
                "id" => packet.is_unsupported |= reader.value()? != NIL,
                "data" => packet.data = Some(Reader::new(reader.value()?)),
                _ => drop(reader.value()?),
            }
            Ok(())
        })?;
        packet.is_unsupported |= !is_event;
        Ok(packet)
    }

    /// The elements of the event array, or as many as tell that there are too many.
    fn arguments(&mut self) -> Result<VecDeque<Value<'a>>, Lost> {
        let reader = self.data.as_mut().ok_or(Lost::Malformed)?;
        let count = reader.array_header()?;
        (0..count.min(4)).map(|_| reader.value().map(Value)).collect()
    }
}

const NIL: &[u8] = &[0xc0];

#[derive(Default)]
struct Options {
    rooms: Vec<Box<str>>,
    except: Vec<Box<str>>,
    /// It is for the clients of the server that emits it.
    is_local: bool,
}

impl Options {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Lost> {
        let mut options = Self::default();
        reader.map(|key, reader| {
            match key {
                "rooms" => options.rooms = rooms(reader)?,
                "except" => options.except = rooms(reader)?,
                "flags" => options.is_local = is_local(reader.value()?)?,
                _ => drop(reader.value()?),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

/// Whether there is the flag `local`. Of the others, `volatile` and `compress` allow things that need not be.
fn is_local(flags: &[u8]) -> Result<bool, Lost> {
    let mut is_local = false;
    if flags != NIL {
        Reader::new(flags).map(|key, reader| {
            let value = reader.value()?;
            is_local |= key == "local" && value == [0xc3];
            Ok(())
        })?;
    }
    Ok(is_local)
}

/// Reads a list of rooms: strings, or integers, which are as good as their digits.
fn rooms(reader: &mut Reader<'_>) -> Result<Vec<Box<str>>, Lost> {
    let count = reader.array_header()?;
    if usize::try_from(count).unwrap_or(usize::MAX) > ROOMS {
        return Err(Lost::Unsupported);
    }
    (0..count)
        .map(|_| match reader.item()? {
            Item::Text(name) => Ok(name.into()),
            Item::Integer(number) => Ok(number.to_string().into()),
            _ => Err(Lost::Malformed),
        })
        .collect()
}

/// A value in MessagePack.
#[derive(Clone, Copy, Debug)]
struct Value<'a>(&'a [u8]);

impl Written for Value<'_> {
    fn room(self) -> Option<Room> {
        match Reader::new(self.0).item() {
            Ok(Item::Text(name)) => Some(Room::Text(name.into())),
            Ok(Item::Integer(number)) => i64::try_from(number).ok().map(Room::Integer),
            _ => None,
        }
    }

    fn encode(self, output: Output, parts: &Parts) -> Result<(Vec<u8>, VecDeque<Bytes>), Lost> {
        match (output.encoding, parts) {
            (Encoding::Json, Parts::Within(payload)) => json::from_msgpack(self.0, payload, output),
            _ => output.exceeds(self.0.len()).map(|()| (self.0.to_vec(), VecDeque::new())),
        }
    }
}
