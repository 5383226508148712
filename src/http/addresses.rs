//! What each address has of the node: its connections, its sessions, and how fast it begins them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::num::NonZeroU64;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::http::refused::Refused;
use crate::wire::quota::Quota;

/// What one customer gets of IPv6 is a /64: its addresses count as one.
const CUSTOMER: u128 = !0 << 64;

/// The addresses that have something of the node, or had a moment ago.
#[derive(Debug)]
pub(super) struct Addresses {
    limits: ArcSwap<PerAddress>,
    table: Mutex<HashMap<IpAddr, Entry>>,
}

/// What one address may have of the node.
#[derive(Debug, Default)]
pub(super) struct PerAddress {
    /// Most sessions.
    pub(super) sessions: Option<NonZeroUsize>,
    /// Most sessions that it may begin in a second, and at once.
    pub(super) per_second: Option<NonZeroU32>,
}

#[derive(Debug, Default)]
struct Entry {
    connections: usize,
    sessions: usize,
    begun: Quota,
}

impl Entry {
    /// Whether it says no more than that there is none.
    fn is_idle(&self, now: Instant) -> bool {
        self.connections == 0 && self.sessions == 0 && self.begun.is_full(now)
    }
}

impl Addresses {
    /// Nobody yet. Without limits nothing is counted.
    pub(super) fn new(limits: PerAddress) -> Self {
        Self { limits: ArcSwap::from_pointee(limits), table: Mutex::default() }
    }

    /// From now on these limits hold. What was not counted, as there was no limit then, stays
    /// uncounted.
    pub(super) fn reload(&self, limits: PerAddress) {
        self.limits.store(Arc::new(limits));
    }

    /// Counts a connection of `address`; what is given back is who has to be told when it ends.
    pub(super) fn connect(&self, address: Option<IpAddr>) -> Result<Option<IpAddr>, Refused> {
        let (Some(address), Some(sessions)) = (address, self.limits.load().sessions) else {
            return Ok(None);
        };
        let address = counted(address);
        let mut table = self.table();
        let entry = table.entry(address).or_default();
        // A session that polls has two requests at a time, and clients that come back are early.
        if entry.connections >= sessions.get().saturating_mul(2).saturating_add(4) {
            return Err(Refused::PerAddress);
        }
        entry.connections += 1;
        Ok(Some(address))
    }

    /// A connection of `address` has ended.
    pub(super) fn disconnect(&self, address: Option<IpAddr>, now: Instant) {
        self.give_back(address, now, |entry| entry.connections -= 1);
    }

    /// Counts a session of `address`; what is given back is who has to be told when it ends.
    pub(super) fn begin(&self, address: Option<IpAddr>, now: Instant) -> Result<Option<IpAddr>, Refused> {
        let Some(address) = address else {
            return Ok(None);
        };
        let limits = self.limits.load();
        if limits.sessions.is_none() && limits.per_second.is_none() {
            return Ok(None);
        }
        let address = counted(address);
        let mut table = self.table();
        let entry = table.entry(address).or_default();
        if limits.sessions.is_some_and(|most| entry.sessions >= most.get()) {
            return Err(Refused::PerAddress);
        }
        if let Some(rate) = limits.per_second.map(NonZeroU64::from) {
            entry.begun.take(1, rate, rate.get(), now).map_err(Refused::Rate)?;
        }
        entry.sessions += 1;
        Ok(Some(address))
    }

    /// A session of `address` has ended.
    pub(super) fn end(&self, address: Option<IpAddr>, now: Instant) {
        self.give_back(address, now, |entry| entry.sessions -= 1);
    }

    /// Forgets the addresses of which there is nothing to know any more.
    pub(super) fn forget_idle(&self, now: Instant) {
        let mut table = self.table();
        table.retain(|_, entry| !entry.is_idle(now));
        let wanted = table.len() * 2;
        table.shrink_to(wanted);
    }

