//! A real Redis server on a free port, ended with the test.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::DEADLINE;
use super::vitals::pause;

/// A server.
pub struct Redis {
    child: Child,
    pub port: u16,
    more: Vec<String>,
    pub folder: TempDir,
}

impl Redis {
    /// Starts one with these further arguments.
    pub fn start(more: &[&str]) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let more: Vec<_> = more.iter().map(|&argument| argument.to_owned()).collect();
        let child = launch(port, &more, &folder);
        let redis = Self { child, port, more, folder };
        redis.await_answer();
        redis
    }

    /// Starts one that is configured by `file`, into which it may write.
    pub fn start_configured(file: &Path, more: &[&str]) -> Self {
        Self::start(&[&[file.to_str().unwrap()][..], more].concat())
    }

    /// What a node is told to find it.
    pub fn setting(&self) -> String {
        format!("relay.redis.url='redis://127.0.0.1:{}'", self.port)
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, after it has been killed.
    pub fn restart(&mut self) {
        self.child = launch(self.port, &self.more, &self.folder);
        self.await_answer();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Gives it a command; the answer without what it is packed in, and of several lines only the first.
    pub fn ask(&self, arguments: &[&[u8]]) -> String {
        self.try_ask(arguments).unwrap()
    }

    /// Waits until it gives this answer.
    pub fn await_ask(&self, command: &str, wanted: &str) {
        let arguments: Vec<_> = command.split(' ').map(str::as_bytes).collect();
        let began = Instant::now();
        while self.try_ask(&arguments).ok().is_none_or(|answer| !answer.contains(wanted)) {
            assert!(began.elapsed() < DEADLINE, "`{command}` is not answered with `{wanted}`");
            pause(Duration::from_millis(20));
        }
    }

    fn try_ask(&self, arguments: &[&[u8]]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut command = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            command.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            command.extend_from_slice(argument);
            command.extend_from_slice(b"\r\n");
        }
        stream.write_all(&command)?;
        let (mut line, mut reader) = (String::new(), BufReader::new(stream));
        reader.read_line(&mut line)?;
        if line.starts_with('$') {
            line.clear();
            reader.read_line(&mut line)?;
        }
        Ok(line.trim_end().to_owned())
    }

    fn await_answer(&self) {
        let began = Instant::now();
        while self.try_ask(&[b"PING"]).is_err() {
            assert!(began.elapsed() < DEADLINE, "redis-server does not answer on port {}", self.port);
            pause(Duration::from_millis(10));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses; somebody else could take it until it is used, which shows at once.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn launch(port: u16, more: &[String], folder: &TempDir) -> Child {
    let mut command = Command::new("redis-server");
    // A file comes first, or not at all.
    let (file, more) = match more {
        [file, more @ ..] if !file.starts_with("--") => (Some(file), more),
        more => (None, more),
    };
    command.args(file).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    if file.is_none() {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(more).arg("--dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("redis-server is needed, of the Debian package of that name: scripts/need.sh redis-server: {error}"))
}
