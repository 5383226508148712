//! The log: text or JSON to standard error, or structured entries to the journal.

use std::io::IsTerminal;
use std::io::stderr;

use tracing::Metadata;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config;
use crate::config::Format;
use crate::failure::Failure;
use crate::telemetry::journal;

/// Starts the log; to be called once, before anything is logged.
///
/// # Errors
///
/// When the journal is asked for and cannot be reached.
pub fn start(config: &config::Log) -> Result<Logger, Failure> {
    let (output, handle) = reload::Layer::new(output(config)?);
    tracing_subscriber::registry()
        .with(output)
        .try_init()
        .map_err(|error| Failure::Internal(format!("cannot start the log: {error}")))?;
    Ok(Logger { handle })
}

/// The log that runs, whose level and format can be replaced.
pub struct Logger {
    handle: reload::Handle<Output, Registry>,
}

impl Logger {
    /// Makes what would log as `config` says.
    ///
    /// # Errors
    ///
    /// When the journal is asked for and cannot be reached.
    pub fn prepare(&self, config: &config::Log) -> Result<Prepared, Failure> {
        output(config).map(Prepared)
    }

    /// From now on everything is logged as was prepared.
    pub fn commit(&self, prepared: Prepared) {
        // It fails only when the subscriber is gone, which lives as long as the process, or when
        // the assignment behind it has panicked before, which only drops what was there.
        let _ = self.handle.reload(prepared.0);
    }
}

/// What can take the place of the log that runs.
pub struct Prepared(Output);

/// What decides which messages are logged, and writes them.
type Output = Box<dyn Layer<Registry> + Send + Sync>;

fn output(config: &config::Log) -> Result<Output, Failure> {
    let levels: Targets =
        config.level.as_str().parse().map_err(|error| {
            Failure::Internal(format!("cannot use the level `{}`: {error}", config.level))
        })?;
    let filter = levels.and_then(filter_fn(is_no_span));
    // Nobody is left to be told when standard error cannot be written to; the library would panic.
    let lines = || fmt::layer().with_writer(stderr).log_internal_errors(false);
    let text = || lines().with_target(false).with_ansi(stderr().is_terminal());
    Ok(match config.format {
        Format::Text => filter.and_then(text()).boxed(),
        Format::Json => filter.and_then(lines().json().flatten_event(true)).boxed(),
        Format::Journald => filter.and_then(journal::layer()?).boxed(),
        Format::Auto => match journal::layer_if_standard_error_goes_there() {
            Some(journal) => filter.and_then(journal).boxed(),
            None => filter.and_then(text()).boxed(),
        },
    })
}

/// Nothing here opens spans, but libraries may: both JSON and the journal would panic over one that
/// was opened before they took over.
fn is_no_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}