    fn give_back(&self, address: Option<IpAddr>, now: Instant, change: impl FnOnce(&mut Entry)) {
        let Some(address) = address else {
            return;
        };
        let mut table = self.table();
        if let Some(entry) = table.get_mut(&address) {
            change(entry);
            if entry.is_idle(now) {
                table.remove(&address);
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<IpAddr, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address under which `address` is counted.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & CUSTOMER).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn addresses(sessions: usize, per_second: u32) -> Addresses {
        let (sessions, per_second) = (NonZeroUsize::new(sessions), NonZeroU32::new(per_second));
        Addresses::new(PerAddress { sessions, per_second })
    }

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn sessions_of_one_address_are_bounded_and_come_back() {
        let (addresses, now) = (addresses(2, 0), Instant::now());
        let one = address("192.0.2.1");
        let first = addresses.begin(one, now);
        assert_eq!(first, Ok(one));
        assert_eq!(addresses.begin(one, now), Ok(one));
        assert_eq!(addresses.begin(one, now), Err(Refused::PerAddress));
        assert_eq!(addresses.begin(address("192.0.2.2"), now), Ok(address("192.0.2.2")));
        assert_eq!(addresses.begin(None, now), Ok(None), "no address, no quota");
        addresses.end(one, now);
        assert_eq!(addresses.begin(one, now), Ok(one));
    }

    #[test]
    fn a_network_of_one_customer_counts_as_one_address() {
        let (addresses, now) = (addresses(1, 0), Instant::now());
        assert_eq!(addresses.begin(address("2001:db8:1:2::1"), now), Ok(address("2001:db8:1:2::")));
        assert_eq!(addresses.begin(address("2001:db8:1:2:ffff::9"), now), Err(Refused::PerAddress));
        assert!(addresses.begin(address("2001:db8:1:3::1"), now).is_ok());
        // An address of IPv4 is itself, in whichever form the system tells it.
        assert_eq!(addresses.begin(address("::ffff:192.0.2.1"), now), Ok(address("192.0.2.1")));
        assert_eq!(addresses.begin(address("192.0.2.1"), now), Err(Refused::PerAddress));
        assert!(addresses.begin(address("::ffff:192.0.2.2"), now).is_ok());
    }

    #[test]
    fn connections_of_one_address_are_bounded_by_what_its_sessions_need() {
        let (addresses, now) = (addresses(3, 0), Instant::now());
        let one = address("192.0.2.1");
        for _ in 0..10 {
            assert_eq!(addresses.connect(one), Ok(one));
        }
        assert_eq!(addresses.connect(one), Err(Refused::PerAddress));
        addresses.disconnect(one, now);
        assert_eq!(addresses.connect(one), Ok(one));
    }

    #[test]
    fn a_session_that_is_too_early_is_told_how_long_to_wait() {
        let (addresses, now) = (addresses(0, 2), Instant::now());
        let one = address("192.0.2.1");
        assert!(addresses.begin(one, now).is_ok());
        assert!(addresses.begin(one, now).is_ok());
        let wait = Duration::from_millis(500);
        assert_eq!(addresses.begin(one, now), Err(Refused::Rate(wait)));
        assert!(addresses.begin(one, now + wait).is_ok());
        assert_eq!(addresses.connect(one), Ok(None), "connections are counted only with a limit of sessions");
    }

    #[test]
    fn a_hundred_thousand_addresses_are_forgotten() {
        let (addresses, now) = (addresses(5, 1), Instant::now());
        let many = |network: u32| (0..100_000).map(move |n| Some(Ipv4Addr::from_bits(network + n).into()));
        for one in many(0x0a00_0000) {
            assert_eq!(addresses.connect(one), Ok(one));
            assert_eq!(addresses.begin(one, now), Ok(one));
        }
        addresses.forget_idle(now);
        assert_eq!(addresses.table().len(), 100_000, "all of them are connected");
        for one in many(0x0a00_0000) {
            addresses.end(one, now);
            addresses.disconnect(one, now);
        }
        addresses.forget_idle(now);
        assert_eq!(addresses.table().len(), 100_000, "all of them have just begun a session");
        addresses.forget_idle(now + Duration::from_secs(1));
        assert_eq!(addresses.table().capacity(), 0, "and so is the memory they took");
        // Those whose quota is full when they go are forgotten at once.
        for one in many(0x0b00_0000) {
            assert_eq!(addresses.begin(one, now), Ok(one));
            addresses.end(one, now + Duration::from_secs(1));
        }
        assert_eq!(addresses.table().len(), 0);
    }

    #[test]
    fn a_refusal_leaves_nothing_behind() {
        let (addresses, now) = (addresses(1, 1), Instant::now());
        let one = address("192.0.2.1");
        assert!(addresses.begin(one, now).is_ok());
        assert_eq!(addresses.begin(one, now), Err(Refused::PerAddress));
        addresses.end(one, now);
        assert_eq!(addresses.begin(one, now), Err(Refused::Rate(Duration::from_secs(1))));
        addresses.forget_idle(now + Duration::from_secs(1));
        assert_eq!(addresses.table().len(), 0);
    }
}
