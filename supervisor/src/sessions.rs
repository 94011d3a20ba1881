//! The sessions of every tenant: who may have one, whose is which, and when they go.

mod defaults;
mod handle;
mod janitor;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::defaults::Connection;
use self::defaults::Defaults;
use crate::code::Code;
use crate::compiler::Compiler;
use crate::pool::Pool;
use crate::pool::ports::{self, When};
use crate::session::lifecycle::Closed;
use crate::session::{self, Crew, Isolation, Plan, RestartConfig, Session};
use crate::tenants::Tenant;
use crate::worker::StartError;

/// How many sessions there may be, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sessions in all.
    pub max: usize,
    /// Sessions of one tenant.
    pub per_tenant_max: usize,
    /// How long a session may be unused, in seconds, where its owner does not say.
    pub idle_timeout_secs: f64,
    /// The longest idle timeout that an owner may ask for, in seconds.
    pub idle_timeout_max_secs: f64,
    /// How long a session may live, in seconds.
    pub max_age_secs: f64,
    /// Models in one session.
    pub models_max: u32,
    /// How long one call may step, in seconds.
    pub call_budget_secs: f64,
    /// How often a lost worker is replaced.
    pub restart: RestartConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max: 512,
            per_tenant_max: 256,
            idle_timeout_secs: 1800.0,
            idle_timeout_max_secs: 86_400.0,
            max_age_secs: 604_800.0,
            models_max: 16,
            call_budget_secs: 30.0,
            restart: RestartConfig::default(),
        }
    }
}

/// What a client asks of a new session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// What the owner calls it.
    pub name: Option<String>,
    /// Whether it has its worker to itself.
    pub isolation: Isolation,
    /// How long it may be unused.
    pub idle_timeout_secs: Option<f64>,
}

/// The longest name of a session, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// No session, or not that one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no session of that handle. The same for what never was, what is gone, and
    /// what is somebody else's.
    #[error("session `{0}` does not exist, or has ended or expired")]
    Unknown(String),
    /// There are as many as there may be.
    #[error("there are {max} sessions already (sessions.max)")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The tenant has as many as it may have.
    #[error("you have {max} sessions already (sessions.per_tenant_max)")]
    TenantFull {
        /// The limit.
        max: usize,
    },
    /// An argument lies outside its range.
    #[error("`{field}` {problem}")]
    Argument {
        /// The argument.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// No port.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// No worker.
    #[error("the session's worker could not be started")]
    Start(#[source] Arc<StartError>),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "session_unknown",
            Self::Full { .. } => "sessions_exhausted",
            Self::TenantFull { .. } => "tenant_sessions_exhausted",
            Self::Argument { .. } => "invalid_argument",
            Self::Port(error) => error.code(),
            Self::Start(error) => error.code(),
            Self::Stopping => "stopping",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unknown(_) => "call create_session to start a new one, or list_sessions",
            Self::Full { .. } | Self::TenantFull { .. } => {
                "close_session frees one; list_sessions shows yours"
            }
            Self::Port(error) => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { .. } => Some(Duration::from_secs(5)),
            Self::Port(error) => error.retry_after(),
            Self::Start(error) => error.retry_after(),
            _ => None,
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
}

impl Sessions {
    /// An empty table, kept clean.
    pub fn open(config: Config, pool: Pool, compiler: Compiler) -> Self {
        let crew = Arc::new(Crew::new(pool.clone()));
        let (table, defaults) = (Mutex::default(), Defaults::default());
        let inner = Arc::new(Inner { config, pool, compiler, crew, table, defaults });
        janitor::start(&inner);
        Self { inner }
    }

    /// How many sessions there may be, and for how long.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The machine under the sessions.
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Who compiles models.
    pub fn compiler(&self) -> &Compiler {
        &self.inner.compiler
    }

    /// Creates a session; returns once it takes calls.
    pub async fn create(&self, tenant: &Tenant, request: Request) -> Result<Session, Error> {
        let plan = self.plan(tenant, request)?;
        let seat = self.sit_down(tenant)?;
        let pool = &self.inner.pool;
        let port = match pool.config().ports.lease {
            When::AtCreation => Some(pool.ports().lease()?),
            When::OnDemand => None,
        };
        let id = Arc::clone(&plan.id);
        let restart = self.inner.config.restart.clone();
        let session = session::open(plan, port, Arc::clone(&self.inner.crew), restart)
            .await
            .map_err(Error::Start)?;
        let admitted = {
            let mut table = self.lock();
            if !table.stopping {
                table.live.insert(id, session.clone());
                table.created_total += 1;
            }
            !table.stopping
        };
        if !admitted {
            session.close(Closed::Shutdown).await;
            return Err(Error::Stopping);
        }
        // From now on the seat belongs to the session, and is freed with it.
        seat.keep();
        let watched = session.clone();
        let sessions = self.clone();
        tokio::spawn(async move {
            watched.closed().await;
            sessions.forget(&watched);
        });
        Ok(session)
    }

    /// Finds a session of `tenant` by its handle. Another tenant's session does not exist.
    pub fn get(&self, tenant: &Tenant, id: &str) -> Result<Session, Error> {
        let found =
            self.lock().live.get(id).filter(|session| session.plan().tenant == *tenant).cloned();
        let session = found.ok_or_else(|| Error::Unknown(id.chars().take(80).collect()))?;
        session.address();
        Ok(session)
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

    /// A tenant's sessions, by handle.
    pub fn list(&self, tenant: &Tenant) -> Vec<Session> {
        let table = self.lock();
        table.live.values().filter(|session| session.plan().tenant == *tenant).cloned().collect()
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

    /// Closes every session, and lets in no other.
    pub async fn close_all(&self) {
        let live: Vec<_> = {
            let mut table = self.lock();
            table.stopping = true;
            table.live.values().cloned().collect()
        };
        futures::future::join_all(live.iter().map(|session| session.close(Closed::Shutdown))).await;
    }

    fn plan(&self, tenant: &Tenant, request: Request) -> Result<Plan, Error> {
        let Request { name, isolation, idle_timeout_secs } = request;
        if let Some(name) = &name {
            let length = name.chars().count();
            if length == 0 || NAME_CHARS_MAX < length || name.chars().any(char::is_control) {
                let problem = format!(
                    "must have 1 to {NAME_CHARS_MAX} characters, none of them a control one"
                );
                return Err(Error::Argument { field: "name", problem });
            }
        }
        let config = &self.inner.config;
        let max = config.idle_timeout_max_secs;
        let idle_secs = idle_timeout_secs.unwrap_or(config.idle_timeout_secs);
        if !(1.0..=max).contains(&idle_secs) && idle_timeout_secs.is_some() {
            let problem = format!("must lie between 1 and {max}, and is {idle_secs}");
            return Err(Error::Argument { field: "idle_timeout_secs", problem });
        }
        Ok(Plan {
            id: handle::new("sim_").into(),
            tenant: tenant.clone(),
            name,
            isolation,
            models_max: config.models_max,
            token: handle::new("").into(),
            idle_timeout: Duration::from_secs_f64(idle_secs),
            max_age: Duration::from_secs_f64(config.max_age_secs),
            created: (Instant::now(), SystemTime::now()),
        })
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
