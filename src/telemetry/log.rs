//! The log: text or JSON, to standard error.

use std::io::IsTerminal;
use std::io::stderr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Format;
use crate::config::Log;

/// Starts the log; to be called once, before anything is logged.
pub fn start(config: &Log) {
    let filter = EnvFilter::new(config.level.as_str());
    let lines = fmt::layer().with_writer(stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match config.format {
        Format::Auto | Format::Text => registry.with(lines.with_ansi(stderr().is_terminal())).init(),
        Format::Json => registry.with(lines.with_target(true).json().flatten_event(true)).init(),
    }
}
