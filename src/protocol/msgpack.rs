//! Events as MessagePack, read once from front to back.

use super::Bounds;
use super::Fault;
use super::Refusal;
use super::Room;
use super::RoomFault;
use super::event;
use super::nesting::Nesting;

/// The arguments of an acknowledgement that an event was refused.
pub(super) fn refusal(refusal: Refusal) -> Vec<u8> {
    // An array of one map with two keys.
    let mut text = vec![0x91, 0x82];
    for string in ["error", refusal.code(), "message", &refusal.sentence()] {
        write_string(&mut text, string);
    }
    text
}

/// Writes `string` in the shortest form.
fn write_string(text: &mut Vec<u8>, string: &str) {
    // Codes and sentences are our own, and none is near 64 KiB.
    let length = u16::try_from(string.len()).unwrap_or(u16::MAX);
    match u8::try_from(length) {
        Ok(length @ ..32) => text.push(0xa0 | length),
        Ok(length) => text.extend([0xd9, length]),
        Err(_) => {
            text.push(0xda);
            text.extend(length.to_be_bytes());
        }
    }
    text.extend(string.bytes().take(length.into()));
}

/// A strict parser that keeps nothing of what it reads but where it lies.
///
/// Beyond the format it asks for what msgpack-python, which Python clients use, raises without:
/// strings are UTF-8, keys are strings or binary (`strict_map_key`), and extensions are of type 0 to
/// 127 or timestamps that name a time. notepack.io, which JavaScript clients use, throws only at the
/// byte 0xc1 and where the text is cut or goes on.
pub(super) struct Reader<'a> {
    /// The whole event array.
    text: &'a [u8],
    /// What has not been read, always the end of `text`.
    rest: &'a [u8],
    /// How many elements of the event array have not been read.
    elements: u32,
    nesting: usize,
}

impl<'a> Reader<'a> {
    /// Reads the event array `text`.
    pub(super) fn new(text: &'a [u8], bounds: &Bounds) -> Self {
        Self { text, rest: text, elements: 0, nesting: bounds.nesting }
    }

    /// Reads one value, with everything in it.
    fn value(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.rest;
        if let Some(container) = self.item()?.container() {
            self.contents(container)?;
        }
        Ok(self.since(start))
    }

    /// Reads what is in `container`.
    ///
    /// Iterative: what a recursive parser keeps in its frames is in `open`.
    fn contents(&mut self, container: Container) -> Result<(), Fault> {
        let mut open = Nesting::new(self.nesting, container);
        open.open(container)?;
        while let Some(container) = open.innermost() {
            if container.left == 0 {
                open.close();
                continue;
            }
            let is_key = container.begin_value();
            let item = self.item()?;
            if is_key && !matches!(item, Item::Text(_) | Item::Binary) {
                return Err(Fault::MapKey);
            }
            if let Some(container) = item.container() {
                open.open(container)?;
            }
        }
        Ok(())
    }

