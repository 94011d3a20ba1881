//! What a session may use changes while it lives: in the worker that it has, in the next ones, and
//! in its record.

use std::sync::Arc;

use simward_protocol::session::Terms;

use super::{Allowed, Isolation, Plan, Session, Status};
use crate::code::Code;
use crate::limits::{Limits, least};
use crate::pool::accounts::Account;
use crate::pool::groups;
use crate::pool::guard::{Enforcement, Unfit};
use crate::store;
use crate::worker::{LimitError, Worker};

/// How often another change is caught up with.
const CATCH_UP_TIMES_MAX: usize = 3;

/// What was changed, and by what it is held.
#[derive(Clone, Debug)]
pub struct Limited {
    /// What it was.
    pub before: Allowed,
    /// What it is.
    pub after: Allowed,
    /// Whether its process is held to it.
    pub held: Hold,
}

/// Whether a process is held to what its session may use.
#[derive(Clone, Debug)]
pub enum Hold {
    /// There is none now.
    None,
    /// It is, by these.
    Whole(Enforcement),
    /// It keeps the memory and the processor's time that it started with, unless the worker itself
    /// sees to one of them.
    Late(Enforcement),
}

impl Hold {
    /// By what a limit is enforced from now on; nothing if it is not, or not limited.
    pub fn by(&self, limit: &str) -> Option<&str> {
        let (enforcement, is_late) = match self {
            Self::None => return None,
            Self::Whole(enforcement) => (enforcement, false),
            Self::Late(enforcement) => (enforcement, true),
        };
        // The worker counts these, in any case.
        if ["step_rate", "models"].contains(&limit) {
            return Some(WORKER);
        }
        let by = enforcement.get(limit).map(String::as_str);
        by.filter(|by| !is_late || *by == WORKER)
    }

    /// Whether a limit, or that there is none, is so from now on.
    pub fn is_now(&self, limit: &str) -> bool {
        match self {
            Self::None => false,
            Self::Whole(_) => true,
            Self::Late(_) => self.by(limit).is_some(),
        }
    }
}

/// Who sees to it that a limit holds, where the worker does.
const WORKER: &str = "worker";

/// Limits that were not changed.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// They do not fit what its worker is.
    #[error("the limits stay as they were")]
    Worker(#[source] LimitError),
    /// They could not be kept.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The change was broken off: by the end of the daemon, or by a fault of it.
    #[error("the change was broken off")]
    Interrupted,
}

impl Code for LimitsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Worker(LimitError::Unfit(Unfit::InUse { .. })) => "limit_below_use",
            Self::Worker(LimitError::Unfit(Unfit::Tenant(_))) => "tenant_memory_exhausted",
            Self::Worker(LimitError::Unfit(Unfit::Kernel(_))) => "limit_refused",
            Self::Worker(LimitError::Busy { .. }) => "busy",
            Self::Worker(LimitError::Ended) => "worker_starting",
            Self::Store(error) => error.code(),
            Self::Interrupted => "internal_error",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Worker(LimitError::Unfit(Unfit::InUse { .. })) => {
                Some("unload_model frees some; or ask for more than is used".to_owned())
            }
            Self::Worker(error) => error.tenants().map(crate::pool::accounts::Full::hint),
            Self::Store(error) => error.hint(),
            Self::Interrupted => None,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Worker(LimitError::Busy { .. } | LimitError::Ended) => {
                Some(std::time::Duration::from_millis(500))
            }
            Self::Worker(_) | Self::Interrupted => None,
            Self::Store(error) => error.retry_after(),
        }
    }
}

impl Session {
    /// Gives the session other limits: its owner's, with those that are given here, as far as they
    /// are allowed. They are in force on its worker when this returns, as far as the answer says,
    /// and on every later one. Once begun, it is carried through whether or not anybody waits.
    pub(crate) async fn limit(
        &self,
        given: Limits,
        allow: impl FnOnce(&Limits) -> Allowed + Send + 'static,
    ) -> Result<Limited, LimitsError> {
        // One at a time: whoever does not wait for this begins nothing.
        let alone = Arc::clone(&self.inner.limiting).lock_owned().await;
        let session = self.clone();
        let change = async move {
            let _alone = alone;
            session.change_limits(&given, allow).await
        };
        tokio::spawn(change).await.map_err(|_panic| LimitsError::Interrupted)?
    }

