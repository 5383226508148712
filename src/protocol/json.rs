//! Events as JSON text, read once from front to back.

use super::Bounds;
use super::Fault;
use super::Refusal;
use super::Room;
use super::RoomFault;
use super::event;
use super::nesting::Nesting;
use super::placeholder::Placeholders;
use super::scanner::Scanner;

/// The arguments of an acknowledgement that an event was refused.
pub(super) fn refusal(refusal: Refusal) -> Vec<u8> {
    let object = serde_json::json!([{ "error": refusal.code(), "message": refusal.sentence() }]);
    object.to_string().into_bytes()
}

/// Reads an event array, and checks what is in it on the way.
pub(super) struct Reader<'a> {
    text: Scanner<'a>,
    attachments: usize,
    bounds: Bounds,
    placeholders: Placeholders,
}

impl<'a> Reader<'a> {
    /// Reads the event array `text`, which came with so many `attachments`.
    pub(super) fn new(text: &'a [u8], attachments: usize, bounds: &Bounds) -> Self {
        // Too many are refused before any placeholder is looked at.
        let watched = if attachments > bounds.attachments { 0 } else { attachments };
        Self {
            text: Scanner::new(text),
            attachments,
            bounds: *bounds,
            placeholders: Placeholders::new(watched),
        }
    }

    /// Reads one value, with everything in it.
    ///
    /// Iterative: what a recursive parser keeps in its frames is in `open`.
    fn value(&mut self) -> Result<&'a [u8], Fault> {
        self.text.skip_whitespace();
        let start = self.text.rest();
        let mut open = Nesting::new(self.bounds.nesting, Container::Array);
        let mut next = Next::Value;
        loop {
            next = match (next, open.innermost().copied()) {
                (Next::Value, parent) => self.begin_value(parent, &mut open)?,
                (Next::Separator, Some(container)) => self.separator(container, &mut open)?,
                (Next::Separator, None) => return Ok(self.text.since(start)),
            };
        }
    }

    /// Reads a value up to where it ends or, if it is a container that is not empty, to its first value.
    fn begin_value(
        &mut self,
        parent: Option<Container>,
        open: &mut Nesting<Container>,
    ) -> Result<Next, Fault> {
        self.text.skip_whitespace();
        let start = self.text.rest();
        let container = match start.first() {
            Some(b'[') => Some(Container::Array),
            Some(b'{') => Some(Container::Object),
            _ => None,
        };
        if container.is_none() {
            self.text.scalar()?;
        }
        if parent == Some(Container::Object) {
            self.placeholders.value(if container.is_some() { start } else { self.text.since(start) });
        }
        container.map_or(Ok(Next::Separator), |container| self.open(container, open))
    }

    /// Reads the opening bracket of a container, and its closing bracket if it is empty.
    fn open(&mut self, container: Container, open: &mut Nesting<Container>) -> Result<Next, Fault> {
        open.open(container)?;
        self.text.expect(container.start())?;
        if container == Container::Object {
            self.placeholders.open();
        }
        self.text.skip_whitespace();
        if self.text.skip(container.end()) {
            self.close(container, open)
        } else {
            self.begin_member(container)
        }
    }

    /// Reads what comes between two values of a container, or its closing bracket.
    fn separator(&mut self, container: Container, open: &mut Nesting<Container>) -> Result<Next, Fault> {
        self.text.skip_whitespace();
        if self.text.skip(container.end()) {
            return self.close(container, open);
        }
        self.text.expect(b',')?;
        self.begin_member(container)
    }

    /// Reads what comes before a value in a container: in an object, its key.
    fn begin_member(&mut self, container: Container) -> Result<Next, Fault> {
        if container == Container::Object {
            self.text.skip_whitespace();
            let start = self.text.rest();
            self.text.string()?;
            self.placeholders.key(self.text.since(start));
            self.text.skip_whitespace();
            self.text.expect(b':')?;
        }
        Ok(Next::Value)
    }

    /// The closing bracket of a container has been read.
    fn close(&mut self, container: Container, open: &mut Nesting<Container>) -> Result<Next, Fault> {
        open.close();
        if container == Container::Object {
            self.placeholders.close()?;
        }
        Ok(Next::Separator)
    }

    /// Reads what ends the event array, after which nothing may come.
    fn finish(&mut self) -> Result<(), Fault> {
        self.text.expect(b']')?;
        self.text.skip_whitespace();
        if !self.text.rest().is_empty() {
            return Err(self.text.fault());
        }
        if self.attachments > self.bounds.attachments {
            return Err(Fault::TooManyAttachments { limit: self.bounds.attachments });
        }
        self.placeholders.finish()
    }
}

