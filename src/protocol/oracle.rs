//! What the contract says of an event, by way of `serde_json` and `rmpv`, which know nothing of our parsers.

use super::Bounds;
use super::EventName;

/// What is made of an event, as plain text and bytes: name and arguments, or a code.
pub(super) type Outcome = Result<(EventName, Vec<Vec<u8>>), &'static str>;

pub(super) const NAMES: [&str; 4] = ["subscribe", "unsubscribe", "publish", "broadcast"];

/// The event `name` with `arguments`, of which the first may have to be a room.
fn expected(name: &str, arguments: Vec<Vec<u8>>, is_room: impl Fn(&[u8]) -> bool) -> Outcome {
    let (name, count, takes_room) = match name {
        "subscribe" => (EventName::Subscribe, 1, true),
        "unsubscribe" => (EventName::Unsubscribe, 1, true),
        "publish" => (EventName::Publish, 2, true),
        "broadcast" => (EventName::Broadcast, 1, false),
        _ => return Err("unknown_event"),
    };
    match arguments {
        arguments if arguments.len() != count => Err("malformed"),
        arguments if takes_room && !is_room(&arguments[0]) => Err("invalid_room"),
        _ if count == 1 && takes_room => Ok((name, vec![])),
        arguments => Ok((name, arguments)),
    }
}

pub(super) mod json {
    use std::fmt;

    use serde::Deserialize;
    use serde::Deserializer;
    use serde::de::MapAccess;
    use serde::de::Visitor;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    /// What the contract says of `text`, whatever its size.
    pub(in super::super) fn oracle(text: &str, attachments: usize, bounds: &Bounds) -> Outcome {
        let Ok(elements) = serde_json::from_str::<Vec<Box<RawValue>>>(text) else { return Err("malformed") };
        let mut arguments = elements.iter().map(|element| element.get());
        let name = arguments.next().filter(|name| name.starts_with('"')).ok_or("malformed")?;
        let name = name.trim_matches('"');
        if name.contains('\\') {
            return Err("malformed");
        }
        if !NAMES.contains(&name) {
            return Err("unknown_event");
        }
        let arguments: Vec<&str> = arguments.collect();
        if arguments.iter().any(|argument| nesting(argument) > bounds.nesting || has_long_integer(argument)) {
            return Err("malformed");
        }
        if attachments > 0 {
            let mut seen = vec![false; attachments];
            let resolve = arguments.iter().all(|argument| resolves(&without_surrogates(argument), &mut seen));
            if attachments > bounds.attachments || !resolve || seen.contains(&false) {
                return Err("malformed");
            }
        }
        let arguments = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        expected(name, arguments, |text| is_room(text, bounds))
    }

    fn is_room(text: &[u8], bounds: &Bounds) -> bool {
        let written = str::from_utf8(text).unwrap();
        let integers = -9_007_199_254_740_991..=9_007_199_254_740_991;
        match serde_json::from_slice(text) {
            Ok(Value::String(name)) => !name.is_empty() && name.len() <= bounds.room_name_length,
            Ok(Value::Number(number)) => {
                written == "-0" || number.as_i64().is_some_and(|number| integers.contains(&number))
            }
            _ => false,
        }
    }

    /// The text without its strings, in whose place is a `"`.
    fn without_strings(text: &str) -> String {
        let (mut kept, mut in_string, mut characters) = (String::new(), false, text.chars());
        while let Some(character) = characters.next() {
            match character {
                '"' => {
                    in_string = !in_string;
                    kept.push('"');
                }
                '\\' => drop(characters.next()),
                other if !in_string => kept.push(other),
                _ => {}
            }
        }
        kept
    }

