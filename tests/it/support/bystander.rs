//! A bystander: clients who publish and listen all the while, and must not notice what others do.
//!
//! One publishes a numbered message every few milliseconds; others, on WebSocket, on polling and
//! upgraded, see that every number comes, in order and soon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use humble_broker::protocol::Encoding;
use humble_broker::protocol::Generation;
use humble_broker::wire::payload::Packet;

use super::Client;
use super::DEADLINE;
use super::Way;
use super::vitals::pause;

/// Longest time that a message may take from its publisher to a subscriber.
pub const LIMIT: Duration = Duration::from_secs(1);
/// Time between two messages.
const INTERVAL: Duration = Duration::from_millis(25);
/// How long the heart of the test process rests between two beats.
const BEAT: Duration = Duration::from_millis(5);
/// From here on a late beat means that this process was not allowed to run; below it is jitter.
const STALL: Duration = Duration::from_millis(50);

/// The clients, and what they have seen.
pub struct Bystander {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    heart: Option<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    stop: AtomicBool,
    heart_stops: AtomicBool,
    /// Messages that have been published and acknowledged.
    published: AtomicU64,
    listeners: Vec<Mutex<Heard>>,
    /// When this process did not run though it wanted to: from, to.
    stalls: Mutex<Vec<(Duration, Duration)>>,
}

#[derive(Default)]
struct Heard {
    count: u64,
    /// When the messages were published and how long they took.
    times: Vec<(Duration, Duration)>,
    fault: Option<String>,
}

/// What the bystander has seen so far.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Messages that each subscriber has received.
    pub messages: u64,
    /// Half of the messages took no longer.
    pub p50: Duration,
    /// 99 of 100 messages took no longer.
    pub p99: Duration,
    /// The longest time, less what this process itself did not run.
    pub worst: Duration,
}

impl Bystander {
    /// Starts the clients on the daemon at `address`, whose parser is JSON.
    pub fn start(address: SocketAddr) -> Self {
        Self::start_with(address, Encoding::Json)
    }

    /// Starts the clients on the daemon at `address`, whose parser is `encoding`.
    pub fn start_with(address: SocketAddr, encoding: Encoding) -> Self {
        let ways = match encoding {
            Encoding::Json => [Way::WebSocket4, Way::Polling4, Way::Upgrade3],
            Encoding::Msgpack => [Way::WebSocket4, Way::Polling4, Way::Upgrade4],
        };
        let shared = Arc::new(Shared {
            began: Instant::now(),
            stop: AtomicBool::new(false),
            heart_stops: AtomicBool::new(false),
            published: AtomicU64::new(0),
            listeners: ways.iter().map(|_| Mutex::default()).collect(),
            stalls: Mutex::default(),
        });
        let mut threads = Vec::new();
        for (index, way) in ways.into_iter().enumerate() {
            // Here and not in the thread, so that it has subscribed before anything is published.
            let mut voice = Voice::connect(address, way, encoding);
            voice.say("subscribe", None);
            let shared = shared.clone();
            threads.push(std::thread::spawn(move || listen(&shared, index, &mut voice)));
        }
        let mut voice = Voice::connect(address, Way::WebSocket4, encoding);
        let of_publisher = shared.clone();
        threads.push(std::thread::spawn(move || publish(&of_publisher, &mut voice)));
        let of_heart = shared.clone();
        let heart = Some(std::thread::spawn(move || beat(&of_heart)));
        Self { shared, threads, heart }
    }

    /// Waits until all that has been published by now has arrived, and says how it did; panics when
    /// something is lost, out of order or late.
    pub fn check(&self) -> Report {
        self.verdict().unwrap_or_else(|fault| panic!("the bystander suffers: {fault}"))
    }

    /// As `check`, for who wants to go on after a fault.
    pub fn verdict(&self) -> Result<Report, String> {
        let shared = &self.shared;
        let published = shared.published.load(SeqCst);
        let began = Instant::now();
        for listener in &shared.listeners {
            loop {
                let heard = listener.lock().unwrap();
                if let Some(fault) = &heard.fault {
                    return Err(fault.clone());
                }
                if heard.count >= published {
                    break;
                }
                let count = heard.count;
                drop(heard);
                if began.elapsed() > DEADLINE {
                    return Err(format!("{count} of {published} messages have come"));
                }
                pause(BEAT);
            }
        }
        if !shared.stop.load(SeqCst) && self.threads.iter().any(JoinHandle::is_finished) {
            return Err("a client of its has ended".into());
        }
        let report = self.report();
        if report.worst > LIMIT {
            return Err(format!("a message took {:?}", report.worst));
        }
        Ok(report)
    }

