//! Redis and Valkey: a connection to one server, to one found through sentinels, or to a cluster.

mod settings;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::future::try_join_all;
use redis::AsyncConnectionConfig;
use redis::Cmd;
use redis::Pipeline;
use redis::PushInfo;
use redis::PushKind;
use redis::RedisError;
use redis::Value;
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use tokio::sync::Notify;

use crate::config;
use crate::failure::Failure;
use crate::protocol::Room;
use crate::relay::Relay;
use crate::relay::connection::Broken;
use crate::relay::connection::Parcel;
use crate::relay::emitters::Emitters;
use crate::relay::files;

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
    Cluster(ClusterConnection),
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
            let emitters = emitters.clone();
            move |push: PushInfo| -> Result<(), ()> {
                hear(&relay, &broken, &own, emitters.as_deref(), push);
                Ok(())
            }
        };
        let settings = Settings::read(config).map_err(|failure| failure.to_string())?;
        let way = if config.cluster {
            let client = settings.cluster(patience)?.push_sender(heard).build().map_err(told)?;
            Way::Cluster(client.get_async_connection().await.map_err(told)?)
        } else {
            // The link is patient, in its own way.
            let patience = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None)
                .set_push_sender(heard);
            let client = settings.client().await?;
            let connection = client.get_multiplexed_async_connection_with_config(&patience).await;
            Way::Single(connection.map_err(told)?)
        };
        Ok(Self { way, prefix: config.prefix.clone(), broken, emitters })
    }

    pub(super) async fn broken(&self) -> Broken {
        self.broken.notified().await;
        "the server has closed it".to_owned()
    }

    pub(super) async fn publish(&self, parcels: &[Parcel]) -> Result<(), Broken> {
        let publish = |command, parcel: &Parcel| {
            let mut publish = Cmd::new();
            publish.arg(command).arg(self.channel(parcel.room.as_ref())).arg(&parcel.envelope[..]);
            publish
        };
        match &self.way {
            Way::Single(connection) if !parcels.is_empty() => {
                let mut pipeline = Pipeline::with_capacity(parcels.len());
                for parcel in parcels {
                    pipeline.add_command(publish("PUBLISH", parcel)).ignore();
                }
                pipeline.exec_async(&mut connection.clone()).await.map_err(told)
            }
            Way::Single(_) => Ok(()),
            Way::Cluster(connection) => {
                // The library sends what it is given at once in any order, but for what is in one pipeline, which
                // may only hold what belongs to one slot.
                let mut channels = HashMap::<_, Pipeline>::new();
                for parcel in parcels {
                    let pipeline = channels.entry(parcel.room.as_ref()).or_default();
                    pipeline.add_command(publish("SPUBLISH", parcel)).ignore();
                }
                let each = channels
                    .values()
                    .map(|pipeline| async { pipeline.exec_async(&mut connection.clone()).await });
                try_join_all(each).await.map(drop).map_err(told)
            }
        }
    }

    pub(super) async fn subscribe_always(&self) -> Result<(), Broken> {
        let emitters = self.emitters.iter().flat_map(|emitters| emitters.always()).collect();
        self.change(Change::Subscribe, vec![self.channel(None)], emitters).await
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
        let ping = redis::cmd("PING");
        match &self.way {
            Way::Single(connection) => ping.exec_async(&mut connection.clone()).await.map_err(told),
            Way::Cluster(connection) => ping.exec_async(&mut connection.clone()).await.map_err(told),
        }
    }

    /// Changes what is subscribed to: the nodes' own channels, and those of emitters, which never publish to one
    /// server of a cluster alone.
    async fn change(&self, change: Change, own: Vec<String>, emitters: Vec<String>) -> Result<(), Broken> {
        match &self.way {
            Way::Single(connection) => {
                let (mut connection, channels) = (connection.clone(), [own, emitters].concat());
                match change {
                    Change::Subscribe => connection.subscribe(channels).await,
                    Change::Unsubscribe => connection.unsubscribe(channels).await,
                }
            }
            Way::Cluster(connection) => {
                let each = own.iter().map(|channel| async move {
                    let mut connection = connection.clone();
                    match change {
                        Change::Subscribe => connection.ssubscribe(channel).await,
                        Change::Unsubscribe => connection.sunsubscribe(channel).await,
                    }
                });
                let everywhere = async {
                    let mut connection = connection.clone();
                    match change {
                        _ if emitters.is_empty() => Ok(()),
                        Change::Subscribe => connection.subscribe(&emitters).await,
                        Change::Unsubscribe => connection.unsubscribe(&emitters).await,
                    }
                };
                try_join(try_join_all(each), everywhere).await.map(drop)
            }
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
                _ if channel.starts_with(own.as_bytes()) => relay.receive(payload),
                _ => {}
            }
        }
        // Another server of the cluster has the slot now, and this one says no more of it.
        PushKind::SUnsubscribe => {
            if let Some(Value::BulkString(channel)) = push.data.first()
                && is_wanted(relay, own, channel)
            {
                broken.notify_one();
            }
        }
        _ => {}
    }
}

/// Whether messages of this channel are to come.
fn is_wanted(relay: &Relay, own: &str, channel: &[u8]) -> bool {
    let name = std::str::from_utf8(channel).ok().and_then(|channel| channel.strip_prefix(own));
    let room = match name.map(|name| name.split_once(':').ok_or(name)) {
        Some(Err("everyone")) => None,
        Some(Ok(("text", name))) => Some(Room::Text(name.into())),
        Some(Ok(("integer", name))) => name.parse().ok().map(Room::Integer),
        _ => return false,
    };
    relay.0.interest.is_subscribed(room.as_ref())
}

/// Reads every file that the configuration names.
pub(super) fn check(config: &config::Redis) -> Result<(), Failure> {
    if let Some(tls) = &config.tls {
        files::connector("relay.redis.tls", Some(tls))?;
    }
    Settings::read(config).map(drop)
}

/// What the log may say of an error, which names no secret.
#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped with")]
fn told(error: RedisError) -> Broken {
    error.to_string()
}
