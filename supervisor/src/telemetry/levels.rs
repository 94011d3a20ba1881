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
    /// Not at all: there are no series.
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
    tenants: BTreeMap<Tenant, Level>,
    sessions: BTreeMap<Arc<str>, Level>,
}

/// Of so many something may be said that is not what is said of all.
pub const SAID_MAX: usize = 10_000;

impl Levels {
    /// Looks at everybody so closely.
    pub fn new(fleet: Level) -> Self {
        Self { fleet, ..Self::default() }
    }

    /// How closely a session is looked at.
    pub fn of(&self, tenant: &Tenant, session: &str) -> Level {
        self.sessions.get(session).copied().unwrap_or_else(|| self.of_tenant(tenant))
    }

    /// How closely a tenant is looked at.
    pub fn of_tenant(&self, tenant: &Tenant) -> Level {
        self.tenants.get(tenant).copied().unwrap_or(self.fleet)
    }

    /// How closely everybody is looked at of whom nothing else was said.
    pub fn fleet(&self) -> Level {
        self.fleet
    }

    /// From now on.
    pub fn set_fleet(&mut self, level: Level) {
        self.fleet = level;
    }

    /// From now on; false if something was said of too many.
    pub fn set_tenant(&mut self, tenant: &Tenant, level: Level) -> bool {
        set(&mut self.tenants, tenant.clone(), level)
    }

    /// From now on; false if something was said of too many.
    pub fn set_session(&mut self, session: &str, level: Level) -> bool {
        set(&mut self.sessions, session.into(), level)
    }

    /// Nothing is said any more of sessions that are gone.
    pub fn keep_sessions(&mut self, is_there: impl Fn(&str) -> bool) {
        self.sessions.retain(|session, _| is_there(session));
    }
}

fn set<K: Ord>(said: &mut BTreeMap<K, Level>, who: K, level: Level) -> bool {
    let has_room = said.len() < SAID_MAX || said.contains_key(&who);
    if has_room {
        said.insert(who, level);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_fewer_counts_more() {
        let (acme, zeta) = (Tenant::named("acme"), Tenant::named("zeta"));
        let mut levels = Levels::new(Level::Basic);
        levels.set_tenant(&acme, Level::Off);
        levels.set_session("sim_1", Level::Detailed);
        assert_eq!(levels.of(&acme, "sim_1"), Level::Detailed);
        assert_eq!(levels.of(&acme, "sim_2"), Level::Off);
        assert_eq!(levels.of(&zeta, "sim_3"), Level::Basic);
        levels.set_fleet(Level::Off);
        levels.keep_sessions(|_| false);
        assert_eq!(levels.of(&zeta, "sim_3"), Level::Off);
        assert_eq!(levels.of(&acme, "sim_1"), Level::Off);
    }

    #[test]
    fn there_is_a_bound() {
        let mut levels = Levels::default();
        for number in 0..SAID_MAX {
            assert!(levels.set_session(&number.to_string(), Level::Off));
        }
        assert!(!levels.set_session("one more", Level::Off));
        assert!(levels.set_session("5", Level::Basic));
    }
}
