//! A connection to the server that all nodes share, whichever kind it is.

#![cfg_attr(
    not(any(feature = "nats", feature = "redis")),
    expect(unused_variables, dead_code, reason = "there is none in this build")
)]

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::config;
use crate::failure::Failure;
use crate::protocol::Room;
use crate::relay::Relay;
#[cfg(feature = "nats")]
use crate::relay::nats;
#[cfg(feature = "redis")]
use crate::relay::redis;

/// A connection.
pub(super) enum Connection {
    #[cfg(feature = "redis")]
    Redis(redis::Connection),
    #[cfg(feature = "nats")]
    Nats(nats::Connection),
}

/// Why a connection is of no use any more, or has not come about.
pub(super) type Broken = String;

/// A message on its way to the server.
pub(super) struct Parcel {
    /// Whom it is for; none for everyone.
    pub(super) room: Option<Room>,
    pub(super) envelope: Bytes,
}

impl Connection {
    /// Connects as the configuration says; what comes goes to `relay`.
    pub(super) async fn open(config: &config::Relay, relay: &Relay) -> Result<Self, Broken> {
        let patience = config.connect_timeout.get();
        match (&config.redis, &config.nats) {
            #[cfg(feature = "redis")]
            (Some(redis), _) => redis::Connection::open(redis, patience, relay).await.map(Self::Redis),
            #[cfg(feature = "nats")]
            (_, Some(nats)) => nats::Connection::open(nats, patience, relay).await.map(Self::Nats),
            _ => Err("this program was built without what it takes".to_owned()),
        }
    }

    /// Waits until it is of no use any more.
    pub(super) async fn broken(&self) -> Broken {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref redis) => redis.broken().await,
            #[cfg(feature = "nats")]
            Self::Nats(ref nats) => nats.broken().await,
        }
    }

    /// Largest envelope that the server takes, if it says so.
    pub(super) fn largest(&self) -> usize {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(_) => usize::MAX,
            #[cfg(feature = "nats")]
            Self::Nats(ref nats) => nats.largest(),
        }
    }

    /// Hands over messages, in their order, and waits until the server has them.
    pub(super) async fn publish(&self, parcels: &[Parcel]) -> Result<(), Broken> {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref redis) => redis.publish(parcels).await,
            #[cfg(feature = "nats")]
            Self::Nats(ref nats) => nats.publish(parcels).await,
        }
    }

    /// Has messages for everyone come, and what else does not depend on rooms.
    pub(super) async fn subscribe_always(&self) -> Result<(), Broken> {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref redis) => redis.subscribe_always().await,
            #[cfg(feature = "nats")]
            Self::Nats(ref nats) => nats.subscribe_always().await,
        }
    }

    /// Has messages for these rooms come.
    pub(super) async fn subscribe(&self, rooms: &[Room]) -> Result<(), Broken> {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref redis) => redis.subscribe(rooms).await,
            #[cfg(feature = "nats")]
            Self::Nats(ref nats) => nats.subscribe(rooms).await,
        }
    }

    /// Has messages for these rooms come no more.
    pub(super) async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), Broken> {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref redis) => redis.unsubscribe(rooms).await,
            #[cfg(feature = "nats")]
            Self::Nats(ref nats) => nats.unsubscribe(rooms).await,
        }
    }

    /// Waits until the server has answered, though there is nothing to say.
    pub(super) async fn ping(&self) -> Result<(), Broken> {
        match *self {
            #[cfg(feature = "redis")]
            Self::Redis(ref redis) => redis.ping().await,
            #[cfg(feature = "nats")]
            Self::Nats(ref nats) => nats.ping().await,
        }
    }
}

/// What the first of several servers has given that gives anything; each has so much time. If none does, why not, in
/// the same words whatever their order.
pub(super) async fn first<S: Display, T, Asked: Future<Output = Result<T, Broken>>>(
    servers: impl IntoIterator<Item = S>,
    each: Duration,
    mut ask: impl FnMut(&S) -> Asked,
) -> Result<T, Broken> {
    let mut reasons = Vec::new();
    for server in servers {
        let reason = match timeout(each, ask(&server)).await {
            Ok(Ok(given)) => return Ok(given),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {} ms", each.as_millis()),
        };
        reasons.push(format!("{server}: {reason}"));
    }
    reasons.sort();
    Err(reasons.join("; "))
}

/// Reads every file that the configuration names, as a connection would.
///
/// # Errors
///
/// When one of them cannot be used, or the program was built without what it takes.
pub fn check(config: &config::Relay) -> Result<(), Failure> {
    match (&config.redis, &config.nats) {
        #[cfg(feature = "redis")]
        (Some(redis), _) => redis::check(redis),
        #[cfg(feature = "nats")]
        (_, Some(nats)) => nats::check(nats),
        (None, None) => Ok(()),
        #[cfg(not(all(feature = "redis", feature = "nats")))]
        _ => Err(Failure::Config("[relay]: this program was built without what it takes".to_owned())),
    }
}
