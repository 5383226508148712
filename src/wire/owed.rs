//! What a client is owed: bytes that count in its send queue until the last of them has left.

use std::sync::Arc;
use std::sync::Weak;

use bytes::Bytes;

use crate::wire::link::Link;

/// The body of an answer, and what it takes of the session's send queue for as long as it is there:
/// a client may ask for more over another connection and read none of them.
struct Owed {
    body: Bytes,
    cost: usize,
    link: Weak<Link>,
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

/// The same bytes, which take `cost` off the session's send queue when they are dropped.
#[must_use]
pub fn owed(body: Bytes, cost: usize, link: &Arc<Link>) -> Bytes {
    match cost {
        0 => body,
        _ => Bytes::from_owner(Owed { body, cost, link: Arc::downgrade(link) }),
    }
}
