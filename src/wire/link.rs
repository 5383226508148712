//! The link: one Engine.IO session's way to its client, whatever transport it uses.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::protocol::Encoding;
use crate::protocol::Generation;
use crate::protocol::Transport;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::fate::Fate;
use crate::wire::heard::Heard;
use crate::wire::links::Links;
use crate::wire::outgoing::Outgoing;
use crate::wire::payload::Packet;
use crate::wire::permit::Kept;
use crate::wire::permit::Permit;
use crate::wire::polls::LAST_POLL;
use crate::wire::polls::Polls;
use crate::wire::polls::SILENCE;
use crate::wire::send_queue::SendQueue;

/// One Engine.IO session's way to its client.
///
/// It lives as long as the library's session, which holds it among the extensions of its first
/// request; dropping it is the end of the session.
///
/// In memory it is as it is written here, what a delivery looks at being together: with many recipients
/// that has to be fetched for each.
#[derive(Debug)]
#[repr(C)]
pub struct Link {
    links: Arc<Links>,
    generation: Generation,
    began_with: Transport,
    upgraded: AtomicBool,
    pinged: AtomicBool,
    over: AtomicBool,
    queue: SendQueue,
    outgoing: Outgoing,
    /// Since when it has been closing.
    closing: OnceLock<Instant>,
    /// Since when what ends it has been in its queue.
    ending: OnceLock<Instant>,
    fate: Fate,
    heard: Heard,
    poll: Mutex<Polls>,
    poll_cut: Notify,
    poll_turn: tokio::sync::Mutex<()>,
    key: u64,
    id: OnceLock<Box<str>>,
    opened: Instant,
    permit: Kept,
}

impl Link {
    pub(super) fn new(
        links: Arc<Links>,
        key: u64,
        generation: Generation,
        began_with: Transport,
        permit: Permit,
    ) -> Self {
        Self {
            generation,
            began_with,
            upgraded: AtomicBool::new(false),
            closing: OnceLock::new(),
            ending: OnceLock::new(),
            pinged: AtomicBool::new(false),
            over: AtomicBool::new(false),
            fate: Fate::default(),
            queue: SendQueue::default(),
            heard: Heard::new(links.encoding()),
            outgoing: Outgoing::default(),
            poll: Mutex::default(),
            poll_cut: Notify::new(),
            poll_turn: tokio::sync::Mutex::default(),
            key,
            id: OnceLock::new(),
            links,
            opened: Instant::now(),
            permit: Kept::new(permit),
        }
    }

    /// The generation of the protocol that the client speaks.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// How the session's packets travel now.
    #[must_use]
    pub fn transport(&self) -> Transport {
        if self.upgraded.load(SeqCst) { Transport::WebSocket } else { self.began_with }
    }

