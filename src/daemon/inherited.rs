//! Sockets that a service manager listens on for the daemon, and hands over when it starts it.

use std::env;
use std::ffi::OsString;
use std::process;

use listenfd::ListenFd;

use crate::failure::Failure;
use crate::http::listener::Inherited;

/// The sockets that were handed over, by their names.
#[derive(Default)]
pub(super) struct Sockets {
    /// For clients: `public`.
    pub(super) public: Option<Inherited>,
    /// For operators: `admin`.
    pub(super) admin: Option<Inherited>,
}

impl Sockets {
    /// Takes what was handed over. To be called once, while there is no other thread, as it takes the
    /// variables that say so out of the environment.
    ///
    /// # Errors
    ///
    /// When something was handed over that the daemon has no use for: it would listen to nobody.
    pub(super) fn take() -> Result<Self, Failure> {
        let unusable = |reason| Failure::Config(format!("cannot use the sockets that were passed: {reason}"));
        let names = names(|name| env::var_os(name), process::id()).map_err(unusable)?;
        let mut sockets = Self::default();
        if names.is_empty() {
            return Ok(sockets);
        }
        let mut passed = ListenFd::from_env();
        for (index, name) in names.iter().enumerate() {
            let socket =
                socket(&mut passed, index).map_err(|reason| unusable(format!("`{name}` {reason}")))?;
            let place = if name == ADMIN { &mut sockets.admin } else { &mut sockets.public };
            if place.replace(socket).is_some() {
                return Err(unusable(format!("two are called `{name}`")));
            }
        }
        Ok(sockets)
    }
}

const PUBLIC: &str = "public";
const ADMIN: &str = "admin";

/// The names of the sockets, in their order, as `sd_listen_fds(3)` describes it.
fn names(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Result<Vec<String>, String> {
    let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
    // Those of another process, such as the shell that we were started from, are not ours.
    if text("LISTEN_PID").is_none_or(|id| id != process.to_string()) {
        return Ok(Vec::new());
    }
    let count = text("LISTEN_FDS").unwrap_or_default();
    let Ok(count) = count.parse::<usize>() else {
        return Err(format!("LISTEN_FDS is `{count}`, which is not a number"));
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    let form = "name them `public` and `admin`, with `FileDescriptorName=`";
    let Some(names) = text("LISTEN_FDNAMES") else { return Err(format!("they have no names; {form}")) };
    let names: Vec<_> = names.split(':').map(str::to_owned).collect();
    if let Some(stranger) = names.iter().find(|name| ![PUBLIC, ADMIN].contains(&name.as_str())) {
        return Err(format!("`{stranger}` is no name that the broker knows; {form}"));
    }
    if names.len() != count {
        return Err(format!("there are {count} of them, and {} names; {form}", names.len()));
    }
    Ok(names)
}

/// The socket at `index`, which must be one that connections come from.
fn socket(passed: &mut ListenFd, index: usize) -> Result<Inherited, &'static str> {
    let unix = passed.take_unix_listener(index).ok().flatten().and_then(Inherited::from_unix);
    unix.or_else(|| passed.take_tcp_listener(index).ok().flatten().and_then(Inherited::from_tcp))
        .ok_or("is not a socket that connections come from; pass one of TCP or a unix stream socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let value =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
        names(value, 7)
    }

    #[test]
    fn sockets_have_the_names_of_their_variable() {
        let passed =
            |count, names| names_of(&[("LISTEN_PID", "7"), ("LISTEN_FDS", count), ("LISTEN_FDNAMES", names)]);
        assert_eq!(passed("1", "public"), Ok(vec!["public".to_owned()]));
        assert_eq!(passed("2", "admin:public"), Ok(vec!["admin".to_owned(), "public".to_owned()]));
        assert_eq!(passed("0", ""), Ok(vec![]));
        for (count, names, refusal) in [
            ("x", "public", "LISTEN_FDS is `x`, which is not a number"),
            ("-1", "public", "LISTEN_FDS is `-1`, which is not a number"),
            ("1", "web", "`web` is no name that the broker knows; name them `public` and `admin`"),
            ("1", "", "`` is no name that the broker knows"),
            ("2", "public", "there are 2 of them, and 1 names; "),
            ("1", "public:admin", "there are 1 of them, and 2 names; "),
            ("18446744073709551615", "public", "there are 18446744073709551615 of them, and 1 names; "),
        ] {
            let refused = passed(count, names).unwrap_err();
            assert!(refused.starts_with(refusal), "{refused}");
        }
        let refused = names_of(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "1")]).unwrap_err();
        assert!(refused.starts_with("they have no names; name them "), "{refused}");
    }

    #[test]
    fn what_is_meant_for_another_process_is_left_alone() {
        for process in ["8", "07", "", "x"] {
            assert_eq!(
                names_of(&[("LISTEN_PID", process), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "web")]),
                Ok(vec![])
            );
        }
        assert_eq!(names_of(&[("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "web")]), Ok(vec![]));
    }
}
