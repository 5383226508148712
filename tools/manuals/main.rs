//! Writes the manual pages and the completions of shells, from what the program says of itself:
//! `cargo run --example manuals -- FOLDER`.
//!
//! An example, so that nothing of this is in the daemon, nor is a second crate needed.

#![expect(unreachable_pub, reason = "there is nothing above the crate of an example")]

mod command;
mod configuration;
mod roff;

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use clap_complete::Shell;
use humble_broker::cli;
use humble_broker::config::SHIPPED;

const NAME: &str = "socketio-humble-broker";
/// Its table of exit codes is that of the manual page too.
const README: &str = include_str!("../../README.md");

fn main() -> Result<(), String> {
    let folder = env::args_os().nth(1).ok_or("which folder? write it as the argument")?;
    let folder = Path::new(&folder);
    let date = date(env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    write(folder, &format!("{NAME}.1"), command::page(cli::command(), README, &date)?.as_bytes())?;
    write(folder, "broker.toml.5", configuration::page(SHIPPED, &date)?.as_bytes())?;
    for (shell, name) in [
        (Shell::Bash, NAME.to_owned()),
        (Shell::Zsh, format!("_{NAME}")),
        (Shell::Fish, format!("{NAME}.fish")),
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::command(), NAME, &mut script);
        write(folder, &name, &script)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), String> {
    let file = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, content))
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// The day of the pages. A build that is to be repeated says when it is, `epoch` seconds after 1970.
fn date(epoch: Option<&str>) -> Result<String, String> {
    let time = match epoch {
        Some(seconds) => {
            let seconds = seconds
                .parse()
                .map_err(|_| format!("`{seconds}` is no SOURCE_DATE_EPOCH; write the seconds since 1970"))?;
            UNIX_EPOCH + Duration::from_secs(seconds)
        }
        None => SystemTime::now(),
    };
    let text = humantime::format_rfc3339_seconds(time).to_string();
    Ok(text.split('T').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_the_pages_can_be_said() {
        assert_eq!(date(Some("1700000000")), Ok("2023-11-14".to_owned()));
        assert!(date(Some("yesterday")).is_err());
        assert_eq!(date(None).unwrap().len(), "2023-11-14".len());
    }
}
