//! All links of the node: found by their sessions' ids, counted, waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Limits;
use crate::protocol::Encoding;
use crate::protocol::Generation;
use crate::protocol::Transport;
use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::metrics::Connections;
use crate::wire::link::Link;
use crate::wire::patrol::Bounds;
use crate::wire::permit::Permit;
use crate::wire::polls::SILENCE;

/// All links of the node.
#[derive(Debug)]
pub struct Links {
    table: Mutex<Table>,
    open: watch::Sender<usize>,
    bounds: ArcSwap<Bounds>,
    /// Most bytes in one send queue, unless they are one message: apart from the other bounds, as it is
    /// looked at for every recipient of every message.
    longest_queue: AtomicU64,
    encoding: Encoding,
    /// Bytes in the send queues of all sessions. What has been queued is counted a moment later, so
    /// it may be below zero for that moment.
    queued: AtomicI64,
    metrics: Connections,
}

#[derive(Debug, Default)]
struct Table {
    by_key: HashMap<u64, Weak<Link>>,
    by_id: HashMap<Box<str>, Weak<Link>>,
    next_key: u64,
}

impl Links {
    /// No links yet.
    #[must_use]
    pub fn new(limits: &Limits, encoding: Encoding, metrics: Connections) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            open: watch::Sender::new(0),
            bounds: ArcSwap::from_pointee(Bounds::new(limits)),
            longest_queue: AtomicU64::new(limits.send_queue.bytes() as u64),
            encoding,
            queued: AtomicI64::new(0),
            metrics,
        })
    }

    /// From now on these limits hold, for the sessions that are there too.
    pub fn reload(&self, limits: &Limits) {
        self.bounds.store(Arc::new(Bounds::new(limits)));
        self.longest_queue.store(limits.send_queue.bytes() as u64, Relaxed);
    }

    /// A link for a new session, which takes up the place of `permit`.
    #[must_use]
    pub fn open(self: &Arc<Self>, generation: Generation, transport: Transport, permit: Permit) -> Arc<Link> {
        let mut table = self.table();
        let key = table.next_key;
        table.next_key += 1;
        let link = Arc::new(Link::new(self.clone(), key, generation, transport, permit));
        table.by_key.insert(key, Arc::downgrade(&link));
        self.open.send_replace(table.by_key.len());
        self.metrics.opened(transport, generation);
        link
    }

    /// The link of the session with this id, if it began with polling and is still there.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Link>> {
        self.table().by_id.get(id)?.upgrade()
    }

    /// All links there are now.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Link>> {
        self.table().by_key.values().filter_map(Weak::upgrade).collect()
    }

    /// Bytes queued for all sessions together.
    #[must_use]
    pub fn queued(&self) -> usize {
        usize::try_from(self.queued.load(Relaxed)).unwrap_or(0)
    }

    /// Messages that cost `bytes` together have been queued; should that be too much for the node,
    /// the patrol sees to it.
    pub fn enqueued(&self, bytes: usize) {
        self.queued.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }

    /// Messages that cost `bytes` together have left their queues.
    pub(super) fn dequeued(&self, bytes: u64) {
        self.queued.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }

    /// What bounds the send queues together, and the patience with clients.
    pub(super) fn bounds(&self) -> Arc<Bounds> {
        self.bounds.load_full()
    }

    /// Most bytes in one send queue, unless they are one message.
    #[must_use]
    pub fn longest_queue(&self) -> u64 {
        self.longest_queue.load(Relaxed)
    }

    /// How packets are written.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How many links there are, now and after every change.
    #[must_use]
    pub fn count(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    /// Ends every session, and the stream that carries it without another word.
    pub fn kill_all(&self, cause: Disconnection) {
        for link in self.all() {
            link.fate().kill(cause);
            if link.transport() == Transport::Polling {
                // A stream does not carry it, but a poll may wait on one, and is answered at once.
                link.close(cause);
            }
        }
    }

    /// Waits until there is no link left.
    ///
    /// Clients that have stopped polling will never hear that their session is over, and are not
    /// waited for, unless they would lose messages: then for as long as messages may wait.
    pub async fn none_left(&self) {
        let mut open = self.count();
        // The sender lives in `self`, so waiting ends only with the condition, or the patience.
        while timeout(SILENCE / 4, open.wait_for(|open| *open == 0)).await.is_err() {
            self.all().iter().filter(|link| link.is_silent()).for_each(|link| link.end());
        }
    }

    /// Takes the lock that every session needs, and gives it back: whoever comes back from here has seen
    /// that it can be had.
    pub fn take_lock(&self) {
        drop(self.table());
    }

    pub(super) fn metrics(&self) -> &Connections {
        &self.metrics
    }

    /// Makes a link known under its session's id.
    pub(super) fn name(&self, id: &str, link: &Arc<Link>) {
        self.table().by_id.insert(id.into(), Arc::downgrade(link));
    }

    /// Takes a link off the list, and off the ids if it has one.
    pub(super) fn forget(&self, key: u64, id: Option<&str>) {
        let mut table = self.table();
        table.by_key.remove(&key);
        if let Some(id) = id {
            table.by_id.remove(id);
        }
        // Under the lock, so that the counts arrive in order.
        self.open.send_replace(table.by_key.len());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
