//! NATS: a connection to one of several servers. docs/decisions.md says why its protocol is spoken here.

mod login;
mod nkey;
mod outbox;
mod speech;
mod subject;
mod tls;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::BufMut;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::task::yield_now;
use tracing::warn;

use crate::config;
use crate::config::NatsUrl;
use crate::failure::Failure;
use crate::protocol::Room;
use crate::relay::Relay;
use crate::relay::connection::Broken;
use crate::relay::connection::Parcel;
use crate::relay::connection::first;
use crate::relay::files;
use crate::relay::node::random;

use login::Login;
use outbox::Outbox;
use speech::Info;
use speech::Listener;
use speech::Said;
use speech::Stream;
use subject::Subjects;

/// Messages that are taken before what waits to be written has a turn.
const MESSAGES: usize = 256;

/// A connection, over which all goes both ways.
pub(super) struct Connection {
    shared: Arc<Shared>,
    broken: watch::Receiver<Option<Broken>>,
    task: JoinHandle<()>,
}

/// What the connection and the task that reads and writes have in common.
struct Shared {
    outbox: Outbox,
    subjects: Subjects,
    /// Largest payload that the server takes, which it may change.
    largest: AtomicUsize,
    /// What it has refused, and nobody has been told of.
    refused: Mutex<Option<String>>,
    /// Whether it has been seen that this node may do what it has to.
    serves: AtomicBool,
}

impl Connection {
    /// Connects to one of the servers, whichever is the first to let this node in.
    pub(super) async fn open(
        config: &config::Nats,
        patience: Duration,
        relay: &Relay,
    ) -> Result<Self, Broken> {
        let login = Login::read(config).map_err(|failure| failure.to_string())?;
        let mut servers: Vec<_> = config.servers.iter().collect();
        // Not all nodes go to the first, and one that does not answer leaves the others their time.
        let start = usize::from(u16::from_be_bytes(random())) % servers.len().max(1);
        servers.rotate_left(start);
        let each = patience.mul_f64(0.9) / u32::try_from(servers.len()).unwrap_or(u32::MAX);
        let (listener, info) = first(servers, each, |server| enter(server, config, &login)).await?;
        Ok(Self::over(listener, &info, config, relay))
    }

    fn over(listener: Listener, info: &Info, config: &config::Nats, relay: &Relay) -> Self {
        let shared = Arc::new(Shared {
            outbox: Outbox::default(),
            subjects: Subjects::new(&config.prefix),
            largest: AtomicUsize::new(info.max_payload),
            refused: Mutex::default(),
            serves: AtomicBool::new(false),
        });
        let (sender, broken) = watch::channel(None);
        let task = {
            let (shared, relay) = (shared.clone(), relay.clone());
            tokio::spawn(async move {
                let reason = shared.carry(listener, &relay).await;
                shared.outbox.close();
                sender.send_replace(Some(reason));
            })
        };
        Self { shared, broken, task }
    }

