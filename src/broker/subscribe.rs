//! `subscribe` and `unsubscribe`: into a room, and out of it.

use std::sync::Arc;

use crate::broker::dispatch::Turn;
use crate::protocol::Refusal;
use crate::protocol::Room;

/// Puts the client into `room`; being in it already is a success.
pub(super) fn subscribe(turn: &Turn<'_>, room: Room) -> Result<(), Refusal> {
    let identity = turn.session.identity();
    turn.allowed("subscribe", |identity| identity.may_subscribe(&room))?;
    let most = identity.limits().and_then(|limits| limits.rooms_per_client);
    let most = most.map_or(turn.live.rooms_per_client, usize::from);
    turn.broker.0.members.join(turn.session, room.clone(), most)?;
    if !Arc::ptr_eq(&identity, &turn.session.identity()) {
        // A reload has looked at the rooms of this client before it was in this one.
        turn.allowed("subscribe", |identity| identity.may_subscribe(&room))
            .inspect_err(|_| unsubscribe(turn, room))?;
    }
    Ok(())
}

/// Takes the client out of `room`; not being in it is a success.
pub(super) fn unsubscribe(turn: &Turn<'_>, room: Room) {
    turn.broker.0.members.leave(turn.session, room);
}
