//! What the tests drive the daemon with: the daemon itself, and clients down to the byte.

pub mod client;
pub mod daemon;
pub mod http;
pub mod proxy;
pub mod websocket;

use std::time::Duration;

pub use client::Client;
pub use client::Way;
pub use daemon::Daemon;

/// How long anything that must happen may take: far longer than it does, as machines are busy.
pub const DEADLINE: Duration = Duration::from_secs(20);
