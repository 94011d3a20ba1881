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
    /// By what the limits of its process are enforced; nothing if it has none now.
    pub enforcement: Option<Enforcement>,
}

/// Limits that were not changed.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// They do not fit what its worker is.
    #[error("the limits stay as they were")]
    Worker(#[source] LimitError),
    /// They could not be kept.
    #[error(transparent)]
    Store(#[from] store::Error),
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
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Worker(LimitError::Unfit(Unfit::InUse { .. })) => {
                Some("unload_model frees some; or ask for more than is used".to_owned())
            }
            Self::Worker(error) => error.tenants().map(crate::pool::accounts::Full::hint),
            Self::Store(error) => error.hint(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Worker(LimitError::Busy { .. } | LimitError::Ended) => {
                Some(std::time::Duration::from_millis(500))
            }
            Self::Worker(_) => None,
            Self::Store(error) => error.retry_after(),
        }
    }
}

impl Session {
    /// Gives the session other limits: its owner's, with those that are given here, as far as they
    /// are allowed. They are in force on its worker when this returns, and on every later one.
    pub(crate) async fn limit(
        &self,
        given: &Limits,
        allow: impl FnOnce(&Limits) -> Allowed,
    ) -> Result<Limited, LimitsError> {
        let _alone = self.inner.limiting.lock().await;
        let asked = self.holdings().record().limits.with(given);
        let allowed = allow(&asked);
        let plan = &self.inner.plan;
        let before = plan.may_use.now();
        let Status { worker, account, .. } = self.status().clone();
        let mine = worker.as_ref().filter(|_| plan.isolation == Isolation::Process);
        if let Some((worker, _)) = mine {
            worker.limit(of_process(plan, &allowed)).await.map_err(LimitsError::Worker)?;
        }
        let holdings = Arc::clone(&self.inner.holdings);
        let kept = holdings.store().run({
            let holdings = Arc::clone(&holdings);
            move |_| holdings.limit(asked)
        });
        if let Err(error) = kept.await {
            if let Some((worker, _)) = mine {
                // What is not kept is not so.
                worker.limit(of_process(plan, &before)).await.ok();
            }
            return Err(error.into());
        }
        plan.may_use.change(allowed);
        // Perhaps another one than a moment ago, which has started with what was before.
        let Status { worker: now, account: account_now, .. } = self.status().clone();
        let (worker, account) = (now.or(worker), account_now.or(account));
        let (Some((worker, slot)), Some(account)) = (worker, account) else {
            return Ok(Limited { before, after: allowed, enforcement: None });
        };
        catch_up(plan, &worker, slot, &account).await;
        let enforcement = worker.held().enforcement.clone();
        Ok(Limited { before, after: allowed, enforcement: Some(enforcement) })
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
    let sees_to = |name: &str| enforcement.get(name).is_some_and(|by| by == "worker");
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
pub(super) async fn catch_up(plan: &Plan, worker: &Worker, slot: u32, account: &Account) {
    for _ in 0..CATCH_UP_TIMES_MAX {
        let limits = may_use(plan);
        if plan.isolation == Isolation::Shared || worker.held().limits == limits {
            break;
        }
        if let Err(error) = worker.limit(limits).await {
            let (error, session_id) = (crate::code::chain(&error), &plan.id);
            tracing::warn!(%session_id, error, "a worker keeps the limits that it started with");
            break;
        }
    }
    tell_terms(plan, worker, slot, account);
}