    /// What has been seen so far.
    pub fn report(&self) -> Report {
        let stalls = self.shared.stalls.lock().unwrap().clone();
        let mut took = Vec::new();
        let mut messages = u64::MAX;
        for listener in &self.shared.listeners {
            let heard = listener.lock().unwrap();
            messages = messages.min(heard.count);
            took.extend(heard.times.iter().map(|(published, took)| less_stalls(*published, *took, &stalls)));
        }
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1)));
        let of = |percent| at(percent).copied().unwrap_or_default();
        Report { messages, p50: of(50), p99: of(99), worst: of(100) }
    }

    /// Ends the clients; panics as `check` does.
    pub fn finish(mut self) -> Report {
        self.shared.stop.store(true, SeqCst);
        for thread in std::mem::take(&mut self.threads) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.check()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        for thread in std::mem::take(&mut self.threads) {
            // What it has to say has been said, or something else has failed already.
            let _ = thread.join();
        }
        self.shared.heart_stops.store(true, SeqCst);
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
    }
}

/// What is left of a time that a message took when this process did not run for a part of it.
fn less_stalls(published: Duration, took: Duration, stalls: &[(Duration, Duration)]) -> Duration {
    // Most messages are quick, and nothing has to be found out about them.
    if took < STALL {
        return took;
    }
    let arrived = published + took;
    let stalled: Duration =
        stalls.iter().map(|(from, to)| to.min(&arrived).saturating_sub(*from.max(&published))).sum();
    took.saturating_sub(stalled)
}

fn beat(shared: &Shared) {
    while !shared.heart_stops.load(SeqCst) {
        let before = shared.began.elapsed();
        std::thread::park_timeout(BEAT);
        let due = before + BEAT;
        let now = shared.began.elapsed();
        if now > due + STALL {
            shared.stalls.lock().unwrap().push((due, now));
        }
    }
}

fn publish(shared: &Shared, voice: &mut Voice) {
    let mut due = Instant::now();
    let mut number = 0_u64;
    loop {
        let last = shared.stop.load(SeqCst);
        let message = format!("{number}:{}:{last}", shared.began.elapsed().as_micros());
        voice.say("publish", Some(&message));
        number += 1;
        shared.published.store(number, SeqCst);
        if last {
            return;
        }
        due = (due + INTERVAL).max(Instant::now());
        pause(due.saturating_duration_since(Instant::now()));
    }
}

fn listen(shared: &Shared, index: usize, voice: &mut Voice) {
    let listener = &shared.listeners[index];
    let mut expected = 0;
    loop {
        let message = voice.hear();
        let arrived = shared.began.elapsed();
        let mut parts = message.split(':');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (count, published) = (number().unwrap(), number().unwrap());
        let published = Duration::from_micros(published);
        let mut heard = listener.lock().unwrap();
        if count != expected {
            heard.fault.get_or_insert_with(|| {
                format!("{count} has come where {expected} was due, {:?}", voice.client.way())
            });
        }
        expected = count + 1;
        heard.count = expected;
        heard.times.push((published, arrived.saturating_sub(published)));
        drop(heard);
        // In Engine.IO 3 the heartbeat is the client's.
        if voice.client.way().generation() == Generation::V3 && count % 10 == 0 {
            voice.client.send("2");
        }
        if message.ends_with("true") {
            return;
        }
    }
}

/// A client that speaks one of the encodings.
struct Voice {
    client: Client,
    encoding: Encoding,
}

const ROOM: &str = "bystander";

impl Voice {
    fn connect(address: SocketAddr, way: Way, encoding: Encoding) -> Self {
        let client = match encoding {
            Encoding::Json => Client::connect(address, way),
            Encoding::Msgpack => {
                let mut client = Client::open(address, way);
                client.send_binary(b"\x82\xa4type\x00\xa3nsp\xa1/");
                client.binary();
                if way == Way::Upgrade4 {
                    client.upgrade();
                }
                client
            }
        };
        Self { client, encoding }
    }

    /// Emits an event about the room and waits for its acknowledgement.
    fn say(&mut self, event: &str, message: Option<&str>) {
        match self.encoding {
            Encoding::Json => {
                let message = message.map_or_else(String::new, |text| format!(",\"{text}\""));
                assert_eq!(self.client.ask(&format!("[\"{event}\",\"{ROOM}\"{message}]")), "[]");
            }
            Encoding::Msgpack => {
                let mut packet = b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data".to_vec();
                packet.push(0x92 + u8::from(message.is_some()));
                for text in [Some(event), Some(ROOM), message].into_iter().flatten() {
                    packet.extend([0xd9, u8::try_from(text.len()).unwrap()]);
                    packet.extend(text.as_bytes());
                }
                packet.extend(b"\xa2id\x01");
                self.client.send_binary(&packet);
                while !self.client.binary().starts_with(b"\x84\xa4type\x03") {}
            }
        }
    }

    /// The next message of the room; what others broadcast is left out.
    fn hear(&mut self) -> String {
        loop {
            let text = match self.client.packet() {
                Packet::Text(bytes) | Packet::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            };
            let Some((_, after)) = text.split_once(ROOM) else {
                continue;
            };
            let start = after.find(|letter: char| letter.is_ascii_digit()).unwrap();
            let message = &after[start..];
            return message.trim_end_matches(['"', ']']).to_owned();
        }
    }
}
