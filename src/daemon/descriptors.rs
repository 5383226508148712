//! File descriptors: how many the process may have, and how many connections that leaves.

use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;

use crate::failure::Failure;
use crate::http::gate;

/// What the process needs for itself: standard streams, listeners, signals, the runtime, files
/// that are read now and then.
const OWN: usize = 20;
/// What is kept back from connections.
const RESERVE: usize = gate::REFUSALS + gate::OPERATORS + gate::CONTROLLERS + OWN;

/// How many connections there may be at once: `configured` if that is not 0, else as many as fit.
///
/// # Errors
///
/// When they do not fit the file descriptors that the process may have.
pub(super) fn connections(configured: usize) -> Result<usize, Failure> {
    fit(configured, raise()).map_err(Failure::Unavailable)
}

/// Raises the number of file descriptors that the process may have as far as it goes, and tells it.
fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return usize::MAX;
    };
    // Some systems have a ceiling of their own below the hard limit; then it stays as it is.
    let files = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(files).unwrap_or(usize::MAX)
}

fn fit(configured: usize, files: usize) -> Result<usize, String> {
    let room = files.saturating_sub(RESERVE);
    let raise = "raise the limit of open files (`ulimit -n`, `LimitNOFILE=`)";
    match configured {
        0 if room == 0 => {
            Err(format!("cannot serve with {files} file descriptors, as {RESERVE} are kept back; {raise}"))
        }
        0 => Ok(room),
        _ if configured <= room => Ok(configured),
        _ => Err(format!(
            "cannot serve limits.connections = {configured} with {files} file descriptors, as {RESERVE} are \
             kept back; write at most {room}, or {raise}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_the_file_descriptors_less_a_reserve() {
        assert_eq!(fit(0, RESERVE + 1), Ok(1));
        assert_eq!(fit(0, usize::MAX), Ok(usize::MAX - RESERVE));
        assert_eq!(fit(10, RESERVE + 10), Ok(10));
        let refusal = "cannot serve limits.connections = 11 with 74 file descriptors, as 64 are kept back; \
                       write at most 10, or raise the limit of open files (`ulimit -n`, `LimitNOFILE=`)";
        assert_eq!(fit(11, RESERVE + 10), Err(refusal.to_owned()));
        let refusal = "cannot serve with 64 file descriptors, as 64 are kept back; raise the limit of open \
                       files (`ulimit -n`, `LimitNOFILE=`)";
        assert_eq!(fit(0, RESERVE), Err(refusal.to_owned()));
        assert!(fit(1, 0).is_err());
    }
}
