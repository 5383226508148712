//! What the real packages have published, byte for byte, and what becomes of it: `@socket.io/redis-emitter` 5.1.0
//! and python-socketio 5.18.1.

use bytes::Bytes;

use crate::protocol::Attachments;
use crate::protocol::Bounds;
use crate::protocol::Emitted;
use crate::protocol::Encoding;
use crate::protocol::Room;
use crate::relay::Incoming;
use crate::relay::emitters::Output;
use crate::relay::emitters::node;
use crate::relay::emitters::python;
use crate::telemetry::relay::Lost;

pub(super) const JSON: Output = Output { encoding: Encoding::Json, most: 1000 };
pub(super) const MSGPACK: Output = Output { encoding: Encoding::Msgpack, most: 1000 };
pub(super) const BOUNDS: Bounds =
    Bounds { nesting: 64, room_name_length: 1024, attachments: 100, max_payload: 1000 };

/// `"é😀"`, numbers, a buffer, and what JSON has not.
pub(super) const NODE_DATA: &str = "93a7656d697474657283a47479706502a46461746193a464617461a46e65777386a474657874\
    a6c3a9f09f9880a16ecb3ff8000000000000a3626967cf1000000000000000a36e6567f9a162c4030102ffa16c94c0c3c0c400a36e73\
    70a12f83a5726f6f6d7391a46e657773a5666c61677380a665786365707490";
const NODE_BROADCAST: &str = "93a7656d697474657283a47479706502a46461746192a962726f616463617374a26869a36e7370a12f\
    83a5726f6f6d7390a5666c61677380a665786365707490";
/// To `"7"`, named `7`: a `Date`.
const NODE_DATE: &str = "93a7656d697474657283a47479706502a46461746193a46461746107d7ff1d5353006b0866e3a36e7370a12f\
    83a5726f6f6d7391a137a5666c61677380a665786365707490";
/// To `7`, named `7`: NaN, Infinity, -0, 1e300, 5e-324 and 0.1. Of 1e300 the package itself makes 0.
const NODE_NUMBERS: &str = "93a7656d697474657283a47479706502a46461746193a4646174610796cb7ff8000000000000cb7ff000\
    000000000000cf0000000000000000cb0000000000000001cb3fb999999999999aa36e7370a12f83a5726f6f6d739107a5666c6167\
    7380a665786365707490";
const NODE_TO_TWO_ROOMS: &str = "93a7656d697474657283a47479706502a46461746193a464617461a16101a36e7370a12f83a5726f6f6d\
    7392a161a162a5666c61677380a665786365707490";
/// Except `"s"`, volatile and not compressed.
const NODE_EXCEPT: &str = "93a7656d697474657283a47479706502a46461746193a464617461a16101a36e7370a12f83a5726f6f6d7391\
    a161a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2a665786365707491a173";
const NODE_OTHER_NAMESPACE: &str = "93a7656d697474657283a47479706502a46461746192a962726f61646361737401a36e7370a62f6f7468\
    657283a5726f6f6d7390a5666c61677380a665786365707490";

pub(super) const PYTHON_DATA: &str = r#"{"method": "emit", "event": "data", "data": ["news", {"text": "\u00e9\ud83d\ude00", "n": 1.0, "big": 12345678901234567890}], "binary": false, "namespace": "/", "room": "news", "skip_sid": null, "callback": null, "host_id": "0123456789abcdef0123456789abcdef"}"#;
pub(super) const PYTHON_BINARY: &str = r#"{"method": "emit", "event": "data", "data": [[7, {"a": {"_placeholder": true, "num": 0}, "l": [{"_placeholder": true, "num": 1}, null, {"_placeholder": true, "num": 2}]}], "AQI=", "", "////"], "binary": true, "namespace": "/", "room": 7, "skip_sid": null, "callback": null, "host_id": "0123456789abcdef0123456789abcdef"}"#;
const PYTHON_BROADCAST: &str = r#"{"method": "emit", "event": "broadcast", "data": ["hi"], "binary": false, "namespace": "/", "room": null, "skip_sid": null, "callback": null, "host_id": "0123456789abcdef0123456789abcdef"}"#;

