//! What a client has around it: how it connects, to what, and who hears of it.

use clap::ValueEnum;
use mio::Registry;

use crate::http::Place;

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    Websocket,
    Polling,
    /// By polling, then over to WebSocket, as JavaScript clients do.
    Upgrade,
}

/// The version of Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Version {
    #[value(name = "3")]
    V3,
    #[value(name = "4")]
    V4,
}

/// What a client has to tell.
#[derive(Debug)]
pub enum Happening<'a> {
    /// It may emit.
    Connected,
    /// The server has acknowledged something.
    Acknowledged,
    /// An event, as a packet of Socket.IO.
    Event(&'a [u8]),
    /// It is not connected any more, or will not be.
    Ended(String),
}

/// What all clients of a crowd share.
#[derive(Debug)]
pub struct Surroundings<'a> {
    pub place: &'a Place,
    pub version: Version,
    /// The Socket.IO packet that asks for the namespace.
    pub hello: &'a str,
    pub registry: &'a Registry,
}
