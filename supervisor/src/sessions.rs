//! The sessions of every tenant: who may have one, whose is which, and when they go.

mod defaults;
mod error;
mod fork;
mod janitor;
mod plan;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use self::defaults::Connection;
use self::defaults::Defaults;
pub use self::error::Error;
pub use self::plan::{NAME_CHARS_MAX, Request};
use crate::compiler::Compiler;
use crate::limits::{Allowance, Limits, TenantAllowance};
use crate::pool::Pool;
use crate::pool::accounts::Accounts;
use crate::renderer::Renderer;
use crate::session::lifecycle::Closed;
use crate::session::{
    self, Crew, Holdings, Limited, Parts, Plan, RecordingsConfig, RestartConfig, Session,
};
use crate::store::{Record, Store};
use crate::tenants::Tenant;

/// How many sessions there may be, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sessions in all, those that sleep included.
    pub max: usize,
    /// Sessions that have a worker. Where there are as many, one that nobody uses is put to sleep
    /// before another one gets a worker.
    pub awake_max: usize,
    /// Sessions of one tenant.
    pub per_tenant_max: usize,
    /// How long a session may be unused, in seconds, where its owner does not say.
    pub idle_timeout_secs: f64,
    /// The longest idle timeout that an owner may ask for, in seconds.
    pub idle_timeout_max_secs: f64,
    /// How long a session may live, in seconds.
    pub max_age_secs: f64,
    /// How long a session may be unused before it is put to sleep, in seconds.
    pub hibernate_after_secs: f64,
    /// What the checkpoints of one session's models may take, in bytes.
    pub checkpoint_bytes_max: u64,
    /// Models in one session.
    pub models_max: u32,
    /// How long one call may step, in seconds.
    pub call_budget_secs: f64,
    /// What each session may use.
    pub limits: Allowance,
    /// What all sessions of a tenant may use together.
    pub tenant_limits: TenantAllowance,
    /// What each session may record.
    pub recordings: RecordingsConfig,
    /// How often a lost worker is replaced.
    pub restart: RestartConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max: 8192,
            awake_max: 512,
            per_tenant_max: 4096,
            idle_timeout_secs: 1800.0,
            idle_timeout_max_secs: 86_400.0,
            max_age_secs: 604_800.0,
            hibernate_after_secs: 300.0,
            checkpoint_bytes_max: 64 << 20,
            models_max: 16,
            call_budget_secs: 30.0,
            limits: Allowance::default(),
            tenant_limits: TenantAllowance::default(),
            recordings: RecordingsConfig::default(),
            restart: RestartConfig::default(),
        }
    }
}

/// A cheap handle to the table of sessions.
#[derive(Clone, Debug)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    pool: Pool,
    compiler: Compiler,
    renderer: Renderer,
    store: Store,
    crew: Arc<Crew>,
    table: Mutex<Table>,
    defaults: Defaults,
}

#[derive(Debug, Default)]
struct Table {
    live: BTreeMap<Arc<str>, Session>,
    /// Seats taken by each tenant, those of sessions that are still starting included.
    seats: BTreeMap<Tenant, usize>,
    created_total: u64,
    stopping: bool,
    /// Handles of sessions that could not be read from the disk.
    damaged: BTreeSet<String>,
}

impl Sessions {
    /// The sessions that the store knows, asleep; and no others. The table is kept clean.
    pub fn open(
        config: Config,
        pool: Pool,
        (compiler, renderer): (Compiler, Renderer),
        store: Store,
    ) -> Self {
        let crew = Arc::new(Crew::new(pool.clone(), config.awake_max, config.tenant_limits));
        let (table, defaults) = (Mutex::default(), Defaults::default());
        let inner = Inner { config, pool, compiler, renderer, store, crew, table, defaults };
        let sessions = Self { inner: Arc::new(inner) };
        sessions.take_up();
        janitor::start(&sessions.inner);
        sessions
    }

