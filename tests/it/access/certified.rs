//! Certificates of clients: who shows one is known by the names in it.

use std::time::Duration;
use std::time::SystemTime;

use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::DnType::CommonName;
use rcgen::DnType::OrganizationName;
use rcgen::SanType;

use super::refusal;
use super::signer::from_now;
use crate::support::Client;
use crate::support::Reloading;
use crate::support::Way;
use crate::support::tls::Authority;
use crate::support::tls::Files;
use crate::support::tls::Identity;
use crate::support::tls::TlsClient;
use crate::support::tls::VERSIONS;
use crate::support::tunnel::Tunnel;

const RULES: &str = r#"
[access]
anonymous = "guest"

[[access.certificates]]
san = "*.devices.example"
role = "device"

[[access.certificates]]
subject = 'CN=pump\\, \\"7\\"\\+*,O=Example'
role = "pump"

[access.roles.guest]
subscribe = { allow = ["public"] }

[access.roles.device]
subscribe = { allow = ["device.{san}", "subject.{subject}"] }

[access.roles.pump]
subscribe = { allow = ["pump.{subject}", "san.{san}"] }
"#;

/// A broker that asks for certificates, and who issues them.
struct Broker {
    node: Reloading,
    authority: Authority,
    clients: Authority,
    files: Files,
}

