//! A session: one client, from its CONNECT to its disconnect.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use arc_swap::ArcSwap;
use arc_swap::Guard;

use crate::access::Credentials;
use crate::access::Identity;
use crate::broker::expiry::Moment;
use crate::broker::sockets::SocketId;
use crate::protocol::Room;
use crate::wire::link::Link;

/// One client in the namespace.
#[derive(Debug)]
pub(super) struct Session {
    id: SocketId,
    link: Arc<Link>,
    /// What it has shown, which is looked at again when the rules change.
    credentials: Credentials,
    /// Who it is, by the rules that hold now.
    identity: ArcSwap<Identity>,
    /// Its place among those who expire.
    pub(super) expiry: Mutex<Option<Moment>>,
    /// The rooms it is in, none once it is gone for good; changed only by `Members`.
    rooms: Mutex<Option<HashSet<Room>>>,
    /// Whether the library sends it what is for everyone.
    connected: AtomicBool,
    /// Whether it is in a room of the library's that is its own.
    apart: OnceLock<()>,
}

impl Session {
    pub(super) fn new(
        id: SocketId,
        link: Arc<Link>,
        credentials: Credentials,
        identity: Arc<Identity>,
    ) -> Self {
        Self {
            id,
            link,
            credentials,
            identity: ArcSwap::new(identity),
            expiry: Mutex::default(),
            rooms: Mutex::new(Some(HashSet::new())),
            apart: OnceLock::new(),
            connected: AtomicBool::new(false),
        }
    }

    /// What it has shown.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Who it is.
    pub(super) fn identity(&self) -> Guard<Arc<Identity>> {
        self.identity.load()
    }

    /// From now on it is somebody else.
    pub(super) fn set_identity(&self, identity: Arc<Identity>) {
        self.identity.store(identity);
    }

    /// Its id, which is a secret: whoever knows it can take over a polling session.
    pub(super) fn id(&self) -> SocketId {
        self.id
    }

    /// Its way to the client.
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The rooms it is in, none once it is gone for good.
    pub(super) fn rooms(&self) -> MutexGuard<'_, Option<HashSet<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The library has let it in, and sends it what is for everyone.
    pub(super) fn set_connected(&self) {
        self.connected.store(true, SeqCst);
    }

    /// Whether a message for everyone is one for it; before, it would count and never be sent.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(SeqCst)
    }

    /// Has it put into a room of the library's that is its own, which is needed once; nobody goes on
    /// before it is in it.
    pub(super) fn set_apart(&self, put: impl FnOnce()) {
        self.apart.get_or_init(put);
    }
}
