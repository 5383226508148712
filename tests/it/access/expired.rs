//! Expiry: who has a token that ends goes at that moment, and comes back with another.

use jsonwebtoken::Algorithm::HS256;
use serde_json::json;
use tempfile::TempDir;

use super::signer::AUDIENCE;
use super::signer::ISSUER;
use super::signer::Signer;
use super::signer::claims;
use super::signer::from_now;
use crate::support::Client;
use crate::support::Reloading;
use crate::support::Way;

const EXPIRED: &str = "humble_broker_disconnections_total{reason=\"expired\"}";
const REVOKED: &str = "humble_broker_disconnections_total{reason=\"revoked\"}";

/// How late somebody may go: far more than it takes, as machines are busy.
const LATE: f64 = 1.5;

fn start(leeway: &str) -> (TempDir, Signer, Reloading) {
    let (folder, signer) = (TempDir::new().unwrap(), Signer::secret(&"secret".repeat(8)));
    let file = signer.write(folder.path(), "secret");
    let node = Reloading::start(&format!(
        "[access.jwt]\nalgorithms = ['HS256']\nkey_file = '{file}'\nleeway = '{leeway}'\n\
         issuer = '{ISSUER}'\naudience = '{AUDIENCE}'\n\
         [access.roles.user]\nsubscribe = {{ allow = ['*'] }}\npublish = {{ allow = ['*'] }}\n"
    ));
    (folder, signer, node)
}

#[test]
fn a_client_goes_when_its_token_ends_and_comes_back_with_another() {
    let (_folder, signer, node) = start("30s");
    let token = |end: f64| signer.sign(HS256, &claims(&json!({"exp": end})));
    let connect = |way, end| Client::connect_as(node.daemon.address, way, &token(end)).unwrap();
    let mut other = connect(Way::WebSocket4, from_now(60.0));
    other.subscribe("\"room\"");
    let mut gone = 0.0;
    for way in [Way::WebSocket4, Way::WebSocket3, Way::Polling4, Way::Upgrade4] {
        let end = from_now(1.2);
        let mut client = connect(way, end);
        client.subscribe("\"room\"");
        if way == Way::WebSocket4 {
            // What reads its token again does not make it last.
            node.load(&(std::fs::read_to_string(node.file()).unwrap() + "\n"));
        }
        client.await_end();
        let late = from_now(-end);
        assert!((-0.02..LATE).contains(&late), "{way:?}: {late} s late");
        gone += 1.0;
        node.daemon.await_metric(EXPIRED, gone);
        node.daemon.await_metric("humble_broker_subscriptions", 1.0);
        let mut again = connect(way, from_now(60.0));
        again.subscribe("\"room\"");
        assert_eq!(other.ask("[\"publish\",\"room\",1]"), "[]");
        for client in [&mut again, &mut other] {
            client.expect("[\"data\",\"room\",1]");
        }
        assert_eq!(again.ask("[\"unsubscribe\",\"room\"]"), "[]");
    }
    other.assert_silence();
    assert!(node.daemon.metric(REVOKED) < 0.5);
}

#[test]
fn those_who_expire_go_in_the_order_of_their_ends_whenever_they_came() {
    let (_folder, signer, node) = start("30s");
    let ends = [3.0, 1.0, 2.0, 1.0, 0.5].map(from_now);
    let mut clients = ends.map(|end| {
        let token = signer.sign(HS256, &claims(&json!({"exp": end})));
        (end, Client::connect_as(node.daemon.address, Way::WebSocket4, &token).unwrap())
    });
    clients.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    for (end, client) in &mut clients {
        client.await_end();
        let late = from_now(-*end);
        assert!((-0.02..LATE).contains(&late), "{late} s late");
    }
    node.daemon.await_metric(EXPIRED, 5.0);
}

#[test]
fn a_token_that_is_over_by_less_than_clocks_may_differ_lasts_until_that_is_over_too() {
    let (_folder, signer, node) = start("3s");
    let end = from_now(-1.5).floor();
    let token = signer.sign(HS256, &claims(&json!({"exp": end})));
    let mut client = Client::connect_as(node.daemon.address, Way::WebSocket4, &token).unwrap();
    client.subscribe("\"room\"");
    client.await_end();
    let late = from_now(-end - 3.0);
    assert!((-0.02..LATE).contains(&late), "{late} s late");
    node.daemon.await_metric(EXPIRED, 1.0);
    let told = Client::connect_as(node.daemon.address, Way::WebSocket4, &token).err();
    assert_eq!(told.as_deref(), Some("44{\"message\":\"unauthorized\"}"));
}
