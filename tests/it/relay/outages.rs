//! The relay is killed, stopped, restarted, or was never there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Nodes;
use crate::support::Redis;
use crate::support::Way;
use crate::support::daemon;
use crate::support::http;
use crate::support::tunnel::Tunnel;
use crate::support::vitals::pause;

/// A publisher and a subscriber on one node and a subscriber on another, and what has come.
struct Traffic {
    publisher: Client,
    near: Client,
    far: Client,
    published: usize,
    far_heard: Option<usize>,
}

impl Traffic {
    fn begin(nodes: &Nodes) -> Self {
        let mut members = nodes.members(&[Way::WebSocket4], &[r#""r""#]);
        let publisher = Client::connect(nodes.0[0].address, Way::WebSocket4);
        let (near, far) = (members.remove(0), members.remove(0));
        Self { publisher, near, far, published: 0, far_heard: None }
    }

    /// Publishes for so long, a message at a time; who is near gets each, in order and soon.
    fn publish_for(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let number = self.published;
        let sent = Instant::now();
        self.publisher.emit(&format!(r#"["publish","r",{number}]"#));
        self.near.expect(&format!(r#"["data","r",{number}]"#));
        assert!(sent.elapsed() < Duration::from_secs(2), "who is near has waited {:?}", sent.elapsed());
        self.published += 1;
    }

    /// Publishes until the far one hears something again, and says how long that took; then until it hears
    /// what has been published since.
    fn await_far(&mut self) -> Duration {
        self.listen();
        let (began, first, before) = (Instant::now(), self.published, self.far_heard);
        let mut took = None;
        while self.far_heard.is_none_or(|heard| heard < first) {
            assert!(began.elapsed() < DEADLINE, "nothing reaches the other node");
            self.publish();
            self.listen();
            if self.far_heard != before {
                took.get_or_insert_with(|| began.elapsed());
            }
        }
        took.unwrap_or_default()
    }

    /// Takes what has come to the far one: in order, and nothing twice.
    fn listen(&mut self) {
        for event in self.far.events_so_far() {
            let number: usize = event.trim_end_matches(']').rsplit(',').next().unwrap().parse().unwrap();
            assert!(self.far_heard.is_none_or(|last| last < number), "{number} behind {:?}", self.far_heard);
            self.far_heard = Some(number);
        }
    }

    /// Every message has left, or is counted among those that were dropped.
    fn assert_counted(&self, nodes: &Nodes) {
        let began = Instant::now();
        loop {
            let sum = nodes.sum("published_total") + nodes.dropped("out");
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let published = self.published as f64;
            if (sum - published).abs() < 0.5 {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{sum} of {published} are counted");
        }
    }
}

#[test]
fn a_relay_that_is_killed_costs_local_clients_nothing_and_is_back_soon() {
    let mut redis = Redis::start(&[]);
    let nodes = Nodes::start_each(&redis.setting(), [&[][..]; 2]);
    let mut traffic = Traffic::begin(&nodes);
    traffic.await_far();
    for _ in 0..3 {
        redis.kill();
        traffic.publish_for(Duration::from_millis(1500));
        redis.restart();
        let took = traffic.await_far();
        eprintln!("heard again {took:?} after the restart");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    traffic.assert_counted(&nodes);
    for node in &nodes.0 {
        let log = node.log();
        for (text, times) in [("no connection to the relay", 3), ("connected to the relay", 4)] {
            assert_eq!(log.matches(text).count(), times, "{log}");
        }
        let also = log.lines().find(|line| line.contains("the relay is still out of reach: "));
        assert!(also.is_some_and(|line| line.contains("refused")), "{log}");
    }
}

#[test]
fn what_is_published_while_the_relay_is_away_reaches_every_node_when_it_is_back() {
    const MESSAGES: usize = 100;
    let mut redis = Redis::start(&[]);
    let nodes = Nodes::start(&redis.setting(), &[]);
    let mut members = nodes.members(&[Way::WebSocket4], &[r#""r""#]);
    for round in 0..4 {
        redis.kill();
        for node in &nodes.0 {
            node.await_metric("humble_broker_relay_up", 0.0);
        }
        for number in 0..MESSAGES {
            members[0].emit(&format!(r#"["publish","r",[{round},{number}]]"#));
        }
        // Nodes do not come back at once.
        pause(Duration::from_millis(300 * round));
        redis.restart();
        for member in &mut members {
            for number in 0..MESSAGES {
                member.expect(&format!(r#"["data","r",[{round},{number}]]"#));
            }
        }
    }
}

#[test]
fn a_relay_that_is_paused_holds_nobody_up_and_nothing_comes_twice_or_out_of_order() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start_each(&redis.setting(), [&[][..]; 2]);
    let mut traffic = Traffic::begin(&nodes);
    traffic.await_far();
    // Shorter than the broker's patience, and longer.
    for seconds in [1, 8] {
        redis.signal(Signal::SIGSTOP);
        traffic.publish_for(Duration::from_secs(seconds));
        redis.signal(Signal::SIGCONT);
        let took = traffic.await_far();
        eprintln!("heard again {took:?} after a pause of {seconds} s");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    nodes.await_connected();
    traffic.await_far();
    traffic.assert_counted(&nodes);
}

#[test]
fn a_node_that_is_cut_off_alone_is_heard_again_soon_and_the_others_go_on_without_it() {
    let redis = Redis::start(&[]);
    let (port, is_cut) = (redis.port, Arc::new(AtomicBool::new(false)));
    let tunnel = {
        let is_cut = is_cut.clone();
        Tunnel::open(move || {
            let is_cut = is_cut.clone();
            async move {
                if is_cut.load(SeqCst) {
                    return Err(std::io::ErrorKind::ConnectionRefused.into());
                }
                TcpStream::connect(("127.0.0.1", port)).await
            }
        })
    };
    let through = format!("relay.redis.url='redis://{}'", tunnel.address);
    let nodes = Nodes(
        [&redis.setting(), &through, &redis.setting()]
            .map(|setting| Daemon::start(&["--set", setting]))
            .into(),
    );
    nodes.await_connected();
    let mut traffic = Traffic::begin(&nodes);
    let mut third = Client::connect(nodes.0[2].address, Way::WebSocket4);
    third.subscribe(r#""r""#);
    traffic.await_far();
    is_cut.store(true, SeqCst);
    // All of them lose their connections, and two get new ones.
    redis.ask(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
    nodes.0[1].await_metric("humble_broker_relay_up", 0.0);
    for node in [&nodes.0[0], &nodes.0[2]] {
        node.await_metric("humble_broker_relay_up", 1.0);
        node.await_metric("humble_broker_relay_subscriptions", 1.0);
    }
    // What has waited comes first.
    traffic.publish();
    let last = format!(r#"["data","r",{}]"#, traffic.published - 1);
    let began = Instant::now();
    while !third.events_so_far().iter().any(|event| event.ends_with(&last)) {
        assert!(began.elapsed() < DEADLINE, "nothing reaches the third");
    }
    let heard = nodes.0[1].metric("humble_broker_relay_received_total");
    for _ in 0..100 {
        traffic.publish();
        third.expect(&format!(r#"["data","r",{}]"#, traffic.published - 1));
    }
    assert!((nodes.0[1].metric("humble_broker_relay_received_total") - heard).abs() < 0.5);
    is_cut.store(false, SeqCst);
    let took = traffic.await_far();
    eprintln!("heard again {took:?} after the way was free");
    assert!(took < Duration::from_secs(5), "{took:?}");
    traffic.assert_counted(&nodes);
}

#[test]
fn what_there_is_no_place_for_is_dropped_and_counted_and_takes_no_memory() {
    const MESSAGES: u32 = 2000;
    let mut redis = Redis::start(&[]);
    let bounds = ["--set", "relay.queue=100", "--set", "relay.queue_size='200 KB'"];
    let nodes = Nodes::start_each(&redis.setting(), [&bounds[..]]);
    redis.kill();
    nodes.0[0].await_metric("humble_broker_relay_up", 0.0);
    let full = "humble_broker_relay_dropped_total{direction=\"out\",reason=\"queue_full\"}";
    let queued = "humble_broker_relay_queue_messages{direction=\"out\"}";
    let mut client = Client::connect(nodes.0[0].address, Way::WebSocket4);
    for _ in 1..MESSAGES {
        client.emit(r#"["publish",1,"small"]"#);
    }
    client.ask(r#"["publish",1,"small"]"#);
    nodes.0[0].await_metric(queued, 100.0);
    nodes.0[0].await_metric(full, f64::from(MESSAGES) - 100.0);
    redis.restart();
    nodes.0[0].await_metric(queued, 0.0);
    nodes.0[0].await_metric("humble_broker_relay_published_total", 100.0);
    redis.kill();
    nodes.0[0].await_metric("humble_broker_relay_up", 0.0);
    let large = "x".repeat(50_000);
    for _ in 0..8 {
        client.ask(&format!(r#"["publish",1,"{large}"]"#));
    }
    // 200 KB are three of them.
    nodes.0[0].await_metric(queued, 3.0);
    nodes.0[0].await_metric(full, f64::from(MESSAGES) - 100.0 + 5.0);
}

#[test]
fn a_node_that_may_not_be_alone_says_so_and_does_not_start_without_a_relay() {
    let mut redis = Redis::start(&[]);
    let required = ["--set", "relay.required=true", "--set", "relay.connect_timeout='2s'"];
    let nodes = Nodes::start_each(&redis.setting(), [&required[..]]);
    let ready = || http::get(nodes.0[0].admin, "/readyz");
    assert_eq!(ready().status, 200);
    redis.kill();
    nodes.0[0].await_metric("humble_broker_relay_up", 0.0);
    let answer = ready();
    assert!(answer.status == 503 && answer.text().contains("relay_down"), "{}", answer.text());
    assert_eq!(http::get(nodes.0[0].admin, "/healthz").status, 200);

    let setting = redis.setting();
    let arguments = [&["--port", "0", "--set", &setting][..], &required].concat();
    let output = daemon::command().args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("cannot reach the relay"), "{text}");

    redis.restart();
    nodes.await_connected();
    assert_eq!(ready().status, 200);
}

#[test]
fn a_node_that_may_be_alone_starts_without_a_relay_and_finds_it_later() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let node = Daemon::start(&["--set", &redis.setting()]);
    node.await_log("no connection to the relay");
    assert_eq!(http::get(node.admin, "/readyz").status, 200);
    let mut client = Client::connect(node.address, Way::WebSocket4);
    client.subscribe("1");
    client.emit(r#"["publish",1,"alone"]"#);
    client.expect(r#"["data",1,"alone"]"#);
    redis.restart();
    node.await_metric("humble_broker_relay_subscriptions", 1.0);
    assert_eq!(node.log().matches("no connection to the relay").count(), 1);
}

#[test]
fn what_was_published_before_a_drain_leaves_with_it() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start_each(&redis.setting(), [&[][..]; 2]);
    let mut members = nodes.members(&[Way::WebSocket4], &["1"]);
    for number in 0..1000 {
        members[0].emit(&format!(r#"["publish",1,{number}]"#));
    }
    members[0].ask(r#"["publish",1,1000]"#);
    nodes.0[0].signal(Signal::SIGTERM);
    for number in 0..=1000 {
        members[1].expect(&format!(r#"["data",1,{number}]"#));
    }
}
