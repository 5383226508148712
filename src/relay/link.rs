//! The link: it keeps up a connection to the server, for ever, and carries messages over it.

use std::convert::Infallible;
use std::mem::take;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tracing::info;
use tracing::warn;

use crate::config;
use crate::failure::Failure;
use crate::relay::Outgoing;
use crate::relay::Relay;
use crate::relay::backoff::Backoff;
use crate::relay::connection::Broken;
use crate::relay::connection::Connection;
use crate::relay::connection::Parcel;
use crate::relay::envelope::Envelope;
use crate::relay::queue::Receiver;
use crate::telemetry::relay::Lost;

/// Messages that are handed to the server at once: the next are gathered until it has answered.
const MESSAGES: usize = 512;
/// Bytes beyond which no more are added to them: over a way that carries 52 kB a second they are there in time.
const BYTES: usize = 256 * 1024;
/// Rooms that are subscribed to at once, so that a hundred thousand after a reconnect keep neither the
/// server nor messages waiting.
const ROOMS: usize = 500;
/// How often it is seen that the server answers.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long an answer may take, if nothing else comes meanwhile either.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that an envelope adds to a message, with a room of the longest name.
pub(super) const ENVELOPE: usize = 2048;
/// A connection that lasts as long was a good one: the next attempt does not wait for longer.
const GOOD: Duration = Duration::from_secs(5);

/// How long other nodes take to connect and to subscribe, once they try.
const RETURN: Duration = Duration::from_millis(200);
/// Reasons that are told of one outage.
const REASONS: usize = 8;

/// What carries messages between this node and the server.
pub struct Link {
    relay: Relay,
    config: config::Relay,
    outgoing: Receiver<Outgoing>,
    /// The connection, if there is one already.
    connection: Option<Connection>,
    /// How many messages have left.
    sequence: u64,
}

impl Link {
    pub(super) fn new(relay: Relay, config: config::Relay, outgoing: Receiver<Outgoing>) -> Self {
        Self { relay, config, outgoing, connection: None, sequence: 0 }
    }

    /// Connects before the node serves, if it is not to serve without.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached in time.
    pub async fn require(&mut self) -> Result<(), Failure> {
        if !self.config.required {
            return Ok(());
        }
        let deadline = Instant::now() + self.config.connect_timeout.get();
        let mut backoff = Backoff::default();
        loop {
            let broken = match self.connect().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return Ok(());
                }
                Err(broken) => broken,
            };
            let wait = backoff.next();
            if Instant::now() + wait >= deadline {
                return Err(Failure::Unavailable(format!("cannot reach the relay: {broken}")));
            }
            sleep(wait).await;
        }
    }

    /// Carries messages for as long as the node lives.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        // Why there is no connection, as far as it has been told.
        let mut told: Vec<Broken> = Vec::new();
        loop {
            let connection = match self.connection.take() {
                Some(connection) => Ok(connection),
                None => self.connect().await,
            };
            let broken = match connection {
                Ok(connection) => {
                    self.set_up(true);
                    info!("connected to the relay");
                    self.warn_of(connection.largest());
                    let began = Instant::now();
                    // What waits here waits for the others too: who is not back does not hear of it.
                    let pause = if told.is_empty() { Duration::ZERO } else { backoff.of_others() + RETURN };
                    told.clear();
                    let broken = self.serve(&connection, pause).await;
                    self.set_up(false);
                    if began.elapsed() >= GOOD {
                        backoff = Backoff::default();
                    }
                    broken
                }
                Err(broken) => broken,
            };
            // Not again with every attempt.
            if !told.contains(&broken) && told.len() < REASONS {
                if told.is_empty() {
                    warn!("no connection to the relay, clients of other nodes are not reached: {broken}");
                } else {
                    warn!("the relay is still out of reach: {broken}");
                }
                told.push(broken);
            }
            sleep(backoff.next()).await;
            self.relay.0.metrics.reconnects.increment(1);
        }
    }

    async fn connect(&self) -> Result<Connection, Broken> {
        let patience = self.config.connect_timeout.get();
        let opened = async {
            let connection = Connection::open(&self.config, &self.relay).await?;
            connection.subscribe_always().await?;
            Ok(connection)
        };
        timeout(patience, opened)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {}", self.config.connect_timeout)))
    }

    /// Warns of a server that takes no messages as large as those of clients.
    fn warn_of(&self, largest: usize) {
        let wanted = self.relay.0.largest;
        if largest < wanted.saturating_add(ENVELOPE) {
            warn!(
                "the relay takes messages of up to {largest} bytes, limits.max_payload is {wanted}: \
                 larger ones do not reach clients of other nodes"
            );
        }
    }

    fn set_up(&self, is_up: bool) {
        self.relay.0.up.store(is_up, Relaxed);
        self.relay.0.metrics.up.set(u8::from(is_up));
    }

    /// Carries messages until the connection breaks.
    async fn serve(&mut self, connection: &Connection, pause: Duration) -> Broken {
        let relay = self.relay.clone();
        relay.0.interest.begin();
        let ended = tokio::select! {
            broken = connection.broken() => Err(broken),
            ended = self.publish(connection, pause) => ended,
            ended = follow(&relay, connection) => ended,
            ended = heartbeat(&relay, connection) => ended,
        };
        relay.0.interest.end();
        relay.0.metrics.subscriptions.set(0);
        match ended {
            Ok(never) => match never {},
            Err(broken) => broken,
        }
    }

    async fn publish(&mut self, connection: &Connection, pause: Duration) -> Result<Infallible, Broken> {
        sleep(pause).await;
        loop {
            let batch = self.outgoing.take(MESSAGES, BYTES).await;
            let mut carried = Carried { relay: self.relay.clone(), parcels: Vec::new(), offered: Vec::new() };
            for outgoing in batch {
                self.sequence += 1;
                carried.add(outgoing, self.sequence, connection.largest());
            }
            answered(&self.relay, connection.publish(&carried.parcels)).await?;
            carried.confirmed();
        }
    }
}

