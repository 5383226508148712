//! What a room is called.
/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// A text.
    Text(Box<str>),
    /// An integer.
    Integer(i64),
}
