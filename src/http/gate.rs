//! The gate: who is let in, by how many there are, in all and of one address.
//!
//! Connections and sessions are counted apart, as a session that polls needs no open connection.
//! When there is no place left, a few further connections are accepted to be told so: operators
//! are answered on them, clients hear when to try again. When those are used up too, accepting
//! waits until a connection ends.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use tokio::sync::Notify;

use crate::config::Limits;
use crate::http::addresses::Addresses;
use crate::http::addresses::PerAddress;
use crate::http::refused::Refused;
use crate::http::shortage::Shortage;
use crate::telemetry::metrics;
use crate::wire::permit::Permit;

/// Connections beyond the limit that are accepted to be refused.
pub const REFUSALS: usize = 32;
/// Connections of operators, on a listener of their own.
pub const OPERATORS: usize = 8;
/// Connections to the control socket.
pub const CONTROLLERS: usize = 4;

/// A cheap handle on the counts of one listener.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Places for connections, and for sessions.
    places: AtomicUsize,
    /// Connections beyond them that are accepted to be refused.
    refusals: usize,
    connections: AtomicUsize,
    refusing: AtomicUsize,
    sessions: AtomicUsize,
    addresses: Addresses,
    /// Told when there may be room for one more connection.
    freed: Notify,
    shortage: Shortage,
}

impl Gate {
    /// The gate for clients, with places for so many connections, and as many sessions.
    #[must_use]
    pub fn public(limits: &Limits, places: usize) -> Self {
        Self::new(places, REFUSALS, Addresses::new(per_address(limits)))
    }

    /// From now on these limits hold, with places for so many connections. Nobody has to go.
    pub fn reload(&self, limits: &Limits, places: usize) {
        self.0.places.store(places, SeqCst);
        self.0.addresses.reload(per_address(limits));
        self.0.freed.notify_one();
    }

    /// The gate of a listener with places for so many connections of operators.
    #[must_use]
    pub fn operators(places: usize) -> Self {
        Self::new(places, 0, Addresses::new(PerAddress::default()))
    }

    fn new(places: usize, refusals: usize, addresses: Addresses) -> Self {
        Self(Arc::new(Inner {
            places: AtomicUsize::new(places),
            refusals,
            connections: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            addresses,
            freed: Notify::new(),
            shortage: Shortage::default(),
        }))
    }

    /// Waits until one more connection may be accepted. Only one task may wait at a time, and it takes
    /// the [`place`](Self::place) that it has waited for.
    pub(super) async fn room(&self) {
        while !self.0.has_room() {
            self.0.freed.notified().await;
        }
    }

    /// The place of a connection that has come, once there was room for it.
    pub(super) fn place(&self) -> Place {
        let guest = raise(&self.0.connections, self.0.places());
        if !guest {
            self.0.refusing.fetch_add(1, SeqCst);
        }
        let count = if guest { Count::Guest(None) } else { Count::Refused(Refused::Connections) };
        Place { gate: self.clone(), count: Mutex::new(count) }
    }

    /// A place for a session of `address`, if there is one.
    pub(super) fn session(&self, address: Option<IpAddr>) -> Result<Permit, Refused> {
        if !raise(&self.0.sessions, self.0.places()) {
            return Err(Refused::Connections);
        }
        // From here on its drop gives back what has been taken.
        let mut seat = Seat { gate: self.clone(), address: None };
        seat.address = self.0.addresses.begin(address, Instant::now())?;
        Ok(Permit::new(seat))
    }

    /// Whether a new connection or session would be refused; who asks over a connection that is
    /// counted here, by its `standing`, does not ask for another.
    #[must_use]
    pub(super) fn is_exhausted(&self, standing: Option<&Standing>) -> bool {
        let own = standing.is_some_and(|standing| standing.is_guest_of(self));
        let connections = self.0.connections.load(SeqCst).saturating_sub(usize::from(own));
        let places = self.0.places();
        let full = connections >= places || self.0.sessions.load(SeqCst) >= places;
        full || self.0.shortage.holds(Instant::now())
    }

    /// The system could not give a connection, whatever is counted here.
    pub(super) fn note_shortage(&self, error: &io::Error) {
        self.0.shortage.note(error, Instant::now());
    }

    /// Forgets what is over; to be called now and then.
    pub fn upkeep(&self) {
        self.0.addresses.forget_idle(Instant::now());
        self.0.shortage.upkeep(Instant::now());
    }
}

impl Inner {
    fn places(&self) -> usize {
        self.places.load(SeqCst)
    }

    /// Whether there is room for one more connection of either kind. Where a reload has taken places
    /// away that are in use, there still is room to refuse.
    fn has_room(&self) -> bool {
        let (guests, refused) = (self.connections.load(SeqCst), self.refusing.load(SeqCst));
        guests.saturating_add(refused) < self.places().max(guests).saturating_add(self.refusals)
    }
}

fn per_address(limits: &Limits) -> PerAddress {
    PerAddress {
        sessions: NonZeroUsize::new(limits.connections_per_ip),
        per_second: limits.connects_per_second(),
    }
}

