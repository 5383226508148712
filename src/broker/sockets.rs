//! The way out to clients, and the engine through which they come: the seam with socketioxide.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use socketioxide::adapter::Emitter;
use socketioxide_core::Str;
use socketioxide_core::Value;
use socketioxide_core::adapter::BroadcastFlags;
use socketioxide_core::adapter::BroadcastOptions;
use socketioxide_core::adapter::CoreAdapter;
use socketioxide_core::adapter::CoreLocalAdapter;
use socketioxide_core::adapter::DefinedAdapter;
use socketioxide_core::adapter::SocketEmitter;
use socketioxide_core::packet::Packet;

use crate::broker::Broker;
use crate::broker::session::Session;
use crate::protocol::Encoding;
use crate::protocol::Refusal;
use crate::protocol::Room;
use crate::wire::payload::message_cost;

/// A session's id, as the library makes it.
pub(super) use socketioxide_core::Sid as SocketId;

/// The library's adapter type with which everything here is instantiated.
pub(super) type Adapter = RoomAdapter<Emitter>;
/// A message on its way to clients, and what it takes of their send queues.
#[derive(Clone, Debug)]
pub(super) struct Message {
    value: Value,
    cost: usize,
}

impl Message {
    /// An event with `arguments`, its name first, and the attachments they refer to.
    pub(super) fn event(encoding: Encoding, arguments: Vec<u8>, attachments: &VecDeque<Bytes>) -> Self {
        let attached: usize = attachments.iter().map(|bytes| message_cost(bytes.len())).sum();
        let digits = if attachments.is_empty() { 0 } else { attachments.len().to_string().len() + 1 };
        let cost = message_cost(1 + digits + arguments.len()) + attached;
        let attachments = (!attachments.is_empty()).then(|| attachments.clone());
        Self { value: value(encoding, arguments, attachments), cost }
    }

    /// The arguments of an acknowledgement.
    fn acknowledgement(encoding: Encoding, arguments: Vec<u8>) -> Self {
        let cost = message_cost(1 + arguments.len());
        Self { value: value(encoding, arguments, None), cost }
    }

    /// What it takes of a send queue.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Its bytes, attachments included.
    pub(super) fn bytes(&self) -> usize {
        match &self.value {
            Value::Str(text, attachments) => {
                text.len() + attachments.iter().flatten().map(Bytes::len).sum::<usize>()
            }
            Value::Bytes(bytes) => bytes.len(),
        }
    }
}

fn value(encoding: Encoding, bytes: Vec<u8>, attachments: Option<VecDeque<Bytes>>) -> Value {
    match encoding {
        // Made of slices of a text, between ASCII: it is one. The check costs less than a copy.
        Encoding::Json => match String::from_utf8(bytes) {
            Ok(text) => Value::Str(Str::from(text), attachments),
            Err(error) => {
                Value::Str(Str::from(String::from_utf8_lossy(error.as_bytes()).into_owned()), attachments)
            }
        },
        Encoding::Msgpack => Value::Bytes(bytes.into()),
    }
}

/// The way out to clients: what the library's adapter can do, for whoever does not know its type.
///
/// Messages go out raw and encoded once. The library's own rooms mirror those of `Members`.
#[derive(Clone, Default)]
pub(super) struct Sockets(Arc<OnceLock<Weak<dyn Local>>>);

trait Local: Send + Sync {
    fn send(&self, packet: Packet, to: BroadcastOptions);
    fn join(&self, id: SocketId, room: String);
    fn leave(&self, id: SocketId, room: String);
    fn leave_all(&self, id: SocketId);
}

impl Sockets {
    pub(super) fn join(&self, id: SocketId, room: &Room) {
        self.with(|local| local.join(id, key(room)));
    }

    pub(super) fn leave(&self, id: SocketId, room: &Room) {
        self.with(|local| local.leave(id, key(room)));
    }

    pub(super) fn leave_all(&self, id: SocketId) {
        self.with(|local| local.leave_all(id));
    }