    /// Reads a scalar, or the header of a container.
    fn item(&mut self) -> Result<Item<'a>, Fault> {
        let marker = self.u8()?;
        match marker {
            0x00..=0x7f => Ok(Item::Integer(marker.into())),
            0x80..=0x8f => Ok(Item::Map((marker & 0x0f).into())),
            0x90..=0x9f => Ok(Item::Array((marker & 0x0f).into())),
            0xa0..=0xbf => self.string((marker & 0x1f).into()),
            0xc0 | 0xc2 | 0xc3 => Ok(Item::Other),
            0xc1 => Err(self.fault()),
            0xc4 => self.u8().and_then(|length| self.binary(length.into())),
            0xc5 => self.u16().and_then(|length| self.binary(length.into())),
            0xc6 => self.u32().and_then(|length| self.binary(length)),
            0xc7 => self.u8().and_then(|length| self.extension(length.into())),
            0xc8 => self.u16().and_then(|length| self.extension(length.into())),
            0xc9 => self.u32().and_then(|length| self.extension(length)),
            0xca => self.array::<4>().map(|_| Item::Other),
            0xcb => self.array::<8>().map(|_| Item::Other),
            0xcc => self.u8().map(|value| Item::Integer(value.into())),
            0xcd => self.u16().map(|value| Item::Integer(value.into())),
            0xce => self.u32().map(|value| Item::Integer(value.into())),
            0xcf => self.array().map(|bytes| Item::Integer(saturated(u64::from_be_bytes(bytes)))),
            0xd0 => self.array().map(|bytes| Item::Integer(i8::from_be_bytes(bytes).into())),
            0xd1 => self.array().map(|bytes| Item::Integer(i16::from_be_bytes(bytes).into())),
            0xd2 => self.array().map(|bytes| Item::Integer(i32::from_be_bytes(bytes).into())),
            0xd3 => self.array().map(|bytes| Item::Integer(i64::from_be_bytes(bytes))),
            0xd4 => self.extension(1),
            0xd5 => self.extension(2),
            0xd6 => self.extension(4),
            0xd7 => self.extension(8),
            0xd8 => self.extension(16),
            0xd9 => self.u8().and_then(|length| self.string(length.into())),
            0xda => self.u16().and_then(|length| self.string(length.into())),
            0xdb => self.u32().and_then(|length| self.string(length)),
            0xdc => self.u16().map(|elements| Item::Array(elements.into())),
            0xdd => self.u32().map(Item::Array),
            0xde => self.u16().map(|pairs| Item::Map(pairs.into())),
            0xdf => self.u32().map(Item::Map),
            0xe0..=0xff => Ok(Item::Integer(marker.cast_signed().into())),
        }
    }

    fn string(&mut self, length: u32) -> Result<Item<'a>, Fault> {
        let fault = self.fault();
        str::from_utf8(self.bytes(length)?).map(Item::Text).map_err(|_| fault)
    }

    fn binary(&mut self, length: u32) -> Result<Item<'a>, Fault> {
        self.bytes(length).map(|_| Item::Binary)
    }

    /// Reads type and data of an extension.
    fn extension(&mut self, length: u32) -> Result<Item<'a>, Fault> {
        let kind = self.u8()?.cast_signed();
        let data = self.bytes(length)?;
        match kind {
            0.. => Ok(Item::Other),
            -1 if names_a_time(data) => Ok(Item::Other),
            _ => Err(Fault::Extension),
        }
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.fault())?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: u32) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.fault())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// What has been read since `start` was the rest.
    fn since(&self, start: &'a [u8]) -> &'a [u8] {
        start.get(..start.len() - self.rest.len()).unwrap_or_default()
    }

    fn fault(&self) -> Fault {
        Fault::Msgpack { offset: self.since(self.text).len() }
    }
}

impl<'a> event::Reader<'a> for Reader<'a> {
    fn name(&mut self) -> Result<&'a [u8], Fault> {
        let Item::Array(elements) = self.item()? else { return Err(Fault::Name) };
        self.elements = elements.checked_sub(1).ok_or(Fault::Name)?;
        match self.item()? {
            Item::Text(name) => Ok(name.as_bytes()),
            _ => Err(Fault::Name),
        }
    }

    fn argument(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        match self.elements.checked_sub(1) {
            Some(left) => {
                self.elements = left;
                self.value().map(Some)
            }
            None if self.rest.is_empty() => Ok(None),
            None => Err(self.fault()),
        }
    }

    /// An integer is one in any of its widths, as JavaScript and Python clients both write a whole
    /// number as an integer; neither writes one as a float.
    fn room(text: &[u8], bounds: &Bounds) -> Result<Room, RoomFault> {
        match Reader::new(text, bounds).item() {
            Ok(Item::Text(name)) => Room::from_text(name.into(), bounds.room_name_length),
            Ok(Item::Integer(name)) => Room::from_integer(name),
            _ => Err(RoomFault::Kind),
        }
    }
}

/// What [`Reader::item`] reads.
enum Item<'a> {
    Text(&'a str),
    Binary,
    Integer(i64),
    /// The header of an array, with the number of its elements.
    Array(u32),
    /// The header of a map, with the number of its pairs.
    Map(u32),
    /// Nothing that a room could be called or a key could be.
    Other,
}

impl Item<'_> {
    fn container(&self) -> Option<Container> {
        match *self {
            Self::Array(elements) => Some(Container { left: elements.into(), is_map: false }),
            Self::Map(pairs) => Some(Container { left: 2 * u64::from(pairs), is_map: true }),
            _ => None,
        }
    }
}

/// An open array or map.
#[derive(Clone, Copy)]
struct Container {
    /// How many values have not begun; each pair of a map has two.
    left: u64,
    is_map: bool,
}

impl Container {
    /// Counts the next value, of which there is one, and tells whether it is a key.
    fn begin_value(&mut self) -> bool {
        let is_key = self.is_map && self.left.is_multiple_of(2);
        self.left -= 1;
        is_key
    }
}

