//! Turning a client's model into compiled bytes, or another source, in a process that is thrown
//! away.
//!
//! The bytes live in a memory file: the supervisor keeps the descriptor, workers get it handed,
//! and nobody copies it. Once compiled it is sealed, so that no worker can change what another
//! loads.

mod gathering;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use simward_protocol::compile::{Compile, Compiled, Task};
use simward_protocol::editing::{Edit, Edited, Flattened};
use simward_protocol::fault::{Fault, cut};
use simward_protocol::handshake::{Hello, VERSION};

use self::gathering::{check, gathered};
use crate::code::Code;
use crate::pool::launcher::{Launch, Launched};
use crate::pool::layers::Role;
use crate::pool::process::{Exit, Process};
use crate::pool::turns::{self, Bounds, Names, Turns};
use crate::pool::{Pool, groups};
use crate::spans::phases;
use crate::tenants::Tenant;
use crate::worker::{Link, is_of_memory};

/// What compiling may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many models are compiled at a time.
    pub concurrent_max: usize,
    /// How many models may wait for their turn.
    pub queue_max: usize,
    /// How many of one tenant's models may wait.
    pub queue_per_tenant_max: usize,
    /// How long a model may wait for its turn, in seconds.
    pub wait_secs: f64,
    /// How long one may take, in seconds.
    pub timeout_secs: f64,
    /// How much memory one may take, in bytes of address space.
    pub memory_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrent_max: 2,
            queue_max: 64,
            queue_per_tenant_max: 16,
            wait_secs: 5.0,
            timeout_secs: 20.0,
            memory_bytes: 4 << 30,
        }
    }
}

/// Compiles models.
#[derive(Clone, Debug)]
pub struct Compiler {
    pool: Pool,
    config: Config,
    turns: Turns,
    /// Models of our own are small, and do not wait behind strangers'.
    own_turns: Turns,
}

/// Whose model it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Author {
    /// A client's: it may take long.
    #[default]
    Client,
    /// Ours: a built-in scene.
    Ourselves,
}

/// A compiled model.
#[derive(Clone, Debug)]
pub struct CompiledModel {
    /// The bytes, in a sealed memory file; absent if they were not wanted.
    pub file: Option<Arc<OwnedFd>>,
    /// How many bytes.
    pub bytes: u64,
    /// How many values the integration state of its data has.
    pub state_values: u64,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
}