    async fn change_limits(
        &self,
        given: &Limits,
        allow: impl FnOnce(&Limits) -> Allowed,
    ) -> Result<Limited, LimitsError> {
        let asked = self.holdings().record().limits.with(given);
        let allowed = allow(&asked);
        let plan = &self.inner.plan;
        let before = plan.may_use.now();
        let worker = self.status().worker.clone();
        let mine = worker.filter(|_| plan.isolation == Isolation::Process);
        if let Some((worker, _)) = &mine {
            worker.limit(of_process(plan, &allowed)).await.map_err(LimitsError::Worker)?;
        }
        let holdings = Arc::clone(&self.inner.holdings);
        let kept = holdings.store().run({
            let holdings = Arc::clone(&holdings);
            move |_| holdings.limit(asked)
        });
        if let Err(error) = kept.await {
            if let Some((worker, _)) = &mine {
                // What is not kept is not so.
                worker.limit(of_process(plan, &before)).await.ok();
            }
            return Err(error.into());
        }
        plan.may_use.change(allowed);
        // Perhaps another one than a moment ago, which has started with what was before.
        let Status { worker, account, .. } = self.status().clone();
        let held = match worker.zip(account) {
            Some(((worker, slot), account)) => {
                let is_held = catch_up(plan, &worker, slot, &account).await;
                let enforcement = worker.held().enforcement.clone();
                if is_held { Hold::Whole(enforcement) } else { Hold::Late(enforcement) }
            }
            None => Hold::None,
        };
        Ok(Limited { before, after: allowed, held })
    }
}

/// What the process of a session may use.
pub(super) fn may_use(plan: &Plan) -> groups::Limits {
    of_process(plan, &plan.may_use.now())
}

fn of_process(plan: &Plan, allowed: &Allowed) -> groups::Limits {
    let Limits { memory_bytes, cpu_ratio, .. } = allowed.limits;
    groups::Limits { memory_bytes, cpu_ratio, tasks_max: plan.threads_max }
}

/// What a session may use of its worker, which sees to it: its own limits, and its share of what its
/// tenant's sessions may use together.
pub(super) fn terms(allowed: Allowed, worker: &Worker, account: &Account) -> Terms {
    let enforcement = &worker.held().enforcement;
    let sees_to = |name: &str| enforcement.get(name).is_some_and(|by| by == WORKER);
    let Limits { step_rate, cpu_ratio, .. } = allowed.limits;
    let all = account.allowance();
    #[expect(clippy::cast_precision_loss, reason = "there are not so many sessions")]
    let sessions = account.awake().max(1) as f64;
    let share = |all: Option<f64>| all.map(|all| all / sessions);
    Terms {
        models_max: allowed.models_max,
        step_rate: least(step_rate, share(all.step_rate())),
        cpu_ratio: least(
            cpu_ratio.filter(|_| sees_to("cpu_ratio")),
            share(all.cpu_ratio()).filter(|_| sees_to("tenant_cpu_ratio")),
        ),
    }
}

/// Tells a worker what the session in that slot may use from now on.
pub(super) fn tell_terms(plan: &Plan, worker: &Worker, slot: u32, account: &Account) {
    plan.may_use.tell(|allowed| worker.allow(slot, terms(allowed, worker, account)));
}