    /// The session goes on over WebSocket; `false` if it is over already.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        // Under the lock, as in `end`: each session is counted out of the transport it is counted in.
        let _state = self.poll_state();
        if self.over.load(SeqCst) {
            return false;
        }
        self.upgraded.store(true, SeqCst);
        self.links.metrics().upgraded(self.generation);
        true
    }

    /// Messages that cost `cost` bytes have been handed to the transport.
    pub fn dequeue(&self, cost: usize) {
        if cost > 0 {
            self.links.dequeued(self.queue.take(cost as u64));
        }
    }

    /// What a packet takes of the send queue: nothing if nobody has put it there.
    #[must_use]
    pub fn cost<B: AsRef<[u8]>>(&self, packet: &Packet<B>) -> usize {
        packet.cost(self.links.encoding())
    }

    /// How its packets are written.
    pub(super) fn encoding(&self) -> Encoding {
        self.links.encoding()
    }

    /// Whether a packet is our mark for the end of the session.
    #[must_use]
    pub fn is_end<B: AsRef<[u8]>>(&self, packet: &Packet<B>) -> bool {
        packet.is_end(self.encoding())
    }

    /// All links of the node.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// Its way out over a WebSocket.
    pub(super) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// What is queued for the client.
    pub(super) fn queue(&self) -> &SendQueue {
        &self.queue
    }

    /// Gives up what is queued: it counts no more, and nothing is added.
    pub(super) fn abandon(&self) {
        self.links.dequeued(self.queue.abandon());
    }

    /// The client is in the namespace.
    pub fn enter(&self) {
        self.permit.enter();
    }

    /// What its client has said.
    #[must_use]
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Why it is ended by us, if it is.
    #[must_use]
    pub fn fate(&self) -> &Fate {
        &self.fate
    }

    /// Closes the session from our side: a WebSocket says 1001 and ends, a polling client's poll
    /// is answered with 400. What is still queued is lost; a client that reads comes back.
    pub fn close(&self, cause: Disconnection) {
        self.fate.condemn(cause);
        let _ = self.closing.set(Instant::now());
        self.outgoing.tasks().reader.wake();
        self.cut_poll();
    }

    /// Whether [`close`](Self::close) has been called.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.get().is_some()
    }

    /// Whether its client has had the time to hear that it is closed or has ended, and does not poll.
    pub(super) fn is_forsaken(&self, now: Instant) -> bool {
        let waited = |since: &Instant| now.saturating_duration_since(*since) >= LAST_POLL;
        let is_left = || self.is_silent() && !self.poll_state().is_being_read();
        self.transport() == Transport::Polling
            && (self.closing.get().is_some_and(waited) || self.ending.get().is_some_and(waited) && is_left())
    }

    /// The session's id, if it began with polling.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.get().map(|id| &**id)
    }

    /// The mark of the end, or a refusal, is in the session's queue or about to be.
    pub fn set_ending(&self) {
        let _ = self.ending.set(Instant::now());
    }

    /// Whether the session ends by itself once its queue is empty.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Whether a packet is the library's first ping, which is to be answered for the client: it comes
    /// as soon as a session begins, a needless exchange with each of many that come at once.
    pub fn is_first_ping<B: AsRef<[u8]>>(&self, packet: &Packet<B>) -> bool {
        packet.is_ping() && !self.pinged.swap(true, SeqCst)
    }

    /// What the session holds between polls.
    pub fn poll_state(&self) -> MutexGuard<'_, Polls> {
        self.poll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a poll that is waiting answered at once.
    pub fn cut_poll(&self) {
        self.poll_cut.notify_waiters();
    }

    /// Waits until a poll is to be answered at once.
    pub fn poll_cut(&self) -> Notified<'_> {
        self.poll_cut.notified()
    }

    /// Whether the client polls no more, though its last poll was answered a while ago, and would lose
    /// nothing. One that is there polls again at once, unless its connection takes long to be made.
    pub(super) fn is_silent(&self) -> bool {
        let answered = self.poll_state().answered.unwrap_or(self.opened);
        self.transport() == Transport::Polling
            && answered.elapsed() > SILENCE
            && self.queue.waiting() == 0
            && self.poll_turn.try_lock().is_ok()
    }

    /// Held by the one poll that waits for the library.
    pub fn poll_turn(&self) -> &tokio::sync::Mutex<()> {
        &self.poll_turn
    }

    /// The session is over; at the latest so when the link is dropped, which may be much later.
    pub fn end(&self) {
        let (over, unread) = {
            let mut state = self.poll_state();
            (self.over.swap(true, SeqCst), std::mem::take(&mut state.unread))
        };
        if over {
            return;
        }
        // At a drain the client is to have what it can still read.
        if self.fate.cause() != Some(Disconnection::Drain) {
            unread.iter().filter_map(Weak::upgrade).for_each(|unread| unread.give_up());
        }
        self.abandon();
        self.permit.end();
        self.links.metrics().closed(self.transport(), self.generation, self.opened.elapsed());
        self.links.forget(self.key, self.id());
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// Makes the link known under the session's id, so that later requests find it.
    pub fn name(self: &Arc<Self>, id: &str) {
        if self.id.set(id.into()).is_ok() {
            self.links.name(id, self);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}
