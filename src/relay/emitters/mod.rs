//! Emitters: back ends that publish over Redis what clients are to get, without being one. docs/relay.md says
//! which of them are understood, and what becomes of what they can ask for and a broker cannot do.
//!
//! Every node hears them itself, so nothing of it is passed on to other nodes.

mod date;
mod emission;
mod json;
mod msgpack;
mod node;
mod packed;
mod python;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod recorded;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;

use crate::config;
use crate::protocol::Encoding;
use crate::protocol::Room;
use crate::relay::Relay;
use crate::telemetry::relay::Lost;

/// What is to be heard of emitters over one connection.
#[derive(Debug)]
pub(super) struct Emitters {
    /// The channel of `@socket.io/redis-emitter` for everyone, with which those of rooms begin.
    node: String,
    /// The channel of python-socketio.
    python: String,
    closed: AtomicBool,
    /// How many rooms are subscribed to under each integer: `7` and `"7"` are two, and have one channel.
    integers: Mutex<HashMap<i64, u8>>,
}

/// How clients are to get it, and how much of it.
#[derive(Clone, Copy, Debug)]
struct Output {
    encoding: Encoding,
    /// Most bytes of an event array with its attachments.
    most: usize,
}

impl Emitters {
    /// What is to be heard, if anything is.
    pub(super) fn new(config: &config::Redis) -> Option<Self> {
        config.emitters.then(|| Self {
            node: format!("{}#/#", config.emitter_key),
            python: config.python_channel.clone(),
            closed: AtomicBool::new(false),
            integers: Mutex::default(),
        })
    }

    /// The channels that do not depend on rooms.
    pub(super) fn always(&self) -> Vec<String> {
        vec![self.node.clone(), self.python.clone()]
    }

    /// The channels of rooms that are wanted from now on.
    pub(super) fn wanted(&self, rooms: &[Room]) -> Vec<String> {
        for number in rooms.iter().filter_map(Room::number) {
            *self.integers().entry(number).or_default() += 1;
        }
        rooms.iter().map(|room| self.channel(room)).collect()
    }

    /// The channels of rooms that are not wanted any more, but those that another room has too.
    pub(super) fn unwanted(&self, rooms: &[Room]) -> Vec<String> {
        let mut integers = self.integers();
        let is_last = |room: &&Room| {
            let Some(number) = room.number() else { return true };
            let left = integers.get(&number).map_or(0, |count| count.saturating_sub(1));
            match left {
                0 => drop(integers.remove(&number)),
                left => drop(integers.insert(number, left)),
            }
            left == 0
        };
        rooms.iter().filter(is_last).map(|room| self.channel(room)).collect()
    }

    /// Whether it is a channel of emitters.
    pub(super) fn own(&self, channel: &[u8]) -> bool {
        channel == self.python.as_bytes() || channel.starts_with(self.node.as_bytes())
    }

    /// The connection is given up: what it still brings, another one may bring too.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Takes what was published on a channel of emitters.
    pub(super) fn hear(&self, relay: &Relay, channel: &[u8], payload: &Bytes) {
        if self.closed.load(SeqCst) {
            return;
        }
        relay.0.metrics.received.increment(1);
        let output = Output { encoding: relay.0.encoding, most: relay.0.largest };
        let incoming = if channel == self.python.as_bytes() {
            python::read(payload, output)
        } else {
            node::read(payload, output)
        };
        match incoming {
            Ok(incoming) => relay.pass(payload.len() + incoming.text.len(), incoming),
            Err(lost) => relay.unusable(lost),
        }
    }

    fn channel(&self, room: &Room) -> String {
        let name = emission::written(room);
        format!("{}{name}#", self.node)
    }

    fn integers(&self) -> MutexGuard<'_, HashMap<i64, u8>> {
        self.integers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Whether so much is too much for a message.
    fn exceeds(self, bytes: usize) -> Result<(), Lost> {
        if bytes > self.most { Err(Lost::TooLarge) } else { Ok(()) }
    }

    /// Whether so much is more than any message takes that is not too large itself: a byte has at most six
    /// characters in JSON, and beside it only names of rooms count.
    fn cannot_hold(self, payload: &Bytes) -> Result<(), Lost> {
        const ROOMS: usize = 1024 * 1024;
        self.exceeds(payload.len().saturating_sub(ROOMS) / 6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_kept_for_as_long_as_one_of_its_rooms_is_wanted() {
        let config: config::Redis =
            toml::from_str("url = \"redis://127.0.0.1\"\nemitters = true\nemitter_key = \"k\"").unwrap();
        let emitters = Emitters::new(&config).unwrap();
        let text = |name: &str| Room::Text(name.into());
        let (integer, digits) = ([Room::Integer(-7)], [text("-7")]);
        assert_eq!(emitters.wanted(&integer), ["k#/#-7#"]);
        assert_eq!(emitters.wanted(&digits), ["k#/#-7#"]);
        assert!(emitters.unwanted(&integer).is_empty());
        assert_eq!(emitters.wanted(&integer), ["k#/#-7#"]);
        assert!(emitters.unwanted(&digits).is_empty());
        assert_eq!(emitters.unwanted(&integer), ["k#/#-7#"]);
        assert!(emitters.integers().is_empty());
        let others = [text("07"), text("+7"), text("-0"), text("9223372036854775808"), text("a")];
        assert_eq!(emitters.wanted(&others), emitters.unwanted(&others));
        assert!(emitters.integers().is_empty());
        assert_eq!(emitters.unwanted(&[integer, digits].concat()), ["k#/#-7#", "k#/#-7#"]);
    }

    #[test]
    fn channels_are_told_apart_by_their_beginning_or_their_name() {
        let config: config::Redis = toml::from_str("url = \"redis://127.0.0.1\"\nemitters = true").unwrap();
        let emitters = Emitters::new(&config).unwrap();
        for (channel, expected) in [
            ("socket.io#/#", true),
            ("socket.io#/#a#b#", true),
            ("socketio", true),
            ("socketio2", false),
            ("socket.io#/other#", false),
            ("socket.io-request#/#", false),
            ("humble-broker:everyone", false),
        ] {
            assert_eq!(emitters.own(channel.as_bytes()), expected, "{channel}");
        }
        let off: config::Redis = toml::from_str("url = \"redis://127.0.0.1\"").unwrap();
        assert!(Emitters::new(&off).is_none());
    }
}
