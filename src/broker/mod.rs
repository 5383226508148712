//! The broker: who is connected, who is in which room, and what becomes of an event.

mod admit;
mod allowance;
mod deliver;
mod dispatch;
pub mod engine;
mod members;
mod session;
mod sockets;
mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::Limits;
use crate::config::SlowConsumer;
use crate::config::SocketIo;
use crate::protocol::Bounds;
use crate::protocol::Encoding;
use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::events::Events;
use crate::wire::links::Links;

use allowance::Allowance;
use engine::Engine;
use members::Members;
use session::Session;
use sockets::Sockets;

/// How long a client whose session is being ended hears a refusal for what it still sends,
/// before its connection is closed: long enough for what was on its way.
const FAREWELL: Duration = Duration::from_millis(100);

/// A cheap handle on the broker of this node.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    encoding: Encoding,
    live: ArcSwap<Live>,
    members: Members,
    sockets: Sockets,
    links: Arc<Links>,
    metrics: Events,
}

/// What a reload replaces, as one value: an event takes it once, so that it never sees half.
#[derive(Debug)]
pub struct Live {
    bounds: Bounds,
    rooms_per_client: usize,
    allowance: Allowance,
    slow_consumer: SlowConsumer,
}

impl Live {
    /// The part of the configuration that an event depends on.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
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
        }
    }
}

impl Broker {
    /// A broker without clients, and the engine through which they come.
    #[must_use]
    pub fn new(socketio: &SocketIo, limits: &Limits, links: Arc<Links>, metrics: Events) -> (Self, Engine) {
        let sockets = Sockets::default();
        let broker = Self(Arc::new(Inner {
            encoding: socketio.parser,
            live: ArcSwap::from_pointee(Live::new(limits)),
            members: Members::new(metrics.clone()),
            sockets: sockets.clone(),
            links,
            metrics,
        }));
        let engine = Engine::new(socketio, limits, sockets, &broker);
        (broker, engine)
    }

    /// From now on this holds for every event, whoever emits it.
    pub fn reload(&self, live: Live) {
        self.0.live.store(Arc::new(live));
    }

    /// Ends every session, as clients need it to come back by themselves; from now on nobody is
    /// admitted. What was accepted before is still delivered.
    pub async fn end_all(&self) {
        let sessions = self.0.members.close();
        for session in &sessions {
            session.link().fate().condemn(Disconnection::Drain);
        }
        tokio::time::sleep(FAREWELL).await;
        for session in &sessions {
            self.conclude(session);
        }
        // Those who never became members: handshakes without a CONNECT, namespaces left.
        for link in self.0.links.all() {
            if !link.is_ending() {
                link.close(Disconnection::Drain);
            }
        }
    }

    /// Puts the mark of the end behind everything that is queued for the session.
    fn conclude(&self, session: &Session) {
        self.0.members.depart(session, || {
            self.0.sockets.leave_all(session.id());
            session.link().set_ending();
            self.0.sockets.end(self.0.encoding, session.id());
        });
    }
}