/// A model that was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The compiler says no.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Too many processes are starting, or too many models are being compiled.
    #[error(transparent)]
    Busy(#[from] turns::Error),
    /// It took too long.
    #[error(
        "the model was not compiled within {} s (compile.timeout_secs)", .after.as_secs_f64()
    )]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The compiler ran out of what it may use.
    #[error("the compiler ran out of memory: it may use {} MiB (compile.memory_bytes)", .limit >> 20)]
    Memory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The compiler ended.
    #[error("the compiler ended ({exit}){}", said(.last_words))]
    Crashed {
        /// The kernel's word.
        exit: Exit,
        /// What it wrote last.
        last_words: String,
    },
    /// The compiler is not as isolated as it must be.
    #[error("the compiler lacks isolation layers that pool.require_layers names: {}", .missing.join(", "))]
    Weak {
        /// What it lacks.
        missing: Vec<String>,
    },
    /// The compiler talked nonsense.
    #[error("the compiler broke the protocol")]
    BrokeProtocol,
    /// The system gave no process or no memory file.
    #[error("no compiler could be started")]
    Start(#[source] std::io::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code(),
            Self::Busy(error) => error.code(),
            Self::Timeout { .. } => "compile_timeout",
            Self::Memory { .. } => "compile_out_of_memory",
            Self::Crashed { .. } => "compile_crashed",
            Self::BrokeProtocol => "internal_error",
            Self::Start(_) | Self::Weak { .. } => "worker_start_failed",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Fault(fault) => fault.hint()?,
            Self::Timeout { .. } | Self::Memory { .. } | Self::Crashed { .. } => {
                "the session and its models are as they were; make the model smaller"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl Compiler {
    /// A compiler whose processes come out of `pool`.
    pub fn new(pool: Pool, config: Config) -> Self {
        let bounds = Bounds {
            concurrent_max: config.concurrent_max.max(1),
            waiting_max: config.queue_max,
            waiting_per_tenant_max: config.queue_per_tenant_max,
            patience: Duration::from_secs_f64(config.wait_secs),
        };
        let names = Names {
            what: "models to be compiled",
            waiting_max: "compile.queue_max",
            waiting_per_tenant_max: "compile.queue_per_tenant_max",
            patience: "compile.wait_secs",
        };
        let (turns, own_turns) = (Turns::new(bounds, names), Turns::new(bounds, names));
        Self { pool, config, turns, own_turns }
    }

    /// What compiling may cost.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Compiles a tenant's model.
    pub async fn compile(
        &self,
        call: Compile,
        author: Author,
        tenant: &Tenant,
    ) -> Result<(CompiledModel, Compile), Error> {
        let file = memory_file(call.keep).map_err(Error::Start)?;
        let task = Task::Compile(call);
        let compiled = self.carry_out(&task, file.clone(), author, tenant).await?;
        let Task::Compile(call) = task else { return Err(Error::BrokeProtocol) };
        Ok((sealed(compiled, file)?, call))
    }

    /// Writes a tenant's model as one document.
    pub async fn flatten(&self, call: Compile, tenant: &Tenant) -> Result<Flattened, Error> {
        let task = Task::Flatten(call);
        let flattened = self.carry_out(&task, None, Author::Client, tenant).await?;
        let Task::Flatten(call) = &task else { return Err(Error::BrokeProtocol) };
        check(&flattened, &[call])?;
        Ok(flattened)
    }

    /// Edits a tenant's model; returns what came of it, and its source.
    pub async fn edit(
        &self,
        call: Edit,
        tenant: &Tenant,
    ) -> Result<(CompiledModel, Compile), Error> {
        let file = memory_file(true).map_err(Error::Start)?;
        let task = Task::Edit(call);
        let edited: Edited = self.carry_out(&task, file.clone(), Author::Client, tenant).await?;
        let Edited { source, compiled } = edited;
        let Task::Edit(Edit { base, others, .. }) = task else { return Err(Error::BrokeProtocol) };
        check(&source, &std::iter::once(&base).chain(&others).collect::<Vec<_>>())?;
        let source = gathered(source, std::iter::once(base).chain(others).collect());
        Ok((sealed(compiled, file)?, source))
    }

    /// Lets a process of its own do something.
    async fn carry_out<T: DeserializeOwned>(
        &self,
        task: &Task,
        file: Option<Arc<OwnedFd>>,
        author: Author,
        tenant: &Tenant,
    ) -> Result<T, Error> {
        let after = Duration::from_secs_f64(self.config.timeout_secs);
        let turns = match author {
            Author::Client => &self.turns,
            Author::Ourselves => &self.own_turns,
        };
        let waiting = phases::waiting();
        let _turn = turns.enter(tenant).await?;
        let starting = self.pool.gate().enter(tenant).await?;
        let launched = self.pool.launcher().launch(self.launch()).await;
        let Launched { mut process, socket, guard: _ } = launched.map_err(Error::Start)?;
        drop(starting);
        let mut link = Link::new(socket).map_err(Error::Start)?;
        let _served = waiting.over_and_served();
        let talk = talk(&mut link, &self.pool, task, file);
        // Dropping the process kills it, however this ends.
        match tokio::time::timeout(after, talk).await {
            Err(_elapsed) => Err(Error::Timeout { after }),
            Ok(Ok(outcome)) => {
                // It has said all it had to say. Gone before the answer, it is nobody's surprise in
                // a list of processes.
                process.kill();
                tokio::time::timeout(EXIT_WITHIN, process.ended()).await.ok();
                Ok(outcome?)
            }
            Ok(Err(Talk::HungUp)) => Err(self.crash(&mut process).await),
            Ok(Err(Talk::Nonsense)) => Err(Error::BrokeProtocol),
            Ok(Err(Talk::Weak(missing))) => Err(Error::Weak { missing }),
        }
    }

    fn launch(&self) -> Launch {
        // A compiler that spins is ended by its deadline; the limit on its processor time is for
        // the case that nobody is there to notice.
        let cpu_secs = (self.config.timeout_secs * 4.0).ceil();
        let mut args = self.pool.config().worker_args.clone();
        args.extend(["compile".to_owned(), "--memory-bytes".to_owned()]);
        args.push(self.config.memory_bytes.to_string());
        args.extend(["--cpu-secs".to_owned(), format!("{cpu_secs:.0}")]);
        // Its own limits are enough for a process that lives for seconds and starts no other.
        let limits = groups::Limits::default();
        Launch { program: self.pool.program().to_owned(), args, limits, member: None }
    }

    async fn crash(&self, process: &mut Process) -> Error {
        let exit = match tokio::time::timeout(EXIT_WITHIN, process.ended()).await {
            Ok(exit) => exit,
            Err(_elapsed) => return Error::BrokeProtocol,
        };
        let last_words = process.last_output().await;
        if is_of_memory(&last_words) {
            return Error::Memory { limit: self.config.memory_bytes };
        }
        Error::Crashed { exit, last_words }
    }
}

/// How long a compiler that has answered, or closed its socket, may take to be gone.
const EXIT_WITHIN: Duration = Duration::from_secs(1);

/// Why there is no answer.
enum Talk {
    HungUp,
    Nonsense,
    Weak(Vec<String>),
}

impl From<std::io::Error> for Talk {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData => Self::Nonsense,
            _ => Self::HungUp,
        }
    }
}

