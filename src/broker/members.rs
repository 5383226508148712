//! Who is connected and who is in which room.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;

use crate::broker::session::Session;
use crate::broker::sockets::SocketId;
use crate::protocol::Refusal;
use crate::protocol::Room;
use crate::relay::Relay;
use crate::telemetry::events::Events;

/// Sessions by id.
pub(super) type Sessions = HashMap<SocketId, Arc<Session>>;

/// The rooms are looked up in so many tables, so that those who join do not wait for each other.
const TABLES: usize = 64;

/// The index of sessions and rooms.
///
/// Each room has a lock of its own. Whoever is in it when a message is published gets it: the message is
/// queued for its recipients while that lock is held for reading. What is published to one room keeps
/// nobody waiting who joins another, or publishes there.
///
/// Locks are taken in this order: a session's rooms, a table of rooms, a room.
pub(super) struct Members {
    everyone: RwLock<Everyone>,
    rooms: [RwLock<HashMap<Room, Arc<RwLock<Sessions>>>>; TABLES],
    hasher: RandomState,
    metrics: Events,
    /// Who hears of rooms that are there, and gone.
    relay: Option<Relay>,
}

#[derive(Default)]
struct Everyone {
    sessions: Sessions,
    closed: bool,
}

impl Members {
    pub(super) fn new(metrics: Events, relay: Option<Relay>) -> Self {
        Self {
            everyone: RwLock::default(),
            rooms: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
            metrics,
            relay,
        }
    }

    /// Lets a client in; `false` when nobody is admitted any more.
    pub(super) fn enter(&self, session: &Arc<Session>) -> bool {
        let mut everyone = write(&self.everyone);
        if !everyone.closed {
            everyone.sessions.insert(session.id(), session.clone());
        }
        !everyone.closed
    }

    /// Admits nobody any more, and says who is there.
    pub(super) fn close(&self) -> Vec<Arc<Session>> {
        let mut everyone = write(&self.everyone);
        everyone.closed = true;
        everyone.sessions.values().cloned().collect()
    }

    /// Puts a client into a room, of which it may be in `limit`.
    pub(super) fn join(&self, session: &Arc<Session>, room: Room, limit: usize) -> Result<(), Refusal> {
        let mut rooms = session.rooms();
        let Some(rooms) = rooms.as_mut().filter(|rooms| !rooms.contains(&room)) else { return Ok(()) };
        if rooms.len() >= limit {
            return Err(Refusal::TooManyRooms);
        }
        rooms.insert(room.clone());
        self.metrics.subscriptions.increment(1);
        let mut table = write(self.table(&room));
        let members = match table.entry(room) {
            Entry::Occupied(members) => members.into_mut(),
            Entry::Vacant(place) => {
                self.metrics.rooms.increment(1);
                self.relay.iter().for_each(|relay| relay.joined(place.key()));
                place.insert(Arc::default())
            }
        };
        write(members).insert(session.id(), session.clone());
        Ok(())
    }

    /// Takes a client out of a room.
    pub(super) fn leave(&self, session: &Session, room: Room) {
        let mut rooms = session.rooms();
        if rooms.as_mut().is_some_and(|rooms| rooms.remove(&room)) {
            self.forget(session, room);
        }
    }

    /// Takes a client out of every room and off the list, for good; `departed` is called if it was there, when
    /// nothing can be queued for it any more.
    pub(super) fn depart(&self, session: &Session, departed: impl FnOnce()) {
        // From here on it joins no room.
        let Some(rooms) = session.rooms().take() else { return };
        for room in rooms {
            self.forget(session, room);
        }
        let mut everyone = write(&self.everyone);
        if remove(&mut everyone.sessions, session) {
            departed();
        }
    }

    /// Calls `with` with those who are in `room` now, if anyone is.
    pub(super) fn in_room<T>(&self, room: &Room, with: impl FnOnce(&Sessions) -> T) -> Option<T> {
        let members = read(self.table(room)).get(room)?.clone();
        let members = read(&members);
        Some(with(&members))
    }

    /// Calls `with` with everyone who is connected now; meanwhile nobody comes or goes.
    pub(super) fn everyone<T>(&self, with: impl FnOnce(&Sessions) -> T) -> T {
        with(&read(&self.everyone).sessions)
    }

    /// Waits until nobody uses the list of those who are here, nor a table of rooms, and does nothing with
    /// them. Whoever reads one and never ends would not keep out another reader, but does keep out who writes.
    pub(super) fn take_locks(&self) {
        drop(write(&self.everyone));
        self.rooms.iter().for_each(|table| drop(write(table)));
    }

    fn forget(&self, session: &Session, room: Room) {
        self.metrics.subscriptions.decrement(1);
        let mut table = write(self.table(&room));
        if let Entry::Occupied(entry) = table.entry(room) {
            let is_empty = {
                let mut members = write(entry.get());
                remove(&mut members, session);
                members.is_empty()
            };
            if is_empty {
                self.relay.iter().for_each(|relay| relay.left(entry.key()));
                entry.remove();
                self.metrics.rooms.decrement(1);
            }
        }
    }

    /// The table that `room` is looked up in.
    #[expect(clippy::indexing_slicing, reason = "a remainder is less than what it is divided by")]
    fn table(&self, room: &Room) -> &RwLock<HashMap<Room, Arc<RwLock<Sessions>>>> {
        let hash = self.hasher.hash_one(room);
        &self.rooms[usize::try_from(hash % TABLES as u64).unwrap_or_default()]
    }
}

/// Removes a client, if it is there: one that enters the namespace again has the same id, and is another
/// session.
fn remove(sessions: &mut Sessions, session: &Session) -> bool {
    let Entry::Occupied(entry) = sessions.entry(session.id()) else { return false };
    let is_there = std::ptr::eq(Arc::as_ptr(entry.get()), session);
    if is_there {
        entry.remove();
    }
    is_there
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