    pub(super) async fn broken(&self) -> Broken {
        let mut broken = self.broken.clone();
        match broken.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "what reads from it has ended".to_owned(),
        }
    }

    pub(super) fn largest(&self) -> usize {
        self.shared.largest.load(Relaxed)
    }

    pub(super) async fn publish(&self, parcels: &[Parcel]) -> Result<(), Broken> {
        if parcels.is_empty() {
            return Ok(());
        }
        let publish = self.shared.outbox.ask(|bytes| {
            for parcel in parcels {
                let subject = self.shared.subjects.of(parcel.room.as_ref());
                bytes.reserve(subject.len() + parcel.envelope.len() + 32);
                bytes.put_slice(format!("PUB {subject} {}\r\n", parcel.envelope.len()).as_bytes());
                bytes.put_slice(&parcel.envelope);
                bytes.put_slice(b"\r\n");
            }
        });
        publish.await
    }

    /// Subscribes to what is for everyone, and sees whether this node may do what it will have to.
    pub(super) async fn subscribe_always(&self) -> Result<(), Broken> {
        let (everyone, probe) = (self.shared.subjects.of(None), self.shared.subjects.probe());
        let ask = self.shared.outbox.ask(|bytes| {
            for subject in [&everyone, &probe] {
                bytes.put_slice(format!("SUB {subject} {}\r\n", subject::id(subject)).as_bytes());
            }
            bytes.put_slice(format!("UNSUB {}\r\nPUB {probe} 0\r\n\r\n", subject::id(&probe)).as_bytes());
        });
        ask.await?;
        // What may not be subscribed to is refused, and the connection stays.
        self.shared.take_refused().map_or(Ok(()), Err)?;
        self.shared.serves.store(true, Relaxed);
        Ok(())
    }

    pub(super) async fn subscribe(&self, rooms: &[Room]) -> Result<(), Broken> {
        let subscribe = self.shared.outbox.ask(|bytes| {
            for room in rooms {
                let subject = self.shared.subjects.of(Some(room));
                bytes.put_slice(format!("SUB {subject} {}\r\n", subject::id(&subject)).as_bytes());
            }
        });
        subscribe.await
    }

    pub(super) async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), Broken> {
        let unsubscribe = self.shared.outbox.ask(|bytes| {
            for room in rooms {
                let subject = self.shared.subjects.of(Some(room));
                bytes.put_slice(format!("UNSUB {}\r\n", subject::id(&subject)).as_bytes());
            }
        });
        unsubscribe.await
    }

    pub(super) async fn ping(&self) -> Result<(), Broken> {
        self.shared.outbox.ask(|_| {}).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Reads and writes, until that cannot go on.
    async fn carry(&self, listener: Listener, relay: &Relay) -> Broken {
        let (mut listener, writer) = listener.split();
        tokio::select! {
            broken = self.hear(&mut listener, relay) => broken,
            broken = self.outbox.empty_into(writer) => broken,
        }
    }

    async fn hear(&self, listener: &mut Listener<tokio::io::ReadHalf<Stream>>, relay: &Relay) -> Broken {
        let (mut is_told, mut messages) = (false, 0_usize);
        loop {
            match listener.next().await {
                Ok(Said::Message { subject, payload }) => {
                    relay.is_alive();
                    relay.receive(payload, |room| self.subjects.of(room).as_bytes() == subject);
                    messages = messages.wrapping_add(1);
                    if messages.is_multiple_of(MESSAGES) {
                        yield_now().await;
                    }
                }
                Ok(Said::Pong) => self.outbox.answered(),
                Ok(Said::Ping) => self.outbox.tell(b"PONG\r\n"),
                Ok(Said::Info(info)) => self.largest.store(info.max_payload, Relaxed),
                Ok(Said::Refused(reason)) => {
                    // Others are followed by the end of the connection, and told with that.
                    let lasts =
                        reason.starts_with("Permissions") || reason.starts_with("maximum subscriptions");
                    let reason = format!("the server refuses: {reason}");
                    if !(lasts && self.serves.load(Relaxed)) {
                        *self.refused() = Some(reason);
                    } else if !std::mem::replace(&mut is_told, true) {
                        warn!("the relay does not carry messages of all rooms: {reason}");
                    }
                }
                Ok(Said::Fine) => {}
                Err(reason) => return self.take_refused().unwrap_or(reason),
            }
        }
    }

    fn refused(&self) -> MutexGuard<'_, Option<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_refused(&self) -> Option<String> {
        self.refused().take()
    }
}

/// Connects to a server and presents this node.
async fn enter(server: &NatsUrl, config: &config::Nats, login: &Login) -> Result<(Listener, Info), Broken> {
    let stream =
        TcpStream::connect((server.host.as_str(), server.port)).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut listener = Listener::new(Stream::Left(stream));
    let Said::Info(mut info) = listener.next().await? else {
        return Err("it is no NATS server".to_owned());
    };
    // Whoever says whom to trust wants nobody to read along.
    let wanted = server.encrypted || config.tls.is_some();
    if wanted || info.tls_required {
        if !info.tls_required && !info.tls_available {
            return Err("it does not offer TLS".to_owned());
        }
        let stream = tls::encrypt(listener.into_stream()?, &server.host, config.tls.as_ref()).await?;
        listener = Listener::new(stream);
    }
    let connect = login.connect(&info.nonce, wanted)?;
    let mut answer = format!("CONNECT {connect}\r\nPING\r\n");
    loop {
        listener.answer(answer.as_bytes()).await?;
        answer.clear();
        match listener.next().await? {
            Said::Pong => return Ok((listener, info)),
            Said::Ping => answer.push_str("PONG\r\n"),
            Said::Refused(reason) => return Err(format!("the server refuses: {reason}")),
            Said::Info(newer) => info = newer,
            Said::Message { .. } | Said::Fine => {}
        }
    }
}

/// Reads every file that the configuration names.
pub(super) fn check(config: &config::Nats) -> Result<(), Failure> {
    Login::read(config)?;
    if let Some(tls) = &config.tls {
        files::connector(tls::SECTION, Some(tls))?;
    }
    Ok(())
}