async fn talk<T: DeserializeOwned>(
    link: &mut Link,
    pool: &Pool,
    task: &Task,
    file: Option<Arc<OwnedFd>>,
) -> Result<Result<T, Fault>, Talk> {
    let hello: Hello = next(link).await?;
    if hello.version != VERSION {
        return Err(Talk::Nonsense);
    }
    let missing = pool.lacking(Role::Compile, &hello.layers);
    if !missing.is_empty() {
        return Err(Talk::Weak(missing));
    }
    link.send(task, file.into_iter().collect())?;
    Ok(next(link).await?)
}

async fn next<T: DeserializeOwned>(link: &mut Link) -> std::io::Result<T> {
    loop {
        link.flush()?;
        if let Some(frame) = link.receive()? {
            return Ok(frame);
        }
        link.ready().await?;
    }
}

fn memory_file(keep: bool) -> std::io::Result<Option<Arc<OwnedFd>>> {
    if !keep {
        return Ok(None);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(Some(Arc::new(memfd_create("simward-model", flags)?)))
}

/// Believes the file, not the words about it.
fn sealed(compiled: Compiled, file: Option<Arc<OwnedFd>>) -> Result<CompiledModel, Error> {
    let Compiled { bytes, state_values, mut warnings } = compiled;
    warnings.truncate(WARNINGS_MAX);
    let warnings: Vec<_> = warnings.into_iter().map(cut).collect();
    if let Some(file) = &file {
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(file, seals).map_err(|error| Error::Start(error.into()))?;
        let stat = fstat(file).map_err(|error| Error::Start(error.into()))?;
        if u64::try_from(stat.st_size) != Ok(bytes) {
            return Err(Error::BrokeProtocol);
        }
    }
    Ok(CompiledModel { file, bytes, state_values, warnings })
}

/// How many of the compiler's warnings are passed on.
const WARNINGS_MAX: usize = 100;

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; its last words: {words}") }
}
