//! Reloading: what SIGHUP has read again while clients are served.

use tracing::error;
use tracing::info;
use tracing::warn;

use crate::config;
use crate::config::Config;
use crate::failure::Failure;
use crate::http::tls::Credentials;
use crate::http::tls::Tls;

/// What a reload replaces.
///
/// It prepares, which may fail and then has changed nothing; and it commits, which cannot fail.
pub(super) struct Reload {
    /// TLS, and the files that its credentials come from.
    tls: Option<(config::Tls, Tls)>,
}

impl Reload {
    /// Reads for the first time what a reload reads again.
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let Some(files) = &config.server.tls else { return Ok(Self { tls: None }) };
        let tls = Tls::new(Credentials::read(files)?);
        Ok(Self { tls: Some((files.clone(), tls)) })
    }

    /// TLS for the connections of clients.
    pub(super) fn tls(&self) -> Option<Tls> {
        self.tls.as_ref().map(|(_, tls)| tls.clone())
    }

    /// Reads everything again. The thread that waits for signals may wait for files too, as it
    /// serves nobody.
    pub(super) fn run(&self) {
        if self.tls.is_none() {
            warn!("SIGHUP: the configuration is read again only at a restart");
            return;
        }
        match self.prepare() {
            Ok(prepared) => {
                self.commit(prepared);
                info!("SIGHUP: new connections get the TLS credentials that have been read again");
                warn!("SIGHUP: the rest of the configuration is read again only at a restart");
            }
            Err(failure) => error!("SIGHUP: what was read before stays in force: {failure}"),
        }
    }

    fn prepare(&self) -> Result<Prepared, Failure> {
        let credentials = self.tls.as_ref().map(|(files, _)| Credentials::read(files)).transpose()?;
        Ok(Prepared { credentials })
    }

    fn commit(&self, prepared: Prepared) {
        if let (Some((_, tls)), Some(credentials)) = (&self.tls, prepared.credentials) {
            tls.replace(credentials);
        }
    }
}

/// What takes the place of what is in force.
struct Prepared {
    credentials: Option<Credentials>,
}
