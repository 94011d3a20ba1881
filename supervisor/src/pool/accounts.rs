//! What the sessions of one tenant may use together, and what holds them to it.
//!
//! Memory and processor time: a control group over those of the tenant's workers, where the kernel
//! lets us have one. Where it does not, memory is given out by what each worker may take at most, so
//! that the sum never is more than the tenant's; and the processor, as steps everywhere, in equal
//! shares, which each worker keeps.
//!
//! This is not the place where one session's limits are decided, nor where one process is held to
//! them: that is its [`guard`](super::guard).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::groups::{Groups, Limits, Umbrella, What};
use crate::limits::{TenantAllowance, least};
use crate::tenants::Tenant;

/// The accounts of all tenants that have a worker.
#[derive(Debug)]
pub struct Accounts {
    groups: Groups,
    allowance: TenantAllowance,
    /// As many as there are tenants with a worker, and now and then some whose last has just gone.
    table: Mutex<BTreeMap<Tenant, Weak<Account>>>,
}

/// What one tenant's sessions use of what they may use together.
#[derive(Debug)]
pub struct Account {
    name: String,
    groups: Groups,
    allowance: TenantAllowance,
    books: Mutex<Books>,
    /// Sessions that have a place in a worker.
    awake: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Books {
    /// The control group over those of the workers, while there are any.
    umbrella: Weak<Umbrella>,
    /// What the workers may take in all, in bytes, where no control group holds them together.
    claimed_bytes: u64,
}

/// More memory than the tenant has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
#[error(
    "your sessions that are awake may take {claimed_bytes} bytes of memory already, this one \
     {wanted_bytes}, and all together {max_bytes} (sessions.tenant_limits.memory_bytes)"
)]
pub struct Full {
    /// What others have claimed.
    pub claimed_bytes: u64,
    /// What was to be claimed.
    pub wanted_bytes: u64,
    /// What there is for all.
    pub max_bytes: u64,
}

impl Full {
    /// What would be right.
    pub fn hint(&self) -> String {
        let left = self.max_bytes.saturating_sub(self.claimed_bytes);
        format!(
            "hibernate_session or close_session one; or create sessions with less: {left} bytes are \
             left for `limits.memory_bytes`"
        )
    }
}

impl Accounts {
    pub(crate) fn new(groups: Groups, allowance: TenantAllowance) -> Self {
        Self { groups, allowance, table: Mutex::default() }
    }

    /// What all sessions of a tenant may use together.
    pub fn allowance(&self) -> TenantAllowance {
        self.allowance
    }

    /// A tenant's account, which stays while anybody has it.
    pub fn of(&self, tenant: &Tenant) -> Arc<Account> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = table.get(tenant).and_then(Weak::upgrade) {
            return account;
        }
        table.retain(|_, account| account.strong_count() != 0);
        let account = Arc::new(Account {
            name: name_of(tenant),
            groups: self.groups.clone(),
            allowance: self.allowance,
            books: Mutex::default(),
            awake: watch::Sender::new(0),
        });
        table.insert(tenant.clone(), Arc::downgrade(&account));
        account
    }

    /// A tenant's account, if it has a worker.
    pub fn find(&self, tenant: &Tenant) -> Option<Arc<Account>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).get(tenant)?.upgrade()
    }
}

/// A tenant's name may hold anything, a folder's may not.
fn name_of(tenant: &Tenant) -> String {
    let digest = Sha256::digest(tenant.to_string());
    digest.iter().take(8).fold(String::new(), |mut name, byte| {
        write!(name, "{byte:02x}").expect("a string takes everything");
        name
    })
}

impl Account {
    /// What all sessions of the tenant may use together.
    pub fn allowance(&self) -> TenantAllowance {
        self.allowance
    }

    /// Lets a worker have what it may use at most. Makes the control group, with the first.
    pub fn admit(self: &Arc<Self>, limits: &Limits) -> Result<Member, Full> {
        let umbrella = self.umbrella();
        let is_held = umbrella.as_ref().is_some_and(|it| it.holds(What::Memory));
        let member = Member {
            account: Arc::clone(self),
            umbrella,
            claims: self.allowance.memory_bytes().is_some() && !is_held,
            claim_bytes: Mutex::default(),
        };
        member.claim(limits)?;
        Ok(member)
    }

    /// A session has a place in a worker, as long as this is held.
    pub fn wake(self: &Arc<Self>) -> Awake {
        self.count(|awake| awake + 1);
        Awake { shares: self.awake.subscribe(), account: Arc::clone(self) }
    }

