//! What clients say and hear: events, rooms, payloads and refusals, without input or output.

pub mod event;
pub mod refusal;
pub mod room;

pub use event::Encoding;
pub use event::Event;
pub use event::EventName;

pub use room::Room;
