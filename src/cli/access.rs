//! `access test`: what somebody may do by a configuration, and why.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgGroup;
use clap::Args;
use clap::Subcommand;
use tokio::runtime;

use crate::access::Access;
use crate::access::Credentials;
use crate::access::Denial;
use crate::access::Grant;
use crate::access::Identity;
use crate::cli::unreadable;
use crate::config::Config;
use crate::failure::Failure;
use crate::http::keys;
use crate::protocol::Room;

/// What to do about access.
#[derive(Debug, Subcommand)]
pub(super) enum Asked {
    /// Says whether a token may do something by a configuration, and which rule decides
    ///
    /// No broker need run. Exits with 0 if it may, and with 1 if not.
    Test(Test),
}

/// Who is to do what.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("action").required(true))]
pub(super) struct Test {
    /// Token that is shown; without one it is a client that shows nothing
    #[arg(long, conflicts_with = "token_file")]
    token: Option<String>,

    /// File with that token, which other users of this machine do not see then
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Room to subscribe to
    #[arg(long, value_name = "ROOM", group = "action")]
    subscribe: Option<String>,

    /// Room to publish to
    #[arg(long, value_name = "ROOM", group = "action")]
    publish: Option<String>,

    /// Whether it may broadcast
    #[arg(long, group = "action")]
    broadcast: bool,
}

impl Test {
    /// What is to be printed, and with which code to exit.
    pub(super) fn run(self, config: &Config) -> Result<(String, ExitCode), Failure> {
        let access = Access::read(config.access.as_ref(), None, None)?;
        fetch_keys(&access)?;
        let credentials = Credentials { token: self.token()?.as_deref().map(Into::into), certificate: None };
        let identity = match access.identify_now(&credentials) {
            Ok(identity) => identity,
            Err(invalid) => return Ok((format!("refused: {invalid}\n"), ExitCode::FAILURE)),
        };
        let role = identity.role().map_or_else(String::new, |role| format!("role `{role}`: "));
        Ok(match self.decide(&identity) {
            Ok(grant) => (format!("{role}{grant}\n"), ExitCode::SUCCESS),
            Err(denial) => (format!("{role}forbidden: {denial}\n"), ExitCode::FAILURE),
        })
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.token_file else { return Ok(self.token.clone()) };
        let text = fs::read_to_string(file).map_err(|error| unreadable(file, error))?;
        Ok(Some(text.trim().to_owned()))
    }

    fn decide<'a>(&self, identity: &'a Identity) -> Result<Grant<'a>, Denial<'a>> {
        let room = |name: &str| Room::Text(name.into());
        match (&self.subscribe, &self.publish) {
            (Some(name), _) => identity.may_subscribe(&room(name)),
            (None, Some(name)) => identity.may_publish(&room(name)),
            (None, None) => identity.may_broadcast(),
        }
    }
}

/// Fetches the keys of signed tokens, if they are at an address.
fn fetch_keys(access: &Access) -> Result<(), Failure> {
    let Some(jwks) = access.jwks() else { return Ok(()) };
    let unavailable =
        |reason| Failure::Unavailable(format!("cannot fetch the keys of access.jwt.jwks_url: {reason}"));
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unavailable(error.kind().to_string()))?;
    jwks.fetched(runtime.block_on(keys::fetch(jwks.url()))).map(drop).map_err(unavailable)
}