pub(super) fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn from_node(hex: &str, output: Output) -> Result<Incoming, Lost> {
    node::read(&bytes(hex), output)
}

fn from_python(text: &str, output: Output) -> Result<Incoming, Lost> {
    python::read(&Bytes::copy_from_slice(text.as_bytes()), output)
}

/// Asserts that it is what is expected, and that clients can get it.
#[track_caller]
fn assert_read(incoming: Result<Incoming, Lost>, room: Option<Room>, text: &[u8], attachments: &[&[u8]]) {
    let incoming = incoming.unwrap();
    assert_eq!(String::from_utf8_lossy(&incoming.text), String::from_utf8_lossy(text));
    assert_eq!((&incoming.text[..], &incoming.room), (text, &room));
    assert!(incoming.attachments.iter().map(|part| &part[..]).eq(attachments.iter().copied()));
    let encoding = if text.starts_with(b"[") { Encoding::Json } else { Encoding::Msgpack };
    let sizes: Attachments = attachments.iter().map(|part| part.len()).collect();
    let emitted = encoding.parse_emitted(text, sizes, &BOUNDS);
    assert_eq!(emitted, Ok(room.map_or(Emitted::Broadcast, Emitted::Data)));
}

#[test]
fn events_of_node_are_written_as_json() {
    let news = || Some(Room::Text("news".into()));
    let text = r#"["data","news",{"text":"é😀","n":1.5,"big":1152921504606846976,"neg":-7,"b":{"_placeholder":true,"num":0},"l":[null,true,null,{"_placeholder":true,"num":1}]}]"#;
    assert_read(from_node(NODE_DATA, JSON), news(), text.as_bytes(), &[&[1, 2, 255], &[]]);
    assert_read(from_node(NODE_BROADCAST, JSON), None, br#"["broadcast","hi"]"#, &[]);
    let seven = || Some(Room::Integer(7));
    assert_read(from_node(NODE_DATE, JSON), seven(), br#"["data",7,"2026-11-26T17:05:39.123Z"]"#, &[]);
    assert_read(from_node(NODE_NUMBERS, JSON), seven(), br#"["data",7,[null,null,0,0,5e-324,0.1]]"#, &[]);
}

#[test]
fn events_of_node_are_passed_on_as_msgpack_byte_for_byte() {
    for (hex, room) in [
        (NODE_DATA, Some(Room::Text("news".into()))),
        (NODE_BROADCAST, None),
        (NODE_DATE, Some(Room::Integer(7))),
        (NODE_NUMBERS, Some(Room::Integer(7))),
    ] {
        let whole = bytes(hex);
        let start = whole.windows(4).position(|window| window == b"data").unwrap() + 4;
        let end = whole.windows(4).rposition(|window| window == b"\xa3nsp").unwrap();
        assert_read(from_node(hex, MSGPACK), room, &whole[start..end], &[]);
    }
}

#[test]
fn what_is_not_for_all_of_a_room_and_only_it_is_not_delivered() {
    assert_eq!(from_node(NODE_TO_TWO_ROOMS, JSON).unwrap_err(), Lost::Unsupported);
    assert_eq!(from_node(NODE_OTHER_NAMESPACE, JSON).unwrap_err(), Lost::Unsupported);
    let except = from_node(NODE_EXCEPT, JSON).unwrap();
    assert_eq!((except.room, &except.except[..]), (Some(Room::Text("a".into())), &["s".into()][..]));
}

#[test]
fn events_of_python_keep_their_text() {
    let text = br#"["data","news",{"text": "\u00e9\ud83d\ude00", "n": 1.0, "big": 12345678901234567890}]"#;
    assert_read(from_python(PYTHON_DATA, JSON), Some(Room::Text("news".into())), text, &[]);
    assert_read(from_python(PYTHON_BROADCAST, JSON), None, br#"["broadcast","hi"]"#, &[]);
    let text = br#"["data",7,{"a": {"_placeholder": true, "num": 0}, "l": [{"_placeholder": true, "num": 1}, null, {"_placeholder": true, "num": 2}]}]"#;
    let parts: [&[u8]; 3] = [&[1, 2], &[], &[255, 255, 255]];
    assert_read(from_python(PYTHON_BINARY, JSON), Some(Room::Integer(7)), text, &parts);
}

#[test]
fn events_of_python_are_written_as_msgpack() {
    let text = [
        &b"\x93\xa4data\xa4news\xdf\0\0\0\x03\xa4text\xa6\xc3\xa9\xf0\x9f\x98\x80\xa1n\xcb\x3f\xf0\0\0\0\0\0\0"[..],
        b"\xa3big\xcf\xab\x54\xa9\x8c\xeb\x1f\x0a\xd2",
    ];
    let news = Some(Room::Text("news".into()));
    assert_read(from_python(PYTHON_DATA, MSGPACK), news, &text.concat(), &[]);
    assert_read(from_python(PYTHON_BROADCAST, MSGPACK), None, b"\x92\xa9broadcast\xa2hi", &[]);
    let text = b"\x93\xa4data\x07\xdf\0\0\0\x02\xa1a\xc4\x02\x01\x02\xa1l\xdd\0\0\0\x03\xc4\0\xc0\xc4\x03\xff\xff\xff";
    assert_read(from_python(PYTHON_BINARY, MSGPACK), Some(Room::Integer(7)), text, &[]);
}

#[test]
fn what_python_asks_for_and_a_broker_does_not_do_is_not_done() {
    let with = |from: &str, to: &str| {
        let text = PYTHON_DATA.replace(from, to);
        assert_ne!(text, PYTHON_DATA);
        from_python(&text, JSON)
    };
    for (from, to) in [
        (r#""method": "emit""#, r#""method": "disconnect""#),
        (r#""event": "data""#, r#""event": "message""#),
        (r#""namespace": "/""#, r#""namespace": "/other""#),
        (r#""room": "news""#, r#""room": "olds""#),
        (r#""room": "news""#, r#""room": null"#),
        (r#""room": "news""#, r#""room": []"#),
        (r#""room": "news""#, r#""room": ["news", "olds"]"#),
        (r#""callback": null"#, r#""callback": ["sid", "/", 1]"#),
    ] {
        assert_eq!(with(from, to).unwrap_err(), Lost::Unsupported, "{to}");
    }
    for (from, to) in [
        (r#""method": "emit", "#, ""),
        (r#""news", {"#, r#"{"#),
        (r#""news", {"#, r#"null, {"#),
        (r#""n": 1.0"#, r#""n": NaN"#),
        (r#""skip_sid": null"#, r#""skip_sid": {}"#),
        (r#""binary": false"#, r#""binary": true"#),
        (r#""data": ["#, r#""data": [0, "#),
        ("}", "} "),
        ("}", ""),
    ] {
        if to != "} " {
            assert_eq!(with(from, to).unwrap_err(), Lost::Malformed, "{to}");
        }
    }
    for (from, to, except) in [
        (r#""skip_sid": null"#, r#""skip_sid": "s""#, &["s"][..]),
        (r#""skip_sid": null"#, r#""skip_sid": ["s", "t"]"#, &["s", "t"]),
        (r#""room": "news""#, r#""room": ["news"]"#, &[]),
    ] {
        let incoming = with(from, to).unwrap();
        assert!(incoming.except.iter().map(|name| &**name).eq(except.iter().copied()), "{to}");
    }
}

#[test]
fn a_pickle_is_not_read() {
    // pickle.dumps({'method': 'emit', 'event': 'broadcast', 'data': ['hi'], 'namespace': '/', 'room': None})
    let pickle = "80049550000000000000007d94288c066d6574686f64948c04656d6974948c056576656e74948c0962726f61646361\
        7374948c0464617461945d948c0268699461 8c096e616d657370616365948c012f948c04726f6f6d944e752e";
    assert_eq!(python::read(&bytes(pickle), JSON).unwrap_err(), Lost::Malformed);
}