    /// The text with a `?` for each surrogate that is written as an escape: `serde_json` cannot decode
    /// a lone one in a key, and no key of a placeholder has any.
    fn without_surrogates(text: &str) -> String {
        let (mut kept, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('\\') {
            kept.push_str(before);
            let (escape, after) = after.split_at(if after.starts_with('u') { 5 } else { 1 });
            let is_surrogate = escape.to_ascii_lowercase().starts_with("ud")
                && escape[2..].starts_with(|digit| matches!(digit, '8' | '9' | 'a'..='f' | 'A'..='F'));
            kept.extend(if is_surrogate { ["?", ""] } else { ["\\", escape] });
            rest = after;
        }
        kept + rest
    }

    fn nesting(text: &str) -> usize {
        let mut depth = 0;
        let depths = without_strings(text)
            .chars()
            .map(|character| {
                match character {
                    '[' | '{' => depth += 1,
                    ']' | '}' => depth -= 1,
                    _ => {}
                }
                depth
            })
            .collect::<Vec<usize>>();
        depths.into_iter().max().unwrap_or(0)
    }

    fn has_long_integer(text: &str) -> bool {
        without_strings(text)
            .split(|character: char| !character.is_ascii_alphanumeric() && !"+-.".contains(character))
            .any(|number| {
                number.len() > 100 && number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
            })
    }

    /// Whether every placeholder in `text` is one for all receivers; marks what they stand for.
    fn resolves(text: &str, seen: &mut [bool]) -> bool {
        let Members(members) = match text.as_bytes()[0] {
            b'[' => {
                let elements: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
                return elements.iter().all(|element| resolves(element.get(), seen));
            }
            b'{' => serde_json::from_str(text).unwrap(),
            _ => return true,
        };
        let last =
            |wanted: &str| members.iter().rfind(|(key, _)| key == wanted).map(|(_, value)| value.get());
        match last("_placeholder") {
            None | Some("null" | "false") => members.iter().all(|(_, value)| resolves(value.get(), seen)),
            Some("true") => {
                let index = last("num").and_then(|number| serde_json::from_str::<usize>(number).ok());
                let slot = index.and_then(|index| seen.get_mut(index));
                let is_flat = !members.iter().any(|(_, value)| value.get().starts_with(['[', '{']));
                is_flat && slot.map(|slot| *slot = true).is_some()
            }
            Some(_) => false,
        }
    }

    /// The members of an object, duplicates included.
    struct Members(Vec<(String, Box<RawValue>)>);

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(MembersVisitor)
        }
    }

    struct MembersVisitor;

    impl<'de> Visitor<'de> for MembersVisitor {
        type Value = Members;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(Members(members))
        }
    }
}

pub(super) mod msgpack {
    use rmpv::Value;

    use super::*;

    /// The marker that the format never uses; `rmpv` takes it for nil, so it is kept from the oracle.
    pub(in super::super) const RESERVED: u8 = 0xc1;

    /// What the contract says of `body`, whatever its size.
    pub(in super::super) fn oracle(body: &[u8], bounds: &Bounds) -> Outcome {
        let mut rest = body;
        // It is recursive, counts each level twice, and by itself allows more than the stack of a test.
        let elements = match rmpv::decode::read_value_with_max_depth(&mut rest, 3 * Bounds::MAX_NESTING) {
            Ok(Value::Array(elements)) if rest.is_empty() => elements,
            _ => return Err("malformed"),
        };
        let Some((Value::String(name), arguments)) = elements.split_first() else { return Err("malformed") };
        let name = name.as_str().ok_or("malformed")?;
        if !NAMES.contains(&name) {
            return Err("unknown_event");
        }
        if arguments.iter().any(|argument| !is_deliverable(argument) || nesting(argument) > bounds.nesting) {
            return Err("malformed");
        }
        expected(name, slices(body, arguments.len()), |text| is_room(text, bounds))
    }

    /// What `rmpv` takes but Python clients raise over.
    fn is_deliverable(value: &Value) -> bool {
        match value {
            Value::String(string) => string.is_str(),
            Value::Array(values) => values.iter().all(is_deliverable),
            Value::Map(pairs) => pairs.iter().all(|(key, value)| {
                (key.is_str() || key.is_bin()) && is_deliverable(key) && is_deliverable(value)
            }),
            Value::Ext(-1, data) => match data.len() {
                4 => true,
                8 => u64::from_be_bytes(data[..].try_into().unwrap()) >> 34 < 1_000_000_000,
                12 => u32::from_be_bytes(data[..4].try_into().unwrap()) < 1_000_000_000,
                _ => false,
            },
            Value::Ext(kind, _) => *kind >= 0,
            _ => true,
        }
    }

    fn nesting(value: &Value) -> usize {
        let within = match value {
            Value::Array(values) => values.iter().map(nesting).max(),
            Value::Map(pairs) => pairs.iter().map(|(_, value)| nesting(value)).max(),
            _ => return 0,
        };
        1 + within.unwrap_or(0)
    }

    /// The bytes of the last `count` elements of the array `body`.
    fn slices(body: &[u8], count: usize) -> Vec<Vec<u8>> {
        let mut rest = body;
        skip_header(&mut rest);
        let mut slices = Vec::new();
        for _ in 0..=count {
            let start = rest;
            rmpv::decode::read_value(&mut rest).unwrap();
            slices.push(start[..start.len() - rest.len()].to_vec());
        }
        slices.split_off(1)
    }

    /// Passes the header of an array.
    fn skip_header(rest: &mut &[u8]) {
        *rest = match rest[0] {
            0xdc => &rest[3..],
            0xdd => &rest[5..],
            _ => &rest[1..],
        };
    }

    fn is_room(mut text: &[u8], bounds: &Bounds) -> bool {
        match rmpv::decode::read_value(&mut text).unwrap() {
            Value::String(name) => (1..=bounds.room_name_length).contains(&name.as_bytes().len()),
            Value::Integer(number) => {
                number.as_i64().is_some_and(|number| number.unsigned_abs() <= 9_007_199_254_740_991)
            }
            _ => false,
        }
    }
}