    /// Takes up what an earlier daemon has left.
    fn take_up(&self) {
        let found = self.inner.store.records();
        let count = found.records.len();
        for record in found.records {
            self.take_up_one(record);
        }
        let damaged = found.damaged.len();
        self.lock().damaged = found.damaged;
        if count != 0 || damaged != 0 {
            tracing::info!(count, damaged, "sessions were taken up");
        }
    }

    fn take_up_one(&self, record: Record) {
        let plan = plan::of_record(&record, &self.inner.config);
        let (tenant, is_default) = (plan.tenant.clone(), record.is_default);
        let holdings = Arc::new(Holdings::kept(self.inner.store.clone(), record));
        let session = session::take_up(self.parts(plan, holdings));
        *self.lock().seats.entry(tenant.clone()).or_default() += 1;
        if is_default {
            self.inner.defaults.adopt(&tenant, session.clone());
        }
        self.admit(&session);
    }

    fn parts(&self, plan: Plan, holdings: Arc<Holdings>) -> Parts {
        let crew = Arc::clone(&self.inner.crew);
        Parts { plan, holdings, crew, restart: self.inner.config.restart.clone() }
    }

    /// How many sessions there may be, and for how long.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The machine under the sessions.
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// What is kept.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Who compiles models.
    pub fn compiler(&self) -> &Compiler {
        &self.inner.compiler
    }

    /// Who draws pictures.
    pub fn renderer(&self) -> &Renderer {
        &self.inner.renderer
    }

    /// Creates a session; returns once it takes calls.
    pub async fn create(&self, tenant: &Tenant, request: Request) -> Result<Session, Error> {
        let record = plan::record(tenant, request, &self.inner.config)?;
        let seat = self.sit_down(tenant)?;
        let holdings = Arc::new(Holdings::new(self.inner.store.clone(), record.clone()));
        self.found(seat, &record, holdings).await
    }

    /// Brings a session into being that holds what it holds already.
    async fn found(
        &self,
        seat: Seat,
        record: &Record,
        holdings: Arc<Holdings>,
    ) -> Result<Session, Error> {
        let plan = plan::of_record(record, &self.inner.config);
        let parts = self.parts(plan, Arc::clone(&holdings));
        let session = session::open(parts).await.map_err(Error::Start)?;
        let kept = self.inner.store.run(move |_| holdings.keep()).await;
        if let Err(error) = kept {
            session.close(Closed::NeverStarted).await;
            return Err(error.into());
        }
        if !self.admit(&session) {
            session.close(Closed::NeverStarted).await;
            return Err(Error::Stopping);
        }
        // From now on the seat belongs to the session, and is freed with it.
        seat.keep();
        self.lock().created_total += 1;
        Ok(session)
    }

    /// Puts a session into the table, for as long as it lives; unless the daemon stops.
    fn admit(&self, session: &Session) -> bool {
        {
            let mut table = self.lock();
            if table.stopping {
                return false;
            }
            table.live.insert(Arc::clone(&session.plan().id), session.clone());
        }
        let (sessions, session) = (self.clone(), session.clone());
        tokio::spawn(async move {
            session.closed().await;
            sessions.forget(&session);
        });
        true
    }

    /// Gives a session other limits, within what there may be. What is left out stays as it is.
    pub async fn limit(&self, session: &Session, given: Limits) -> Result<Limited, Error> {
        plan::check_limits(&given, session.plan().isolation, &self.inner.config)?;
        let inner = Arc::clone(&self.inner);
        let allow = move |asked: &Limits| plan::allowed(asked, &inner.config);
        Ok(session.limit(given, allow).await?)
    }

    /// What the sessions of tenants use together.
    pub fn accounts(&self) -> &Accounts {
        self.inner.crew.accounts()
    }

