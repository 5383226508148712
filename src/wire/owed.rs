//! What a client is owed: bytes that count in its send queue until the last of them has left.

use std::sync::Arc;
use std::sync::Weak;

use bytes::Bytes;

use crate::telemetry::disconnection::Disconnection;
use crate::wire::guard::Kill;
use crate::wire::link::Link;

/// The body of an answer, and what it takes of the session's send queue for as long as it is there:
/// a client may ask for more over another connection and read none of them.
struct Owed {
    body: Bytes,
    cost: usize,
    link: Weak<Link>,
    /// As long as it is there, so is this.
    _unread: Arc<Unread>,
}

/// The connection of an answer that has not left.
#[derive(Debug)]
pub(super) struct Unread(Arc<Kill>);

impl Unread {
    /// Ends the connection: its answer is of a session that is over, and counts nowhere any more.
    pub(super) fn give_up(&self) {
        self.0.strike(Disconnection::TransportClosed);
    }
}

impl AsRef<[u8]> for Owed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.dequeue(self.cost);
        }
    }
}

/// The same bytes, which take `cost` off the session's send queue when they are dropped; they go out over
/// the connection that `kill` ends.
#[must_use]
pub fn owed(body: Bytes, cost: usize, link: &Arc<Link>, kill: Arc<Kill>) -> Bytes {
    if cost == 0 {
        return body;
    }
    let unread = Arc::new(Unread(kill));
    {
        let all = &mut link.poll_state().unread;
        all.retain(|unread| unread.strong_count() > 0);
        all.push(Arc::downgrade(&unread));
    }
    Bytes::from_owner(Owed { body, cost, link: Arc::downgrade(link), _unread: unread })
}