/// Messages that are on their way to the server; those that are not confirmed are lost, for all that is known.
struct Carried {
    relay: Relay,
    parcels: Vec<Parcel>,
    offered: Vec<std::time::Instant>,
}

impl Carried {
    /// Adds a message, unless the server would not take one that large.
    fn add(&mut self, outgoing: Outgoing, sequence: u64, largest: usize) {
        let Outgoing { room, text, attachments, offered } = outgoing;
        let inner = &self.relay.0;
        let envelope =
            Envelope { node: inner.node, sequence, encoding: inner.encoding, room, text, attachments };
        let bytes = envelope.write();
        if bytes.len() > largest {
            self.relay.settled(1);
            inner.metrics.lost_out(Lost::TooLarge, 1);
            return;
        }
        self.parcels.push(Parcel { room: envelope.room, envelope: bytes });
        self.offered.push(offered);
    }

    /// The server has them.
    fn confirmed(mut self) {
        let metrics = &self.relay.0.metrics;
        metrics.published.increment(self.offered.len() as u64);
        for offered in take(&mut self.offered) {
            metrics.confirmed_after(offered.elapsed());
            self.relay.settled(1);
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.relay.settled(self.offered.len());
        self.relay.0.metrics.lost_out(Lost::Unconfirmed, self.offered.len());
    }
}

/// Subscribes to what this node wants to hear of.
async fn follow(relay: &Relay, connection: &Connection) -> Result<Infallible, Broken> {
    let subscriptions = &relay.0.metrics.subscriptions;
    loop {
        let changes = relay.0.interest.changes(ROOMS).await;
        if !changes.subscribe.is_empty() {
            answered(relay, connection.subscribe(&changes.subscribe)).await?;
            subscriptions.increment(u32::try_from(changes.subscribe.len()).unwrap_or(u32::MAX));
        }
        if !changes.unsubscribe.is_empty() {
            answered(relay, connection.unsubscribe(&changes.unsubscribe)).await?;
            subscriptions.decrement(u32::try_from(changes.unsubscribe.len()).unwrap_or(u32::MAX));
        }
    }
}

/// Sees that the server answers.
async fn heartbeat(relay: &Relay, connection: &Connection) -> Result<Infallible, Broken> {
    loop {
        sleep(HEARTBEAT).await;
        answered(relay, connection.ping()).await?;
    }
}

/// The answer, if it comes in time: behind a great many messages it may take longer.
async fn answered(relay: &Relay, answer: impl Future<Output = Result<(), Broken>>) -> Result<(), Broken> {
    let mut answer = pin!(answer);
    loop {
        let before = relay.0.heard.load(Relaxed);
        match timeout(PATIENCE, &mut answer).await {
            Ok(answered) => return answered,
            Err(_) if relay.0.heard.load(Relaxed) != before => {}
            Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}
