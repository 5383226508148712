//! What a session that polls holds between its polls, and how far it has come in giving them up.

use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;
use std::time::Instant;

use crate::wire::attachments::Announced;
use crate::wire::owed::Unread;
use crate::wire::payload::Packet;

/// After how long a client without a poll counts as gone when its session is to end and nothing waits
/// for it. A client that is there takes one round trip to poll again; a lost packet costs it 1 s, as
/// that is the first timeout of a connection that is being made (RFC 6298), and a second one 2 s more.
pub(super) const SILENCE: Duration = Duration::from_secs(4);

/// How long a session that polls is kept once it is closed, so that its client hears of it.
pub const LAST_POLL: Duration = Duration::from_secs(2);

/// What a polling session holds between its polls.
#[derive(Debug, Default)]
pub struct Polls {
    /// Packets taken from the library's queue which no poll has carried yet.
    pub held: VecDeque<Packet>,
    /// The end of the session has been seen: what is held is all that will come.
    pub ended: bool,
    /// How far an upgrade to WebSocket has come.
    pub upgrade: Upgrade,
    /// Whether the client cannot take binary payloads.
    pub base64: bool,
    /// When its last poll was answered.
    pub answered: Option<Instant>,
    /// The answers that have not left.
    pub(super) unread: Vec<Weak<Unread>>,
    /// The attachments that its client has announced.
    pub announced: Announced,
    /// What [`Heard::chatter`](crate::wire::heard::Heard::chatter) was when a poll was last answered.
    pub chatter: u64,
}

impl Polls {
    /// Whether an answer is still on its way.
    pub(super) fn is_being_read(&self) -> bool {
        self.unread.iter().any(|unread| unread.strong_count() > 0)
    }
}

/// How far an upgrade from polling to WebSocket has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// There is none.
    #[default]
    None,
    /// The client has opened a WebSocket.
    Open,
    /// At this time it has tried the WebSocket with a probe; it is about to stop polling.
    Probed(Instant),
    /// It has changed over.
    Done,
}
