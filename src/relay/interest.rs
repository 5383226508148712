//! Interest: the rooms that this node wants to hear of, and how far it has heard of each.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::mem::take;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::protocol::Room;
use crate::relay::envelope::Envelope;
use crate::relay::node::Node;

/// How long a room stays subscribed to after its last client has left: one that comes back soon costs
/// nothing then.
const LINGER: Duration = Duration::from_secs(5);
/// Nodes that are kept apart in a room. Every start of a process is a new one, and the oldest is forgotten.
const NODES: usize = 64;

/// The rooms that this node wants to hear of.
#[derive(Debug, Default)]
pub(super) struct Interest {
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    rooms: HashMap<Room, Entry>,
    /// How far messages for everyone have been heard.
    everyone: Heard,
    /// Rooms that somebody has joined and that may not be subscribed to.
    joined: Vec<Room>,
    /// Rooms that the last one has left, and when to look at them again.
    left: VecDeque<(Instant, Room)>,
}

#[derive(Debug, Default)]
struct Entry {
    is_subscribed: bool,
    /// Since when it has no client; none while it has one.
    left: Option<Instant>,
    /// Whether it is among those that are to be looked at again.
    lingers: bool,
    heard: Heard,
}

/// What has been heard last of each node, the one that was heard of first in front.
#[derive(Debug, Default)]
struct Heard(Vec<(Node, u64)>);

/// What is to be changed at the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<Room>,
    pub(super) unsubscribe: Vec<Room>,
}

impl Interest {
    /// The first client is in `room`.
    pub(super) fn joined(&self, room: &Room) {
        let mut table = self.table();
        let entry = table.rooms.entry(room.clone()).or_default();
        entry.left = None;
        if !entry.is_subscribed {
            table.joined.push(room.clone());
            drop(table);
            self.changed.notify_one();
        }
    }

    /// The last client has left `room`.
    pub(super) fn left(&self, room: &Room) {
        let mut table = self.table();
        let now = Instant::now();
        let Some(entry) = table.rooms.get_mut(room) else { return };
        entry.left = Some(now);
        // However often clients come and go, it is there once.
        if !std::mem::replace(&mut entry.lingers, true) {
            table.left.push_back((now + LINGER, room.clone()));
            drop(table);
            self.changed.notify_one();
        }
    }

    /// Whether an envelope is for anyone here, and comes behind those of its node that have been heard:
    /// what a connection that was given up has held back comes too late.
    pub(super) fn is_next(&self, envelope: &Envelope) -> bool {
        let mut table = self.table();
        let heard = match &envelope.room {
            None => &mut table.everyone,
            Some(room) => match table.rooms.get_mut(room) {
                Some(entry) => &mut entry.heard,
                None => return true, // It is for nobody, and so is not stale.
            },
        };
        heard.hear(envelope.node, envelope.sequence)
    }

    /// Nothing is subscribed to at a server that has just been connected to.
    pub(super) fn forget_subscriptions(&self) {
        let mut table = self.table();
        let Table { rooms, joined, .. } = &mut *table;
        joined.clear();
        for (room, entry) in rooms {
            entry.is_subscribed = false;
            if entry.left.is_none() {
                joined.push(room.clone());
            }
        }
    }

    /// Waits until something is to be changed, and says what: at most so many rooms of each kind. What it
    /// has said counts as done.
    pub(super) async fn changes(&self, most: usize) -> Changes {
        loop {
            let changed = self.changed.notified();
            let (changes, next) = self.table().changes(most);
            if changes != Changes::default() {
                return changes;
            }
            match next {
                Some(next) => drop(timeout_at(next, changed).await),
                None => changed.await,
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// What is to be changed now, and when there may be something else.
    fn changes(&mut self, most: usize) -> (Changes, Option<Instant>) {
        let mut changes = Changes::default();
        while changes.subscribe.len() < most
            && let Some(room) = self.joined.pop()
        {
            let Some(entry) = self.rooms.get_mut(&room) else { continue };
            if entry.left.is_none() && !std::mem::replace(&mut entry.is_subscribed, true) {
                changes.subscribe.push(room);
            }
        }
        let now = Instant::now();
        while changes.unsubscribe.len() < most
            && let Some((due, _)) = self.left.front()
        {
            if *due > now {
                return (changes, Some(*due));
            }
            let Some((_, room)) = self.left.pop_front() else { break };
            let Some(entry) = self.rooms.get_mut(&room) else { continue };
            entry.lingers = false;
            let Some(left) = entry.left else { continue };
            if left + LINGER > now {
                // Somebody was here meanwhile.
                entry.lingers = true;
                self.left.push_back((left + LINGER, room));
            } else if self.rooms.remove(&room).is_some_and(|entry| entry.is_subscribed) {
                changes.unsubscribe.push(room);
            }
        }
        if self.joined.is_empty() {
            // Of a great many at a start only the memory would be left.
            drop(take(&mut self.joined));
        }
        (changes, None)
    }
}

impl Heard {
    /// Notes message `sequence` of `node`; `false` if that one, or a later one, has been heard.
    fn hear(&mut self, node: Node, sequence: u64) -> bool {
        if let Some((_, last)) = self.0.iter_mut().find(|(known, _)| *known == node) {
            let is_next = *last < sequence;
            *last = sequence.max(*last);
            return is_next;
        }
        if self.0.len() == NODES {
            self.0.remove(0);
        }
        self.0.push((node, sequence));
        true
    }
}
