//! Who is connected and who is in which room.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockWriteGuard;

use crate::broker::session::Session;
use crate::broker::sockets::SocketId;
use crate::protocol::Refusal;
use crate::protocol::Room;
use crate::relay::Relay;
use crate::telemetry::events::Events;

/// Sessions by id.
pub(super) type Sessions = HashMap<SocketId, Arc<Session>>;

/// The index of sessions and rooms.
///
/// One lock guards it all: whoever is in a room when a message is published gets it, and who has
/// left is in no room. A message is queued for its recipients while the lock is held for reading.
pub(super) struct Members {
    index: RwLock<Index>,
    metrics: Events,
    /// Who hears of rooms that are there, and gone.
    relay: Option<Relay>,
}

#[derive(Default)]
struct Index {
    everyone: Sessions,
    rooms: HashMap<Room, Sessions>,
    closed: bool,
}

impl Members {
    pub(super) fn new(metrics: Events, relay: Option<Relay>) -> Self {
        Self { index: RwLock::default(), metrics, relay }
    }

    /// Lets a client in; `false` when nobody is admitted any more.
    pub(super) fn enter(&self, session: &Arc<Session>) -> bool {
        let mut index = self.write();
        if !index.closed {
            index.everyone.insert(session.id(), session.clone());
        }
        !index.closed
    }

    /// Admits nobody any more, and says who is there.
    pub(super) fn close(&self) -> Vec<Arc<Session>> {
        let mut index = self.write();
        index.closed = true;
        index.everyone.values().cloned().collect()
    }

    /// Puts a client into a room, of which it may be in `limit`.
    pub(super) fn join(&self, session: &Arc<Session>, room: Room, limit: usize) -> Result<(), Refusal> {
        let mut index = self.write();
        let mut rooms = session.rooms();
        if !index.everyone.contains_key(&session.id()) || rooms.contains(&room) {
            return Ok(());
        }
        if rooms.len() >= limit {
            return Err(Refusal::TooManyRooms);
        }
        rooms.insert(room.clone());
        self.metrics.subscriptions.increment(1);
        let members = match index.rooms.entry(room) {
            Entry::Occupied(members) => members.into_mut(),
            Entry::Vacant(place) => {
                self.metrics.rooms.increment(1);
                self.relay.iter().for_each(|relay| relay.joined(place.key()));
                place.insert(Sessions::default())
            }
        };
        members.insert(session.id(), session.clone());
        Ok(())
    }

    /// Takes a client out of a room.
    pub(super) fn leave(&self, session: &Session, room: Room) {
        let mut index = self.write();
        if session.rooms().remove(&room) {
            self.forget(&mut index, session, room);
        }
    }

    /// Takes a client out of every room and off the list; `departed` is called if it was there.
    pub(super) fn depart(&self, session: &Session, departed: impl FnOnce()) {
        let mut index = self.write();
        // A client that enters the namespace again has the same id and another session.
        match index.everyone.entry(session.id()) {
            Entry::Occupied(entry) if std::ptr::eq(Arc::as_ptr(entry.get()), session) => drop(entry.remove()),
            _ => return,
        }
        for room in session.rooms().drain() {
            self.forget(&mut index, session, room);
        }
        departed();
    }

    /// Calls `with` with those who are in `room` now, if anyone is.
    pub(super) fn in_room<T>(&self, room: &Room, with: impl FnOnce(&Sessions) -> T) -> Option<T> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.rooms.get(room).map(with)
    }

    /// Calls `with` with everyone who is connected now.
    pub(super) fn everyone<T>(&self, with: impl FnOnce(&Sessions) -> T) -> T {
        with(&self.index.read().unwrap_or_else(PoisonError::into_inner).everyone)
    }

    /// Waits until nobody uses the index, and does nothing with it. Whoever reads it and never ends would
    /// not keep out another reader, but does keep out who writes.
    pub(super) fn take_lock(&self) {
        drop(self.write());
    }

    fn forget(&self, index: &mut Index, session: &Session, room: Room) {
        self.metrics.subscriptions.decrement(1);
        if let Entry::Occupied(mut members) = index.rooms.entry(room) {
            members.get_mut().remove(&session.id());
            if members.get().is_empty() {
                self.relay.iter().for_each(|relay| relay.left(members.key()));
                members.remove();
                self.metrics.rooms.decrement(1);
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
