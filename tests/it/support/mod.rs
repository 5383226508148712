//! What the tests drive the daemon with: the daemon itself, and clients down to the byte.

pub mod bystander;
pub mod client;
pub mod daemon;
pub mod documents;
pub mod http;
#[cfg(feature = "nats")]
pub mod nats;
pub mod nodes;
pub mod proxy;
pub mod redis;
pub mod reloading;
pub mod tls;
pub mod tunnel;
pub mod vitals;
pub mod websocket;

use std::time::Duration;

pub use bystander::Bystander;
pub use client::Client;
pub use client::Way;
pub use daemon::Daemon;
pub use nodes::Nodes;
pub use redis::Redis;
pub use reloading::Reloading;
pub use vitals::Vitals;

/// How long anything that must happen may take: far longer than it does, as machines are busy.
pub const DEADLINE: Duration = Duration::from_secs(20);
