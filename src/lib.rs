//! A self-hosted message broker for Socket.IO clients.
//!
//! The map of the house, from the ground up. A module uses only the floors below its own;
//! `tests/it/house.rs` fails when one reaches up. `ARCHITECTURE.md` tells the rest.

// 0: what clients say, without any input or output.
pub mod failure;
pub mod protocol;

// 1: what the operator says.
pub mod config;

// 2: bytes on connections, and what is told about them.
pub mod telemetry;
pub mod wire;

// 3: who clients are, and what each may do.
pub mod access;

// 5: messages for other nodes, and from them.
pub mod relay;

// 6: sessions, rooms and deliveries: the only floor that knows socketioxide.
pub mod broker;

// 7: listeners and routes: the only floor that knows axum and hyper.
pub mod http;

// 8: the life of the process.
pub mod daemon;

// 9: the command line.
pub mod cli;
