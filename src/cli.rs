//! The command line: which flags there are, and what each makes the program do.

mod access;
mod token;

use std::env;
use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::CommandFactory;
use clap::Parser;
use clap::Subcommand;
use clap::error::ContextKind;
use clap::error::ContextValue;
use toml::Value;

use crate::config;
use crate::config::Config;
use crate::config::Override;
use crate::config::SHIPPED;
use crate::config::Sources;
use crate::daemon;
use crate::failure::Failure;
use crate::http::control;
use crate::http::probe;

/// Runs the program with the command line `args`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    let mut arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return Err(misuse(error)),
        // `--help` and `--version` come as errors too.
        Err(text) => return print(&text.to_string()),
    };
    let Action { check_config, print_config, print_default_config, healthcheck } = arguments.action;
    if let Some(command) = arguments.command.take() {
        if check_config || print_config || print_default_config || healthcheck {
            let text = "a subcommand is an action of its own; leave out the other";
            return Err(Failure::Usage(text.to_owned()));
        }
        return arguments.obey(command);
    }
    if print_default_config {
        return print(SHIPPED);
    }
    if healthcheck {
        return Ok(arguments.ask_for_health());
    }
    let sources = arguments.sources()?;
    let config = Config::load(&sources)?;
    if check_config {
        daemon::check(&config)?;
        return print(&format!("the configuration is valid: {sources}\n"));
    }
    if print_config {
        let text = toml::to_string(&config);
        return print(
            &text.map_err(|error| Failure::Internal(format!("cannot write the configuration: {error}")))?,
        );
    }
    daemon::run(config, &sources)?;
    Ok(ExitCode::SUCCESS)
}

/// The command line, for manual pages and completions to be made from.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// A message broker for Socket.IO clients.
///
/// Without an action it runs the broker, until SIGTERM or SIGINT. Every key of the configuration can
/// also be set by an environment variable, like `HUMBLE_BROKER_LIMITS__MAX_PAYLOAD=256KiB`. The
/// command line counts more than the environment, and that more than the file.
#[derive(Debug, Parser)]
// As the Python broker's command line did: of two that say different things, the last one counts.
#[command(
    name = "socketio-humble-broker",
    version,
    args_override_self = true,
    disable_help_subcommand = true
)]
struct Arguments {
    /// Configuration file; by default `HUMBLE_BROKER_CONFIG`, or else
    /// /etc/socketio-humble-broker/broker.toml if there is one
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Address or name to listen on for clients
    #[arg(long)]
    host: Option<String>,

    /// Port to listen on for clients; 0 picks a free one
    #[arg(long)]
    port: Option<u16>,

    /// Address and port, or `unix:/path`, for health and metrics, apart from the clients
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,

    /// What is logged, like `debug` or `info,socketioxide=warn`
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// Sets any key of the configuration; may be repeated, and counts more than the flags above
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", global = true)]
    settings: Vec<Override>,

    #[command(flatten)]
    action: Action,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What else the program is for.
#[derive(Debug, Subcommand)]
enum Command {
    /// Has the running broker read its configuration again, and tells the outcome
    ///
    /// Exits with 0 once the broker has done so, with 78 if it keeps what was in force, and says why; with
    /// 69 if it cannot be asked.
    Reload {
        /// Control socket of the broker; by default `admin.control_socket` of the configuration
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Makes tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Explains who may do what
    #[command(subcommand)]
    Access(access::Asked),
}

/// What to do instead of running the broker.
#[derive(Args, Debug)]
#[group(multiple = false)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "clap knows flags as booleans; at most one of these is set"
)]
struct Action {
    /// Checks the configuration and every file that it names; exits with 0 or 78
    #[arg(long, help_heading = "Actions")]
    check_config: bool,

    /// Prints the configuration that would hold, as TOML
    #[arg(long, help_heading = "Actions")]
    print_config: bool,

    /// Prints a configuration file with every key at its default, explained
    #[arg(long, help_heading = "Actions")]
    print_default_config: bool,

    /// Asks the running broker whether it is healthy; exits with 0 or 1
    #[arg(long, help_heading = "Actions")]
    healthcheck: bool,
}

impl Arguments {
    fn sources(self) -> Result<Sources, Failure> {
        let flags = [
            ("--host", "server", "host", self.host.map(Value::from)),
            ("--port", "server", "port", self.port.map(|port| Value::Integer(port.into()))),
            ("--admin-listen", "admin", "listen", self.admin_listen.map(Value::from)),
            ("--log-level", "log", "level", self.log_level.map(Value::from)),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(name, section, key, value)| Some(Override::from_flag(name, section, key, &value?)));
        Ok(Sources::new(self.config, env::vars_os(), flags.chain(self.settings).collect())?)
    }

    fn obey(self, command: Command) -> Result<ExitCode, Failure> {
        match command {
            Command::Reload { socket } => self.ask_for_reload(socket),
            Command::Token(token) => print(&token.run()?),
            Command::Access(access::Asked::Test(test)) => {
                let (outcome, code) = test.run(&Config::load(&self.sources()?)?)?;
                print(&outcome).map(|_| code)
            }
        }
    }

    /// Has the broker behind `socket`, or else behind that of the configuration, reload.
    fn ask_for_reload(self, socket: Option<PathBuf>) -> Result<ExitCode, Failure> {
        if let Some(socket) = socket {
            return print(&control::reload(&socket)?);
        }
        let missing = "there is no `admin.control_socket` to ask; set it, or name one with `--socket`";
        let socket = Config::load(&self.sources()?)?.admin.control_socket;
        let socket = socket.ok_or_else(|| Failure::Usage(missing.to_owned()))?;
        print(&control::reload(socket.as_path())?)
    }

    /// Asks the running broker whether it is healthy. Whatever stands in the way of an answer is
    /// told, but the code says no more than "no": containers know 0 and 1 only.
    fn ask_for_health(self) -> ExitCode {
        let answer = self.sources().and_then(|sources| {
            let config = Config::load(&sources)?;
            probe::check(&config.server, &config.admin)
        });
        match answer {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("socketio-humble-broker: {failure}");
                ExitCode::FAILURE
            }
        }
    }
}

/// What clap says of a wrong command line; the program's name comes before it.
fn misuse(mut error: clap::Error) -> Failure {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if argument.starts_with("--set ") {
        // Whatever it was to set, there may be a secret in it.
        error.insert(ContextKind::InvalidValue, ContextValue::String("[redacted]".to_owned()));
    }
    let text = error.to_string();
    Failure::Usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned())
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever reads has seen enough, like `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => {
            Err(Failure::Unavailable(format!("cannot write to the standard output: {}", error.kind())))
        }
    }
}

/// A file that the command line names cannot be read.
fn unreadable(file: &Path, error: io::Error) -> Failure {
    Failure::Usage(config::Error::Unreadable { file: file.to_owned(), error }.to_string())
}
