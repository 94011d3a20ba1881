//! Which profiles are under way, which are kept, and which make room. Knows neither clocks nor
//! tasks.

use std::time::{Duration, Instant};

use super::{Config, Error};
use crate::tenants::Tenant;

/// Profiles in the order in which they began. `J` is what is kept of one.
#[derive(Debug)]
pub(super) struct Table<J> {
    entries: Vec<Entry<J>>,
}

#[derive(Debug)]
struct Entry<J> {
    id: String,
    tenant: Tenant,
    target: String,
    job: J,
    /// When it ended, and what it takes.
    ended: Option<(Instant, usize)>,
}

impl<J> Default for Table<J> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<J: Clone> Table<J> {
    /// Takes up a profile that begins, unless its target has one or too many are under way.
    pub(super) fn begin(
        &mut self,
        id: &str,
        (tenant, target): (&Tenant, &str),
        job: J,
        now: Instant,
        config: &Config,
    ) -> Result<(), Error> {
        self.forget_expired(now, Duration::from_secs_f64(config.keep_secs));
        let under_way = || self.entries.iter().filter(|entry| entry.ended.is_none());
        if under_way().any(|entry| entry.target == target) {
            return Err(Error::Running);
        }
        if config.running_per_tenant_max <= under_way().filter(|it| it.tenant == *tenant).count() {
            return Err(Error::TenantFull { max: config.running_per_tenant_max });
        }
        if config.running_max <= under_way().count() {
            return Err(Error::Full { max: config.running_max });
        }
        let (id, tenant, target) = (id.to_owned(), tenant.clone(), target.to_owned());
        self.entries.push(Entry { id, tenant, target, job, ended: None });
        Ok(())
    }

    /// A profile is over. Older ones make room for what came of it.
    pub(super) fn end(&mut self, id: &str, now: Instant, bytes: usize, config: &Config) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else { return };
        entry.ended = Some((now, bytes));
        let tenant = entry.tenant.clone();
        while config.kept_per_tenant_max < self.kept(|entry| entry.tenant == tenant).0 {
            if !self.forget_oldest(id, |entry| entry.tenant == tenant) {
                break;
            }
        }
        while config.kept_bytes_max < self.kept(|_| true).1 {
            if !self.forget_oldest(id, |_| true) {
                break;
            }
        }
    }

    /// A profile came to nothing.
    pub(super) fn drop_if_running(&mut self, id: &str) {
        self.entries.retain(|entry| entry.id != id || entry.ended.is_some());
    }

    pub(super) fn get(
        &mut self,
        tenant: &Tenant,
        id: &str,
        now: Instant,
        keep: Duration,
    ) -> Option<J> {
        self.forget_expired(now, keep);
        let mut entries = self.entries.iter();
        let found = entries.find(|entry| entry.id == id && entry.tenant == *tenant);
        found.map(|entry| entry.job.clone())
    }

    fn forget_expired(&mut self, now: Instant, keep: Duration) {
        self.entries.retain(|entry| {
            entry.ended.is_none_or(|(at, _)| now.saturating_duration_since(at) < keep)
        });
    }

    /// How many there are that have ended, and what they take.
    fn kept(&self, which: impl Fn(&Entry<J>) -> bool) -> (usize, usize) {
        let kept = self.entries.iter().filter(|entry| which(entry));
        kept.filter_map(|entry| entry.ended)
            .fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes))
    }

    /// Forgets the one that ended first, but never the one called `newest`. Tells whether there
    /// was one to forget.
    fn forget_oldest(&mut self, newest: &str, which: impl Fn(&Entry<J>) -> bool) -> bool {
        let entries = self.entries.iter().enumerate();
        let ended = entries
            .filter(|(_, entry)| entry.id != newest && which(entry))
            .filter_map(|(index, entry)| entry.ended.map(|(at, _)| (at, index)));
        let oldest = ended.min();
        if let Some((_, index)) = oldest {
            self.entries.remove(index);
        }
        oldest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config {
        program: std::path::PathBuf::new(),
        running_max: 3,
        running_per_tenant_max: 2,
        kept_per_tenant_max: 2,
        keep_secs: 10.0,
        kept_bytes_max: 100,
    };

    struct Fixture {
        table: Table<String>,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self { table: Table::default(), now: Instant::now() }
        }

        fn begin(&mut self, id: &str, tenant: &str, target: &str) -> Result<(), Error> {
            let tenant = Tenant::named(tenant);
            self.table.begin(id, (&tenant, target), id.to_owned(), self.now, &CONFIG)
        }

        fn end(&mut self, id: &str, bytes: usize) {
            self.now += Duration::from_millis(1);
            self.table.end(id, self.now, bytes, &CONFIG);
        }

        fn has(&mut self, id: &str, tenant: &str) -> bool {
            let keep = Duration::from_secs_f64(CONFIG.keep_secs);
            self.table.get(&Tenant::named(tenant), id, self.now, keep).is_some()
        }
    }

    #[test]
    fn a_target_has_one_at_a_time() {
        let mut it = Fixture::new();
        it.begin("a", "t", "sim_1").unwrap();
        assert!(matches!(it.begin("b", "u", "sim_1"), Err(Error::Running)));
        it.end("a", 1);
        it.begin("b", "u", "sim_1").unwrap();
    }

    #[test]
    fn there_are_no_more_at_a_time_than_there_may_be() {
        let mut it = Fixture::new();
        it.begin("a", "t", "1").unwrap();
        it.begin("b", "t", "2").unwrap();
        assert!(matches!(it.begin("c", "t", "3"), Err(Error::TenantFull { max: 2 })));
        it.begin("c", "u", "3").unwrap();
        assert!(matches!(it.begin("d", "v", "4"), Err(Error::Full { max: 3 })));
        it.table.drop_if_running("c");
        it.begin("d", "v", "4").unwrap();
    }

    #[test]
    fn the_oldest_make_room_for_count_bytes_and_time() {
        let mut it = Fixture::new();
        for id in ["a", "b", "c"] {
            it.begin(id, "t", id).unwrap();
            it.end(id, 10);
        }
        assert_eq!(["a", "b", "c"].map(|id| it.has(id, "t")), [false, true, true]);
        it.begin("d", "u", "d").unwrap();
        it.end("d", 85);
        assert_eq!(["b", "c"].map(|id| it.has(id, "t")), [false, true]);
        assert!(!it.has("d", "t") && it.has("d", "u"));
        it.now += Duration::from_secs(11);
        assert!(!it.has("c", "t"));
    }
}