impl<'a> event::Reader<'a> for Reader<'a> {
    fn name(&mut self) -> Result<&'a [u8], Fault> {
        // Text frames are UTF-8, so this is a second look; it costs little and trusts nobody.
        str::from_utf8(self.text.rest()).map_err(|error| Fault::Json { offset: error.valid_up_to() })?;
        self.text.skip_whitespace();
        self.text.expect(b'[')?;
        self.text.skip_whitespace();
        self.text.expect(b'"').map_err(|_| Fault::Name)?;
        // None of our names needs an escape, and socketioxide closes the connection over one.
        let name = self.text.plain_characters();
        self.text.expect(b'"').map_err(|_| Fault::Name)?;
        Ok(name)
    }

    fn argument(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        self.text.skip_whitespace();
        if self.text.skip(b',') { self.value().map(Some) } else { self.finish().map(|()| None) }
    }

    fn room(text: &[u8], bounds: &Bounds) -> Result<Room, RoomFault> {
        match text.first() {
            Some(b'"') => {
                // The one thing that is left to be wrong with a string that has been read.
                let name = serde_json::from_slice(text).map_err(|_| RoomFault::LoneSurrogate)?;
                Room::from_text(name, bounds.room_name_length)
            }
            Some(b'-' | b'0'..=b'9') => integer(text).and_then(Room::from_integer),
            _ => Err(RoomFault::Kind),
        }
    }
}

/// The integer that the JSON number `text` is, if it is written as one.
fn integer(text: &[u8]) -> Result<i64, RoomFault> {
    if text.iter().any(|byte| b".eE".contains(byte)) {
        return Err(RoomFault::Kind);
    }
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(RoomFault::OutOfRange)
}

/// What [`Reader::value`] comes to next.
#[derive(Clone, Copy)]
enum Next {
    /// A value begins.
    Value,
    /// A value has ended.
    Separator,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

impl Container {
    fn start(self) -> u8 {
        match self {
            Self::Array => b'[',
            Self::Object => b'{',
        }
    }

