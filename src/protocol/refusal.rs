//! Why an event is refused, as the client is told.
