//! Roles, compiled: what whoever has one may do.

use std::fmt;

use crate::access::patterns::ClaimNames;
use crate::access::patterns::Claims;
use crate::access::patterns::Missing;
use crate::access::patterns::Patterns;
use crate::config;
use crate::config::Pattern;
use crate::config::RoleLimits;

/// What whoever has it may do.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: Box<str>,
    pub(super) subscribe: Rules,
    pub(super) publish: Rules,
    pub(super) broadcast: bool,
    pub(super) limits: RoleLimits,
    /// The claims that its patterns speak of.
    pub(super) claims: ClaimNames,
}

impl Role {
    pub(super) fn new(name: &str, role: &config::Role) -> Self {
        let mut claims = ClaimNames::default();
        Self {
            name: name.into(),
            subscribe: Rules::new(&role.subscribe, &mut claims),
            publish: Rules::new(&role.publish, &mut claims),
            broadcast: role.broadcast,
            limits: role.limits.clone(),
            claims,
        }
    }
}

/// Which rooms are meant: those that are allowed and not denied.
#[derive(Debug, Default)]
pub(super) struct Rules {
    allow: Patterns,
    deny: Patterns,
}

impl Rules {
    fn new(rules: &config::Rules, claims: &mut ClaimNames) -> Self {
        Self { allow: Patterns::new(&rules.allow, claims), deny: Patterns::new(&rules.deny, claims) }
    }

    /// The pattern that allows `room` to who claims this, or why none does.
    pub(super) fn decide<'a>(&'a self, room: &str, claims: &Claims) -> Result<&'a Pattern, Denial<'a>> {
        if let Some(pattern) = self.deny.find(room, claims, Missing::MeansAnything) {
            return Err(Denial::Denied(pattern));
        }
        self.allow.find(room, claims, Missing::MeansNothing).ok_or(Denial::NotAllowed)
    }
}

/// Why something may not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial<'a> {
    /// A pattern of `deny` means the room.
    Denied(&'a Pattern),
    /// No pattern of `allow` means the room.
    NotAllowed,
    /// The token has patterns of its own, and none of them means the room.
    NotInToken,
    /// The role may not broadcast.
    Broadcast,
}

impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(pattern) => write!(f, "denied by `{pattern}`"),
            Self::NotAllowed => f.write_str("allowed by no pattern"),
            Self::NotInToken => f.write_str("the token's own patterns do not mean it"),
            Self::Broadcast => f.write_str("the role may not broadcast"),
        }
    }
}