impl Broker {
    fn start() -> Self {
        let (authority, clients) = (Authority::new(), Authority::new());
        let files = Files::of(&authority.issue());
        files.write("client_ca", &clients.pem);
        let arguments = files.arguments(true);
        let node = Reloading::start_with(RULES, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        Self { node, authority, clients, files }
    }

    fn tunnel(&self, own: Option<&Identity>) -> Tunnel {
        TlsClient::new(&VERSIONS, &self.authority, own).tunnel(self.node.daemon.address)
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.clients.issue_with(|params| {
            params.subject_alt_names.clear();
            params.distinguished_name = DistinguishedName::new();
            change(params);
        })
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// The first part of a name stands last.
fn name(params: &mut CertificateParams, parts: &[(DnType, &str)]) {
    for (kind, value) in parts {
        params.distinguished_name.push(kind.clone(), *value);
    }
}

fn may(client: &mut Client, room: &str) -> bool {
    let answer = client.ask(&serde_json::json!(["subscribe", room]).to_string());
    assert!(answer == "[]" || answer.contains("\"forbidden\""), "{answer}");
    answer == "[]"
}

#[test]
fn a_client_is_who_its_certificate_says() {
    let broker = Broker::start();
    let example = (OrganizationName, "Example");
    let san = |names: &[SanType]| {
        let names = names.to_vec();
        broker.issue(move |params| params.subject_alt_names = names)
    };
    let subject = |parts: &[(DnType, &str)]| broker.issue(|params| name(params, parts));
    let mail = SanType::Rfc822Name("ann@mail.devices.example".try_into().unwrap());
    let address = SanType::IpAddress("192.0.2.1".parse().unwrap());
    let pump = "pump.CN=pump\\, \\\"7\\\"\\+,O=Example";
    for (what, certificate, room) in [
        ("a name that fits", san(&[dns("a.devices.example")]), "device.a.devices.example"),
        ("one of several that fits", san(&[dns("x"), dns("b.devices.example")]), "device.b.devices.example"),
        ("an address that fits", san(&[address.clone(), mail]), "device.ann@mail.devices.example"),
        ("a name that acts as a pattern", san(&[dns("*.devices.example")]), "device.*.devices.example"),
        ("a name without a part", san(&[dns("devices.example")]), "public"),
        ("a name that goes on", san(&[dns("a.devices.example.evil.example")]), "public"),
        ("a name with other dots", san(&[dns("a-devices.example")]), "public"),
        ("a name in capitals", san(&[dns("A.DEVICES.EXAMPLE")]), "public"),
        ("an address of the network", san(&[address]), "public"),
        ("nothing", san(&[]), "public"),
        ("a subject", subject(&[example.clone(), (CommonName, "pump, \"7\"+")]), pump),
        (
            "a subject that goes on",
            subject(&[example.clone(), (CommonName, "pump, \"7\"+8 \\ ")]),
            "pump.CN=pump\\, \\\"7\\\"\\+8 \\\\\\ ,O=Example",
        ),
        (
            "a subject the other way round",
            subject(&[(CommonName, "pump, \"7\"+"), example.clone()]),
            "public",
        ),
        ("one part that says it all", subject(&[(CommonName, "pump, \"7\"+,O=Example")]), "public"),
        ("another part that says it", subject(&[(OrganizationName, "Example,CN=pump, \"7\"+")]), "public"),
        ("a subject without the rest", subject(&[(CommonName, "pump, \"7\"+")]), "public"),
        ("a name in the subject", subject(&[(CommonName, "a.devices.example")]), "public"),
    ] {
        let tunnel = broker.tunnel(Some(&certificate));
        for way in [Way::WebSocket4, Way::Polling3] {
            let mut client = Client::connect(tunnel.address, way);
            assert!(may(&mut client, room), "{what}: {room}");
            assert_eq!(may(&mut client, "public"), room == "public", "{what}");
            // What is known of one kind is not known of the other.
            assert!(!may(&mut client, "subject.") && !may(&mut client, "san."), "{what}");
            assert!(!may(&mut client, "device.c.devices.example"), "{what}");
        }
    }
    let tunnel = broker.tunnel(None);
    let mut guest = Client::connect(tunnel.address, Way::WebSocket4);
    assert!(may(&mut guest, "public"));
    assert_eq!(refusal(&mut guest, "[\"subscribe\",\"device.a.devices.example\"]"), "forbidden");
}

#[test]
fn who_shows_a_certificate_and_a_wrong_token_is_refused() {
    let broker = Broker::start();
    let certificate = broker.issue(|params| params.subject_alt_names = vec![dns("a.devices.example")]);
    let tunnel = broker.tunnel(Some(&certificate));
    for way in Way::ALL {
        assert!(Client::connect_as(tunnel.address, way, "wrong").is_err(), "{way:?}");
    }
}

#[test]
fn a_web_page_that_is_not_named_has_no_use_of_the_certificate_of_who_looks_at_it() {
    let broker = Broker::start();
    let certificate = broker.issue(|params| params.subject_alt_names = vec![dns("a.devices.example")]);
    let tunnel = broker.tunnel(Some(&certificate));
    let (app, other) = ("https://app.example", "https://other.example");
    for (allowed, origin, is_device) in [
        ("'*'", None, true),
        ("'*'", Some(other), false),
        ("'*'", Some("null"), false),
        ("'https://app.example'", Some(app), true),
        ("'https://app.example', '*'", Some(app), true),
        ("'https://app.example', '*'", Some(other), false),
        ("'null'", Some("null"), true),
    ] {
        broker.node.load(&format!("{RULES}\n[server]\nallowed_origins = [{allowed}]"));
        for way in Way::ALL {
            let mut client = Client::open_from(tunnel.address, way, "", origin).enter(None).unwrap();
            assert_eq!(
                may(&mut client, "device.a.devices.example"),
                is_device,
                "{allowed} {origin:?} {way:?}"
            );
            assert_eq!(may(&mut client, "public"), !is_device, "{allowed} {origin:?} {way:?}");
        }
    }
}

#[test]
fn a_certificate_that_no_longer_means_a_role_is_as_if_it_were_not_shown() {
    let broker = Broker::start();
    let certificate = broker.issue(|params| params.subject_alt_names = vec![dns("a.devices.example")]);
    let tunnel = broker.tunnel(Some(&certificate));
    let mut device = Client::connect(tunnel.address, Way::WebSocket4);
    let bare = broker.tunnel(None);
    let mut guest = Client::connect(bare.address, Way::WebSocket4);
    device.subscribe("\"device.a.devices.example\"");
    guest.subscribe("\"public\"");
    broker.node.load(&RULES.replace("*.devices.example", "*.others.example"));
    assert!(!may(&mut device, "device.a.devices.example"));
    assert!(may(&mut device, "public"));
    broker.node.load(RULES);
    assert!(may(&mut device, "device.a.devices.example"));
    assert!(!may(&mut device, "public2"));
    broker.node.load(&RULES.replace("anonymous = \"guest\"", ""));
    guest.await_end();
    assert!(may(&mut device, "device.a.devices.example"));
    broker.node.load(&RULES.replace("anonymous = \"guest\"", "").replace("*.devices", "*.others"));
    device.await_end();
}

#[test]
fn a_client_goes_when_its_certificate_ends() {
    let broker = Broker::start();
    let end = from_now(3.0).floor();
    let certificate = broker.issue(|params| {
        params.subject_alt_names = vec![dns("a.devices.example")];
        params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs_f64(end)).into();
    });
    let tunnel = broker.tunnel(Some(&certificate));
    let clients = [Way::WebSocket4, Way::Polling3].map(|way| (way, Client::connect(tunnel.address, way)));
    for (way, mut client) in clients {
        client.await_end();
        // Its last second is its own. The connection that has shown it may be there still.
        assert!(from_now(0.0) >= end + 1.0, "{way:?} went too soon");
        assert!(Client::connect_as(tunnel.address, way, "").is_err(), "{way:?}");
    }
}

#[test]
fn with_other_authorities_only_whom_they_know_may_stay() {
    let broker = Broker::start();
    let others = Authority::new();
    let change = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![dns("a.devices.example")];
    };
    let mut clients = [&broker.clients, &others].map(|authority| {
        // Both are known at first.
        broker.files.write("client_ca", &format!("{}{}", broker.clients.pem, others.pem));
        broker.node.load(RULES);
        let tunnel = broker.tunnel(Some(&authority.issue_with(change)));
        let client = Client::connect(tunnel.address, Way::WebSocket4);
        (tunnel, client)
    });
    for (_, client) in &mut clients {
        client.subscribe("\"device.a.devices.example\"");
    }
    broker.files.write("client_ca", &others.pem);
    broker.node.load(RULES);
    let [(_, old), (_, new)] = &mut clients;
    old.await_end();
    assert!(may(new, "device.a.devices.example"));
}
