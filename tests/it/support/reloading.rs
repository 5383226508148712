//! A daemon whose configuration is a file, which a test writes anew and reloads.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use tempfile::TempDir;

use super::Daemon;
use super::daemon::command;

/// A daemon whose configuration is a file.
pub struct Reloading {
    pub daemon: Daemon,
    folder: TempDir,
}

impl Reloading {
    /// A daemon with this configuration.
    pub fn start(text: &str) -> Self {
        Self::start_with(text, &[])
    }

    /// A daemon with this configuration, and further arguments.
    pub fn start_with(text: &str, arguments: &[&str]) -> Self {
        Self::start_after(":", text, arguments)
    }

    /// A daemon with this configuration and further arguments, after `prologue` in the shell that
    /// becomes it.
    pub fn start_after(prologue: &str, text: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("broker.toml"), text).unwrap();
        let file = folder.path().join("broker.toml");
        let socket = format!("admin.control_socket={}", folder.path().join("control.sock").display());
        let mut all = vec!["--config", file.to_str().unwrap(), "--set", &socket];
        all.extend(arguments);
        Self { daemon: Daemon::start_after(prologue, &all), folder }
    }

    /// The file of the configuration.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("broker.toml")
    }

    /// Where a reload is asked for.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// Asks for a reload, and waits for its outcome.
    pub fn reload(&self) -> Output {
        command().args(["reload", "--socket"]).arg(self.socket()).output().unwrap()
    }

    /// Writes the file anew and reloads; what is given back is what the broker has told.
    pub fn load(&self, text: &str) -> String {
        fs::write(self.file(), text).unwrap();
        let output = self.reload();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes the file anew and is refused the reload; what is given back is why.
    pub fn fail(&self, text: &str) -> String {
        fs::write(self.file(), text).unwrap();
        let output = self.reload();
        assert_eq!(output.status.code(), Some(78), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}