    /// Sends a message to everyone in `room` but those who are `left_out`.
    pub(super) fn to_room(&self, room: &Room, left_out: &[Arc<Session>], message: Message) {
        let mut to = BroadcastOptions::default();
        to.rooms.push(key(room).into());
        self.event(message, to, left_out);
    }

    /// Sends a message to everyone but the client `id` and those who are `left_out`.
    pub(super) fn to_all_but(&self, id: SocketId, left_out: &[Arc<Session>], message: Message) {
        let mut to = BroadcastOptions::new(id);
        to.add_flag(BroadcastFlags::Broadcast);
        self.event(message, to, left_out);
    }

    /// Queues the mark that ends a session: an event without data.
    pub(super) fn end(&self, encoding: Encoding, id: SocketId) {
        let mark = Packet::event("/", value(encoding, Vec::new(), None));
        self.with(|local| local.send(mark, BroadcastOptions::new(id)));
    }

    fn event(&self, message: Message, mut to: BroadcastOptions, left_out: &[Arc<Session>]) {
        self.with(|local| {
            for session in left_out {
                // The library leaves out rooms, so each of them gets one to itself.
                let own = format!("s{}", session.id());
                session.set_apart(|| local.join(session.id(), own.clone()));
                to.except.push(own.into());
            }
            local.send(Packet::event("/", message.value), to);
        });
    }

    fn with(&self, act: impl FnOnce(&dyn Local)) {
        // Before the namespace is there, and after it is gone, nobody is connected.
        if let Some(local) = self.0.get().and_then(Weak::upgrade) {
            act(&*local);
        }
    }
}

/// The library's name of a room: kinds do not mix, so that `7` is not `"7"`.
fn key(room: &Room) -> String {
    match room {
        Room::Text(text) => format!("t{text}"),
        Room::Integer(number) => format!("i{number}"),
    }
}

impl Broker {
    /// Tells a client how its event with this acknowledgement id has ended.
    pub(super) fn acknowledge(&self, session: &Session, ack: i64, outcome: Result<(), Refusal>) {
        let encoding = self.0.encoding;
        let arguments = match outcome {
            Ok(()) => encoding.success().to_vec(),
            Err(refusal) => encoding.refusal(refusal),
        };
        let message = Message::acknowledgement(encoding, arguments);
        if session.link().enqueue_acknowledgement(message.cost) {
            self.0.links.enqueued(message.cost);
            let packet = Packet::ack("/", message.value, ack);
            self.0.sockets.with(|local| local.send(packet, BroadcastOptions::new(session.id())));
        } else {
            self.disconnect_slow(session);
        }
    }
}

/// The library's local adapter, which hands its abilities to [`Sockets`].
pub(super) struct RoomAdapter<E> {
    local: CoreLocalAdapter<E>,
    sockets: Sockets,
}

impl<E: SocketEmitter> Local for RoomAdapter<E> {
    fn send(&self, packet: Packet, to: BroadcastOptions) {
        // An error means that a recipient is just leaving: its queue is closed, or it is full
        // because nobody empties it, in which case its send queue has filled up long before.
        let _ = self.local.broadcast(packet, to);
    }

    fn join(&self, id: SocketId, room: String) {
        self.local.add_all(id, room);
    }

    fn leave(&self, id: SocketId, room: String) {
        self.local.del(id, room);
    }

    fn leave_all(&self, id: SocketId) {
        self.local.del_all(id);
    }
}

impl<E: SocketEmitter> CoreAdapter<E> for RoomAdapter<E> {
    type Error = Infallible;
    type State = Sockets;
    type AckStream = E::AckStream;
    type InitRes = ();

    fn new(sockets: &Sockets, local: CoreLocalAdapter<E>) -> Self {
        Self { local, sockets: sockets.clone() }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) {
        let local: Weak<Self> = Arc::downgrade(&self);
        // There is one namespace; the first to come is the only one.
        let _ = self.sockets.0.set(local);
        on_success();
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        to: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<Self::AckStream, Infallible> {
        Ok(self.local.broadcast_with_ack(packet, to, timeout).0)
    }

    fn get_local(&self) -> &CoreLocalAdapter<E> {
        &self.local
    }
}

impl<E> DefinedAdapter for RoomAdapter<E> {}
