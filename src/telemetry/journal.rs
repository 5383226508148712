//! The journal of systemd: structured entries, sent to its socket.

use std::env;
use std::fs::File;
use std::io;
use std::io::stderr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing_journald::Layer;
use tracing_journald::Priority;
use tracing_journald::PriorityMappings;

use crate::failure::Failure;

/// What the journal calls us, whatever the file of the program is called.
const IDENTIFIER: &str = "socketio-humble-broker";
/// What the names of our own fields begin with, as `HUMBLE_BROKER_VERSION`.
const PREFIX: &str = "HUMBLE_BROKER";

/// What writes to the journal.
///
/// # Errors
///
/// When nobody listens at its socket.
pub(super) fn layer() -> Result<Layer, Failure> {
    connect().map_err(|error| {
        Failure::Unavailable(format!(
            "cannot log to the journal at /run/systemd/journal/socket: {error}; \
             where there is none, set log.format to \"text\" or \"json\""
        ))
    })
}

/// What writes to the journal, if standard error does already and the journal can be reached.
pub(super) fn layer_if_standard_error_goes_there() -> Option<Layer> {
    let stream = env::var("JOURNAL_STREAM").ok()?;
    // What is not connected cannot be looked at either, and is no stream to the journal.
    let standard_error = standard_error().ok()?;
    (stream == standard_error).then(connect)?.ok()
}

fn connect() -> io::Result<Layer> {
    let layer = Layer::new()?;
    Ok(layer
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_field_prefix(Some(PREFIX.to_owned()))
        // By default information would be a notice, which systemd's tools print in bold.
        .with_priority_mappings(PriorityMappings {
            info: Priority::Informational,
            debug: Priority::Debug,
            ..PriorityMappings::new()
        }))
}

/// Standard error as `JOURNAL_STREAM` would name it: device and inode, in decimal.
///
/// To compare is what systemd.exec(5) asks for: the variable may have been inherited by a process
/// whose standard error goes elsewhere.
fn standard_error() -> io::Result<String> {
    let file = File::from(stderr().as_fd().try_clone_to_owned()?).metadata()?;
    Ok(format!("{}:{}", file.dev(), file.ino()))
}
