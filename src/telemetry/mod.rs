//! What is told about the daemon: its log and its metrics.

pub mod disconnection;
pub mod distribution;
pub mod events;
mod exporter;
mod journal;
pub mod log;
pub mod metrics;
pub mod relay;
pub mod reloads;
pub mod requests;
mod runtime;
