//! What holds for whatever is published, by somebody who means well or not.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use crate::protocol::Attachments;
use crate::protocol::Encoding;
use crate::protocol::Room;
use crate::relay::Incoming;
use crate::relay::emitters::Output;
use crate::relay::emitters::node;
use crate::relay::emitters::python;
use crate::relay::emitters::recorded::BOUNDS;
use crate::relay::emitters::recorded::JSON;
use crate::relay::emitters::recorded::MSGPACK;
use crate::relay::emitters::recorded::NODE_DATA;
use crate::relay::emitters::recorded::PYTHON_BINARY;
use crate::relay::emitters::recorded::bytes;
use crate::telemetry::relay::Lost;

/// A packet to room `a` whose message is `message`, in MessagePack.
fn packet(message: &[u8]) -> Bytes {
    let head = b"\x93\xa1u\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x93\xa4data\xa1a";
    [head, message, b"\x81\xa5rooms\x91\xa1a"].concat().into()
}

/// What clients get of that message, in JSON.
fn as_json(message: &[u8]) -> Result<String, Lost> {
    let Incoming { text, .. } = node::read(&packet(message), JSON)?;
    let text = str::from_utf8(&text).unwrap();
    Ok(text.strip_prefix(r#"["data","a","#).unwrap().strip_suffix("]").unwrap().to_owned())
}

/// An event of Python's to room `a` whose message is `message`, in JSON.
fn object(message: &str, parts: &[&str]) -> Bytes {
    let (data, is_binary) = match parts {
        [] => (format!(r#"["a",{message}]"#), false),
        _ => (format!(r#"[["a",{message}],"{}"]"#, parts.join("\",\"")), true),
    };
    format!(r#"{{"method":"emit","event":"data","data":{data},"binary":{is_binary},"room":"a"}}"#).into()
}

/// Clients can get it, or it is refused where it is heard.
fn assert_harmless(incoming: Result<Incoming, Lost>, encoding: Encoding) {
    if let Ok(Incoming { text, attachments, .. }) = incoming {
        let sizes: Attachments = attachments.iter().map(Bytes::len).collect();
        assert!(text.len() + sizes.bytes <= JSON.most + 64, "{} bytes", text.len() + sizes.bytes);
        let _ = encoding.parse_emitted(&text, sizes, &BOUNDS);
    }
}

fn read_everywhere(payload: &Bytes) {
    for output in [JSON, MSGPACK] {
        assert_harmless(node::read(payload, output), output.encoding);
        assert_harmless(python::read(payload, output), output.encoding);
    }
}

#[test]
fn each_kind_of_value_is_written_as_javascript_would() {
    for (message, expected) in [
        (&b"\xc0"[..], "null"),
        (b"\xc2", "false"),
        (b"\x7f", "127"),
        (b"\xe0", "-32"),
        (b"\xcc\xff", "255"),
        (b"\xcd\xff\xff", "65535"),
        (b"\xce\xff\xff\xff\xff", "4294967295"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\0", "-32768"),
        (b"\xd2\x80\0\0\0", "-2147483648"),
        (b"\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808"),
        (b"\xca\x3f\x80\0\0", "1.0"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\xff\xf0\0\0\0\0\0\0", "null"),
        (b"\xa3\x00\"\\", r#""\u0000\"\\""#),
        (b"\xd9\x01a", r#""a""#),
        (b"\xda\0\x01a", r#""a""#),
        (b"\xdb\0\0\0\x01a", r#""a""#),
        (b"\x90", "[]"),
        (b"\x80", "{}"),
        (b"\x92\x90\x81\xa0\x80", r#"[[],{"":{}}]"#),
        (b"\x82\xa1b\x01\xa1b\x02", r#"{"b":1,"b":2}"#),
        (b"\xdc\0\x01\x01", "[1]"),
        (b"\xdd\0\0\0\x01\x01", "[1]"),
        (b"\xde\0\x01\xa1a\x01", r#"{"a":1}"#),
        (b"\xdf\0\0\0\x01\xa1a\x01", r#"{"a":1}"#),
        (b"\xc5\0\x01a", r#"{"_placeholder":true,"num":0}"#),
        (b"\xc6\0\0\0\x01a", r#"{"_placeholder":true,"num":0}"#),
        (b"\xd6\xff\0\0\0\0", r#""1970-01-01T00:00:00.000Z""#),
        (b"\x82\xac_placeholder\xc3\xa3num\x00", r#"{"_placeholder":true,"num":0}"#),
    ] {
        assert_eq!(as_json(message).as_deref(), Ok(expected), "{message:x?}");
    }
}

#[test]
fn what_cannot_be_written_is_not() {
    let deep = [&[0x91; 200][..], b"\xc0"].concat();
    let large = [&b"\xda\x04\x00"[..], &[b'a'; 1024]].concat();
    for (message, expected) in [
        (&b""[..], Lost::Malformed),
        (b"\xc1", Lost::Malformed),
        (b"\xa1\xff", Lost::Malformed),
        (b"\xa1", Lost::Malformed),
        (b"\xdb\xff\xff\xff\xff", Lost::Malformed),
        (b"\xdd\xff\xff\xff\xff", Lost::Malformed),
        (b"\xdf\xff\xff\xff\xff", Lost::Malformed),
        (b"\xc9\xff\xff\xff\xff\xff", Lost::Malformed),
        (b"\x81\x01\x01", Lost::Malformed),
        (b"\x81\x90\x01", Lost::Malformed),
        (b"\xd5\xff\0\0", Lost::Malformed),
        (b"\x01\x01", Lost::Malformed),
        (b"\xd4\x01\0", Lost::Unsupported),
        (&deep, Lost::Malformed),
        (&large, Lost::TooLarge),
        // An object that stands for the binary part beside it, and is not meant to.
        (b"\x92\xc4\x01a\x82\xac_placeholder\xc3\xa3num\x00", Lost::Malformed),
        (b"\x92\xc4\x01a\x81\xac_placeholder\x01", Lost::Malformed),
    ] {
        assert_eq!(as_json(message), Err(expected), "{message:x?}");
    }
}

#[test]
fn however_deep_it_is_nested_it_needs_no_stack() {
    for opening in [&b"\x91"[..], b"\x81\xa1a"] {
        let deep = packet(&[opening.repeat(500_000 / opening.len()), b"\xc0".to_vec()].concat());
        let large = Output { most: usize::MAX, ..JSON };
        assert_eq!(node::read(&deep, large).unwrap_err(), Lost::Malformed);
        let large = Output { most: usize::MAX, ..MSGPACK };
        assert!(node::read(&deep, large).is_ok(), "it is for others to refuse it");
    }
    for (opening, closing) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = opening.repeat(100_000) + "0" + &closing.repeat(100_000);
        let large = Output { most: usize::MAX, ..MSGPACK };
        assert_eq!(python::read(&object(&deep, &[]), large).unwrap_err(), Lost::Malformed);
        let large = Output { most: usize::MAX, ..JSON };
        assert_eq!(python::read(&object(&deep, &["YQ=="]), large).unwrap_err(), Lost::Malformed);
        assert!(python::read(&object(&deep, &[]), large).is_ok(), "it is for others to refuse it");
        assert_eq!(python::read(&Bytes::from(deep), large).unwrap_err(), Lost::Malformed);
    }
}

#[test]
fn each_binary_part_of_python_has_one_place() {
    let mark = r#"{"_placeholder":true,"num":0}"#;
    let twice = format!("[{mark},{mark}]");
    for (message, parts) in [
        (&*twice, &["YQ=="][..]),
        (mark, &["YQ==", "YQ=="]),
        ("1", &["YQ=="]),
        (r#"{"_placeholder":true,"num":1}"#, &["YQ=="]),
        (r#"{"_placeholder":true,"num":0.0}"#, &["YQ=="]),
        (r#"{"_placeholder":true,"num":-1}"#, &["YQ=="]),
        (r#"{"_placeholder":1,"num":0}"#, &["YQ=="]),
        (r#"{"_placeholder":true,"num":0,"more":1}"#, &["YQ=="]),
        (r#"{"_placeholder":true}"#, &["YQ=="]),
        (mark, &["YQ"]),
        (mark, &["*"]),
    ] {
        for output in [JSON, MSGPACK] {
            assert_eq!(
                python::read(&object(message, parts), output).unwrap_err(),
                Lost::Malformed,
                "{message}"
            );
        }
    }
    let data = python::read(&object(mark, &[]), MSGPACK).unwrap();
    assert_eq!(&data.text[..], b"\x93\xa4data\xa1a\xdf\0\0\0\x02\xac_placeholder\xc3\xa3num\x00");
    let part = python::read(&object(mark, &["YQ=="]), MSGPACK).unwrap();
    assert_eq!(&part.text[..], b"\x93\xa4data\xa1a\xc4\x01a");
}

#[test]
fn a_room_is_the_one_that_the_message_names() {
    let to = |rooms: &[u8], name: &[u8]| {
        let head = b"\x93\xa1u\x82\xa4type\x02\xa4data\x93\xa4data";
        let payload = [head, name, b"\x01\x81\xa5rooms", rooms].concat();
        node::read(&payload.into(), JSON).map(|incoming| incoming.room)
    };
    let (seven, text) = (Ok(Some(Room::Integer(7))), Ok(Some(Room::Text("7".into()))));
    assert_eq!(to(b"\x91\xa17", b"\x07"), seven);
    assert_eq!(to(b"\x91\x07", b"\x07"), seven);
    assert_eq!(to(b"\x91\x07", b"\xa17"), text);
    assert_eq!(to(b"\x92\xa17\x07", b"\xa17"), text);
    assert_eq!(to(b"\x91\xa17", b"\x08"), Err(Lost::Unsupported));
    assert_eq!(to(b"\x90", b"\x07"), Err(Lost::Unsupported));
    assert_eq!(to(b"\x91\xa17", b"\xcb\x40\x1c\0\0\0\0\0\0"), Err(Lost::Malformed));
}

#[test]
fn no_byte_that_differs_makes_it_fail_otherwise() {
    for whole in [bytes(NODE_DATA), Bytes::from(PYTHON_BINARY)] {
        read_everywhere(&whole);
        for place in 0..whole.len() {
            read_everywhere(&whole.slice(..place));
            for value in [0x00, 0x22, 0x5d, 0x7f, 0x80, 0x91, 0xc1, 0xc6, 0xdb, 0xdd, 0xdf, 0xff] {
                let mut other = whole.to_vec();
                other[place] = value;
                read_everywhere(&other.into());
            }
        }
        assert!(node::read(&[&whole[..], b"\xc0"].concat().into(), JSON).is_err());
        assert!(python::read(&[&whole[..], b"0"].concat().into(), JSON).is_err());
    }
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<u8>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other", |value| value.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z]{30,34}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        read_everywhere(&payload.into());
    }

    #[test]
    fn no_message_makes_it_panic(message in prop::collection::vec(any::<u8>(), 0..100)) {
        read_everywhere(&packet(&message));
        read_everywhere(&object(&String::from_utf8_lossy(&message), &["YQ=="]));
    }

    #[test]
    fn a_message_is_the_same_in_either_encoding(value in value()) {
        let large = |output| Output { most: 1_000_000, ..output };
        let text = value.to_string();
        let packed = python::read(&object(&text, &[]), large(MSGPACK)).unwrap().text;
        let message = packed.strip_prefix(b"\x93\xa4data\xa1a").unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<Value>(message).unwrap(), value.clone());
        let back = node::read(&packet(message), large(JSON)).unwrap().text;
        let back = back.strip_prefix(br#"["data","a","#).unwrap().strip_suffix(b"]").unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(back).unwrap(), value);
    }
}
