//! Reload: other rules for everyone, and what becomes of those who are there.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use tracing::debug;

use crate::access::Access;
use crate::access::Invalid;
use crate::broker::Broker;
use crate::broker::Live;
use crate::broker::session::Session;
use crate::telemetry::disconnection::Disconnection;

impl Broker {
    /// From now on this holds for every event, whoever emits it. Whoever is no longer allowed is
    /// disconnected, and leaves the rooms that it may no longer be in; says how many were disconnected.
    #[must_use]
    pub fn reload(&self, live: Live) -> usize {
        let had_rules = self.access().has_rules();
        self.0.live.store(Arc::new(live));
        if had_rules || self.access().has_rules() { self.identify_all() } else { 0 }
    }

    /// Looks again at what everyone has shown, and says how many were disconnected.
    #[must_use]
    pub fn identify_all(&self) -> usize {
        // Before it is known who everyone is: whoever comes later has to look, see `admit`.
        self.0.looks.fetch_add(1, SeqCst);
        let sessions: Vec<_> = self.0.members.everyone(|everyone| everyone.values().cloned().collect());
        sessions.iter().filter(|session| !self.identify_again(session)).count()
    }

    /// Looks again at what a client has shown, as the rules may have changed; and again, should they
    /// change meanwhile, as whoever looks for that reason may come first and be overruled here. Whether
    /// it is still allowed.
    pub(super) fn identify_again(&self, session: &Arc<Session>) -> bool {
        loop {
            let access = self.access();
            let allowed = self.identify_by(&access, session);
            if !allowed || Arc::ptr_eq(&access, &self.access()) {
                return allowed;
            }
        }
    }

    fn identify_by(&self, access: &Access, session: &Arc<Session>) -> bool {
        match access.identify_now(session.credentials()) {
            Ok(identity) => {
                session.set_identity(identity);
                self.0.expiries.add(session);
                self.leave_forbidden(session);
                true
            }
            // Whether it is valid will be known in a moment. If it is not known then, the client has to
            // go: what it was allowed is no longer what anyone has said.
            Err(Invalid::UnknownKey) if access.is_about_to_have_keys() => true,
            Err(invalid) => {
                debug!("a client is no longer allowed: {invalid}");
                self.end(session, Disconnection::Revoked);
                false
            }
        }
    }

    /// Takes a client out of the rooms that it may not be in.
    fn leave_forbidden(&self, session: &Session) {
        let identity = session.identity();
        let rooms: Vec<_> = session.rooms().iter().flatten().cloned().collect();
        for room in rooms {
            if identity.may_subscribe(&room).is_err() {
                self.0.members.leave(session, room);
            }
        }
    }

    /// The rules that hold now.
    pub(super) fn access(&self) -> Arc<Access> {
        self.0.live.load().access.clone()
    }
}