/// Puts in force on a worker what the session may use by now, if it started with something else.
/// Tells whether it is held to that.
pub(super) async fn catch_up(plan: &Plan, worker: &Worker, slot: u32, account: &Account) -> bool {
    let is_held = || plan.isolation == Isolation::Shared || worker.held().limits == may_use(plan);
    for _ in 0..CATCH_UP_TIMES_MAX {
        if is_held() {
            break;
        }
        if let Err(error) = worker.limit(may_use(plan)).await {
            let (error, session_id) = (crate::code::chain(&error), &plan.id);
            tracing::warn!(%session_id, error, "a worker keeps the limits that it started with");
            break;
        }
    }
    tell_terms(plan, worker, slot, account);
    is_held()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use futures::FutureExt as _;

    use super::super::crew::Crew;
    use super::super::holdings::Holdings;
    use super::super::keeper::{self, Parts};
    use super::super::plan::{Birth, MayUse};
    use super::super::{RecordingsConfig, RestartConfig};
    use super::*;
    use crate::limits::TenantAllowance;
    use crate::pool::{self, Pool};
    use crate::store::{Record, Store};
    use crate::tenants::Tenant;

    const ALLOWED: Allowed = Allowed {
        limits: Limits { memory_bytes: None, cpu_ratio: None, step_rate: None, models: None },
        models_max: 1,
    };

    /// A session that sleeps, and has nothing to wake up with.
    fn asleep() -> Session {
        let worker = std::env::current_exe().unwrap();
        let pool = pool::Config { worker, control_groups: false, ..pool::Config::default() };
        let crew = Crew::new(Pool::open(pool).unwrap(), 1, TenantAllowance::default());
        let forever = Duration::from_hours(1);
        let plan = Plan {
            id: "sim_1".into(),
            tenant: Tenant::local(),
            name: None,
            isolation: Isolation::Process,
            may_use: MayUse::new(ALLOWED),
            threads_max: None,
            checkpoint_bytes_max: 0,
            recordings: RecordingsConfig::default(),
            call_within: forever,
            token: "".into(),
            idle_timeout: forever,
            max_age: forever,
            birth: Birth::at(SystemTime::now()),
        };
        let record = Record {
            id: plan.id.to_string(),
            tenant: plan.tenant.to_string(),
            name: None,
            shared: false,
            token: String::new(),
            limits: ALLOWED.limits,
            idle_timeout_secs: 3600.0,
            max_age_secs: 3600.0,
            created_millis: 0,
            is_default: false,
            models: [].into(),
            snapshots: [].into(),
            next_checkpoint: 0,
            recordings: [].into(),
        };
        let store = Store::open(None, &crate::store::Config::default()).unwrap();
        let holdings = Arc::new(Holdings::new(store, record));
        let (crew, restart) = (Arc::new(crew), RestartConfig::default());
        keeper::take_up(Parts { plan, holdings, crew, restart })
    }

    #[tokio::test]
    async fn a_change_is_carried_through_although_nobody_waits_for_it_any_more() {
        let session = asleep();
        let given = Limits { step_rate: Some(7.0), ..ALLOWED.limits };
        let allow = |asked: &Limits| Allowed { limits: *asked, ..ALLOWED };
        // Begun, and dropped while it waits.
        assert!(session.limit(given, allow).now_or_never().is_none());
        let is_so = async {
            while session.plan().limits() != given {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), is_so).await.unwrap();
        assert_eq!(session.holdings().record().limits, given);
    }

    fn enforcement() -> Enforcement {
        let by = [("memory_bytes", "cgroup_v2"), ("cpu_ratio", "worker")];
        by.into_iter().map(|(limit, by)| (limit.to_owned(), by.to_owned())).collect()
    }

    #[test]
    fn what_a_worker_could_not_be_held_to_is_not_said_to_be_in_force() {
        let late = Hold::Late(enforcement());
        let limits = ["memory_bytes", "cpu_ratio", "step_rate", "models"];
        assert_eq!(limits.map(|limit| late.is_now(limit)), [false, true, true, true]);
        assert_eq!((late.by("memory_bytes"), late.by("cpu_ratio")), (None, Some(WORKER)));
        let whole = Hold::Whole(enforcement());
        assert!(limits.into_iter().all(|limit| whole.is_now(limit)));
        assert_eq!(whole.by("memory_bytes"), Some("cgroup_v2"));
        assert!(limits.into_iter().all(|limit| !Hold::None.is_now(limit)));
    }
}
