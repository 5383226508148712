//! Redis in all its forms: with users and passwords, over TLS, behind sentinels, and as a cluster.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use nix::sys::signal::Signal;
use rcgen::DnType;

use crate::relay::assert_all_arrive_in_order;
use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Nodes;
use crate::support::Redis;
use crate::support::Way;
use crate::support::daemon;
use crate::support::redis::free_port;
use crate::support::tls::Authority;

/// Has a message go from each of the nodes to all.
fn assert_they_reach_each_other(nodes: &Nodes, rooms: &[&str]) {
    let mut clients = nodes.members(&[Way::WebSocket4], rooms);
    for sender in 0..clients.len() {
        for room in rooms {
            assert_eq!(clients[sender].ask(&format!(r#"["publish",{room},{sender}]"#)), "[]");
            for client in &mut clients {
                client.expect(&format!(r#"["data",{room},{sender}]"#));
            }
        }
    }
    clients[0].emit(r#"["broadcast","to all"]"#);
    for client in &mut clients[1..] {
        client.expect(r#"["broadcast","to all"]"#);
    }
}

#[test]
fn a_user_with_few_rights_is_enough_and_the_password_is_read_with_each_connection() {
    let mut redis = Redis::start(&[]);
    let rights = ["on", ">first", "resetchannels", "&humble-broker:*", "-@all", "+hello"];
    let more = ["+ping", "+publish", "+subscribe", "+unsubscribe", "+select"];
    let add_user = |redis: &Redis| {
        let command = [&["ACL", "SETUSER", "broker", "reset"][..], &rights, &more].concat();
        let command: Vec<_> = command.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(redis.ask(&command), "+OK");
    };
    add_user(&redis);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "first\n").unwrap();
    let password = format!("relay.redis.password_file='{}'", file.display());
    let settings = ["--set", "relay.redis.username='broker'", "--set", &password];
    let nodes = Nodes::start_each(&redis.setting(), [&settings[..]; 2]);
    assert_they_reach_each_other(&nodes, &["1"]);

    // Another password: who has it only in the file is let in with the next connection.
    redis.kill();
    nodes.0[0].await_metric("humble_broker_relay_up", 0.0);
    redis.restart();
    add_user(&redis);
    redis.ask(&[b"ACL", b"SETUSER", b"broker", b"resetpass", b">second"]);
    fs::write(&file, "second").unwrap();
    nodes.await_connected();

    // What it may not do is known before there is anything to do.
    for (right, told) in [("publish", "'publish'"), ("unsubscribe", "'unsubscribe'"), ("ping", "'ping'")] {
        redis.ask(&[b"ACL", b"SETUSER", b"broker", format!("-{right}").as_bytes()]);
        let refused = Daemon::start(&[&["--set", &redis.setting()][..], &settings].concat());
        refused.await_log("no connection to the relay");
        assert!(refused.log().contains(told), "{}", refused.log());
        redis.ask(&[b"ACL", b"SETUSER", b"broker", format!("+{right}").as_bytes()]);
    }

    fs::write(&file, "wrong").unwrap();
    let refused = Daemon::start(&[&["--set", &redis.setting()][..], &settings].concat());
    refused.await_log("no connection to the relay");
    assert!(refused.log().contains("WRONGPASS"), "{}", refused.log());
    assert!(!refused.log().contains("wrong\""), "{}", refused.log());
}

#[test]
fn a_server_that_repeats_what_it_does_not_know_puts_no_password_into_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "secret").unwrap();
    let password = format!("relay.redis.password_file='{}'", file.display());
    let redis = Redis::start(&["--requirepass", "secret", "--rename-command", "HELLO", ""]);
    for cluster in ["false", "true"] {
        let cluster = format!("relay.redis.cluster={cluster}");
        let refused = Daemon::start(&["--set", &redis.setting(), "--set", &password, "--set", &cluster]);
        refused.await_log("no connection to the relay");
        assert!(!refused.log().contains("secret"), "{}", refused.log());
    }
}

#[test]
fn a_server_is_spoken_to_over_tls_and_only_if_it_is_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    // OpenSSL takes it for its own authority if it has the same name.
    let identity = authority.issue_with(|params| {
        params.distinguished_name.push(DnType::CommonName, "of a node and a server");
    });
    let (ca, other) = (write("ca", &authority.pem), write("stranger", &stranger.pem));
    let (certificate, key) = (write("certificate", &identity.certificate), write("key", &identity.key));
    let port = free_port().to_string();
    let tls = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let _redis = Redis::start(&[&["--tls-port", &port, "--tls-auth-clients", "yes"][..], &tls].concat());
    let url = format!("relay.redis.url='rediss://localhost:{port}'");
    let tls = format!("relay.redis.tls={{ ca = '{ca}', certificate = '{certificate}', key = '{key}' }}");
    let nodes = Nodes::start_each(&url, [&["--set", &tls][..]; 2]);
    assert_they_reach_each_other(&nodes, &["1"]);

    let mut cases = 0;
    for tls in [
        format!("relay.redis.tls={{ ca = '{other}', certificate = '{certificate}', key = '{key}' }}"),
        format!("relay.redis.tls={{ ca = '{ca}' }}"),
    ] {
        let alone = Daemon::start(&["--set", &url, "--set", &tls]);
        alone.await_log("no connection to the relay");
        cases += 1;
    }
    assert_eq!(cases, 2);
    for (tls, told) in [
        (format!("relay.redis.tls={{ ca = '{ca}.not' }}"), "relay.redis.tls.ca: "),
        (
            format!("relay.redis.tls={{ ca = '{ca}', certificate = '{key}', key = '{key}' }}"),
            "relay.redis.tls.certificate: ",
        ),
    ] {
        let output = daemon::command().args(["--port", "0", "--set", &url, "--set", &tls]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && text.contains(told), "{text}");
    }
}

/// A cluster of three, each with a third of the slots.
fn cluster() -> Vec<Redis> {
    let start = || {
        let bus = free_port();
        let redis = Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
        (redis, bus)
    };
    let servers: Vec<_> = (0..3).map(|_| start()).collect();
    for (number, (redis, _)) in servers.iter().enumerate() {
        let [first, last] = [number * 5462, (number * 5462 + 5461).min(16_383)].map(|slot| slot.to_string());
        let answer = redis.ask(&[b"CLUSTER", b"ADDSLOTSRANGE", first.as_bytes(), last.as_bytes()]);
        assert_eq!(answer, "+OK");
        let (port, bus) = (servers[0].0.port.to_string(), servers[0].1.to_string());
        redis.ask(&[b"CLUSTER", b"MEET", b"127.0.0.1", port.as_bytes(), bus.as_bytes()]);
    }
    let servers: Vec<_> = servers.into_iter().map(|(redis, _)| redis).collect();
    for redis in &servers {
        redis.await_ask("CLUSTER INFO", "cluster_state:ok");
    }
    servers
}

/// The slot of a channel, and the number of the server that has got it at first.
fn slot(servers: &[Redis], channel: &str) -> (String, usize) {
    let slot = servers[0].ask(&[b"CLUSTER", b"KEYSLOT", channel.as_bytes()]);
    let slot = slot.trim_start_matches(':').to_owned();
    let owner = usize::from(slot.parse::<u16>().unwrap() / 5462);
    (slot, owner)
}

/// Gives the slot of a channel to the next server.
fn move_slot(servers: &[Redis], channel: &str) {
    let (slot, owner) = slot(servers, channel);
    let [old, new, third] = [0, 1, 2].map(|step| &servers[(owner + step) % 3]);
    let id = new.ask(&[b"CLUSTER", b"MYID"]);
    for redis in [new, old, third] {
        let setslot = [b"CLUSTER", &b"SETSLOT"[..], slot.as_bytes(), b"NODE", id.as_bytes()];
        assert_eq!(redis.ask(&setslot), "+OK");
    }
}

#[test]
fn a_cluster_carries_messages_by_slot_while_slots_move_and_one_of_it_may_be_restarted() {
    const ROOMS: u32 = 100;
    let mut servers = cluster();
    let url = format!("relay.redis.url='redis://127.0.0.1:{}'", servers[0].port);
    let nodes = Nodes::start_each(&url, [&["--set", "relay.redis.cluster=true"][..]; 2]);
    let rooms: Vec<_> = (0..ROOMS).map(|room| format!(r#""room {{{room}}}""#)).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    assert_they_reach_each_other(&nodes, &rooms);
    // Sharded: the server that has the slot knows of the channel, and no other.
    let subscribed: Vec<_> = servers
        .iter()
        .map(|redis| redis.ask(&[b"PUBSUB", b"SHARDNUMSUB", b"humble-broker:text:room {0}"]))
        .collect();
    assert!(subscribed.iter().all(|answer| answer == "*2"), "{subscribed:?}");

    let mut clients = nodes.members(&[Way::WebSocket4], &rooms);
    // Slots move to other servers, and with them the rooms, while messages are on their way.
    for room in 0..ROOMS {
        move_slot(&servers, &format!("humble-broker:text:room {{{room}}}"));
        for room in &rooms {
            clients[0].emit(&format!(r#"["publish",{room},"again"]"#));
        }
    }
    await_heard(&mut clients, &rooms);
    nodes.await_rooms(ROOMS);
    assert!(nodes.sum("reconnects_total") + nodes.dropped("out") < 0.5, "no connection is given up for that");
    servers[1].kill();
    nodes.0[0].await_metric("humble_broker_relay_up", 0.0);
    servers[1].restart();
    for redis in &servers {
        redis.await_ask("CLUSTER INFO", "cluster_state:ok");
    }
    nodes.await_connected();
    nodes.await_rooms(ROOMS);
    await_heard(&mut clients, &rooms);
}

#[test]
fn an_address_of_a_cluster_that_does_not_answer_leaves_the_others_their_time() {
    let servers = cluster();
    // What connects waits there for good.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [silent.local_addr().unwrap().port(), servers[1].port];
    let addresses = addresses.map(|port| format!("'redis://127.0.0.1:{port}'"));
    let url = format!("relay.redis.url=[{}]", addresses.join(","));
    let nodes = Nodes::start_each(&url, [&["--set", "relay.redis.cluster=true"][..]; 2]);
    assert_they_reach_each_other(&nodes, &["1"]);
}

#[test]
fn a_room_of_emitters_is_heard_of_once_in_a_cluster_whoever_comes_and_goes() {
    let servers = cluster();
    let url = format!("relay.redis.url='redis://127.0.0.1:{}'", servers[0].port);
    let settings = ["--set", "relay.redis.cluster=true", "--set", "relay.redis.emitters=true"];
    let nodes = Nodes::start_each(&url, [&settings[..]]);
    let mut member = nodes.members(&[Way::WebSocket4], &[r#""a""#, r#""b""#]).remove(0);
    // All rooms are subscribed to at once then.
    let reconnects = nodes.sum("reconnects_total");
    servers[0].ask(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
    nodes.0[0].await_change("humble_broker_relay_reconnects_total", reconnects);
    nodes.await_rooms(2);
    member.emit(r#"["unsubscribe","b"]"#);
    nodes.await_rooms(1);
    member.emit(r#"["subscribe","b"]"#);
    nodes.await_rooms(2);
    // Each server says how many of its own hear it.
    let heard = |redis: &Redis| redis.ask(&[b"PUBLISH", b"socket.io#/#b#", b"nothing"]);
    let heard: Vec<_> = servers.iter().map(heard).collect();
    assert_eq!(heard.iter().filter(|answer| *answer == ":1").count(), 1, "{heard:?}");
}

#[test]
fn a_server_of_a_cluster_that_hangs_is_given_up_though_others_send() {
    let servers = cluster();
    let url = format!("relay.redis.url='redis://127.0.0.1:{}'", servers[0].port);
    let nodes = Nodes::start_each(&url, [&["--set", "relay.redis.cluster=true"][..]; 2]);
    // Of one of the others.
    let (_, owner) = slot(&servers, "humble-broker:text:a");
    let mut clients = nodes.members(&[Way::WebSocket4], &[r#""a""#]);
    let hanging = &servers[(owner + 1) % 3];
    hanging.signal(Signal::SIGSTOP);
    let began = Instant::now();
    while nodes.0[1].metric("humble_broker_relay_up") > 0.5 {
        assert!(began.elapsed() < DEADLINE, "it is not noticed");
        clients[0].emit(r#"["publish","a","again"]"#);
        clients[0].events_so_far();
        clients[1].events_so_far();
    }
    hanging.signal(Signal::SIGCONT);
    nodes.await_connected();
    await_heard(&mut clients, &[r#""a""#]);
}

#[test]
fn a_cluster_carries_what_is_published_to_a_room_in_order_and_once() {
    let servers = cluster();
    let url = format!("relay.redis.url='redis://127.0.0.1:{}'", servers[0].port);
    let nodes = Nodes::start(&url, &["--set", "relay.redis.cluster=true"]);
    assert_all_arrive_in_order(&nodes, &[r#""a""#]);
    assert!(nodes.dropped("in") + nodes.dropped("out") < 0.5);
}

/// Publishes from one node until another hears of all these rooms: until the servers have found each other,
/// some may be lost.
fn await_heard(clients: &mut [Client], rooms: &[&str]) {
    let began = Instant::now();
    let mut heard = BTreeSet::new();
    while heard.len() < rooms.len() {
        for room in rooms {
            clients[0].emit(&format!(r#"["publish",{room},"again"]"#));
        }
        clients[0].events_so_far();
        heard.extend(clients[1].events_so_far());
        assert!(began.elapsed() < DEADLINE, "only {} rooms are heard of", heard.len());
    }
    // The message is the same for each, so that it counts once.
    assert_eq!(heard.len(), rooms.len());
}

#[test]
fn sentinels_tell_where_the_primary_is_and_where_another_is_when_it_fails() {
    let mut primary = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    replica.await_ask("INFO replication", "# Replication");
    primary.await_ask("WAIT 1 100", ":1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sentinel.conf");
    let watched = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 1000\n\
         sentinel failover-timeout main 5000\n",
        primary.port
    );
    fs::write(&file, watched).unwrap();
    let sentinel = Redis::start_configured(&file, &["--sentinel"]);
    sentinel.await_ask("SENTINEL CKQUORUM main", "+OK");
    // It asks the primary for its replicas now and then.
    sentinel.await_ask("SENTINEL REPLICAS main", "*1");
    // It lets nobody in but a user with few rights; the servers it tells of are open to all.
    sentinel.await_ask("ACL SETUSER asking on >secret -@all +role +sentinel|masters", "+OK");
    sentinel.await_ask("ACL SETUSER default off", "+OK");
    let url = format!("relay.redis.url='redis://127.0.0.1:{}'", sentinel.port);
    let password = folder.path().join("password");
    fs::write(&password, "secret").unwrap();
    let password = format!("relay.redis.sentinel_password_file='{}'", password.display());
    let name = ["--set", "relay.redis.sentinel='main'", "--set", "relay.redis.sentinel_username='asking'"];
    let nodes = Nodes::start_each(&url, [&[&name[..], &["--set", &password]].concat()[..]; 2]);
    assert_they_reach_each_other(&nodes, &["1"]);
    primary.kill();
    for node in &nodes.0 {
        node.await_metric("humble_broker_relay_up", 0.0);
    }
    nodes.await_connected();
    assert!(replica.ask(&[b"PUBSUB", b"NUMSUB", b"humble-broker:everyone"]).starts_with('*'));
    let mut clients: Vec<Client> = nodes.clients(&[Way::WebSocket4]);
    clients[0].emit(r#"["broadcast","after all"]"#);
    clients[1].expect(r#"["broadcast","after all"]"#);
}
