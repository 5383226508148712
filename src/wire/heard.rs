//! What the client of one session says, as far as its bounds go.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::protocol::Encoding;
use crate::wire::attachments::Announced;
use crate::wire::quota::Quota;

/// Messages that are no events and that a client may send while it does not read. Real clients send
/// one to connect, and one for each heartbeat.
const MAX_CHATTER: i64 = 16;

/// What the client of one session has said, whatever transport it used.
#[derive(Debug)]
pub struct Heard {
    encoding: Encoding,
    /// Messages that were events, or meant to be.
    events: AtomicU64,
    /// The announcement whose attachments the client owes, and since when.
    owing: Mutex<Option<(u64, Instant)>>,
    spending: Spending,
}

/// How much of its allowance a client has spent of late.
///
/// It stays with the connection: a client that leaves the namespace and enters it again has spent
/// what it has spent.
#[derive(Debug, Default)]
pub struct Spending {
    /// Of events.
    pub events: Quota,
    /// Of their bytes.
    pub bytes: Quota,
}

impl Heard {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { encoding, events: AtomicU64::new(0), owing: Mutex::default(), spending: Spending::default() }
    }

    /// What the client has spent of its allowance.
    #[must_use]
    pub fn spending(&self) -> &Spending {
        &self.spending
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

    /// Notes whether the client owes attachments, now that `announced` has followed all it has said.
    pub fn note_attachments(&self, announced: &Announced) {
        let mut owing = self.owing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |number: u64| match *owing {
            Some((same, since)) if same == number => (number, since),
            _ => (number, Instant::now()),
        };
        *owing = announced.open().map(since);
    }

    /// Since when the client has owed attachments.
    pub(super) fn owing_since(&self) -> Option<Instant> {
        self.owing.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, since)| since)
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

    #[test]
    fn each_announcement_has_a_time_of_its_own() {
        let (heard, mut announced) = (Heard::new(Encoding::Json), Announced::default());
        announced.text(b"452-[]");
        heard.note_attachments(&announced);
        let first = heard.owing_since().unwrap();
        announced.binary();
        heard.note_attachments(&announced);
        assert_eq!(heard.owing_since(), Some(first));
        announced.binary();
        announced.text(b"451-[]");
        heard.note_attachments(&announced);
        assert!(heard.owing_since().unwrap() > first);
        announced.binary();
        heard.note_attachments(&announced);
        assert_eq!(heard.owing_since(), None);
    }
}
