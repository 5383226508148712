//! A session: one client, from its CONNECT to its disconnect.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;

use crate::broker::sockets::SocketId;
use crate::protocol::Room;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::link::Link;

/// One client in the namespace.
#[derive(Debug)]
pub(super) struct Session {
    id: SocketId,
    link: Arc<Link>,
    /// The rooms it is in; changed only by `Members`, under its lock.
    rooms: Mutex<HashSet<Room>>,
    /// Why we end it, once we do.
    ended: OnceLock<Disconnection>,
}

impl Session {
    pub(super) fn new(id: SocketId, link: Arc<Link>) -> Self {
        Self { id, link, rooms: Mutex::default(), ended: OnceLock::new() }
    }

    /// Its id, which is a secret: whoever knows it can take over a polling session.
    pub(super) fn id(&self) -> SocketId {
        self.id
    }

    /// Its way to the client.
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The rooms it is in.
    pub(super) fn rooms(&self) -> MutexGuard<'_, HashSet<Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// We end the session for `reason`: from now on its events are refused.
    pub(super) fn end(&self, reason: Disconnection) {
        // The first reason counts.
        let _ = self.ended.set(reason);
    }

    /// Why we end the session, if we do.
    pub(super) fn ended(&self) -> Option<Disconnection> {
        self.ended.get().copied()
    }
}
