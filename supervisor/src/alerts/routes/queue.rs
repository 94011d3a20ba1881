//! What waits for one route: bounded in all and by whom it is about, so that no tenant's trouble hides
//! everybody else's. What is critical comes first, and has the last places to itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Notice;
use crate::alerts::rule::Severity;

/// Notices that may wait for one route.
pub(super) const QUEUE_MAX: usize = 1024;

/// Those that are not critical.
const UNCRITICAL_MAX: usize = QUEUE_MAX - 128;

/// Those of them that are about one tenant.
const PER_TENANT_MAX: usize = 128;

/// The queue of one route.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    critical: VecDeque<Arc<Notice>>,
    others: VecDeque<Arc<Notice>>,
    /// How many of the others are about each tenant.
    about: BTreeMap<String, usize>,
    is_closed: bool,
}

impl Queue {
    /// Adds one, if there is room for it.
    pub(super) fn push(&self, notice: Arc<Notice>) -> bool {
        let is_in = self.waiting().push(notice);
        if is_in {
            self.more.notify_one();
        }
        is_in
    }

    /// Waits for some; nothing comes any more once there are none. There is one who takes.
    pub(super) async fn take(&self, max: usize) -> Vec<Arc<Notice>> {
        loop {
            {
                let mut waiting = self.waiting();
                if waiting.is_closed || waiting.len() != 0 {
                    return waiting.take(max);
                }
            }
            self.more.notified().await;
        }
    }

    /// Nothing more is taken in.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.more.notify_one();
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.critical.len() + self.others.len()
    }

    fn push(&mut self, notice: Arc<Notice>) -> bool {
        if self.is_closed || QUEUE_MAX <= self.len() {
            return false;
        }
        if notice.alert.severity == Severity::Critical {
            self.critical.push_back(notice);
            return true;
        }
        if UNCRITICAL_MAX <= self.others.len() {
            return false;
        }
        if let Some(tenant) = notice.alert.labels.get("tenant") {
            let count = self.about.entry(tenant.clone()).or_default();
            if PER_TENANT_MAX <= *count {
                return false;
            }
            *count += 1;
        }
        self.others.push_back(notice);
        true
    }

    fn take(&mut self, max: usize) -> Vec<Arc<Notice>> {
        let critical = self.critical.len().min(max);
        let mut taken: Vec<_> = self.critical.drain(..critical).collect();
        for notice in self.others.drain(..self.others.len().min(max - critical)) {
            if let Some(tenant) = notice.alert.labels.get("tenant")
                && let Some(count) = self.about.get_mut(tenant)
            {
                *count -= 1;
                if *count == 0 {
                    self.about.remove(tenant);
                }
            }
            taken.push(notice);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::routes::tests::notice;

    fn about(tenant: &str, severity: Severity) -> Arc<Notice> {
        let mut notice = notice();
        notice.alert.labels.insert("tenant".to_owned(), tenant.to_owned());
        notice.alert.severity = severity;
        Arc::new(notice)
    }

    #[tokio::test]
    async fn no_tenant_s_trouble_hides_another_s_and_none_what_is_critical() {
        let queue = Queue::default();
        let push = |tenant: &str, severity, count: usize| {
            (0..count).filter(|_| queue.push(about(tenant, severity))).count()
        };
        assert_eq!(push("ann", Severity::Warning, 2000), PER_TENANT_MAX);
        assert_eq!(push("bob", Severity::Info, 1), 1);
        let others: usize = (0..20).map(|n| push(&n.to_string(), Severity::Warning, 500)).sum();
        assert_eq!(others, UNCRITICAL_MAX - PER_TENANT_MAX - 1);
        assert_eq!(push("ann", Severity::Critical, 2000), QUEUE_MAX - UNCRITICAL_MAX);
        assert_eq!(queue.len(), QUEUE_MAX);
        let first = queue.take(200).await;
        let critical = first.iter().filter(|it| it.alert.severity == Severity::Critical).count();
        assert_eq!((first.len(), critical), (200, QUEUE_MAX - UNCRITICAL_MAX));
        assert_eq!(push("ann", Severity::Warning, 100), 72, "as many as were taken");
    }

    #[tokio::test]
    async fn what_waits_when_it_is_closed_is_still_taken_and_then_it_is_over() {
        let queue = Queue::default();
        assert!(queue.push(about("ann", Severity::Info)));
        queue.close();
        assert!(!queue.push(about("ann", Severity::Info)));
        assert_eq!(queue.take(64).await.len(), 1);
        assert!(queue.take(64).await.is_empty());
    }
}
