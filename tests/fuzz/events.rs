//! Events, of both encodings, against the oracles of the unit tests.
//!
//! An input is two characters and an event array. The first character, a digit, says what the event
//! is: its lowest bit the encoding, the rest the number of attachments. The second says the bounds: 0
//! to 6 for the nesting, 7 for the deepest there is; with `8` added (`>` is 6) the size is bounded too.

#[path = "../../src/protocol/oracle.rs"]
mod oracle;

use humble_broker::protocol::Attachments;
use humble_broker::protocol::Bounds;
use humble_broker::protocol::Encoding;
use humble_broker::protocol::Event;
use humble_broker::protocol::EventName;
use humble_broker::protocol::Refusal;
use humble_broker::protocol::Room;
use serde_json::value::RawValue;

use oracle::NAMES;
use oracle::Outcome;

pub fn check(input: &[u8]) {
    let Some((&[kind, bounds], body)) = input.split_first_chunk() else { return };
    let encoding = if kind & 1 == 0 { Encoding::Json } else { Encoding::Msgpack };
    let count = usize::from(kind >> 1 & 7);
    let attachments = Attachments { count, bytes: count * 10 };
    let bounds = Bounds {
        nesting: if bounds & 7 == 7 { Bounds::MAX_NESTING } else { usize::from(bounds & 7) },
        room_name_length: 16,
        attachments: 3,
        max_payload: if bounds & 8 == 0 { 1_000_000 } else { 64 },
    };
    let (name, event) = encoding.parse(body, attachments, &bounds);
    let too_large = body.len() + attachments.bytes > bounds.max_payload;
    assert_eq!(event == Err(Refusal::TooLarge), too_large);
    match event {
        Ok(event) => {
            check_slices(body, &event, &bounds);
            check_sent_on(encoding, attachments, &event);
            let event = (name, arguments(&event));
            assert!(expected(encoding, body, count, &bounds).is_none_or(|expected| expected == Ok(event)));
        }
        Err(refusal) => {
            check_refusal(encoding, refusal);
            assert!(NAMES.contains(&name.as_str()) || name == EventName::Other);
            let code = refusal.code();
            match expected(encoding, body, count, &bounds).filter(|_| !too_large) {
                // What follows the name of an unknown event is not looked at.
                Some(Err("malformed")) if code == "unknown_event" => {}
                Some(expected) => assert_eq!(Err(code), expected),
                None => {}
            }
        }
    }
}

/// What the oracle says, if it can say something.
fn expected(encoding: Encoding, body: &[u8], attachments: usize, bounds: &Bounds) -> Option<Outcome> {
    match encoding {
        Encoding::Json => Some(match str::from_utf8(body) {
            Ok(text) => oracle::json::oracle(text, attachments, bounds),
            Err(_) => Err("malformed"),
        }),
        Encoding::Msgpack if body.contains(&oracle::msgpack::RESERVED) => None,
        Encoding::Msgpack => Some(oracle::msgpack::oracle(body, bounds)),
    }
}

fn arguments(event: &Event<'_>) -> Vec<Vec<u8>> {
    match event {
        Event::Subscribe(_) | Event::Unsubscribe(_) => vec![],
        Event::Publish { room: _, room_text, message } => vec![room_text.to_vec(), message.to_vec()],
        Event::Broadcast { message } => vec![message.to_vec()],
    }
}

/// What an event holds lies in the bytes it was read from, in order, and within the bounds.
fn check_slices(body: &[u8], event: &Event<'_>, bounds: &Bounds) {
    let (room, slices) = match event {
        Event::Subscribe(room) | Event::Unsubscribe(room) => (Some(room), vec![]),
        Event::Publish { room, room_text, message } => (Some(room), vec![*room_text, *message]),
        Event::Broadcast { message } => (None, vec![*message]),
    };
    let mut from = body.as_ptr_range().start;
    for slice in slices {
        assert!(!slice.is_empty(), "a value is never of no bytes");
        let range = slice.as_ptr_range();
        assert!(from <= range.start && range.end <= body.as_ptr_range().end);
        from = range.end;
    }
    match room {
        Some(Room::Text(name)) => assert!((1..=bounds.room_name_length).contains(&name.len())),
        Some(Room::Integer(name)) => assert!(name.unsigned_abs() < 1 << 53),
        None => {}
    }
}

/// What is sent on is what receivers can read, and holds what was received.
fn check_sent_on(encoding: Encoding, attachments: Attachments, event: &Event<'_>) {
    let (array, slices) = match event {
        Event::Publish { room: _, room_text, message } => {
            (encoding.data(room_text, message), vec![*room_text, *message])
        }
        Event::Broadcast { message } => (encoding.broadcast(message), vec![*message]),
        Event::Subscribe(_) | Event::Unsubscribe(_) => return,
    };
    match encoding {
        Encoding::Json => {
            let elements: Vec<&RawValue> = serde_json::from_slice(&array).unwrap();
            assert!(elements[1..].iter().map(|element| element.get().as_bytes()).eq(slices));
        }
        Encoding::Msgpack => {
            let mut rest = &array[..];
            let value = rmpv::decode::read_value(&mut rest).unwrap();
            assert_eq!((value.as_array().unwrap().len(), rest), (1 + slices.len(), &b""[..]));
        }
    }
    if let Event::Broadcast { message } = event {
        let bounds = Bounds {
            nesting: Bounds::MAX_NESTING,
            room_name_length: 16,
            attachments: 3,
            max_payload: usize::MAX,
        };
        let again = encoding.parse(&array, attachments, &bounds);
        assert_eq!(again, (EventName::Broadcast, Ok(Event::Broadcast { message })));
    }
}

/// What a client is told is an array of one object with its two members.
fn check_refusal(encoding: Encoding, refusal: Refusal) {
    let text = encoding.refusal(refusal);
    let sentence = refusal.sentence();
    match encoding {
        Encoding::Json => {
            let object: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(object, serde_json::json!([{ "error": refusal.code(), "message": sentence }]));
        }
        Encoding::Msgpack => {
            let value = rmpv::decode::read_value(&mut &text[..]).unwrap();
            assert_eq!(value[0]["error"].as_str(), Some(refusal.code()));
            assert_eq!(value[0]["message"].as_str(), Some(&*sentence));
        }
    }
}
