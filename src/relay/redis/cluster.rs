//! A cluster of Redis: which server has which slot, and connections to all that have any.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::future::try_join_all;
use redis::AsyncConnectionConfig;
use redis::Pipeline;
use redis::PushKind;
use redis::ServerErrorKind;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use crate::config::RedisUrl;
use crate::relay::connection::Broken;
use crate::relay::connection::first;
use crate::relay::redis::brief;
use crate::relay::redis::ping;
use crate::relay::redis::settings::Settings;
use crate::relay::redis::slots::Address;
use crate::relay::redis::slots::Slots;
use crate::relay::redis::slots::moved;
use crate::relay::redis::slots::slot;
use crate::relay::redis::told;

/// How often a request is sent after a slot that moves meanwhile.
const ROUNDS: u32 = 5;
/// What it waits before the third time, and each time as much more: not all servers hear of it at once.
const PAUSE: Duration = Duration::from_millis(10);

/// Connections to the servers of a cluster.
pub(super) struct Cluster {
    servers: Vec<Server>,
    slots: Mutex<Slots>,
}

struct Server {
    address: Address,
    publishing: MultiplexedConnection,
    /// Where a slot moves away, the server says so by itself, and the library takes it for the answer to whatever
    /// was asked. So answers count here only for what they say.
    listening: MultiplexedConnection,
}

/// What a command is about.
struct Request {
    channel: String,
    /// What is published there.
    message: Option<Bytes>,
}

/// What a server has answered.
struct Reply {
    /// Number of the request before the answer.
    request: usize,
    server: usize,
    value: Value,
}

impl Cluster {
    /// Asks one of the servers that the configuration names for all of them, and connects to each that has slots.
    pub(super) async fn open(
        settings: &Settings<'_>,
        patience: Duration,
        options: &AsyncConnectionConfig,
    ) -> Result<Self, Broken> {
        // One that does not answer leaves time for the others, and for what comes then.
        let each = patience / (2 * u32::try_from(settings.urls().count()).unwrap_or(u32::MAX));
        let (addresses, slots) =
            first(settings.urls(), each, |url| ask_for_slots(settings, url, options)).await?;
        let servers = addresses.into_iter().map(|address| Server::open(settings, address, options));
        Ok(Self { servers: try_join_all(servers).await?, slots: Mutex::new(slots) })
    }

    /// Publishes each message in its channel; in each channel, they keep this order.
    pub(super) async fn publish(&self, messages: Vec<(String, Bytes)>) -> Result<(), Broken> {
        let request = |(channel, message)| Request { channel, message: Some(message) };
        let mut requests: Vec<_> = messages.into_iter().map(request).collect();
        for round in 0..ROUNDS {
            pause_before(round).await;
            let mut again = HashSet::new();
            for reply in self.ask("SPUBLISH", &requests, |server| &server.publishing).await? {
                if self.has_moved(&reply)? {
                    again.insert(reply.request);
                }
            }
            let mut number = 0..;
            requests.retain(|_| number.next().is_some_and(|number| again.contains(&number)));
            if requests.is_empty() {
                return Ok(());
            }
        }
        Err("its slots go on moving".to_owned())
    }

    /// Has what is published in these channels come.
    pub(super) async fn subscribe(&self, channels: Vec<String>) -> Result<(), Broken> {
        let mut requests = about(channels);
        for round in 0..ROUNDS {
            pause_before(round).await;
            let mut confirmed = HashSet::new();
            for reply in self.ask("SSUBSCRIBE", &requests, |server| &server.listening).await? {
                self.has_moved(&reply)?;
                if let Value::Push { kind: PushKind::SSubscribe, data } = reply.value
                    && let Some(Value::BulkString(channel)) = data.into_iter().next()
                {
                    confirmed.insert(channel);
                }
            }
            requests.retain(|request| !confirmed.contains(request.channel.as_bytes()));
            if requests.is_empty() {
                return Ok(());
            }
        }
        Err("its slots go on moving".to_owned())
    }

