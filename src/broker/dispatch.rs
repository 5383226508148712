//! Dispatch: one event of one client from the library, inline in the read loop of its connection.
//!
//! Inline, because the library runs async handlers as tasks of their own, which reorders what one
//! client emits.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

use bytes::Bytes;
use socketioxide::handler::DisconnectHandler;
use socketioxide::handler::MessageHandler;
use socketioxide::socket::DisconnectReason;
use socketioxide::socket::Socket;
use socketioxide_core::Value;
use tracing::debug;

use crate::access::Denial;
use crate::access::Grant;
use crate::access::Identity;
use crate::broker::Broker;
use crate::broker::Live;
use crate::broker::gather::Publisher;
use crate::broker::message::Message;
use crate::broker::session::Session;
use crate::broker::sockets::Adapter;
use crate::broker::subscribe;
use crate::protocol::Attachments;
use crate::protocol::Event;
use crate::protocol::EventName;
use crate::protocol::Refusal;
#[cfg(debug_assertions)]
use crate::protocol::Room;
use crate::telemetry::disconnection::Disconnection;

/// The handler of one client's events.
pub(super) struct Dispatch(Arc<Publisher>);

/// One event: whose it is, and what holds for it.
pub(super) struct Turn<'a> {
    pub(super) broker: &'a Broker,
    pub(super) session: &'a Arc<Session>,
    pub(super) live: &'a Live,
    publisher: &'a Arc<Publisher>,
}

impl Dispatch {
    pub(super) fn new(broker: Broker, session: Arc<Session>) -> Self {
        Self(Arc::new(Publisher::new(broker, session)))
    }

    fn event(&self, value: &Value) -> Result<(), Refusal> {
        let (broker, session) = (self.0.broker(), self.0.session());
        let live = broker.0.live.load();
        let (body, attachments) = match value {
            Value::Str(text, attachments) => (text.as_bytes(), attachments.as_ref()),
            Value::Bytes(bytes) => (bytes.as_ref(), None),
        };
        let none = VecDeque::new();
        let attachments = attachments.unwrap_or(&none);
        let sizes: Attachments = attachments.iter().map(Bytes::len).collect();
        let bytes = body.len() + sizes.bytes;
        let turn = Turn { broker, session, live: &live, publisher: &self.0 };
        let (name, outcome) = match turn.may_act(bytes) {
            Ok(()) => {
                let (name, event) = broker.0.encoding.parse(body, sizes, &live.bounds);
                (name, event.and_then(|event| turn.act(event, attachments)))
            }
            // Refused unread: what it is called would cost as much as what it says.
            Err(refusal) => (EventName::Other, Err(refusal)),
        };
        broker.0.metrics.handled(name, bytes, outcome);
        outcome
    }
}

impl Turn<'_> {
    /// Whether the client may emit anything now, an event of `bytes` bytes.
    fn may_act(&self, bytes: usize) -> Result<(), Refusal> {
        let link = self.session.link();
        match link.fate().cause() {
            None => {
                let identity = self.session.identity();
                self.live.allowance.spend(link.heard().spending(), bytes, identity.limits())
            }
            Some(_) => Err(Refusal::ShuttingDown),
        }
    }

    fn act(&self, event: Event<'_>, attachments: &VecDeque<Bytes>) -> Result<(), Refusal> {
        #[cfg(debug_assertions)]
        self.break_on_request(&event);
        let encoding = self.broker.0.encoding;
        if !matches!(event, Event::Publish { .. }) {
            self.publisher.deliver();
        }
        match event {
            Event::Subscribe(room) => subscribe::subscribe(self, room)?,
            Event::Unsubscribe(room) => subscribe::unsubscribe(self, room),
            Event::Publish { room, room_text, message } => {
                self.allowed("publish", |identity| identity.may_publish(&room))?;
                let data = encoding.data(room_text, message);
                self.publisher.publish(room, Message::event(encoding, &data, attachments));
            }
            Event::Broadcast { message } => {
                self.allowed("broadcast", Identity::may_broadcast)?;
                let data = encoding.broadcast(message);
                self.broker.broadcast(self.session, Message::event(encoding, &data, attachments));
            }
        }
        Ok(())
    }

    /// Fails when the event asks for it, so that a test can see what a defect of ours would cost.
    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "that is what it is for; it is not in a release")]
    fn break_on_request(&self, event: &Event<'_>) {
        let Event::Subscribe(Room::Text(room)) = event else { return };
        match &**room {
            "\0panic" => panic!("as the test wishes"),
            "\0hang" => hang(),
            "\0hold" => self.broker.0.members.everyone(|_| hang()),
            "\0hold a room" => {
                let broker = self.broker.clone();
                // In a thread of its own, so that no task waits behind it in the queue of a worker.
                std::thread::spawn(move || {
                    broker.0.members.in_room(&Room::Text("held".into()), |_| hang());
                });
            }
            _ => {}
        }
    }
}

impl Turn<'_> {
    /// Refuses what the client's role does not allow.
    pub(super) fn allowed(
        &self,
        action: &'static str,
        decide: impl FnOnce(&Identity) -> Result<Grant<'_>, Denial<'_>>,
    ) -> Result<(), Refusal> {
        let identity = self.session.identity();
        decide(&identity).map(drop).map_err(|denial| {
            debug!(role = identity.role(), "{action} refused: {denial}");
            Refusal::Forbidden
        })
    }
}

/// Keeps the thread for ever.
#[cfg(debug_assertions)]
fn hang() {
    loop {
        std::thread::park();
    }
}

impl MessageHandler<Adapter, ()> for Dispatch {
    fn call(&self, _: Arc<Socket<Adapter>>, value: Value, ack: Option<i64>) {
        self.0.session().link().heard().count_event();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let outcome = self.event(&value);
            if let Some(ack) = ack {
                self.0.acknowledge(ack, outcome);
            }
        }));
        if caught.is_err() {
            // The event is lost; the library's locks, and so everybody else, are not.
            self.0.broker().0.metrics.panics.increment(1);
        }
    }
}

/// The handler of one client's disconnect; the client is gone when it is dropped, at the latest.
pub(super) struct Farewell {
    broker: Broker,
    session: Arc<Session>,
}

impl Farewell {
    pub(super) fn new(broker: Broker, session: Arc<Session>) -> Self {
        Self { broker, session }
    }
}

impl DisconnectHandler<Adapter, ()> for Farewell {
    fn call_with_defer(
        &self,
        socket: Arc<Socket<Adapter>>,
        reason: DisconnectReason,
        defer: fn(Arc<Socket<Adapter>>),
    ) {
        // At once and not in a task: a client that leaves the namespace and enters it again with
        // its next packet must find that it has left.
        self.broker.0.members.depart(&self.session, || ());
        self.broker.0.expiries.remove(&self.session);
        defer(socket);
        let reason = self.session.link().fate().cause().unwrap_or(match reason {
            DisconnectReason::ClientNSDisconnect => Disconnection::Client,
            DisconnectReason::HeartbeatTimeout => Disconnection::PingTimeout,
            DisconnectReason::PacketParsingError | DisconnectReason::MultipleHttpPollingError => {
                Disconnection::ProtocolError
            }
            _ => Disconnection::TransportClosed,
        });
        self.broker.0.metrics.disconnected(reason);
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // For a client that the library gave up before it was told that it is connected.
        self.broker.0.members.depart(&self.session, || ());
        self.broker.0.expiries.remove(&self.session);
    }
}
