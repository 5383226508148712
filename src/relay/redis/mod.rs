//! Redis and Valkey: a connection to one server, to one found through sentinels, or to a cluster.

mod cluster;
mod settings;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::AsyncConnectionConfig;
use redis::ErrorKind;
use redis::Pipeline;
use redis::PushInfo;
use redis::PushKind;
use redis::RedisError;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;

use crate::config;
use crate::failure::Failure;
use crate::protocol::Room;
use crate::relay::Relay;
use crate::relay::connection::Broken;
use crate::relay::connection::Parcel;
use crate::relay::emitters::Emitters;
use crate::relay::files;

use cluster::Cluster;
use settings::Settings;

/// A connection, over which all goes both ways.
pub(super) struct Connection {
    way: Way,
    prefix: String,
    broken: Arc<Notify>,
    /// What is heard beside other nodes.
    emitters: Option<Arc<Emitters>>,
}

/// How channels are reached.
enum Way {
    /// All at one server.
    Single(MultiplexedConnection),
    /// Each at the server that has its slot: what is published in one place is heard in one place.
    Cluster(Cluster),
}

impl Connection {
    pub(super) async fn open(
        config: &config::Redis,
        patience: Duration,
        relay: &Relay,
    ) -> Result<Self, Broken> {
        let broken = Arc::new(Notify::new());
        let emitters = Emitters::new(config).map(Arc::new);
        let heard = {
            let (relay, broken, own) = (relay.clone(), broken.clone(), format!("{}:", config.prefix));
            let (emitters, is_alone) = (emitters.clone(), !config.cluster);
            move |push: PushInfo| -> Result<(), ()> {
                // What one server of a cluster sends says nothing of the others.
                if is_alone {
                    relay.is_alive();
                }
                hear(&relay, &broken, &own, emitters.as_deref(), push);
                Ok(())
            }
        };
        let settings = Settings::read(config).map_err(|failure| failure.to_string())?;
        // The link is patient, in its own way.
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(heard);
        let way = if config.cluster {
            Way::Cluster(Cluster::open(&settings, patience, &options).await?)
        } else {
            let connect = async {
                let client = settings.client().await?;
                client.get_multiplexed_async_connection_with_config(&options).await.map_err(told)
            };
            let whom = || config.url.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Way::Single(connect.await.map_err(|reason| format!("{}: {reason}", whom()))?)
        };
        Ok(Self { way, prefix: config.prefix.clone(), broken, emitters })
    }

    pub(super) async fn broken(&self) -> Broken {
        self.broken.notified().await;
        "the server has closed it".to_owned()
    }

    pub(super) async fn publish(&self, parcels: &[Parcel]) -> Result<(), Broken> {
        let message = |parcel: &Parcel| (self.channel(parcel.room.as_ref()), parcel.envelope.clone());
        self.publish_in(parcels.iter().map(message).collect()).await
    }

    async fn publish_in(&self, messages: Vec<(String, Bytes)>) -> Result<(), Broken> {
        match &self.way {
            Way::Single(connection) if !messages.is_empty() => {
                let mut pipeline = Pipeline::with_capacity(messages.len());
                for (channel, message) in messages {
                    pipeline.cmd("PUBLISH").arg(channel).arg(&message[..]).ignore();
                }
                pipeline.exec_async(&mut connection.clone()).await.map_err(told)
            }
            Way::Single(_) => Ok(()),
            Way::Cluster(cluster) => cluster.publish(messages).await,
        }
    }

    /// Subscribes to what does not depend on rooms, and sees whether this node may do what it will have to.
    pub(super) async fn subscribe_always(&self) -> Result<(), Broken> {
        let (everyone, probe) = (self.channel(None), format!("{}:probe", self.prefix));
        let emitters = self.emitters.iter().flat_map(|emitters| emitters.always()).collect();
        self.change(Change::Subscribe, vec![everyone, probe.clone()], emitters).await?;
        self.change(Change::Unsubscribe, vec![probe.clone()], Vec::new()).await?;
        self.publish_in(vec![(probe, Bytes::new())]).await?;
        self.ping().await
    }

    pub(super) async fn subscribe(&self, rooms: &[Room]) -> Result<(), Broken> {
        let emitters = self.emitters.iter().flat_map(|emitters| emitters.wanted(rooms)).collect();
        self.change(Change::Subscribe, self.channels(rooms), emitters).await
    }

