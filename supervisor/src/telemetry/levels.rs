//! How closely is looked at whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::tenants::Tenant;

/// How closely.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No step is timed, and nothing is shown to whoever it is of. Rules of operators look at it all
    /// the same; if this is said of everybody, nothing is measured at all.
    Off,
    /// Every second; of small models some steps are timed and stand for the others.
    #[default]
    Basic,
    /// Every step is timed, which small models feel.
    Detailed,
}

/// What was said of whom: of a session more than of its tenant, of a tenant more than of all.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    fleet: Level,
    tenants: BTreeMap<Tenant, Said>,
}

/// What was said of a tenant.
#[derive(Clone, Debug, Default)]
struct Said {
    all: Option<Level>,
    sessions: BTreeMap<Arc<str>, Level>,
}

/// Of so many tenants something may be said.
const TENANTS_MAX: usize = 10_000;

/// Of so many sessions of a tenant something may be said.
const SESSIONS_MAX: usize = 1_000;

impl Levels {
    /// Looks at everybody so closely.
    pub fn new(fleet: Level) -> Self {
        Self { fleet, ..Self::default() }
    }

    /// How closely a session is looked at.
    pub fn of(&self, tenant: &Tenant, session: &str) -> Level {
        let said = self.tenants.get(tenant);
        let own = said.and_then(|said| said.sessions.get(session).copied().or(said.all));
        own.unwrap_or(self.fleet)
    }

    /// How closely a tenant is looked at.
    pub fn of_tenant(&self, tenant: &Tenant) -> Level {
        self.tenants.get(tenant).and_then(|said| said.all).unwrap_or(self.fleet)
    }

    /// How closely everybody is looked at of whom nothing else was said.
    pub fn fleet(&self) -> Level {
        self.fleet
    }

    /// Whether nothing is to be measured of anybody.
    pub fn is_all_off(&self) -> bool {
        let said = |said: &Said| {
            said.all.is_none_or(|level| level == Level::Off)
                && said.sessions.values().all(|level| *level == Level::Off)
        };
        self.fleet == Level::Off && self.tenants.values().all(said)
    }

    /// From now on.
    pub fn set_fleet(&mut self, level: Level) {
        self.fleet = level;
    }

    /// From now on; false if something was said of too many.
    pub fn set_tenant(&mut self, tenant: &Tenant, level: Level) -> bool {
        let Some(said) = self.said(tenant) else { return false };
        said.all = Some(level);
        true
    }

    /// From now on; false if something was said of too many.
    pub fn set_session(&mut self, tenant: &Tenant, session: &str, level: Level) -> bool {
        let Some(said) = self.said(tenant) else { return false };
        let has_room = said.sessions.len() < SESSIONS_MAX || said.sessions.contains_key(session);
        if has_room {
            said.sessions.insert(session.into(), level);
        }
        has_room
    }

    fn said(&mut self, tenant: &Tenant) -> Option<&mut Said> {
        let has_room = self.tenants.len() < TENANTS_MAX || self.tenants.contains_key(tenant);
        has_room.then(|| self.tenants.entry(tenant.clone()).or_default())
    }

    /// Nothing is said any more of sessions that are gone.
    pub fn keep_sessions(&mut self, is_there: impl Fn(&str) -> bool) {
        self.tenants.retain(|_, said| {
            said.sessions.retain(|session, _| is_there(session));
            said.all.is_some() || !said.sessions.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_fewer_counts_more() {
        let (acme, zeta) = (Tenant::named("acme"), Tenant::named("zeta"));
        let mut levels = Levels::new(Level::Basic);
        levels.set_tenant(&acme, Level::Off);
        levels.set_session(&acme, "sim_1", Level::Detailed);
        assert_eq!(levels.of(&acme, "sim_1"), Level::Detailed);
        assert_eq!(levels.of(&acme, "sim_2"), Level::Off);
        assert_eq!(levels.of(&zeta, "sim_1"), Level::Basic);
        levels.set_fleet(Level::Off);
        assert!(!levels.is_all_off());
        levels.keep_sessions(|_| false);
        assert_eq!(levels.of(&zeta, "sim_3"), Level::Off);
        assert_eq!(levels.of(&acme, "sim_1"), Level::Off);
        assert!(levels.is_all_off());
    }

    #[test]
    fn there_is_a_bound_for_each_tenant() {
        let (acme, zeta) = (Tenant::named("acme"), Tenant::named("zeta"));
        let mut levels = Levels::default();
        for number in 0..SESSIONS_MAX {
            assert!(levels.set_session(&acme, &number.to_string(), Level::Off));
        }
        assert!(!levels.set_session(&acme, "one more", Level::Off));
        assert!(levels.set_session(&acme, "5", Level::Basic));
        assert!(levels.set_session(&zeta, "one more", Level::Off));
    }
}