    /// Has what is published in these channels come no more.
    pub(super) async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), Broken> {
        let requests = about(channels);
        for reply in self.ask("SUNSUBSCRIBE", &requests, |server| &server.listening).await? {
            // A slot that has moved away has taken its subscriptions with it.
            self.has_moved(&reply)?;
        }
        Ok(())
    }

    /// Waits until every server has answered over each connection.
    pub(super) async fn ping(&self) -> Result<(), Broken> {
        let each = self.servers.iter().flat_map(|server| [&server.publishing, &server.listening]);
        try_join_all(each.map(ping)).await.map(drop)
    }

    /// A connection for what is not sharded: whatever is published anywhere comes over each.
    pub(super) fn any(&self) -> Result<MultiplexedConnection, Broken> {
        self.servers
            .first()
            .map(|server| server.listening.clone())
            .ok_or_else(|| "it has no servers".to_owned())
    }

    /// Asks each server what is about its slots.
    async fn ask(
        &self,
        command: &str,
        requests: &[Request],
        over: fn(&Server) -> &MultiplexedConnection,
    ) -> Result<Vec<Reply>, Broken> {
        let mut shares = BTreeMap::<_, (Pipeline, Vec<usize>)>::new();
        {
            let slots = self.slots();
            for (number, Request { channel, message }) in requests.iter().enumerate() {
                let slot = slot(channel.as_bytes());
                let owner = slots.owner(slot).ok_or_else(|| format!("no server has slot {slot}"))?;
                let (pipeline, numbers) = shares.entry(owner).or_default();
                pipeline.cmd(command).arg(channel).arg(message.as_deref());
                numbers.push(number);
            }
        }
        let asked = shares.into_iter().filter_map(|(server, (pipeline, numbers))| {
            let mut connection = over(self.servers.get(server)?).clone();
            Some(async move {
                let values =
                    connection.send_packed_commands(&pipeline, 0, numbers.len()).await.map_err(told)?;
                let replies = numbers.into_iter().zip(values);
                Ok::<_, Broken>(replies.map(move |(request, value)| Reply { request, server, value }))
            })
        });
        Ok(try_join_all(asked).await?.into_iter().flatten().collect())
    }

    /// Whether another server has the slot, which is noted.
    fn has_moved(&self, reply: &Reply) -> Result<bool, Broken> {
        let Value::ServerError(error) = &reply.value else { return Ok(false) };
        let told = || brief(&format!("{} {}", error.code(), error.details().unwrap_or_default()));
        if error.kind() != Some(ServerErrorKind::Moved) {
            return Err(told());
        }
        let whereto = || {
            let (slot, address) = moved(error.details()?, &self.servers.get(reply.server)?.address)?;
            // Of one that is new, whoever connects again hears.
            Some((slot, self.servers.iter().position(|server| server.address == address)?))
        };
        let (slot, owner) = whereto().ok_or_else(told)?;
        self.slots().give(slot, owner);
        Ok(true)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    async fn open(
        settings: &Settings<'_>,
        address: Address,
        options: &AsyncConnectionConfig,
    ) -> Result<Self, Broken> {
        let (host, port) = (&address.0, address.1);
        let (publishing, listening) =
            try_join(connect(settings, host, port, options), connect(settings, host, port, options))
                .await
                .map_err(|reason| format!("{host}:{port}: {reason}"))?;
        Ok(Self { address, publishing, listening })
    }
}

async fn connect(
    settings: &Settings<'_>,
    host: &str,
    port: u16,
    options: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, Broken> {
    let client = settings.at(host, port, 0)?;
    client.get_multiplexed_async_connection_with_config(options).await.map_err(told)
}

/// What a server says of all: where they are, and which of them has which slots.
async fn ask_for_slots(
    settings: &Settings<'_>,
    url: &RedisUrl,
    options: &AsyncConnectionConfig,
) -> Result<(Vec<Address>, Slots), Broken> {
    let mut connection = connect(settings, &url.host, url.port, options).await?;
    let answer = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await.map_err(told)?;
    Slots::read(&answer, &url.host).ok_or_else(|| "it does not say who has which slots".to_owned())
}

async fn pause_before(round: u32) {
    // To wait for no time at all takes a millisecond.
    if let Some(pauses @ 1..) = round.checked_sub(1) {
        sleep(PAUSE * pauses).await;
    }
}

fn about(channels: Vec<String>) -> Vec<Request> {
    channels.into_iter().map(|channel| Request { channel, message: None }).collect()
}
