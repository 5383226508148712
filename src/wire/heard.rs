//! What the client of one session says, as far as its bounds go.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::protocol::Encoding;
use crate::wire::attachments::Announced;

/// Messages that are no events and that a client may send while it does not read. Real clients send
/// one to connect, and one for each heartbeat.
const MAX_CHATTER: i64 = 16;

/// What the client of one session has said, whatever transport it used.
#[derive(Debug)]
pub struct Heard {
    encoding: Encoding,
    /// Messages that were events, or meant to be.
    events: AtomicU64,
    /// Since when the client owes attachments that it has announced.
    owing: Mutex<Option<Instant>>,
}

impl Heard {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { encoding, events: AtomicU64::new(0), owing: Mutex::default() }
    }

    /// A message was an event.
    pub fn count_event(&self) {
        self.events.fetch_add(1, Relaxed);
    }

    /// How many of the messages that `announced` has followed were no events: the library may have
    /// answered them, and its answers are in no send queue of ours.
    ///
    /// What it counts from may be any number, and what the library has not handled yet is counted
    /// too.
    #[must_use]
    pub fn chatter(&self, announced: &Announced) -> u64 {
        announced.messages(self.encoding).wrapping_sub(self.events.load(Relaxed))
    }

    /// Whether there has been more chatter since it was `before` than a real client comes to.
    #[must_use]
    pub fn is_chatty(&self, announced: &Announced, before: u64) -> bool {
        self.chatter(announced).wrapping_sub(before).cast_signed() > MAX_CHATTER
    }

    /// The client owes attachments from now on, or owes none any more.
    pub fn owes_attachments(&self, owes: bool) {
        *self.owing.lock().unwrap_or_else(PoisonError::into_inner) = owes.then(Instant::now);
    }

    /// Since when the client has owed attachments.
    pub(super) fn owing_since(&self) -> Option<Instant> {
        *self.owing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chatter_is_what_is_no_event() {
        let (heard, mut announced) = (Heard::new(Encoding::Json), Announced::default());
        // Events that came over another transport, which this count does not know.
        heard.count_event();
        heard.count_event();
        let before = heard.chatter(&announced);
        for _ in 0..1_000 {
            announced.text(b"42[1]");
            heard.count_event();
        }
        assert!(!heard.is_chatty(&announced, before));
        for _ in 0..MAX_CHATTER {
            announced.text(b"40/x,");
        }
        assert!(!heard.is_chatty(&announced, before));
        announced.text(b"40/x,");
        assert!(heard.is_chatty(&announced, before));
        assert!(!heard.is_chatty(&announced, heard.chatter(&announced)));
        // An event that is handled after it was looked at.
        assert!(!heard.is_chatty(&announced, heard.chatter(&announced) + 5));
    }
}
