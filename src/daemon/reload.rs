//! Reloading: the configuration is read again and replaced while clients are served.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;
use tracing::info;
use tracing::warn;

use crate::access::Access;
use crate::access::Secret;
use crate::broker;
use crate::broker::Broker;
use crate::config::Config;
use crate::config::Reloaded;
use crate::config::Sources;
use crate::daemon::descriptors;
use crate::failure::Failure;
use crate::http::gate::Gate;
use crate::http::keys::Wanted;
use crate::http::live;
use crate::http::live::Live;
use crate::http::tls::Credentials;
use crate::http::tls::Tls;
use crate::telemetry::log;
use crate::telemetry::log::Logger;
use crate::telemetry::reloads::Reloads;
use crate::wire::links::Links;

/// The configuration in force, and everything that has to hear of another.
///
/// A reload prepares, which may fail and then has changed nothing; and it commits, which cannot fail.
pub(super) struct Reload {
    pub(super) sources: Sources,
    pub(super) config: Config,
    pub(super) broker: Broker,
    /// The rules that hold.
    pub(super) access: Arc<Access>,
    /// Where keys are fetched from.
    pub(super) keys: watch::Sender<Wanted>,
    pub(super) links: Arc<Links>,
    pub(super) gate: Gate,
    pub(super) live: live::Current,
    pub(super) tls: Option<Tls>,
    pub(super) logger: Logger,
    pub(super) reloads: Reloads,
}

impl Reload {
    /// Reads everything again, and says what has changed, or why nothing has. The thread that waits
    /// for signals may wait for files too, as it serves nobody.
    pub(super) fn run(&mut self) -> Result<String, Failure> {
        let outcome = self.prepare().map(|prepared| self.commit(prepared));
        match &outcome {
            Ok((reloaded, disconnected)) => {
                self.reloads.succeeded();
                self.reloads.needs_restart(&reloaded.needs_restart);
                info!("reloaded {}: {}", self.sources, changes(reloaded, *disconnected));
                if !reloaded.needs_restart.is_empty() {
                    warn!("{}", waiting(&reloaded.needs_restart));
                }
            }
            Err(failure) => {
                self.reloads.failed();
                error!("reload refused, what was in force stays in force: {failure}");
            }
        }
        outcome.map(|(reloaded, disconnected)| report(&reloaded, disconnected))
    }

    fn prepare(&self) -> Result<Prepared, Failure> {
        let reloaded = self.config.reloaded(&Config::load(&self.sources)?);
        let config = &reloaded.config;
        let credentials = config.server.tls.as_ref().map(Credentials::read).transpose()?;
        let authorities = credentials.as_ref().and_then(Credentials::authorities);
        Ok(Prepared {
            credentials,
            places: descriptors::connections(config.limits.connections)?,
            operators: operators(config)?,
            access: Arc::new(Access::read(config.access.as_ref(), authorities, Some(&self.access))?),
            log: self.logger.prepare(&config.log)?,
            reloaded,
        })
    }

    /// Says what has changed, and how many clients are no longer allowed.
    fn commit(&mut self, prepared: Prepared) -> (Reloaded, usize) {
        let Prepared { credentials, places, operators, access, log, reloaded } = prepared;
        self.sources.hold();
        self.config = reloaded.config.clone();
        let Config { server, limits, .. } = &self.config;
        let disconnected = self.broker.reload(broker::Live::new(limits, access.clone()));
        self.keys.send_replace(access.jwks().cloned());
        self.access = access;
        self.links.reload(limits);
        self.gate.reload(limits, places);
        self.live.store(Arc::new(Live::new(server, limits, operators)));
        if let (Some(tls), Some(credentials)) = (&self.tls, credentials) {
            tls.replace(credentials);
        }
        self.logger.commit(log);
        (reloaded, disconnected)
    }
}

/// What takes the place of what is in force.
struct Prepared {
    reloaded: Reloaded,
    credentials: Option<Credentials>,
    places: usize,
    operators: Option<Secret>,
    access: Arc<Access>,
    log: log::Prepared,
}

/// What operators must show, if anything.
pub(super) fn operators(config: &Config) -> Result<Option<Secret>, Failure> {
    config.admin.token_file.as_ref().map(|file| Secret::read("admin.token_file", file)).transpose()
}

/// The outcome in words, for who has asked.
fn report(reloaded: &Reloaded, disconnected: usize) -> String {
    let mut report = format!("reloaded: {}\n", changes(reloaded, disconnected));
    if !reloaded.needs_restart.is_empty() {
        report += &waiting(&reloaded.needs_restart);
        report.push('\n');
    }
    report
}

fn changes(reloaded: &Reloaded, disconnected: usize) -> String {
    let keys = match &reloaded.changed[..] {
        [] if reloaded.needs_restart.is_empty() => "no key has changed".to_owned(),
        [] => "nothing has changed that can while it runs".to_owned(),
        keys => format!("changed {}", keys.join(", ")),
    };
    // What a file says may have changed, and with it who is allowed.
    match disconnected {
        0 => keys,
        1 => keys + "; 1 client is no longer allowed, and disconnected",
        many => format!("{keys}; {many} clients are no longer allowed, and disconnected"),
    }
}

fn waiting(keys: &[String]) -> String {
    format!("waiting for a restart: {}", keys.join(", "))
}
