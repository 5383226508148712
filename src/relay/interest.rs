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
    /// Whether there is a connection, which follows what changes.
    is_followed: bool,
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
    /// Whether it is among those that have been joined.
    is_new: bool,
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
        let is_followed = table.is_followed;
        let entry = table.rooms.entry(room.clone()).or_default();
        entry.left = None;
        // However often clients come and go, it is there once.
        let is_new = !entry.is_subscribed && is_followed && !std::mem::replace(&mut entry.is_new, true);
        if is_new {
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
        if !entry.is_subscribed && !entry.is_new && !entry.lingers {
            // As long as there is no connection, what nobody is in takes no memory.
            table.rooms.remove(room);
            return;
        }
        entry.left = Some(now);
        if !entry.is_subscribed {
            return; // It goes when its turn comes.
        }
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

    /// The server has ended the subscription to `room` by itself: if it is wanted, it is subscribed to again.
    /// Says whether there was one.
    pub(super) fn unsubscribed(&self, room: &Room) -> bool {
        let mut table = self.table();
        let Some(entry) = table.rooms.get_mut(room) else { return false };
        let was_subscribed = std::mem::take(&mut entry.is_subscribed);
        if was_subscribed && !std::mem::replace(&mut entry.is_new, true) {
            table.joined.push(room.clone());
            drop(table);
            self.changed.notify_one();
        }
        was_subscribed
    }

    /// A connection is there, at whose other end nothing is subscribed to.
    pub(super) fn begin(&self) {
        let mut table = self.table();
        let Table { rooms, joined, is_followed, .. } = &mut *table;
        *is_followed = true;
        *joined = rooms.keys().cloned().collect();
        for entry in rooms.values_mut() {
            entry.is_new = true;
        }
    }

    /// The connection is gone, and with it what was subscribed to.
    pub(super) fn end(&self) {
        let mut table = self.table();
        let Table { rooms, joined, left, is_followed, .. } = &mut *table;
        (*joined, *left, *is_followed) = Default::default();
        rooms.retain(|_, entry| {
            entry.is_subscribed = false;
            entry.is_new = false;
            entry.lingers = false;
            entry.left.is_none()
        });
    }

    /// Waits until something is to be changed, and says what: at most so many rooms of each kind. What it
    /// has said counts as done.
    pub(super) async fn changes(&self, most: usize) -> Changes {
        loop {
            let changed = self.changed.notified();
            let (found, next) = self.table().changes(most);
            if found != Changes::default() {
                return found;
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
            entry.is_new = false;
            if entry.left.is_none() {
                entry.is_subscribed = true;
                changes.subscribe.push(room);
            } else if !entry.lingers {
                self.rooms.remove(&room);
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use tokio::time::advance;
    use tokio::time::timeout;

    use crate::protocol::Encoding;

    use super::*;

    fn room(name: &str) -> Room {
        Room::Text(name.into())
    }

    fn envelope(node: u8, sequence: u64, room: Option<Room>) -> Envelope {
        Envelope {
            node: Node([node; Node::LENGTH]),
            sequence,
            encoding: Encoding::Json,
            room,
            text: Bytes::new(),
            attachments: VecDeque::new(),
        }
    }

    fn followed() -> Interest {
        let interest = Interest::default();
        interest.begin();
        interest
    }

    /// How many rooms there are, how many were joined, and at how many is to be looked again.
    fn lengths(interest: &Interest) -> [usize; 3] {
        let table = interest.table();
        [table.rooms.len(), table.joined.len(), table.left.len()]
    }

    /// What is to be changed now; nothing if there is nothing.
    async fn changes(interest: &Interest) -> Changes {
        timeout(Duration::from_millis(1), interest.changes(10)).await.unwrap_or_default()
    }

    fn subscribe(names: &[&str]) -> Changes {
        Changes { subscribe: names.iter().map(|name| room(name)).collect(), ..Changes::default() }
    }

    fn unsubscribe(names: &[&str]) -> Changes {
        Changes { unsubscribe: names.iter().map(|name| room(name)).collect(), ..Changes::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_is_subscribed_to_from_its_first_client_until_a_while_after_its_last() {
        let interest = followed();
        interest.joined(&room("a"));
        assert_eq!(changes(&interest).await, subscribe(&["a"]));
        interest.left(&room("a"));
        advance(LINGER / 2).await;
        assert_eq!(changes(&interest).await, Changes::default());
        advance(LINGER / 2).await;
        assert_eq!(changes(&interest).await, unsubscribe(&["a"]));
        interest.joined(&room("a"));
        assert_eq!(changes(&interest).await, subscribe(&["a"]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_says_no_more_of_is_subscribed_to_again_if_somebody_is_there() {
        let interest = followed();
        for name in ["a", "b"] {
            interest.joined(&room(name));
            assert_eq!(changes(&interest).await, subscribe(&[name]));
        }
        interest.left(&room("b"));
        for (name, expected) in [("a", true), ("a", false), ("b", true), ("c", false)] {
            assert_eq!(interest.unsubscribed(&room(name)), expected, "{name}");
        }
        assert_eq!(changes(&interest).await, subscribe(&["a"]));
        interest.joined(&room("b"));
        assert_eq!(changes(&interest).await, subscribe(&["b"]));
        advance(LINGER * 2).await;
        assert_eq!(changes(&interest).await, Changes::default(), "somebody is there");
        interest.left(&room("a"));
        assert!(interest.unsubscribed(&room("a")));
        advance(LINGER * 2).await;
        assert_eq!(changes(&interest).await, Changes::default(), "it is not subscribed to any more");
        assert_eq!(lengths(&interest), [1, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_come_and_go_cost_the_server_nothing_and_no_memory() {
        let interest = Interest::default();
        for number in 0..1000 {
            interest.joined(&room("a"));
            interest.joined(&room(&number.to_string()));
            interest.left(&room("a"));
            interest.left(&room(&number.to_string()));
        }
        assert_eq!(lengths(&interest), [0, 0, 0]);
        interest.begin();
        assert_eq!(changes(&interest).await, Changes::default(), "nobody is there");
        interest.joined(&room("a"));
        assert_eq!(changes(&interest).await, subscribe(&["a"]));
        for _ in 0..1000 {
            interest.left(&room("a"));
            interest.joined(&room("a"));
        }
        assert_eq!(lengths(&interest), [1, 0, 1]);
        advance(LINGER * 2).await;
        assert_eq!(changes(&interest).await, Changes::default(), "somebody is there");
        interest.left(&room("a"));
        advance(LINGER / 2).await;
        interest.joined(&room("a"));
        interest.left(&room("a"));
        advance(LINGER / 2 + Duration::from_millis(10)).await;
        assert_eq!(changes(&interest).await, Changes::default(), "it has been left half that time ago");
        advance(LINGER / 2).await;
        assert_eq!(changes(&interest).await, unsubscribe(&["a"]));
        assert_eq!(lengths(&interest), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_come_and_go_while_a_server_does_not_answer_take_no_memory() {
        let interest = followed();
        for _ in 0..1000 {
            interest.joined(&room("a"));
            interest.left(&room("a"));
        }
        assert_eq!(lengths(&interest), [1, 1, 0]);
        interest.joined(&room("b"));
        assert_eq!(changes(&interest).await, subscribe(&["b"]));
        assert_eq!(lengths(&interest), [1, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_begins_with_all_rooms_that_have_clients_some_at_a_time() {
        let interest = followed();
        let names: Vec<_> = (0..25).map(|number| number.to_string()).collect();
        for name in &names {
            interest.joined(&room(name));
        }
        interest.left(&room("7"));
        for _ in 0..2 {
            interest.end();
            interest.begin();
            let mut subscribed = Vec::new();
            for _ in 0..3 {
                let changes = changes(&interest).await;
                assert!(changes.subscribe.len() <= 10 && changes.unsubscribe.is_empty());
                subscribed.extend(changes.subscribe);
            }
            assert_eq!(changes(&interest).await, Changes::default());
            assert!(subscribed.len() == 24 && !subscribed.contains(&room("7")), "{subscribed:?}");
        }
        advance(LINGER * 2).await;
        assert_eq!(changes(&interest).await, Changes::default(), "it is not subscribed to any more");
    }

    #[tokio::test]
    async fn of_each_node_and_room_only_what_comes_behind_the_last_is_next() {
        let interest = followed();
        interest.joined(&room("a"));
        interest.joined(&room("b"));
        for (node, sequence, name, expected) in [
            (1, 5, Some("a"), true),
            (1, 5, Some("a"), false),
            (1, 4, Some("a"), false),
            (1, 4, Some("b"), true),
            (2, 1, Some("a"), true),
            (1, 9, Some("a"), true),
            (1, 6, Some("a"), false),
            (1, 2, None, true),
            (1, 2, None, false),
        ] {
            let envelope = envelope(node, sequence, name.map(room));
            assert_eq!(interest.is_next(&envelope), expected, "{envelope:?}");
        }
        for node in 0..=u8::MAX {
            let sequence = u64::from(node) + 1000;
            assert!(interest.is_next(&envelope(node, sequence, Some(room("a")))), "whoever is new is heard");
        }
        let table = interest.table();
        assert!(table.rooms.values().all(|entry| entry.heard.0.len() <= NODES));
    }
}