    fn end(self) -> u8 {
        match self {
            Self::Array => b']',
            Self::Object => b'}',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Attachments;
    use super::super::Encoding;
    use super::super::Event;
    use super::super::EventName;
    use super::super::properties::BOUNDS;
    use super::*;

    fn parse(text: &str, attachments: usize) -> (EventName, Result<Event<'_>, Refusal>) {
        let attachments = Attachments { count: attachments, bytes: 0 };
        Encoding::Json.parse(text.as_bytes(), attachments, &BOUNDS)
    }

    fn refusal_of(text: &str, attachments: usize) -> Refusal {
        match parse(text, attachments).1 {
            Ok(event) => panic!("{text} is accepted as {event:?}"),
            Err(refusal) => refusal,
        }
    }

    fn fault_of(text: &str, attachments: usize) -> Fault {
        match refusal_of(text, attachments) {
            Refusal::Malformed(fault) => fault,
            refusal => panic!("{text} is refused as {refusal:?}"),
        }
    }

    fn room_of(text: &str) -> Result<Room, RoomFault> {
        match parse(&format!(r#"["subscribe",{text}]"#), 0).1 {
            Ok(Event::Subscribe(room)) => Ok(room),
            Err(Refusal::InvalidRoom(fault)) => Err(fault),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[track_caller]
    fn assert_message_passes(message: &str, attachments: usize) {
        let text = format!(r#"["broadcast",{message}]"#);
        let expected = Ok(Event::Broadcast { message: message.as_bytes() });
        assert_eq!(parse(&text, attachments), (EventName::Broadcast, expected), "{text}");
    }

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn each_event_is_read_whatever_space_is_around() {
        let room = || Room::Text("r".into());
        let publish = Event::Publish { room: room(), room_text: b"\"r\"", message: br#"{"a": [1, 2]}"# };
        let cases = [
            (r#"["subscribe","r"]"#, EventName::Subscribe, Event::Subscribe(room())),
            (r#"["unsubscribe","r"]"#, EventName::Unsubscribe, Event::Unsubscribe(room())),
            (r#"["publish","r",{"a": [1, 2]}]"#, EventName::Publish, publish.clone()),
            ("\t[ \"publish\"\n,\r\"r\" , {\"a\": [1, 2]} ] \n", EventName::Publish, publish),
            (r#"["broadcast",1.0]"#, EventName::Broadcast, Event::Broadcast { message: b"1.0" }),
        ];
        for (text, name, event) in cases {
            assert_eq!(parse(text, 0), (name, Ok(event)), "{text}");
        }
    }

    #[test]
    fn a_room_is_handed_on_as_it_was_written() {
        let (_, event) = parse(r#"["publish", "\u00e9" ,null]"#, 0);
        let room = Room::Text("é".into());
        assert_eq!(event, Ok(Event::Publish { room, room_text: br#""\u00e9""#, message: b"null" }));
    }

    #[test]
    fn messages_pass_byte_for_byte() {
        let long_text = format!("\"{}\"", "é\u{2028}\u{7f}😀".repeat(1000));
        let long_fraction = format!("0.{}", "1".repeat(1000));
        let longest_integer = format!("-{}", "1".repeat(99));
        let messages = [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.0",
            "-0.0",
            "1e400",
            "1E+5",
            "1e-5",
            "12345678901234567890",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[[],{}]",
            r#"{"b":1,"a":2,"b":3}"#,
            r#""""#,
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            r#""\u0000\"\\\/\b\f\n\r\t""#,
            r#"{"":{"":[]}}"#,
            "\"\u{7f}\u{80}\u{feff}\"",
            r#"{"_placeholder":true,"num":7}"#,
            "[1 , 2\t,\r\n3]",
            "{ \"a\" :\n1 , \"b\" : 2 }",
            &long_text,
            &long_fraction,
            &longest_integer,
        ];
        for message in messages {
            assert_message_passes(message, 0);
        }
    }

    #[test]
    fn what_is_not_strict_json_is_malformed() {
        let messages = [
            "",
            "NaN",
            "Infinity",
            "-Infinity",
            "01",
            "-01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x1",
            "1_0",
            "tru",
            "nul",
            "True",
            "undefined",
            "'a'",
            "\"a",
            "\"\u{0}\"",
            "\"\n\"",
            "\"\u{1e}\"",
            "\"\u{1f}0123456789abcdef\"",
            "\"0123456789abcdef\u{1f}\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\u123""#,
            r#""\u123\u0041""#,
            r#""\u12g4""#,
            r#""\""#,
            "[",
            "]",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "}",
            "{]",
            "[}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            "{1:2}",
            "{null:2}",
            r#"{"a" 1}"#,
            r#"{"a":1 "b":2}"#,
            "1 2",
            "/**/1",
            "\u{feff}1",
            "\u{a0}1",
            "\u{b}1",
        ];
        for message in messages {
            let text = format!(r#"["broadcast",{message}]"#);
            assert!(matches!(fault_of(&text, 0), Fault::Json { .. }), "{message}");
        }
    }

    #[test]
    fn nothing_may_surround_the_event() {
        for text in [
            r#"["broadcast",1],"#,
            r#"["broadcast",1]]"#,
            r#"["broadcast",1] x"#,
            r#"["broadcast",1"#,
            r#"["broadcast",1}"#,
            r#"["broadcast",1]["broadcast",1]"#,
            "[\"broadcast\",1]\0",
            r#"["broadcast" 1]"#,
            r#"["broadcast",]"#,
        ] {
            assert!(matches!(fault_of(text, 0), Fault::Json { .. }), "{text}");
        }
        for text in
            ["", "[", "1", "null", "{}", r#""broadcast""#, r#"{"broadcast":1}"#, "\u{feff}[\"broadcast\",1]"]
        {
            assert_eq!(parse(text, 0).0, EventName::Other);
            assert_eq!(refusal_of(text, 0).code(), "malformed", "{text}");
        }
    }

    #[test]
    fn a_fault_tells_where_it_is() {
        assert_eq!(fault_of(r#"["broadcast",[1,NaN]]"#, 0), Fault::Json { offset: 16 });
        let (_, event) = Encoding::Json.parse(b"[\"broadcast\",\"\xff\"]", Attachments::default(), &BOUNDS);
        assert_eq!(event, Err(Refusal::Malformed(Fault::Json { offset: 14 })));
    }

    #[test]
    fn an_event_has_a_name() {
        for text in ["[]", "[1]", "[null,1]", r#"[["broadcast"],1]"#, r#"["broa\u0064cast",1]"#] {
            assert_eq!(fault_of(text, 0), Fault::Name, "{text}");
        }
    }

    #[test]
    fn an_unknown_event_is_refused_by_its_name_alone() {
        for text in [
            r#"["hello"]"#,
            r#"["Publish","r",1]"#,
            r#"["",1]"#,
            r#"["data","r",1]"#,
            r#"["connect"]"#,
            r#"["é"]"#,
            r#"["publish ","r",1]"#,
            r#"["hello",NaN"#,
        ] {
            assert_eq!(parse(text, 0), (EventName::Other, Err(Refusal::UnknownEvent)), "{text}");
        }
    }

    #[test]
    fn each_event_takes_its_arguments_and_no_others() {
        for (name, event, right) in [
            ("subscribe", EventName::Subscribe, 1),
            ("unsubscribe", EventName::Unsubscribe, 1),
            ("publish", EventName::Publish, 2),
            ("broadcast", EventName::Broadcast, 1),
        ] {
            for count in (0..6).filter(|&count| count != right) {
                let text = format!(r#"["{name}"{}]"#, r#","r""#.repeat(count));
                let refusal = Err(Refusal::Malformed(Fault::Arguments(event)));
                assert_eq!(parse(&text, 0), (event, refusal), "{text}");
            }
        }
    }

    #[test]
    fn integers_end_at_a_hundred_characters() {
        let long = Fault::LongInteger { limit: 100 };
        for message in
            ["1".repeat(101), format!("-{}", "1".repeat(100)), format!(r#"{{"a":[{}]}}"#, "9".repeat(5000))]
        {
            assert_eq!(fault_of(&format!(r#"["broadcast",{message}]"#), 0), long);
        }
        for message in
            ["1".repeat(100), "1".repeat(101) + ".0", "1".repeat(101) + "e0", "1".repeat(101) + "E-101"]
        {
            assert_message_passes(&message, 0);
        }
    }

    #[test]
    fn nesting_ends_at_its_bound() {
        let bound = BOUNDS.nesting;
        assert_message_passes(&nested(bound), 0);
        assert_message_passes(&format!("[{},{}]", nested(bound - 1), nested(bound - 1)), 0);
        assert_message_passes(&format!("{}1{}", r#"{"a":"#.repeat(bound), "}".repeat(bound)), 0);
        let too_deep = Fault::TooDeep { limit: bound };
        for message in [
            nested(bound + 1),
            nested(100_000),
            format!("[{},{}]", nested(1), nested(bound)),
            format!("{}1{}", r#"{"a":"#.repeat(bound + 1), "}".repeat(bound + 1)),
        ] {
            assert_eq!(fault_of(&format!(r#"["broadcast",{message}]"#), 0), too_deep);
        }
    }

    #[test]
    fn a_bound_of_nothing_nested_leaves_scalars() {
        let bounds = Bounds { nesting: 0, ..BOUNDS };
        let parse = |text: &'static [u8]| Encoding::Json.parse(text, Attachments::default(), &bounds).1;
        assert_eq!(parse(br#"["broadcast",1]"#), Ok(Event::Broadcast { message: b"1" }));
        assert_eq!(parse(br#"["broadcast",[]]"#), Err(Refusal::Malformed(Fault::TooDeep { limit: 0 })));
    }

    #[test]
    fn the_size_counts_text_and_attachments() {
        let text = br#"["broadcast",{"_placeholder":true,"num":0}]"#;
        let bounds = Bounds { max_payload: text.len() + 10, ..BOUNDS };
        for (length, fits) in [(10, true), (11, false), (usize::MAX, false)] {
            let attachments = [length].into_iter().collect();
            let (name, event) = Encoding::Json.parse(text, attachments, &bounds);
            assert_eq!(name, EventName::Broadcast);
            assert_eq!(event.is_ok(), fits);
            assert!(fits || event == Err(Refusal::TooLarge));
        }
    }

    #[test]
    fn what_is_too_large_is_not_looked_at_further() {
        let bounds = Bounds { max_payload: 5, ..BOUNDS };
        for text in [r#"["hello"]"#, r#"["publish",NaN"#, "nothing"] {
            let (_, event) = Encoding::Json.parse(text.as_bytes(), Attachments::default(), &bounds);
            assert_eq!(event, Err(Refusal::TooLarge));
        }
    }

    #[test]
    fn rooms_compare_by_what_they_stand_for() {
        let text = |name: &str| Ok(Room::Text(name.into()));
        let cases = [
            (r#""r""#, text("r")),
            (r#""\u00e9""#, text("é")),
            (r#""é""#, text("é")),
            (r#""\ud83d\ude00""#, text("😀")),
            (r#""\u0000""#, text("\0")),
            (r#""\"\\\/\b\f\n\r\t""#, text("\"\\/\u{8}\u{c}\n\r\t")),
            (r#"" ""#, text(" ")),
            ("7", Ok(Room::Integer(7))),
            ("\"7\"", text("7")),
            ("0", Ok(Room::Integer(0))),
            ("-0", Ok(Room::Integer(0))),
            ("9007199254740991", Ok(Room::Integer(9_007_199_254_740_991))),
            ("-9007199254740991", Ok(Room::Integer(-9_007_199_254_740_991))),
        ];
        for (written, room) in cases {
            assert_eq!(room_of(written), room, "{written}");
        }
    }

    #[test]
    fn what_is_not_a_room_is_refused_as_one() {
        let hundred_digits = "1".repeat(100);
        let cases = [
            (r#""""#, RoomFault::Empty),
            (r#""\ud800""#, RoomFault::LoneSurrogate),
            (r#""\udc00""#, RoomFault::LoneSurrogate),
            (r#""\ud800\ud800""#, RoomFault::LoneSurrogate),
            (r#""\udc00\ud800""#, RoomFault::LoneSurrogate),
            (r#""\ud800a""#, RoomFault::LoneSurrogate),
            ("9007199254740992", RoomFault::OutOfRange),
            ("-9007199254740992", RoomFault::OutOfRange),
            ("9223372036854775808", RoomFault::OutOfRange),
            (&hundred_digits, RoomFault::OutOfRange),
            ("1.0", RoomFault::Kind),
            ("1e0", RoomFault::Kind),
            ("1E5", RoomFault::Kind),
            ("null", RoomFault::Kind),
            ("true", RoomFault::Kind),
            ("[]", RoomFault::Kind),
            (r#"["r"]"#, RoomFault::Kind),
            (r#"{"a":1}"#, RoomFault::Kind),
        ];
        for (written, fault) in cases {
            assert_eq!(room_of(written), Err(fault), "{written}");
        }
    }

    #[test]
    fn a_rooms_length_is_that_of_its_decoded_name() {
        let limit = BOUNDS.room_name_length;
        let long = Err(RoomFault::TooLong { limit });
        assert!(room_of(&format!("\"{}\"", "a".repeat(limit))).is_ok());
        assert!(room_of(&format!("\"{}\"", r"\u0061".repeat(limit))).is_ok());
        assert_eq!(room_of(&format!("\"{}\"", "a".repeat(limit + 1))), long);
        assert_eq!(room_of(&format!("\"{}\"", "é".repeat(limit / 2 + 1))), long);
        assert_eq!(room_of(&format!("\"{}\"", r"\u00e9".repeat(limit / 2 + 1))), long);
    }

    #[test]
    fn what_is_malformed_is_so_whatever_its_room() {
        for text in
            [r#"["publish","",NaN]"#, r#"["publish",null]"#, r#"["subscribe",{},1]"#, r#"["subscribe",null"#]
        {
            assert_eq!(refusal_of(text, 0).code(), "malformed", "{text}");
        }
        assert_eq!(refusal_of(r#"["publish","",1]"#, 0).code(), "invalid_room");
    }

    #[test]
    fn placeholders_that_match_their_attachments_pass() {
        let cases = [
            (r#"{"_placeholder":true,"num":0}"#, 1),
            (r#"{"num":0,"_placeholder":true}"#, 1),
            (r#"{ "_placeholder" : true , "num" : 0 }"#, 1),
            (r#"{"_placeholder":true,"num":0,"more":"text"}"#, 1),
            (r#"{"\u005fplaceholder":true,"n\u0075m":0}"#, 1),
            (r#"[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#, 2),
            (r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1),
            (r#"{"a":{"b":[1,{"_placeholder":true,"num":0}]}}"#, 1),
            (r#"[{"_placeholder":false,"num":9},{"_placeholder":true,"num":0}]"#, 1),
            (r#"[{"_placeholder":null,"num":"x"},{"_placeholder":true,"num":0}]"#, 1),
            (r#"[{"_placeholder":false,"a":{"_placeholder":true,"num":0}}]"#, 1),
            (r#"[{"num":9},{"_placeholder":true,"num":0}]"#, 1),
            (r#"{"_placeholder":false,"num":9,"_placeholder":true,"num":0}"#, 1),
            (r#"[{"_placeholder":true,"_placeholder":null},{"_placeholder":true,"num":0}]"#, 1),
            (r#"["_placeholder",true,"num",7,{"_placeholder":true,"num":0}]"#, 1),
            (r#"[{"\ud800":1},{"_placeholder":true,"num":0}]"#, 1),
        ];
        for (message, attachments) in cases {
            assert_message_passes(message, attachments);
        }
    }

    #[test]
    fn placeholders_that_receivers_cannot_resolve_are_malformed() {
        let messages = [
            r#"{"_placeholder":true}"#,
            r#"{"_placeholder":true,"num":1}"#,
            r#"{"_placeholder":true,"num":-1}"#,
            r#"{"_placeholder":true,"num":-0}"#,
            r#"{"_placeholder":true,"num":0.0}"#,
            r#"{"_placeholder":true,"num":0e0}"#,
            r#"{"_placeholder":true,"num":"0"}"#,
            r#"{"_placeholder":true,"num":true}"#,
            r#"{"_placeholder":true,"num":null}"#,
            r#"{"_placeholder":true,"num":[0]}"#,
            r#"{"_placeholder":true,"num":18446744073709551616}"#,
            r#"{"_placeholder":true,"num":0,"num":1}"#,
            r#"{"_placeholder":1,"num":0}"#,
            r#"{"_placeholder":0,"num":0}"#,
            r#"{"_placeholder":"true","num":0}"#,
            r#"{"_placeholder":"","num":0}"#,
            r#"{"_placeholder":[],"num":0}"#,
            r#"{"_placeholder":{},"num":0}"#,
            r#"{"_placeholder":[true],"num":0}"#,
            r#"{"_placeholde\u0072":true,"num":1}"#,
            r#"{"_placeholder":true,"num":0,"a":{"_placeholder":true,"num":0}}"#,
            r#"{"_placeholder":true,"num":0,"a":[]}"#,
            r#"{"a":[],"_placeholder":true,"num":0}"#,
        ];
        for message in messages {
            // Whatever else is there, so that it is not for an attachment without a placeholder.
            let text = format!(r#"["broadcast",[{message},{{"_placeholder":true,"num":0}}]]"#);
            assert_eq!(fault_of(&text, 1), Fault::Placeholder, "{text}");
        }
    }

    #[test]
    fn every_attachment_needs_a_placeholder() {
        for (message, attachments) in
            [("1", 1), (r#"{"_placeholder":true,"num":1}"#, 2), (r#"{"_placeholder":false,"num":0}"#, 1)]
        {
            let text = format!(r#"["broadcast",{message}]"#);
            assert_eq!(fault_of(&text, attachments), Fault::UnusedAttachment, "{text}");
        }
    }

    #[test]
    fn attachments_end_at_their_bound() {
        let message = |count| {
            let placeholders = (0..count).map(|index| format!(r#"{{"_placeholder":true,"num":{index}}}"#));
            format!("[{}]", placeholders.collect::<Vec<_>>().join(","))
        };
        let limit = BOUNDS.attachments;
        assert_message_passes(&message(limit), limit);
        let text = format!(r#"["broadcast",{}]"#, message(limit + 1));
        assert_eq!(fault_of(&text, limit + 1), Fault::TooManyAttachments { limit });
        assert_eq!(fault_of(&text, usize::MAX), Fault::TooManyAttachments { limit });
    }

    #[test]
    fn an_attachment_is_not_a_room() {
        let text = r#"["publish",{"_placeholder":true,"num":0},1]"#;
        assert_eq!(refusal_of(text, 1), Refusal::InvalidRoom(RoomFault::Kind));
    }

    #[test]
    fn a_refusal_is_one_object() {
        let text = Encoding::Json.refusal(Refusal::Malformed(Fault::Placeholder));
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let sentence = Refusal::Malformed(Fault::Placeholder).sentence();
        assert_eq!(value, serde_json::json!([{ "error": "malformed", "message": sentence }]));
    }
}
