//! `subscribe` and `unsubscribe`: into a room, and out of it.

use crate::broker::dispatch::Turn;
use crate::protocol::Refusal;
use crate::protocol::Room;

/// Puts the client into `room`; being in it already is a success.
pub(super) fn subscribe(turn: &Turn<'_>, room: Room) -> Result<(), Refusal> {
    let sockets = &turn.broker.0.sockets;
    let joined = |room: &Room| sockets.join(turn.session.id(), room);
    turn.broker.0.members.join(turn.session, room, turn.live.rooms_per_client, joined)
}

/// Takes the client out of `room`; not being in it is a success.
pub(super) fn unsubscribe(turn: &Turn<'_>, room: Room) {
    let sockets = &turn.broker.0.sockets;
    turn.broker.0.members.leave(turn.session, room, |room| sockets.leave(turn.session.id(), room));
}
