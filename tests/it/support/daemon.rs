//! A real daemon, started on free ports and ended with the test.

use std::io::Read;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::DEADLINE;

/// A daemon that serves.
pub struct Daemon {
    child: Child,
    /// Where it listens for clients, as it says it.
    pub listen: String,
    /// Where clients reach it, unless it is a unix socket.
    pub address: SocketAddr,
    /// Where operators reach it.
    pub admin: SocketAddr,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    manager: UnixDatagram,
    notifications: Receiver<String>,
    _folder: TempDir,
}

impl Daemon {
    /// Starts a daemon on a free port with these further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_on(0, arguments)
    }

    /// Starts a daemon on `port` with these further arguments.
    pub fn start_on(port: u16, arguments: &[&str]) -> Self {
        Self::launch(command(), port, arguments)
    }

    /// Starts a daemon on a free port, after `prologue` in the shell that becomes the daemon.
    pub fn start_after(prologue: &str, arguments: &[&str]) -> Self {
        Self::launch(command_after(prologue), 0, arguments)
    }

    /// Starts a daemon to which somebody hands these sockets over, one or two, under these names.
    pub fn start_with(sockets: impl IntoIterator<Item = OwnedFd>, names: &str, arguments: &[&str]) -> Self {
        Self::launch(command_with(sockets, names), 0, arguments)
    }

    fn launch(mut command: Command, port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        let notifications = listen(manager.try_clone().unwrap());
        let mut child = command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            // Most tests are not about how the daemon ends, and need not wait for it.
            .args(["--set", "drain.spread=0s"])
            .args(arguments)
            .env("NOTIFY_SOCKET", &socket)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let reader = drain(child.stderr.take().unwrap(), stderr.clone());
        let Ok(ready) = notifications.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            panic!("the daemon did not say that it is ready: {}", stderr.lock().unwrap());
        };
        assert!(ready.lines().any(|line| line == "READY=1"), "{ready}");
        let line = |name: &str| ready.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = |name: &str| {
            if line(name).starts_with("unix:") { nowhere } else { line(name).parse().unwrap() }
        };
        Self {
            listen: line("X_LISTEN=").to_owned(),
            address: address("X_LISTEN="),
            admin: address("X_ADMIN_LISTEN="),
            child,
            stderr,
            reader: Some(reader),
            manager,
            notifications,
            _folder: folder,
        }
    }

    /// The next message to the service manager.
    pub fn notification(&self) -> Option<String> {
        self.notifications.recv_timeout(DEADLINE).ok()
    }

    /// The next message to the service manager, if one comes so soon.
    pub fn notification_within(&self, patience: Duration) -> Option<String> {
        self.notifications.recv_timeout(patience).ok()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits until the daemon has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_for(DEADLINE)
    }

    /// Waits for it to end, for no longer than this; then its log is complete.
    pub fn wait_for(&mut self, patience: Duration) -> ExitStatus {
        let status =
            wait(&mut self.child, patience).unwrap_or_else(|| panic!("still running: {}", self.log()));
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The time that the processor has spent on it.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Fields 14 and 15, in hundredths of a second; the name before may have spaces.
        let fields = stat.rsplit(')').next().unwrap().split(' ').skip(12).take(2);
        Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has logged this text.
    pub fn await_log(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < DEADLINE, "`{text}` is not in the log");
            std::thread::yield_now();
        }
    }

    /// The value of a metric, `name{labels}` as in the exposition; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let response = super::http::get(self.admin, "/metrics");
        assert_eq!(response.status, 200);
        let text = response.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric no longer has this value.
    pub fn await_change(&self, name: &str, value: f64) {
        let began = Instant::now();
        while (self.metric(name) - value).abs() < 1e-9 {
            assert!(began.elapsed() < DEADLINE, "{name} stays {value}");
            std::thread::yield_now();
        }
    }

    /// Waits until a metric has this value.
    pub fn await_metric(&self, name: &str, value: f64) {
        let began = Instant::now();
        loop {
            let is = self.metric(name);
            if (is - value).abs() < 1e-9 {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{name} is {is}, not {value}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let process = Pid::from_raw(self.child.id().cast_signed());
        let terminate = || kill(process, Signal::SIGTERM);
        if matches!(self.child.try_wait(), Ok(None)) && terminate().is_ok() {
            // The drain would wait for clients that no longer poll: a second signal cuts it short.
            while self.notification().is_some_and(|state| !state.contains("STOPPING=1")) {}
            let _ = terminate();
        }
        let ended = wait(&mut self.child, DEADLINE);
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let _ = self.manager.shutdown(Shutdown::Both);
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// The program, with nothing of the environment that would configure it.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_socketio-humble-broker"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUMBLE_BROKER_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM").stdin(Stdio::null());
    command
}

/// The program, after `prologue` in the shell that becomes it.
pub fn command_after(prologue: &str) -> Command {
    let program = command();
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{prologue}; exec \"$0\" \"$@\"")]).arg(program.get_program());
    shell.stdin(Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// The program, to which the shell that becomes it hands these sockets over, one or two.
pub fn command_with(sockets: impl IntoIterator<Item = OwnedFd>, names: &str) -> Command {
    let mut sockets = sockets.into_iter();
    let (first, second) = (sockets.next().unwrap(), sockets.next());
    assert!(sockets.next().is_none());
    // They come to the shell as its input and output.
    let take =
        if second.is_some() { "exec 3<&0 4<&1 0</dev/null 1>/dev/null" } else { "exec 3<&0 0</dev/null" };
    let count = if second.is_some() { 2 } else { 1 };
    let tell = format!("export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}");
    let mut command = command_after(&format!("{take}; {tell}"));
    command.stdin(first);
    if let Some(second) = second {
        command.stdout(second);
    }
    command
}

fn drain(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    })
}

/// Receives what is sent to the service manager, as one does: a daemon that nobody listens to waits
/// when a few messages have been sent.
fn listen(socket: UnixDatagram) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1024);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // Nothing is what comes when the daemon is dropped.
        while let Ok(length @ 1..) = socket.recv(&mut bytes) {
            if sender.send(String::from_utf8_lossy(&bytes[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if began.elapsed() > patience {
            return None;
        }
        // There is no waiting with a deadline in the standard library; this one is for an event.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