/// Counts one more, unless there are as many as there may be.
fn raise(count: &AtomicUsize, most: usize) -> bool {
    count.fetch_update(SeqCst, SeqCst, |count| (count < most).then_some(count + 1)).is_ok()
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    gate: Gate,
    count: Mutex<Count>,
}

/// What a connection counts as.
#[derive(Clone, Copy, Debug)]
enum Count {
    /// One of those that are served, of this address.
    Guest(Option<IpAddr>),
    /// One of those on which clients are refused.
    Refused(Refused),
}

impl Place {
    /// Whether clients are refused on this connection.
    pub(super) fn is_refused(&self) -> bool {
        matches!(*self.count(), Count::Refused(_))
    }

    /// Counts the connection for `address`, once that is known, and says how it stands; `None` if it
    /// is to be closed at once.
    pub(super) fn count_for(&self, address: Option<IpAddr>) -> Option<Standing> {
        let inner = &self.gate.0;
        let mut count = self.count();
        if let Count::Guest(_) = *count {
            match inner.addresses.connect(address) {
                Ok(address) => *count = Count::Guest(address),
                // One address may not take up what all others are refused with.
                Err(refused) if raise(&inner.refusing, inner.refusals / 2) => {
                    inner.connections.fetch_sub(1, SeqCst);
                    *count = Count::Refused(refused);
                }
                Err(refused) => {
                    metrics::refused(refused.label());
                    return None;
                }
            }
        }
        let refused = if let Count::Refused(refused) = *count { Some(refused) } else { None };
        Some(Standing { gate: self.gate.clone(), refused })
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &self.gate.0;
        match *self.count() {
            Count::Guest(address) => {
                inner.connections.fetch_sub(1, SeqCst);
                inner.addresses.disconnect(address, Instant::now());
            }
            Count::Refused(_) => {
                inner.refusing.fetch_sub(1, SeqCst);
            }
        }
        inner.freed.notify_one();
    }
}

/// The place of one session.
struct Seat {
    gate: Gate,
    address: Option<IpAddr>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gate.0.sessions.fetch_sub(1, SeqCst);
        self.gate.0.addresses.end(self.address, Instant::now());
    }
}

/// How a connection stands with the gate: an extension of every request that comes over it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    gate: Gate,
    refused: Option<Refused>,
}

impl Standing {
    /// Why clients are refused on this connection, if they are.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    fn is_guest_of(&self, gate: &Gate) -> bool {
        self.refused.is_none() && Arc::ptr_eq(&self.gate.0, &gate.0)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn gate(places: usize, refusals: usize, per_address: usize) -> Gate {
        let per_address = PerAddress { sessions: NonZeroUsize::new(per_address), per_second: None };
        Gate::new(places, refusals, Addresses::new(per_address))
    }

    fn enter(gate: &Gate) -> Option<Place> {
        gate.room().now_or_never().map(|()| gate.place())
    }

    #[test]
    fn beyond_the_places_there_is_room_to_refuse_and_then_none() {
        let gate = gate(2, 1, 0);
        let mut guests = vec![enter(&gate).unwrap(), enter(&gate).unwrap()];
        assert!(guests.iter().all(|place| !place.is_refused()));
        assert!(gate.is_exhausted(None));
        let own = guests[0].count_for(None);
        assert!(!gate.is_exhausted(own.as_ref()), "who asks has one of the places");
        let refused = enter(&gate).unwrap();
        let standing = refused.count_for(None).unwrap();
        assert_eq!(standing.refused(), Some(Refused::Connections));
        assert!(gate.is_exhausted(Some(&standing)));
        assert!(enter(&gate).is_none());
        drop(refused);
        guests.pop();
        assert!(!enter(&gate).unwrap().is_refused());
    }

    #[test]
    fn one_address_takes_up_half_of_the_room_to_refuse_at_most() {
        let gate = gate(100, 4, 1);
        let address = "192.0.2.1".parse().ok();
        let places: Vec<_> = (0..9).map(|_| enter(&gate).unwrap()).collect();
        let standings: Vec<_> = places.iter().map(|place| place.count_for(address)).collect();
        let refused = |standing: &Option<Standing>| standing.as_ref().map(Standing::refused);
        let outcomes: Vec<_> = standings.iter().map(refused).collect();
        assert_eq!(outcomes[..6], [Some(None); 6], "two for each session, and four more");
        assert_eq!(outcomes[6..], [Some(Some(Refused::PerAddress)), Some(Some(Refused::PerAddress)), None]);
        drop((places, standings));
        assert_eq!((gate.0.connections.load(SeqCst), gate.0.refusing.load(SeqCst)), (0, 0));
    }

    #[test]
    fn a_session_that_is_refused_takes_no_place() {
        let gate = gate(2, 0, 1);
        let (one, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        let session = gate.session(one).unwrap();
        for _ in 0..3 {
            assert_eq!(gate.session(one).err(), Some(Refused::PerAddress));
        }
        let second = gate.session(other).unwrap();
        assert_eq!(gate.session(None).err(), Some(Refused::Connections));
        assert!(gate.is_exhausted(None));
        drop((session, second));
        assert!(gate.session(one).is_ok());
        assert_eq!(gate.0.sessions.load(SeqCst), 0);
    }
}