    /// Finds a session of `tenant` by its handle. Another tenant's session does not exist, and one
    /// that is closed does not any more.
    pub fn get(&self, tenant: &Tenant, id: &str) -> Result<Session, Error> {
        let is_there =
            |session: &&Session| session.plan().tenant == *tenant && !session.is_closed();
        let found = self.lock().live.get(id).filter(is_there).cloned();
        let session = found.ok_or_else(|| self.unknown(id))?;
        session.address();
        Ok(session)
    }

    fn unknown(&self, id: &str) -> Error {
        if self.lock().damaged.contains(id) {
            return Error::Damaged(id.to_owned());
        }
        Error::Unknown(id.chars().take(80).collect())
    }

    /// The session that a call means: the one it names, or the caller's default session, which is
    /// created at its first use.
    pub async fn resolve(
        &self,
        tenant: &Tenant,
        connection: &Connection,
        id: Option<&str>,
    ) -> Result<Session, Error> {
        match id {
            Some(id) => self.get(tenant, id),
            None => self.inner.defaults.get(self, tenant, connection).await,
        }
    }

    /// A tenant's sessions, by handle. One that is closed is none any more.
    pub fn list(&self, tenant: &Tenant) -> Vec<Session> {
        let table = self.lock();
        let own = table.live.values().filter(|session| session.plan().tenant == *tenant);
        own.filter(|session| !session.is_closed()).cloned().collect()
    }

    /// Finds anybody's session, for operators.
    pub fn find(&self, id: &str) -> Result<Session, Error> {
        let found = self.lock().live.get(id).filter(|session| !session.is_closed()).cloned();
        found.ok_or_else(|| self.unknown(id))
    }

    /// Everybody's sessions, for operators.
    pub fn all(&self) -> Vec<Session> {
        self.lock().live.values().cloned().collect()
    }

    /// Whether the daemon stops.
    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// How many sessions were ever created.
    pub fn created_total(&self) -> u64 {
        self.lock().created_total
    }

    /// A connection has ended: its default session goes with it, unless somebody has named that by
    /// its handle.
    pub async fn connection_ended(&self, tenant: &Tenant, connection: &Connection) {
        if let Some(session) = self.inner.defaults.forget(tenant, connection).await
            && !session.is_addressed()
        {
            session.close(Closed::ConnectionEnded).await;
        }
    }

    /// Lets every session's worker go, and lets in no other session. What is kept stays kept.
    pub async fn close_all(&self) {
        let live: Vec<_> = {
            let mut table = self.lock();
            table.stopping = true;
            table.live.values().cloned().collect()
        };
        futures::future::join_all(live.iter().map(|session| session.close(Closed::Shutdown))).await;
    }

    fn sit_down(&self, tenant: &Tenant) -> Result<Seat, Error> {
        let Config { max, per_tenant_max, .. } = self.inner.config;
        let mut table = self.lock();
        if table.stopping {
            return Err(Error::Stopping);
        }
        if max <= table.seats.values().sum() {
            return Err(Error::Full { max });
        }
        let seats = table.seats.entry(tenant.clone()).or_default();
        if per_tenant_max <= *seats {
            return Err(Error::TenantFull { max: per_tenant_max });
        }
        *seats += 1;
        Ok(Seat { sessions: self.clone(), tenant: tenant.clone(), kept: false })
    }

    fn stand_up(&self, tenant: &Tenant) {
        let mut table = self.lock();
        if let Some(seats) = table.seats.get_mut(tenant) {
            *seats -= 1;
            if *seats == 0 {
                table.seats.remove(tenant);
            }
        }
    }

    fn forget(&self, session: &Session) {
        self.inner.renderer.forget(&session.plan().id);
        let known = self.lock().live.remove(&session.plan().id).is_some();
        if known {
            self.stand_up(&session.plan().tenant);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for a session that is being created. Given up, it is free again.
struct Seat {
    sessions: Sessions,
    tenant: Tenant,
    kept: bool,
}

impl Seat {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.kept {
            self.sessions.stand_up(&self.tenant);
        }
    }
}
