//! Events as clients emit them, parsed once, at the edge.
/// x
#[derive(Clone, Copy, Debug)]
pub enum Encoding { /// j
 Json, /// m
 Msgpack }
/// x
pub struct Event;
/// x
pub struct EventName;
