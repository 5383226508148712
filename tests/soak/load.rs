//! The load: clients that come and go, stall, are cut off, and give up half-way.

use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;
use std::time::Duration;

use humble_broker::protocol::Generation;

use crate::support::Client;
use crate::support::Way;
use crate::support::http;
use crate::support::vitals::pause;

/// Threads that abuse the daemon.
const THREADS: u64 = 6;
/// Clients of a thread that are left stalled before the oldest goes.
const STALLED: usize = 20;
/// Time between two acts of one thread, so that the machine has something left for the daemon.
const REST: Duration = Duration::from_millis(5);

/// A load that runs until it is dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the load on the daemon at `address`.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let mut threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (stop, done) = (stop.clone(), done.clone());
                std::thread::spawn(move || abuse(address, seed, &stop, &done))
            })
            .collect();
        let stop_flood = stop.clone();
        threads.push(std::thread::spawn(move || flood(address, &stop_flood)));
        Self { stop, done, threads }
    }

    /// Whether a client that should have been served was not.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the load; how many acts there were, or that one of them failed.
    pub fn finish(mut self) -> Result<u64, String> {
        self.stop.store(true, SeqCst);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| "a client that should have been served was not".to_owned())?;
        }
        Ok(self.done.load(SeqCst))
    }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn abuse(address: SocketAddr, seed: u64, stop: &AtomicBool, done: &AtomicU64) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
    let mut stalled = std::collections::VecDeque::new();
    while !stop.load(SeqCst) {
        let way = Way::ALL[dice.below(Way::ALL.len())];
        match dice.below(10) {
            0..4 => churn(address, way, dice.below(1_000)),
            4 => {
                let mut client = Client::connect(address, way);
                client.subscribe("\"flood\"");
                stalled.push_back(client);
                if stalled.len() > STALLED {
                    stalled.pop_front();
                }
            }
            5 => abandon_upgrade(address, way.generation(), dice.below(4)),
            _ => cut(address, way, dice.below(8)),
        }
        done.fetch_add(1, SeqCst);
        pause(REST);
    }
}

/// Publishes more than a stalled client's queue and its socket take.
fn flood(address: SocketAddr, stop: &AtomicBool) {
    let mut publisher = Client::connect(address, Way::WebSocket4);
    let event = format!("[\"publish\",\"flood\",\"{}\"]", "x".repeat(20_000));
    while !stop.load(SeqCst) {
        assert_eq!(publisher.ask(&event), "[]");
        pause(REST * 4);
    }
}

/// A client that is served, hears itself, and leaves.
fn churn(address: SocketAddr, way: Way, room: usize) {
    let mut client = Client::connect(address, way);
    let room = format!("\"{room} {way:?}\"");
    client.subscribe(&room);
    client.emit(&format!("[\"publish\",{room},\"{}\"]", "y".repeat(500)));
    // Somebody else may be in the room; one's own message comes in any case.
    assert!(client.text().starts_with("42[\"data\",\""));
    match way {
        // Closes the session, as its heartbeat would take a while to notice.
        Way::Polling3 | Way::Polling4 => client.send("1"),
        _ => {}
    }
}

fn abandon_upgrade(address: SocketAddr, generation: Generation, stage: usize) {
    let way = if generation == Generation::V3 { Way::Polling3 } else { Way::Polling4 };
    let mut client = Client::connect(address, way);
    let mut socket = client.open_upgrade(address);
    if stage > 0 {
        socket.send("2probe");
    }
    if stage > 1 {
        assert_eq!(socket.text(), "3probe");
    }
    if stage > 2 {
        socket.send("5");
        drop(socket);
        return;
    }
    drop(socket);
    client.send("1");
}

/// A connection that is cut at some stage.
fn cut(address: SocketAddr, way: Way, stage: usize) {
    match stage {
        0 => drop(http::connect(address)),
        1 => say(&mut http::connect(address), "GET /socket.io/?EIO=4&transport=po"),
        2 => drop(Client::open(address, way)),
        3 => {
            let client = Client::connect(address, way);
            if matches!(way, Way::Polling3 | Way::Polling4) {
                let mut poll = http::connect(address);
                http::send(&mut poll, "GET", &client.polling_target(), &[], b"");
            }
        }
        4 => {
            let client = Client::connect(address, Way::Polling4);
            let target = client.polling_target();
            let head = format!("POST {target} HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n42[");
            say(&mut http::connect(address), &head);
        }
        5 => {
            let mut client = Client::connect(address, Way::WebSocket4);
            client.socket().send_raw(&[0x81, 0xfe, 1, 0, 0, 0, 0, 0, b'4', b'2']);
        }
        6 => {
            let mut client = Client::connect(address, Way::WebSocket4);
            client.socket().send("452-[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]");
            client.socket().send_binary(&vec![7; 50_000]);
        }
        _ => {
            let mut client = Client::connect(address, Way::WebSocket3);
            client.socket().send("421[\"subscribe\",\"r\"]");
            // Unread input makes the close a reset.
            client.socket().await_input();
        }
    }
}

fn say(stream: &mut TcpStream, text: &str) {
    // That the daemon has gone already is no failure of this client.
    let _ = stream.write_all(text.as_bytes());
}
