//! The integration tests: they drive the real daemon through its sockets.

#![expect(unreachable_pub, reason = "there is nothing above the crate of a test")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when it fails, and so may what it is made of"
)]

mod abuse;
mod access;
mod access_table;
mod bounds;
mod bystander;
mod config;
mod daemon;
mod engine_io;
mod events;
mod fidelity;
mod gate;
mod guard;
mod health;
mod house;
mod http;
mod inherited;
mod install;
mod library;
mod listeners;
mod logs;
mod metrics;
mod msgpack;
mod order;
mod proxies;
mod relay;
#[cfg(feature = "nats")]
mod relay_nats;
mod reload;
mod runbook;
mod shutdown;
mod socket_io;
mod support;
mod systemd;
mod tls;
mod tools;
mod upgrade;