/// Whether a timestamp extension with this `data` is one: 4, 8 or 12 bytes, less than a second of
/// nanoseconds.
fn names_a_time(data: &[u8]) -> bool {
    let nanoseconds = match *data {
        [_, _, _, _] => 0,
        // 30 bits, before 34 bits of seconds.
        [a, b, c, d, _, _, _, _] => u32::from_be_bytes([a, b, c, d]) >> 2,
        [a, b, c, d, _, _, _, _, _, _, _, _] => u32::from_be_bytes([a, b, c, d]),
        _ => return false,
    };
    nanoseconds < 1_000_000_000
}

/// `value`, or the largest `i64`, which is no less out of a room's range.
fn saturated(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Attachments;
    use super::super::Encoding;
    use super::super::Event;
    use super::super::EventName;
    use super::super::properties::BOUNDS;
    use super::*;

    fn parse(body: &[u8]) -> (EventName, Result<Event<'_>, Refusal>) {
        Encoding::Msgpack.parse(body, Attachments::default(), &BOUNDS)
    }

    fn broadcast(message: &[u8]) -> Vec<u8> {
        Encoding::Msgpack.broadcast(message)
    }

    fn fault_of(message: &[u8]) -> Fault {
        match parse(&broadcast(message)).1 {
            Err(Refusal::Malformed(fault)) => fault,
            other => panic!("{message:x?}: {other:?}"),
        }
    }

    fn room_of(text: &[u8]) -> Result<Room, RoomFault> {
        match parse(&[b"\x92\xa9subscribe", text].concat()).1 {
            Ok(Event::Subscribe(room)) => Ok(room),
            Err(Refusal::InvalidRoom(fault)) => Err(fault),
            other => panic!("{text:x?}: {other:?}"),
        }
    }

    #[track_caller]
    fn assert_message_passes(message: &[u8]) {
        let expected = Ok(Event::Broadcast { message });
        assert_eq!(parse(&broadcast(message)), (EventName::Broadcast, expected));
    }

    fn nested(levels: usize) -> Vec<u8> {
        [vec![0x91; levels - 1], vec![0x90]].concat()
    }

    #[test]
    fn each_event_is_read_whatever_its_headers() {
        let room = || Room::Text("r".into());
        let publish = Event::Publish { room: room(), room_text: b"\xa1r", message: b"\x81\xa1a\x01" };
        let long_room = Event::Publish { room: room(), room_text: b"\xd9\x01r", message: b"\x01" };
        let cases = [
            (&b"\x92\xa9subscribe\xa1r"[..], EventName::Subscribe, Event::Subscribe(room())),
            (b"\x92\xabunsubscribe\xa1r", EventName::Unsubscribe, Event::Unsubscribe(room())),
            (b"\x93\xa7publish\xa1r\x81\xa1a\x01", EventName::Publish, publish),
            (b"\x92\xa9broadcast\x01", EventName::Broadcast, Event::Broadcast { message: b"\x01" }),
            (b"\xdc\0\x03\xd9\x07publish\xd9\x01r\x01", EventName::Publish, long_room),
            (
                b"\xdd\0\0\0\x02\xda\0\x09broadcast\xc0",
                EventName::Broadcast,
                Event::Broadcast { message: b"\xc0" },
            ),
        ];
        for (body, name, event) in cases {
            assert_eq!(parse(body), (name, Ok(event)), "{body:x?}");
        }
    }

    #[test]
    fn messages_pass_byte_for_byte() {
        let last_nanosecond = (999_999_999_u64 << 34).to_be_bytes();
        let messages: [&[u8]; 42] = [
            b"\0",
            b"\x7f",
            b"\xff",
            b"\xe0",
            b"\xc0",
            b"\xc2",
            b"\xc3",
            b"\x90",
            b"\x80",
            b"\xa0",
            b"\xa2\xc3\xa9",
            b"\xcc\x01",
            b"\xcd\0\x01",
            b"\xce\0\0\0\x01",
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xd0\x80",
            b"\xd1\0\0",
            b"\xd2\0\0\0\0",
            b"\xd3\x80\0\0\0\0\0\0\0",
            b"\xca\x7f\xc0\0\0",
            b"\xcb\0\0\0\0\0\0\0\0",
            b"\xc4\0",
            b"\xc4\x02\xff\xc1",
            b"\xc5\0\x01\0",
            b"\xc6\0\0\0\x01\0",
            b"\xd9\x01a",
            b"\xda\0\x01a",
            b"\xdb\0\0\0\x01a",
            b"\xdc\0\x01\x01",
            b"\xdd\0\0\0\x01\x01",
            b"\xde\0\x01\xa0\x01",
            b"\xdf\0\0\0\x01\xa0\x01",
            // notepack.io writes `undefined`, an ArrayBuffer and a Date so.
            b"\xd4\0\0",
            b"\xc7\x02\0\x01\x02",
            b"\xd7\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc7\0\x7f",
            b"\xd8\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\xd6\xff\xff\xff\xff\xff",
            b"\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x81\xc4\x01a\x01",
            b"\x82\xa1a\x01\xa1a\x02",
            b"\x92\x81\xa1a\x90\x81\xa1b\x80",
        ];
        for message in messages {
            assert_message_passes(message);
        }
        assert_message_passes(&[b"\xd7\xff", &last_nanosecond[..]].concat());
    }

    #[test]
    fn what_is_not_one_value_is_malformed() {
        let messages: [&[u8]; 24] = [
            b"",
            b"\xc1",
            b"\x01\x01",
            b"\x91",
            b"\x81",
            b"\x81\xa1a",
            b"\xa1",
            b"\xa2a",
            b"\xd9",
            b"\xd9\x02a",
            b"\xda\0",
            b"\xdb\xff\xff\xff\xffa",
            b"\xc4\x01",
            b"\xc6\xff\xff\xff\xff",
            b"\xc7\x01\x01",
            b"\xd4\x01",
            b"\xd8\x01\0",
            b"\xcd\0",
            b"\xcf\0\0\0\0\0\0\0",
            b"\xcb\0",
            b"\xdd\xff\xff\xff\xff\x01",
            b"\xdf\xff\xff\xff\xff\xa0\x01",
            b"\xa1\xff",
            b"\xa3\xed\xa0\x80",
        ];
        for message in messages {
            assert!(matches!(fault_of(message), Fault::Msgpack { .. }), "{message:x?}");
        }
        assert_eq!(fault_of(b"\x91\xc1"), Fault::Msgpack { offset: 13 });
    }

    #[test]
    fn what_python_clients_raise_over_is_malformed() {
        for key in [&b"\x01"[..], b"\xc0", b"\xc3", b"\xcb\0\0\0\0\0\0\0\0", b"\x90", b"\x80", b"\xd4\0\0"] {
            assert_eq!(fault_of(&[b"\x81", key, b"\x01"].concat()), Fault::MapKey, "{key:x?}");
        }
        let second = (1_000_000_000_u64 << 34).to_be_bytes();
        for extension in [
            &b"\xd4\xfe\0"[..],
            b"\xd4\x80\0",
            b"\xd4\xff\0",
            b"\xd5\xff\0\0",
            b"\xc7\0\xff",
            b"\xc7\x05\xff\0\0\0\0\0",
            b"\xd8\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\xc7\x0c\xff\x3b\x9a\xca\0\0\0\0\0\0\0\0\0",
            &[b"\xd7\xff", &second[..]].concat(),
        ] {
            assert_eq!(fault_of(extension), Fault::Extension, "{extension:x?}");
        }
    }

    #[test]
    fn an_event_has_a_name() {
        for body in [&b"\x90"[..], b"\x91\x01", b"\x91\xc4\x09broadcast", b"\x80", b"\xc0", b"\xa9broadcast"]
        {
            assert_eq!(parse(body), (EventName::Other, Err(Refusal::Malformed(Fault::Name))), "{body:x?}");
        }
        assert_eq!(parse(b"\x92\xa5hello\xc1"), (EventName::Other, Err(Refusal::UnknownEvent)));
        assert_eq!(parse(b"").1, Err(Refusal::Malformed(Fault::Msgpack { offset: 0 })));
    }

    #[test]
    fn each_event_takes_its_arguments_and_no_others() {
        let cases: [&[u8]; 6] = [
            b"\x91\xa9subscribe",
            b"\x93\xa9subscribe\xa1r\x80",
            b"\x92\xa7publish\xa1r",
            b"\x94\xa7publish\xa1r\x01\x80",
            b"\x91\xa9broadcast",
            b"\x93\xa9broadcast\x01\x02",
        ];
        for body in cases {
            let (name, event) = parse(body);
            assert_eq!(event, Err(Refusal::Malformed(Fault::Arguments(name))), "{body:x?}");
        }
    }

    #[test]
    fn nesting_ends_at_its_bound() {
        let limit = BOUNDS.nesting;
        assert_message_passes(&nested(limit));
        assert_message_passes(&[b"\x92", &nested(limit - 1)[..], &nested(limit - 1)].concat());
        assert_message_passes(&[b"\x81\xa1a".repeat(limit), vec![1]].concat());
        for message in
            [nested(limit + 1), nested(100_000), [b"\x81\xa1a".repeat(limit + 1), vec![1]].concat()]
        {
            assert_eq!(fault_of(&message), Fault::TooDeep { limit });
        }
    }

    #[test]
    fn rooms_compare_by_what_they_stand_for() {
        let last = 9_007_199_254_740_991_i64;
        let cases: [(&[u8], Room); 14] = [
            (b"\xa1r", Room::Text("r".into())),
            (b"\xdb\0\0\0\x01r", Room::Text("r".into())),
            (b"\xa2\xc3\xa9", Room::Text("é".into())),
            (b"\xa17", Room::Text("7".into())),
            (b"\x07", Room::Integer(7)),
            (b"\xcc\x07", Room::Integer(7)),
            (b"\xcd\0\x07", Room::Integer(7)),
            (b"\xce\0\0\0\x07", Room::Integer(7)),
            (b"\xcf\0\0\0\0\0\0\0\x07", Room::Integer(7)),
            (b"\xd0\x07", Room::Integer(7)),
            (b"\xff", Room::Integer(-1)),
            (b"\xd1\xff\xff", Room::Integer(-1)),
            (b"\xd2\xff\xff\xff\xff", Room::Integer(-1)),
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", Room::Integer(-1)),
        ];
        for (text, room) in cases {
            assert_eq!(room_of(text), Ok(room), "{text:x?}");
        }
        assert_eq!(room_of(&[b"\xd3", &(-last).to_be_bytes()[..]].concat()), Ok(Room::Integer(-last)));
        assert_eq!(room_of(&[b"\xcf", &last.to_be_bytes()[..]].concat()), Ok(Room::Integer(last)));
    }

    #[test]
    fn what_is_not_a_room_is_refused_as_one() {
        let limit = BOUNDS.room_name_length;
        let beyond = 9_007_199_254_740_992_i64;
        let cases = [
            (b"\xa0".to_vec(), RoomFault::Empty),
            ([&[0xd9, 17], &b"a".repeat(limit + 1)[..]].concat(), RoomFault::TooLong { limit }),
            ([b"\xcf", &beyond.to_be_bytes()[..]].concat(), RoomFault::OutOfRange),
            ([b"\xd3", &(-beyond).to_be_bytes()[..]].concat(), RoomFault::OutOfRange),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), RoomFault::OutOfRange),
            ([b"\xcb", &7_f64.to_be_bytes()[..]].concat(), RoomFault::Kind),
            (b"\xc0".to_vec(), RoomFault::Kind),
            (b"\xc3".to_vec(), RoomFault::Kind),
            (b"\xc4\x01r".to_vec(), RoomFault::Kind),
            (b"\x91\xa1r".to_vec(), RoomFault::Kind),
            (b"\x80".to_vec(), RoomFault::Kind),
            (b"\xd4\0\0".to_vec(), RoomFault::Kind),
        ];
        for (text, fault) in cases {
            assert_eq!(room_of(&text), Err(fault), "{text:x?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_first() {
        let bounds = Bounds { max_payload: 11, ..BOUNDS };
        let (name, event) =
            Encoding::Msgpack.parse(b"\x92\xa9broadcast\xc1", Attachments::default(), &bounds);
        assert_eq!((name, event), (EventName::Broadcast, Err(Refusal::TooLarge)));
    }

    #[test]
    fn a_refusal_is_one_map() {
        let faults = [Fault::Placeholder, Fault::Name, Fault::TooDeep { limit: 128 }].map(Refusal::Malformed);
        for refusal in faults.into_iter().chain([Refusal::UnknownEvent, Refusal::TooLarge]) {
            let text = Encoding::Msgpack.refusal(refusal);
            let value = rmpv::decode::read_value(&mut &text[..]).unwrap();
            let member = |key: &str, value: &str| (rmpv::Value::from(key), rmpv::Value::from(value));
            let members = vec![member("error", refusal.code()), member("message", &refusal.sentence())];
            assert_eq!(value, rmpv::Value::Array(vec![rmpv::Value::Map(members)]));
        }
    }
}
