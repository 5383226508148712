//! A crowd: clients over WebSocket in a process of their own, which come back when they are cut off.

use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio::time::timeout;

/// Clients of one process that connect at the same time.
const AT_ONCE: usize = 50;
/// How long a client waits for what has to come.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a client waits before it comes back, as socket.io-client does at first: a second, give or
/// take half of it. Later attempts double it, up to five seconds.
const DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// What each client subscribes to.
pub const ROOM: &str = "all";

/// Runs `clients`, which connect to the first of `nodes` and later to whichever lets them in, and tells
/// on standard output what becomes of each, with the time in milliseconds.
///
/// Standard input ends when they are to leave.
pub fn run(clients: u64, nodes: Vec<SocketAddr>) -> Result<(), String> {
    // Each has a socket, and the system's limit is often lower than what may be had.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|error| format!("cannot have more files: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?;
    runtime.spawn(async move {
        let (nodes, gate) = (Arc::new(nodes), Arc::new(Semaphore::new(AT_ONCE)));
        for seed in 0..clients {
            tokio::spawn(live(nodes.clone(), gate.clone(), seed));
        }
    });
    let (left, leave) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = left.send(());
    });
    let _ = runtime.block_on(leave);
    runtime.shutdown_background();
    Ok(())
}

fn tell(what: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Whoever started it may have given up.
    let _ = writeln!(io::stdout(), "{what} {}", now.as_millis());
}

/// The life of one client: there, cut off, and back.
async fn live(nodes: Arc<Vec<SocketAddr>>, gate: Arc<Semaphore>, seed: u64) {
    let permit = gate.acquire().await;
    let mut session = match Session::connect(nodes[0]).await {
        Ok(session) => session,
        Err(error) => return tell(&format!("failed {error:?}")),
    };
    drop(permit);
    tell("connected");
    match session.stay().await {
        Ok(code) => tell(&format!("ended-{code}-{}", session.last)),
        Err(error) => return tell(&format!("lost {error:?}")),
    }
    drop(session);
    let mut delay = DELAY;
    for attempt in 0.. {
        sleep(jittered(delay, seed + attempt)).await;
        delay = LONGEST_DELAY.min(delay * 2);
        for node in nodes.iter() {
            if let Ok(mut session) = Session::connect(*node).await {
                tell(&format!("back-{}", node.port()));
                let _ = session.stay().await;
                return tell("left");
            }
        }
    }
}

/// From half to one and a half times as long.
fn jittered(delay: Duration, seed: u64) -> Duration {
    let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    delay / 2 + delay.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 65_536.0)
}

/// A connection with a session on it, as Engine.IO 4 and Socket.IO 5 have it.
struct Session {
    stream: BufReader<TcpStream>,
    /// The last number that was published in the room.
    last: String,
}

impl Session {
    async fn connect(node: SocketAddr) -> io::Result<Self> {
        timeout(PATIENCE, async {
            let mut stream = BufReader::with_capacity(512, TcpStream::connect(node).await?);
            let head = format!(
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: {node}\r\nupgrade: websocket\r\n\
                 connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}==\r\n\r\n",
                "A".repeat(22)
            );
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await?);
            }
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
            }
            let mut session = Self { stream, last: String::new() };
            session.expect("0{").await?;
            session.send("40").await?;
            session.expect("40{").await?;
            session.send(&format!("421[\"subscribe\",\"{ROOM}\"]")).await?;
            session.expect("431[]").await?;
            Ok(session)
        })
        .await?
    }

    async fn expect(&mut self, start: &str) -> io::Result<()> {
        match self.frame().await? {
            (1, text) if text.starts_with(start.as_bytes()) => Ok(()),
            (kind, text) => Err(io::Error::other(format!("{kind} {}", String::from_utf8_lossy(&text)))),
        }
    }

    /// Answers pings, until the end; the code that it comes with.
    async fn stay(&mut self) -> io::Result<u16> {
        loop {
            match self.frame().await? {
                (1, text) if text == b"2" => self.send("3").await?,
                (1, text) => {
                    let data = format!("42[\"data\",\"{ROOM}\",");
                    if let Some(number) = String::from_utf8_lossy(&text).strip_prefix(&data) {
                        number.trim_end_matches(']').clone_into(&mut self.last);
                    }
                }
                (8, reason) => {
                    let code = reason.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    // Nothing comes after it but the end.
                    return match self.stream.read_u8().await {
                        Ok(_) => Err(io::Error::other("something came after the close")),
                        Err(_) => Ok(code),
                    };
                }
                (kind, _) => return Err(io::Error::other(format!("a frame of kind {kind}"))),
            }
        }
    }

    /// The next frame: its kind, and what is in it.
    async fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await? & 0x0f;
        let length = match self.stream.read_u8().await? {
            126 => usize::from(self.stream.read_u16().await?),
            length @ 0..126 => usize::from(length),
            length => return Err(io::Error::other(format!("a length of kind {length}"))),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        Ok((kind, payload))
    }

    /// Sends a short text, masked with zeros.
    async fn send(&mut self, text: &str) -> io::Result<()> {
        let length = u8::try_from(text.len()).map_err(io::Error::other)?;
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await
    }
}
