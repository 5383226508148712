//! Identities: who one client is, and what it may do.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::SystemTime;

use crate::access::patterns::ClaimNames;
use crate::access::patterns::Claims;
use crate::access::patterns::Missing;
use crate::access::patterns::Patterns;
use crate::access::role::Denial;
use crate::access::role::Role;
use crate::access::role::Rules;
use crate::config::Pattern;
use crate::config::RoleLimits;
use crate::protocol::Room;

/// Everyone, where nobody has said who may do what.
static EVERYONE: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity(Rights::Everything)));

/// Who one client is.
#[derive(Debug)]
pub struct Identity(Rights);

#[derive(Debug)]
enum Rights {
    /// There are no rules.
    Everything,
    Ruled(Ruled),
}

/// A client with a role.
#[derive(Debug)]
pub(super) struct Ruled {
    pub(super) role: Arc<Role>,
    /// What its credentials say of it, as far as the role asks.
    pub(super) claims: Claims,
    /// Rooms beyond which it may subscribe to none, whatever the role says.
    pub(super) subscribe: Option<Own>,
    /// Rooms beyond which it may publish to none, whatever the role says.
    pub(super) publish: Option<Own>,
    /// When it is no longer who it is.
    pub(super) expires: Option<SystemTime>,
}

impl Ruled {
    /// A client of whom nothing more is known than these claims, for as long as it is connected.
    pub(super) fn new(role: Arc<Role>, claims: Claims) -> Self {
        Self { role, claims, subscribe: None, publish: None, expires: None }
    }
}

/// The patterns that a token carries.
#[derive(Debug)]
pub(super) struct Own(Box<Patterns>);

impl Own {
    pub(super) fn new(patterns: &[Pattern]) -> Self {
        Self(Box::new(Patterns::new(patterns, &mut ClaimNames::default())))
    }

    fn mean(&self, room: &str) -> bool {
        self.0.find(room, &Claims::default(), Missing::MeansNothing).is_some()
    }
}

impl Identity {
    /// Anybody, where nobody has said who may do what.
    pub(super) fn everyone() -> Arc<Self> {
        EVERYONE.clone()
    }

    pub(super) fn new(ruled: Ruled) -> Arc<Self> {
        Arc::new(Self(Rights::Ruled(ruled)))
    }

    /// Whether it may subscribe to `room`.
    pub fn may_subscribe(&self, room: &Room) -> Result<Grant<'_>, Denial<'_>> {
        self.decide(room, |ruled| (&ruled.role.subscribe, ruled.subscribe.as_ref()))
    }

    /// Whether it may publish to `room`.
    pub fn may_publish(&self, room: &Room) -> Result<Grant<'_>, Denial<'_>> {
        self.decide(room, |ruled| (&ruled.role.publish, ruled.publish.as_ref()))
    }

    /// Whether it may broadcast.
    pub fn may_broadcast(&self) -> Result<Grant<'_>, Denial<'_>> {
        match &self.0 {
            Rights::Everything => Ok(Grant::Everything),
            Rights::Ruled(ruled) if ruled.role.broadcast => Ok(Grant::Broadcast),
            Rights::Ruled(_) => Err(Denial::Broadcast),
        }
    }

    fn decide<'a>(
        &'a self,
        room: &Room,
        rules: impl FnOnce(&'a Ruled) -> (&'a Rules, Option<&'a Own>),
    ) -> Result<Grant<'a>, Denial<'a>> {
        let Rights::Ruled(client) = &self.0 else { return Ok(Grant::Everything) };
        let name = match room {
            Room::Text(name) => Cow::Borrowed(&**name),
            // A pattern means `7` and `"7"` alike.
            Room::Integer(number) => Cow::Owned(number.to_string()),
        };
        let (rules, own) = rules(client);
        let pattern = rules.decide(&name, &client.claims)?;
        match own {
            Some(own) if !own.mean(&name) => Err(Denial::NotInToken),
            _ => Ok(Grant::Allowed(pattern)),
        }
    }

    /// Its role; none where there are no rules.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        match &self.0 {
            Rights::Everything => None,
            Rights::Ruled(ruled) => Some(&ruled.role.name),
        }
    }

    /// The quotas of its role.
    #[must_use]
    pub fn limits(&self) -> Option<&RoleLimits> {
        match &self.0 {
            Rights::Everything => None,
            Rights::Ruled(ruled) => Some(&ruled.role.limits),
        }
    }

    /// When it is no longer who it is, if that is known.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        match &self.0 {
            Rights::Everything => None,
            Rights::Ruled(ruled) => ruled.expires,
        }
    }
}

/// Why something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant<'a> {
    /// There are no rules.
    Everything,
    /// A pattern of `allow` means the room.
    Allowed(&'a Pattern),
    /// The role may broadcast.
    Broadcast,
}

impl fmt::Display for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("there is no `[access]`: everyone may do everything"),
            Self::Allowed(pattern) => write!(f, "allowed by `{pattern}`"),
            Self::Broadcast => f.write_str("the role may broadcast"),
        }
    }
}
