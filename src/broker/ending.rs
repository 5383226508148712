//! The end: sessions end one after the other, as their clients need it to come back by themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::broker::Broker;
use crate::broker::session::Session;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::link::Link;

/// How long a client whose session is being ended hears a refusal for what it still sends,
/// before its connection is closed: long enough for what was on its way.
const FAREWELL: Duration = Duration::from_millis(100);
/// Longest time between two sessions: a few clients are no rush, however long that may be spread.
const GAP: Duration = Duration::from_millis(100);
/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_millis(10);

impl Broker {
    /// Ends every session, evenly over `spread`; from now on nobody is admitted. What was accepted
    /// before a session's turn comes is still delivered, and until then it is served as ever.
    pub async fn end_all(&self, spread: Duration) {
        let departures = self.departures();
        let pace = Pace::new(departures.len(), spread);
        let began = Instant::now();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut announced, mut departed) = (0, 0);
        while departed < departures.len() {
            let elapsed = ticks.tick().await.duration_since(began);
            let due = pace.due(elapsed);
            departures.iter().take(due).skip(announced).for_each(Departure::announce);
            announced = due;
            let Some(since) = elapsed.checked_sub(FAREWELL) else { continue };
            let due = pace.due(since);
            departures.iter().take(due).skip(departed).for_each(|departure| departure.happen(self));
            departed = due;
        }
        // Those who were let in just before, and were not there yet.
        self.0.links.all().iter().for_each(close);
    }

    /// Admits nobody any more, and says who is to go.
    fn departures(&self) -> Vec<Departure> {
        let members = self.0.members.close();
        let mut sessions: HashMap<_, _> =
            members.iter().map(|session| (Arc::as_ptr(session.link()), Arc::downgrade(session))).collect();
        let links = self.0.links.all();
        let departure = |link: &Arc<Link>| Departure {
            session: sessions.remove(&Arc::as_ptr(link)).unwrap_or_default(),
            link: Arc::downgrade(link),
        };
        links.iter().map(departure).collect()
    }

    /// Puts the mark of the end behind everything that is queued for the session.
    pub(super) fn conclude(&self, session: &Session) {
        // What its client has published comes with acknowledgements.
        session.link().call_late();
        self.0.members.depart(session, || {
            self.0.sockets.leave_all(session.id());
            session.link().set_ending();
            self.0.sockets.end(self.0.encoding, session.id());
        });
    }
}

/// Who is to go, unless it goes by itself before: what is held here must not keep it.
struct Departure {
    link: Weak<Link>,
    /// Its session in the namespace, if it has one.
    session: Weak<Session>,
}

impl Departure {
    /// From now on what its client emits is refused.
    fn announce(&self) {
        if let Some(link) = self.link.upgrade() {
            link.fate().condemn(Disconnection::Drain);
        }
    }

    fn happen(&self, broker: &Broker) {
        if let Some(session) = self.session.upgrade() {
            broker.conclude(&session);
        }
        if let Some(link) = self.link.upgrade() {
            close(&link);
        }
    }
}

/// Closes the session of a client that is no member: it has sent no CONNECT, or left the namespace.
fn close(link: &Arc<Link>) {
    if !link.is_ending() {
        link.close(Disconnection::Drain);
    }
}

/// How many of so many sessions have had their turn, when they have it evenly over some time.
struct Pace {
    sessions: usize,
    spread: Duration,
}

impl Pace {
    fn new(sessions: usize, spread: Duration) -> Self {
        let needed = GAP.saturating_mul(u32::try_from(sessions).unwrap_or(u32::MAX));
        Self { sessions, spread: spread.min(needed) }
    }

    /// How many turns have come after `elapsed`; the first comes at once.
    fn due(&self, elapsed: Duration) -> usize {
        let turns = (elapsed.as_nanos() * self.sessions as u128).checked_div(self.spread.as_nanos());
        let turns = turns.and_then(|turns| usize::try_from(turns).ok());
        turns.map_or(self.sessions, |turns| turns.saturating_add(1).min(self.sessions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_evenly_and_the_first_at_once() {
        let pace = Pace::new(100, Duration::from_secs(5));
        for (milliseconds, due) in
            [(0, 1), (49, 1), (50, 2), (2_500, 51), (4_949, 99), (4_950, 100), (9_000, 100)]
        {
            assert_eq!(pace.due(Duration::from_millis(milliseconds)), due, "{milliseconds} ms");
        }
    }

    #[test]
    fn a_few_sessions_have_their_turns_soon() {
        let pace = Pace::new(3, Duration::from_mins(1));
        assert_eq!([0, 100, 200].map(|after| pace.due(Duration::from_millis(after))), [1, 2, 3]);
    }

    #[test]
    fn without_a_spread_all_turns_come_at_once() {
        assert_eq!(Pace::new(18_000, Duration::ZERO).due(Duration::ZERO), 18_000);
        assert_eq!(Pace::new(0, Duration::from_secs(5)).due(Duration::ZERO), 0);
    }
}
