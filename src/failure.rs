//! What ends the program, and the exit code it ends with.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// The reason why the program ends other than by a drain; `main` prints it once.
///
/// The exit codes are those of `sysexits.h`, which service managers know.
#[derive(Debug)]
pub enum Failure {
    /// The command line cannot be understood. Exit code 64, `EX_USAGE`.
    Usage(String),
    /// Something that the daemon needs cannot be had, such as a port. Exit code 69, `EX_UNAVAILABLE`.
    Unavailable(String),
    /// A defect of the daemon itself. Exit code 70, `EX_SOFTWARE`.
    Internal(String),
    /// The configuration cannot be used. Exit code 78, `EX_CONFIG`.
    Config(String),
}

impl Failure {
    /// The code the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 64,
            Self::Unavailable(_) => 69,
            Self::Internal(_) => 70,
            Self::Config(_) => 78,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Unavailable(text) | Self::Internal(text) | Self::Config(text)) = self;
        f.write_str(text)
    }
}

impl Error for Failure {}
