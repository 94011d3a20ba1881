//! Which runs are kept, and which make room. Knows neither clocks nor tasks.

use std::time::{Duration, Instant};

use super::{Config, Error};
use crate::tenants::Tenant;

/// Runs in the order in which they began. `R` is what is kept of one.
#[derive(Debug)]
pub(super) struct Table<R> {
    entries: Vec<Entry<R>>,
}

#[derive(Debug)]
struct Entry<R> {
    id: String,
    tenant: Tenant,
    run: R,
    /// When it ended, and what its result takes.
    ended: Option<(Instant, usize)>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<R: Clone> Table<R> {
    /// Takes up a run that begins, unless too many are under way.
    pub(super) fn begin(
        &mut self,
        id: &str,
        tenant: &Tenant,
        run: R,
        now: Instant,
        config: &Config,
    ) -> Result<(), Error> {
        self.forget_expired(now, Duration::from_secs_f64(config.keep_secs));
        let under_way = self.entries.iter().filter(|entry| entry.ended.is_none());
        let own = under_way.clone().filter(|entry| entry.tenant == *tenant).count();
        if config.running_per_tenant_max <= own {
            return Err(Error::TenantFull { max: config.running_per_tenant_max });
        }
        if config.running_max <= under_way.count() {
            return Err(Error::Full { max: config.running_max });
        }
        self.entries.push(Entry { id: id.to_owned(), tenant: tenant.clone(), run, ended: None });
        Ok(())
    }

    /// A run has ended. Older ones make room for what came of it.
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

    pub(super) fn get(
        &mut self,
        tenant: &Tenant,
        id: &str,
        now: Instant,
        keep: Duration,
    ) -> Option<R> {
        self.forget_expired(now, keep);
        let mut entries = self.entries.iter();
        let found = entries.find(|entry| entry.id == id && entry.tenant == *tenant);
        found.map(|entry| entry.run.clone())
    }

    pub(super) fn list(&mut self, tenant: &Tenant, now: Instant, keep: Duration) -> Vec<R> {
        self.forget_expired(now, keep);
        let own = self.entries.iter().filter(|entry| entry.tenant == *tenant);
        own.map(|entry| entry.run.clone()).collect()
    }

    fn forget_expired(&mut self, now: Instant, keep: Duration) {
        self.entries.retain(|entry| {
            entry.ended.is_none_or(|(at, _)| now.saturating_duration_since(at) < keep)
        });
    }

    /// How many ended runs there are, and what they take.
    fn kept(&self, which: impl Fn(&Entry<R>) -> bool) -> (usize, usize) {
        let kept = self.entries.iter().filter(|entry| which(entry));
        kept.filter_map(|entry| entry.ended)
            .fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes))
    }

    /// Forgets the run that ended first, but never the one called `newest`. Tells whether there
    /// was one to forget.
    fn forget_oldest(&mut self, newest: &str, which: impl Fn(&Entry<R>) -> bool) -> bool {
        let oldest = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| which(entry) && entry.id != newest)
            .filter_map(|(index, entry)| entry.ended.map(|(at, _)| (at, index)))
            .min();
        if let Some((_, index)) = oldest {
            self.entries.remove(index);
        }
        oldest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            running_max: 3,
            running_per_tenant_max: 2,
            kept_per_tenant_max: 2,
            keep_secs: 10.0,
            kept_bytes_max: 100,
            budget_secs: 1.0,
        }
    }

    fn ids(table: &mut Table<String>, tenant: &Tenant, now: Instant) -> Vec<String> {
        table.list(tenant, now, Duration::from_secs(10))
    }

    fn begin(table: &mut Table<String>, id: &str, tenant: &Tenant, now: Instant) {
        table.begin(id, tenant, id.to_owned(), now, &config()).unwrap();
    }

    #[test]
    fn only_so_many_are_under_way() {
        let (mut table, now) = (Table::default(), Instant::now());
        let [one, two, three] = ["one", "two", "three"].map(Tenant::named);
        begin(&mut table, "a", &one, now);
        begin(&mut table, "b", &one, now);
        let refused = table.begin("c", &one, "c".to_owned(), now, &config());
        assert_eq!(refused, Err(Error::TenantFull { max: 2 }));
        begin(&mut table, "d", &two, now);
        let refused = table.begin("e", &three, "e".to_owned(), now, &config());
        assert_eq!(refused, Err(Error::Full { max: 3 }));
        table.end("a", now, 1, &config());
        begin(&mut table, "e", &three, now);
    }

    #[test]
    fn what_ended_first_makes_room() {
        let (mut table, now) = (Table::default(), Instant::now());
        let tenant = Tenant::local();
        for (second, id) in ["a", "b", "c"].into_iter().enumerate() {
            begin(&mut table, id, &tenant, now);
            table.end(id, now + Duration::from_secs(second as u64), 1, &config());
        }
        assert_eq!(ids(&mut table, &tenant, now), ["b", "c"]);
        begin(&mut table, "large", &tenant, now);
        table.end("large", now + Duration::from_secs(3), 1000, &config());
        assert_eq!(ids(&mut table, &tenant, now), ["large"]);
    }

    #[test]
    fn what_came_of_a_run_is_kept_for_a_while() {
        let (mut table, now) = (Table::default(), Instant::now());
        let tenant = Tenant::local();
        begin(&mut table, "ended", &tenant, now);
        table.end("ended", now, 1, &config());
        begin(&mut table, "under way", &tenant, now);
        let later = now + Duration::from_secs(9);
        assert_eq!(ids(&mut table, &tenant, later), ["ended", "under way"]);
        assert_eq!(ids(&mut table, &tenant, now + Duration::from_secs(11)), ["under way"]);
    }
}
