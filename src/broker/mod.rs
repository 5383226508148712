//! The broker: who is connected, who is in which room, and what becomes of an event.

mod admit;
mod allowance;
mod deliver;
mod dispatch;
mod ending;
pub mod engine;
mod expiry;
mod gather;
mod members;
mod message;
mod peers;
mod reload;
mod session;
mod shown;
mod sockets;
mod subscribe;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;

use crate::access::Access;
use crate::config::Limits;
use crate::config::SlowConsumer;
use crate::config::SocketIo;
use crate::protocol::Bounds;
use crate::protocol::Encoding;
use crate::relay::Relay;
use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::events::Events;
use crate::wire::links::Links;

use allowance::Allowance;
use engine::Engine;
use expiry::Expiries;
use members::Members;
use session::Session;
use sockets::Sockets;

/// A cheap handle on the broker of this node.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    encoding: Encoding,
    live: ArcSwap<Live>,
    members: Members,
    sockets: Sockets,
    links: Arc<Links>,
    expiries: Expiries,
    relay: Option<Relay>,
    /// How often everyone has been looked at again.
    looks: AtomicU64,
    metrics: Events,
}

/// What a reload replaces, as one value: an event takes it once, so that it never sees half.
#[derive(Debug)]
pub struct Live {
    bounds: Bounds,
    rooms_per_client: usize,
    allowance: Allowance,
    slow_consumer: SlowConsumer,
    access: Arc<Access>,
}

impl Live {
    /// The part of the configuration that an event depends on.
    #[must_use]
    pub fn new(limits: &Limits, access: Arc<Access>) -> Self {
        Self {
            bounds: Bounds {
                nesting: limits.nesting.get(),
                room_name_length: limits.room_name_length.get(),
                attachments: limits.attachments,
                max_payload: limits.max_payload.bytes(),
            },
            rooms_per_client: limits.rooms_per_client.get(),
            allowance: Allowance::new(limits),
            slow_consumer: limits.slow_consumer,
            access,
        }
    }
}

impl Broker {
    /// A broker without clients, and the engine through which they come.
    #[must_use]
    pub fn new(
        socketio: &SocketIo,
        limits: &Limits,
        access: Arc<Access>,
        links: Arc<Links>,
        relay: Option<Relay>,
        metrics: Events,
    ) -> (Self, Engine) {
        let sockets = Sockets::default();
        let broker = Self(Arc::new(Inner {
            encoding: socketio.parser,
            live: ArcSwap::from_pointee(Live::new(limits, access)),
            members: Members::new(metrics.clone(), relay.clone()),
            sockets: sockets.clone(),
            links,
            expiries: Expiries::default(),
            relay,
            looks: AtomicU64::new(0),
            metrics,
        }));
        let engine = Engine::new(socketio, limits, sockets, &broker);
        (broker, engine)
    }

    /// Ends a session for `cause`; what has been queued for it is still delivered.
    fn end(&self, session: &Session, cause: Disconnection) {
        session.link().fate().condemn(cause);
        self.conclude(session);
    }

    /// Takes the locks that events need, one after the other, and gives them back: whoever comes back from
    /// here has seen that they can be had.
    pub fn take_locks(&self) {
        self.0.members.take_locks();
    }
}