    pub(super) async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), Broken> {
        let emitters = self.emitters.iter().flat_map(|emitters| emitters.unwanted(rooms)).collect();
        self.change(Change::Unsubscribe, self.channels(rooms), emitters).await
    }

    pub(super) async fn ping(&self) -> Result<(), Broken> {
        match &self.way {
            Way::Single(connection) => ping(connection).await,
            Way::Cluster(cluster) => cluster.ping().await,
        }
    }

    /// Changes what is subscribed to: the nodes' own channels, and those of emitters, which never publish to one
    /// server of a cluster alone.
    async fn change(&self, change: Change, own: Vec<String>, emitters: Vec<String>) -> Result<(), Broken> {
        let (mut connection, channels) = match &self.way {
            Way::Single(connection) => (connection.clone(), [own, emitters].concat()),
            Way::Cluster(cluster) => {
                match change {
                    Change::Subscribe => cluster.subscribe(own).await?,
                    Change::Unsubscribe => cluster.unsubscribe(own).await?,
                }
                (cluster.any()?, emitters)
            }
        };
        match change {
            _ if channels.is_empty() => Ok(()),
            Change::Subscribe => connection.subscribe(channels).await,
            Change::Unsubscribe => connection.unsubscribe(channels).await,
        }
        .map_err(told)
    }

    fn channels(&self, rooms: &[Room]) -> Vec<String> {
        rooms.iter().map(|room| self.channel(Some(room))).collect()
    }

    /// The channel of a room, or that of everyone.
    fn channel(&self, room: Option<&Room>) -> String {
        let prefix = &self.prefix;
        match room {
            None => format!("{prefix}:everyone"),
            Some(Room::Text(name)) => format!("{prefix}:text:{name}"),
            Some(Room::Integer(name)) => format!("{prefix}:integer:{name}"),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.emitters.iter().for_each(|emitters| emitters.close());
    }
}

#[derive(Clone, Copy)]
enum Change {
    Subscribe,
    Unsubscribe,
}

async fn ping(connection: &MultiplexedConnection) -> Result<(), Broken> {
    redis::cmd("PING").exec_async(&mut connection.clone()).await.map_err(told)
}

/// Takes what the server says by itself.
fn hear(relay: &Relay, broken: &Notify, own: &str, emitters: Option<&Emitters>, push: PushInfo) {
    match push.kind {
        PushKind::Disconnection => broken.notify_one(),
        PushKind::Message | PushKind::SMessage => {
            let mut data = push.data.into_iter();
            let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                (data.next(), data.next())
            else {
                return;
            };
            let payload = Bytes::from(payload);
            match emitters {
                Some(emitters) if emitters.own(&channel) => emitters.hear(relay, &channel, &payload),
                _ => {
                    if let Some(name) = channel.strip_prefix(own.as_bytes()) {
                        relay.receive(payload, |room| is_of(name, room));
                    }
                }
            }
        }
        PushKind::SUnsubscribe => {
            if let Some(Value::BulkString(channel)) = push.data.first() {
                hear_no_more(relay, broken, own, channel);
            }
        }
        _ => {}
    }
}

/// Whether a channel, without the prefix, is that of the room, or of everyone.
fn is_of(name: &[u8], room: Option<&Room>) -> bool {
    match room {
        None => name == b"everyone",
        Some(Room::Text(text)) => name.strip_prefix(b"text:") == Some(text.as_bytes()),
        Some(Room::Integer(number)) => name.strip_prefix(b"integer:") == Some(number.to_string().as_bytes()),
    }
}

/// A server says no more of this channel: another one of the cluster has its slot now, or nobody wants to hear of it.
fn hear_no_more(relay: &Relay, broken: &Notify, own: &str, channel: &[u8]) {
    let name = std::str::from_utf8(channel).ok().and_then(|channel| channel.strip_prefix(own));
    let room = match name.map(|name| name.split_once(':').ok_or(name)) {
        Some(Err("everyone")) => return broken.notify_one(),
        Some(Ok(("text", name))) => Some(Room::Text(name.into())),
        Some(Ok(("integer", name))) => name.parse().ok().map(Room::Integer),
        _ => None,
    };
    if let Some(room) = room {
        relay.unsubscribed(&room);
    }
}

/// Reads every file that the configuration names.
pub(super) fn check(config: &config::Redis) -> Result<(), Failure> {
    if let Some(tls) = &config.tls {
        files::connector("relay.redis.tls", Some(tls))?;
    }
    Settings::read(config).map(drop)
}

/// What the log may say of an error, which names no secret: of many the first, in a line.
fn told(error: RedisError) -> Broken {
    if error.kind() == ErrorKind::Parse {
        return "it is no Redis server".to_owned();
    }
    let text = error.to_string();
    let first = error.into_server_errors().and_then(|all| all.first().map(|(_, first)| first.to_string()));
    brief(&first.unwrap_or(text))
}

/// What a server says, without what it repeats of a command that it does not know: of `HELLO` that is a password.
fn brief(text: &str) -> String {
    let line = text.lines().collect::<Vec<_>>().join(" ");
    line.split(", with args").next().unwrap_or_default().to_owned()
}
