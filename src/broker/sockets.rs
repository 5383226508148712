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
use socketioxide_core::adapter::BroadcastOptions;
use socketioxide_core::adapter::CoreAdapter;
use socketioxide_core::adapter::CoreLocalAdapter;
use socketioxide_core::adapter::DefinedAdapter;
use socketioxide_core::adapter::SocketEmitter;
use socketioxide_core::packet::Packet;

use crate::broker::message::Message;
use crate::broker::session::Session;
use crate::protocol::Encoding;

/// A session's id, as the library makes it.
pub(super) use socketioxide_core::Sid as SocketId;

/// The library's adapter type with which everything here is instantiated.
pub(super) type Adapter = RoomAdapter<Emitter>;

/// What the library is to send with these arguments.
fn value(encoding: Encoding, bytes: &Bytes, attachments: &VecDeque<Bytes>) -> Value {
    match encoding {
        // Made of slices of a text, between ASCII: it is one.
        Encoding::Json => {
            let attachments = (!attachments.is_empty()).then(|| attachments.clone());
            Value::Str(Str::from(String::from_utf8_lossy(bytes).into_owned()), attachments)
        }
        Encoding::Msgpack => Value::Bytes(bytes.clone()),
    }
}

/// The way out to clients: what the library's adapter can do, for whoever does not know its type.
///
/// It is for those who cannot be [offered](crate::wire::link::Link::offer) a message directly. Messages go
/// out raw and encoded once. The library's own rooms have one member each, as it knows no other way to
/// send the same to several.
#[derive(Clone, Default)]
pub(super) struct Sockets(Arc<OnceLock<Weak<dyn Local>>>);

trait Local: Send + Sync {
    fn send(&self, packet: Packet, to: BroadcastOptions);
    fn join(&self, id: SocketId, room: String);
    fn leave_all(&self, id: SocketId);
}

impl Sockets {
    /// Takes a client out of the room that is its own.
    pub(super) fn leave_all(&self, id: SocketId) {
        self.with(|local| local.leave_all(id));
    }

    /// Sends an event to each of `sessions`.
    pub(super) fn event(&self, encoding: Encoding, message: &Message, sessions: &[Arc<Session>]) {
        self.with(|local| {
            let mut to = BroadcastOptions::default();
            for session in sessions {
                let own = session.id().to_string();
                session.set_apart(|| local.join(session.id(), own.clone()));
                to.rooms.push(own.into());
            }
            let value = value(encoding, message.arguments(), message.attachments());
            local.send(Packet::event("/", value), to);
        });
    }

    /// Sends an acknowledgement of the event `ack` to the client `id`.
    pub(super) fn acknowledgement(&self, encoding: Encoding, message: &Message, id: SocketId, ack: i64) {
        let value = value(encoding, message.arguments(), message.attachments());
        self.with(|local| local.send(Packet::ack("/", value, ack), BroadcastOptions::new(id)));
    }

    /// Queues the mark that ends a session: an event without data.
    pub(super) fn end(&self, encoding: Encoding, id: SocketId) {
        let mark = Packet::event("/", value(encoding, &Bytes::new(), &VecDeque::new()));
        self.with(|local| local.send(mark, BroadcastOptions::new(id)));
    }

    fn with(&self, act: impl FnOnce(&dyn Local)) {
        // Before the namespace is there, and after it is gone, nobody is connected.
        if let Some(local) = self.0.get().and_then(Weak::upgrade) {
            act(&*local);
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
