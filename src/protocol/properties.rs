//! What holds for every event, tried on many: the parsers against their oracles.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::Attachments;
use super::Bounds;
use super::Encoding;
use super::Event;
use super::oracle::NAMES;
use super::oracle::Outcome;

/// Small enough that generated events come near every bound.
pub(super) const BOUNDS: Bounds =
    Bounds { nesting: 6, room_name_length: 16, attachments: 3, max_payload: 1_000_000 };

fn outcome(encoding: Encoding, body: &[u8], attachments: usize) -> Outcome {
    let attachments = Attachments { count: attachments, bytes: 0 };
    match encoding.parse(body, attachments, &BOUNDS) {
        (name, Ok(Event::Subscribe(_) | Event::Unsubscribe(_))) => Ok((name, vec![])),
        (name, Ok(Event::Publish { room: _, room_text, message })) => {
            Ok((name, vec![room_text.to_vec(), message.to_vec()]))
        }
        (name, Ok(Event::Broadcast { message })) => Ok((name, vec![message.to_vec()])),
        (_, Err(refusal)) => Err(refusal.code()),
    }
}

mod json {
    use std::iter;

    use super::*;
    use crate::protocol::oracle::json;

    fn oracle(text: &str, attachments: usize) -> Outcome {
        json::oracle(text, attachments, &BOUNDS)
    }

