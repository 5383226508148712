//! Several daemons that act as one.

use super::Client;
use super::Daemon;
use super::Way;

/// Nodes, and what is common to them.
pub struct Nodes(pub Vec<Daemon>);

impl Nodes {
    /// Starts three that share a relay, with these further arguments.
    pub fn start(relay: &str, more: &[&str]) -> Self {
        Self::start_each(relay, [more; 3])
    }

    /// Starts one for each of these further arguments.
    pub fn start_each<'a>(relay: &str, more: impl IntoIterator<Item = &'a [&'a str]>) -> Self {
        let start = |more: &[&str]| Daemon::start(&[&["--set", relay][..], more].concat());
        let nodes = Self(more.into_iter().map(start).collect());
        nodes.await_connected();
        nodes
    }

    /// Waits until each has a connection to the relay.
    pub fn await_connected(&self) {
        self.await_metric("relay_up", 1.0);
    }

    /// Waits until each listens to so many rooms of the others.
    pub fn await_rooms(&self, rooms: u32) {
        self.await_metric("relay_subscriptions", rooms.into());
    }

    fn await_metric(&self, name: &str, value: f64) {
        for node in &self.0 {
            node.await_metric(&format!("humble_broker_{name}"), value);
        }
    }

    /// A metric of the relay, of all nodes together.
    pub fn sum(&self, name: &str) -> f64 {
        self.0.iter().map(|node| node.metric(&format!("humble_broker_relay_{name}"))).sum()
    }

    /// How many messages were dropped on the way out (`out`) or in (`in`), whatever the reason.
    pub fn dropped(&self, direction: &str) -> f64 {
        let reasons = [
            "queue_full",
            "too_large",
            "unconfirmed",
            "malformed",
            "unknown_version",
            "other_parser",
            "stale",
        ];
        let name = |reason| format!("dropped_total{{direction=\"{direction}\",reason=\"{reason}\"}}");
        reasons.into_iter().map(|reason| self.sum(&name(reason))).sum()
    }

    /// A client of each node, in turns by these ways.
    pub fn clients(&self, ways: &[Way]) -> Vec<Client> {
        let ways = ways.iter().cycle();
        self.0.iter().zip(ways).map(|(node, &way)| Client::connect(node.address, way)).collect()
    }

    /// A client of each node, all in these rooms, which the nodes then listen to.
    pub fn members(&self, ways: &[Way], rooms: &[&str]) -> Vec<Client> {
        let mut clients = self.clients(ways);
        for client in &mut clients {
            for room in rooms {
                client.subscribe(room);
            }
        }
        self.await_rooms(u32::try_from(rooms.len()).unwrap());
        clients
    }
}
