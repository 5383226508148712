//! Bytes on connections: the guarded stream, WebSocket frames, Engine.IO payloads, and the link
//! that stands for one session whatever transport it uses.

pub mod attachments;
mod backlog;
pub mod channel;
pub mod departures;
pub mod due;
pub mod fate;
pub mod frame;
pub mod guard;
pub mod heard;
pub mod linger;
pub mod link;
pub mod links;
mod outbox;
pub mod outgoing;
pub mod owed;
mod patrol;
pub mod payload;
pub mod permit;
pub mod polls;
pub mod quota;
pub mod refusal;
mod send_queue;