    fn string() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-z ]{0,3}",
            1 => Just(String::from("é😀\u{2028}\u{7f}")),
            1 => prop::sample::select(vec![r"\u00e9", r"\ud83d\ude00", r"\ud800", r"\udc00", r"\u0000", r#"\""#, r"\\", r"\/", r"\n"])
                .prop_map(String::from),
            1 => "[a-z]{14,40}",
        ];
        prop::collection::vec(piece, 0..3).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
    }

    fn scalar() -> impl Strategy<Value = String> {
        let words = vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1",
            "-1",
            "2",
            "1.0",
            "1e400",
            "-1.5E-3",
            "12345678901234567890",
            "9007199254740991",
            "9007199254740992",
            "-9007199254740992",
        ];
        prop_oneof![
            4 => prop::sample::select(words).prop_map(String::from),
            4 => string(),
            1 => "-?[1-9][0-9]{0,18}",
            1 => (98_usize..103, "-?", "(\\.0)?").prop_map(|(digits, sign, rest)| sign + &"7".repeat(digits) + &rest),
        ]
    }

    fn key() -> impl Strategy<Value = String> {
        let known = vec![r#""_placeholder""#, r#""num""#, r#""\u005fplaceholder""#, r#""n\u0075m""#];
        prop_oneof![2 => string(), 2 => prop::sample::select(known).prop_map(String::from)]
    }

    fn space() -> impl Strategy<Value = String> {
        prop_oneof![8 => Just(String::new()), 1 => "[ \t\r\n]{1,2}"]
    }

    fn placeholder() -> impl Strategy<Value = String> {
        (0..4).prop_map(|number| format!(r#"{{"_placeholder":true,"num":{number}}}"#))
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![6 => scalar(), 1 => placeholder()].prop_recursive(7, 24, 4, |inner| {
            let spaced =
                (space(), inner, space()).prop_map(|(before, value, after)| before + &value + &after);
            let spaced = spaced.boxed();
            let member = (key(), space(), spaced.clone())
                .prop_map(|(key, space, value)| format!("{key}{space}:{value}"));
            prop_oneof![
                prop::collection::vec(spaced, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
                prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    fn event() -> impl Strategy<Value = String> {
        let name = prop_oneof![20 => prop::sample::select(NAMES.to_vec()), 1 => Just("hello")];
        let argument = prop_oneof![1 => scalar(), 2 => value()];
        (space(), name, prop::collection::vec((space(), argument, space()), 0..4), space()).prop_map(
            |(before, name, arguments, after)| {
                let arguments = arguments.into_iter().map(|(before, value, after)| before + &value + &after);
                let elements: Vec<String> = iter::once(format!("\"{name}\"")).chain(arguments).collect();
                format!("{before}[{before}{}{after}]{after}", elements.join(","))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn a_well_formed_event_is_judged_as_the_oracle_does(text in event(), attachments in 0_usize..5) {
            for attachments in [0, attachments] {
                prop_assert_eq!(outcome(Encoding::Json, text.as_bytes(), attachments), oracle(&text, attachments));
            }
        }

        #[test]
        fn a_damaged_event_is_judged_as_the_oracle_does(
            text in event(), at in any::<prop::sample::Index>(), removed in 0_usize..3,
            inserted in "[\\[\\]{}\",:\\\\a-f0-9.eE+\u{0}-\u{20}-]{0,2}",
        ) {
            let mut characters: Vec<char> = text.chars().collect();
            let at = at.index(characters.len() + 1);
            let end = (at + removed).min(characters.len());
            characters.splice(at..end, inserted.chars());
            let text = String::from_iter(characters);
            let outcome = outcome(Encoding::Json, text.as_bytes(), 0);
            // An unknown event is refused without a look at the rest.
            if outcome != Err("unknown_event") {
                prop_assert_eq!(outcome, oracle(&text, 0), "{}", text);
            }
        }

        #[test]
        fn any_text_after_a_name_is_judged_as_the_oracle_does(rest in "[\\[\\]{}\",:\\\\a-f0-9.eEtrufalsn+ -]{0,12}") {
            let text = format!(r#"["broadcast",{rest}]"#);
            prop_assert_eq!(outcome(Encoding::Json, text.as_bytes(), 0), oracle(&text, 0));
        }

        #[test]
        fn nothing_makes_the_parser_panic(name in prop::sample::select(NAMES.to_vec()), rest: Vec<u8>, attachments: usize) {
            let _ = outcome(Encoding::Json, &rest, attachments);
            let _ = outcome(Encoding::Json, &[format!(r#"["{name}","#).as_bytes(), &rest].concat(), attachments);
        }

        #[test]
        fn what_is_sent_on_holds_what_was_received(room in string(), message in value()) {
            let data = Encoding::Json.data(room.as_bytes(), message.as_bytes());
            let elements: Vec<Box<RawValue>> = serde_json::from_slice(&data).unwrap();
            let elements: Vec<&str> = elements.iter().map(|element| element.get()).collect();
            prop_assert_eq!(elements, [r#""data""#, &room, &message]);
            let broadcast = Encoding::Json.broadcast(message.as_bytes());
            let elements: Vec<Box<RawValue>> = serde_json::from_slice(&broadcast).unwrap();
            let elements: Vec<&str> = elements.iter().map(|element| element.get()).collect();
            prop_assert_eq!(elements, [r#""broadcast""#, &message]);
        }
    }
}

mod msgpack {
    use rmpv::Value;

    use super::*;
    use crate::protocol::oracle::msgpack;
    use crate::protocol::oracle::msgpack::RESERVED;

    fn oracle(body: &[u8]) -> Outcome {
        msgpack::oracle(body, &BOUNDS)
    }

    fn scalar() -> impl Strategy<Value = Value> {
        let time = prop_oneof![Just(999_999_999_u64), Just(1_000_000_000), any::<u64>()];
        let short = prop::collection::vec(any::<u8>(), 0..20);
        prop_oneof![
            1 => Just(Value::Nil),
            1 => any::<bool>().prop_map(Value::from),
            2 => any::<i64>().prop_map(Value::from),
            1 => any::<u64>().prop_map(Value::from),
            2 => (-200_i64..200).prop_map(Value::from),
            1 => any::<f32>().prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            4 => "[a-zé😀]{0,6}".prop_map(Value::from),
            1 => "[a-z]{15,300}".prop_map(Value::from),
            1 => short.clone().prop_map(Value::from),
            1 => prop::collection::vec(any::<u8>(), 250..260).prop_map(Value::from),
            1 => (-3_i8..3, short).prop_map(|(kind, data)| Value::Ext(kind, data)),
            1 => time.prop_map(|time| Value::Ext(-1, (time << 34).to_be_bytes().to_vec())),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        scalar().prop_recursive(7, 24, 18, |inner| {
            let key = prop_oneof![8 => "[a-z]{0,3}".prop_map(Value::from), 1 => scalar()];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..18).prop_map(Value::Array),
                prop::collection::vec((key, inner), 0..18).prop_map(Value::Map),
            ]
        })
    }

    fn written(value: &Value) -> Vec<u8> {
        let mut text = Vec::new();
        rmpv::encode::write_value(&mut text, value).unwrap();
        text
    }

    fn event() -> impl Strategy<Value = Vec<u8>> {
        let name = prop_oneof![20 => prop::sample::select(NAMES.to_vec()), 1 => Just("hello")];
        let argument = prop_oneof![scalar(), value()];
        let header = prop::sample::select(vec![&b"\x90"[..], b"\xdc\0", b"\xdd\0\0\0"]);
        (header, name, prop::collection::vec(argument, 0..4)).prop_map(|(header, name, mut arguments)| {
            arguments.insert(0, Value::from(name));
            let mut text = written(&Value::Array(arguments));
            let length = text.remove(0) & 0x0f;
            if header.len() > 1 {
                [header, &[length], &text].concat()
            } else {
                [&[0x90 | length], &text[..]].concat()
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn a_well_formed_event_is_judged_as_the_oracle_does(body in event()) {
            prop_assume!(!body.contains(&RESERVED));
            prop_assert_eq!(outcome(Encoding::Msgpack, &body, 0), oracle(&body));
        }

        #[test]
        fn a_damaged_event_is_judged_as_the_oracle_does(
            body in event(), at in any::<prop::sample::Index>(), removed in 0_usize..3,
            inserted in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let at = at.index(body.len() + 1);
            let end = (at + removed).min(body.len());
            let body = [&body[..at], &inserted, &body[end..]].concat();
            prop_assume!(!body.contains(&RESERVED));
            let outcome = outcome(Encoding::Msgpack, &body, 0);
            if outcome != Err("unknown_event") {
                prop_assert_eq!(outcome, oracle(&body));
            }
        }

        #[test]
        fn nothing_makes_the_parser_panic(name in prop::sample::select(NAMES.to_vec()), rest: Vec<u8>, attachments: usize) {
            let _ = outcome(Encoding::Msgpack, &rest, attachments);
            let name = written(&Value::from(name));
            let _ = outcome(Encoding::Msgpack, &[b"\x93", &name[..], &rest].concat(), attachments);
        }

        #[test]
        fn what_is_sent_on_holds_what_was_received(room in "[a-z]{1,8}".prop_map(Value::from), message in value()) {
            let data = Encoding::Msgpack.data(&written(&room), &written(&message));
            let event = Value::Array(vec![Value::from("data"), room, message.clone()]);
            prop_assert_eq!(data, written(&event));
            let broadcast = Encoding::Msgpack.broadcast(&written(&message));
            prop_assert_eq!(broadcast, written(&Value::Array(vec![Value::from("broadcast"), message])));
        }
    }
}