    /// How many sessions have a place in a worker.
    pub fn awake(&self) -> usize {
        *self.awake.borrow()
    }

    /// What counts of the memory of all workers, in bytes: what the kernel has counted, or what was
    /// given out.
    pub fn memory_bytes(&self) -> u64 {
        let books = self.books();
        let umbrella = books.umbrella.upgrade().filter(|it| it.holds(What::Memory));
        umbrella.and_then(|it| it.memory_current_bytes()).unwrap_or(books.claimed_bytes)
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) {
        // Nobody needs to hear of it where nothing is shared out.
        let is_shared =
            self.allowance.step_rate().is_some() || self.allowance.cpu_ratio().is_some();
        self.awake.send_if_modified(|awake| {
            *awake = change(*awake);
            is_shared
        });
    }

    fn umbrella(&self) -> Option<Arc<Umbrella>> {
        let (memory_bytes, cpu_ratio) = (self.allowance.memory_bytes(), self.allowance.cpu_ratio());
        if memory_bytes.is_none() && cpu_ratio.is_none() {
            return None;
        }
        let mut books = self.books();
        if let Some(umbrella) = books.umbrella.upgrade() {
            return Some(umbrella);
        }
        let limits = Limits { memory_bytes, cpu_ratio, tasks_max: None };
        let made = self.groups.make_umbrella(&self.name, &limits);
        let made = made.inspect_err(|error| {
            tracing::debug!(%error, "a tenant has no control group");
        });
        let umbrella = made.ok()?;
        books.umbrella = Arc::downgrade(&umbrella);
        Some(umbrella)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's part in its tenant's account. To be dropped after its process.
#[derive(Debug)]
pub struct Member {
    account: Arc<Account>,
    umbrella: Option<Arc<Umbrella>>,
    /// Whether what it may take must be claimed.
    claims: bool,
    claim_bytes: Mutex<u64>,
}

impl Member {
    /// What all sessions of the tenant may use together.
    pub fn allowance(&self) -> TenantAllowance {
        self.account.allowance
    }

    /// The control group over the worker's own.
    pub fn umbrella(&self) -> Option<&Arc<Umbrella>> {
        self.umbrella.as_ref()
    }

    /// Whether memory is given out by what each worker may take.
    pub fn claims(&self) -> bool {
        self.claims
    }

    /// A worker's limits, none of which is more than what its whole tenant may use.
    pub fn within(&self, limits: &Limits) -> Limits {
        let Limits { memory_bytes, cpu_ratio, tasks_max } = *limits;
        let allowance = &self.account.allowance;
        // What is limited only by the tenant's control group needs no limit of its own.
        let memory_all = allowance.memory_bytes().filter(|_| self.claims || memory_bytes.is_some());
        let cpu_all = allowance.cpu_ratio().filter(|_| cpu_ratio.is_some());
        Limits {
            memory_bytes: least(memory_bytes, memory_all),
            cpu_ratio: least(cpu_ratio, cpu_all),
            tasks_max,
        }
    }

    /// Claims what it may take by these limits instead of what it has claimed.
    pub fn claim(&self, limits: &Limits) -> Result<(), Full> {
        let max = self.account.allowance.memory_bytes().filter(|_| self.claims);
        let Some(max_bytes) = max else { return Ok(()) };
        let wanted_bytes = least(limits.memory_bytes, Some(max_bytes)).unwrap_or(max_bytes);
        let mut claim_bytes = self.claim_bytes();
        let mut books = self.account.books();
        let claimed_bytes = books.claimed_bytes - *claim_bytes;
        let sum_bytes = claimed_bytes.saturating_add(wanted_bytes);
        // Whoever wants less than before has it.
        if max_bytes < sum_bytes && *claim_bytes < wanted_bytes {
            return Err(Full { claimed_bytes, wanted_bytes, max_bytes });
        }
        books.claimed_bytes = sum_bytes;
        *claim_bytes = wanted_bytes;
        Ok(())
    }

    fn claim_bytes(&self) -> MutexGuard<'_, u64> {
        self.claim_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let claim_bytes = *self.claim_bytes();
        self.account.books().claimed_bytes -= claim_bytes;
    }
}

/// A session that has a place in a worker, and so a share of what is shared out.
#[derive(Debug)]
pub struct Awake {
    account: Arc<Account>,
    shares: watch::Receiver<usize>,
}

impl Awake {
    /// The account that it has a share of.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Tells when the shares have changed since this session has its own.
    pub fn shares(&self) -> watch::Receiver<usize> {
        self.shares.clone()
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.account.count(|awake| awake - 1);
    }
}

#[cfg(test)]
mod tests;
