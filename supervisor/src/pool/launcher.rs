//! The one place that starts processes.
//!
//! Processes start on a thread of their own: starting takes about a millisecond, in which no task
//! should wait. Nothing runs between fork and exec, so that the standard library takes the quick
//! way (`posix_spawn`), whose cost does not grow with this process's memory; what a worker must
//! give up, it gives up itself.

mod program;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

pub use self::program::Program;
use super::accounts::Member;
use super::groups::{Groups, Limits};
use super::guard::Guard;
use super::process::Process;
use super::registry::Registry;

/// How many starts may wait for the thread; beyond that, who wants one waits for a place.
const QUEUE_MAX: usize = 64;

/// What to start.
#[derive(Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it may use, beside what it limits itself to.
    pub limits: Limits,
    /// Its part in its tenant's account, if it has one.
    pub member: Option<Member>,
}

/// A started process and the socket to it.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub process: Process,
    /// Our end of the socket that is its standard input.
    pub socket: UnixStream,
    /// What holds it to its limits. To be dropped after the process.
    pub guard: Guard,
}

/// A cheap handle to the thread that starts processes.
#[derive(Clone, Debug)]
pub struct Launcher {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Worker(Launch, oneshot::Sender<io::Result<Launched>>),
    Program(Vec<String>, oneshot::Sender<io::Result<Program>>),
}

impl Launcher {
    pub(crate) fn start(groups: Groups) -> io::Result<Self> {
        let registry = Registry::open()?;
        let runtime = tokio::runtime::Handle::current();
        let (orders, mut waiting) = mpsc::channel::<Order>(QUEUE_MAX);
        std::thread::Builder::new().name("launcher".into()).spawn(move || {
            let _in_runtime = runtime.enter();
            while let Some(order) = waiting.blocking_recv() {
                // Whoever ordered it may be gone by now, or soon: then the process ends with its
                // handle.
                match order {
                    Order::Worker(launch, started) if !started.is_closed() => {
                        started.send(start(launch, &groups, &registry)).ok();
                    }
                    Order::Program(argv, started) if !started.is_closed() => {
                        started.send(program::start(&argv, &registry)).ok();
                    }
                    Order::Worker(..) | Order::Program(..) => (),
                }
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a process whose standard input is a socket to us.
    pub async fn launch(&self, launch: Launch) -> io::Result<Launched> {
        self.order(|started| Order::Worker(launch, started)).await
    }

    /// Starts a program of the operator's, whose standard input is a pipe from us.
    pub async fn run(&self, argv: Vec<String>) -> io::Result<Program> {
        self.order(|started| Order::Program(argv, started)).await
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Order,
    ) -> io::Result<T> {
        let (started, outcome) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.orders.send(order(started)).await.map_err(|_closed| gone())?;
        outcome.await.map_err(|_closed| gone())?
    }
}

fn start(launch: Launch, groups: &Groups, registry: &Arc<Registry>) -> io::Result<Launched> {
    let Launch { program, args, limits, member } = launch;
    let (ours, theirs) = UnixStream::pair()?;
    let (heard, said) = io::pipe()?;
    #[expect(clippy::disallowed_methods, reason = "this is where processes start")]
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        // A backtrace under a memory limit can hang instead of ending the process.
        .env("RUST_BACKTRACE", "0")
        .current_dir("/")
        .process_group(0)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(said));
    let starting = registry.starting();
    let child = command.spawn()?;
    // The command holds the other end of the socket, and with it open nobody would hear its end.
    drop(command);
    let stopped = Arc::new(Notify::new());
    let process = Process::new(child.id(), heard, Arc::clone(&stopped), Arc::clone(registry))?;
    starting.started(process.pid(), process.pidfd(), &stopped);
    // Before it has had anything from us to do.
    let guard = Guard::new(groups, limits, member, process.pid().as_raw_nonzero().get());
    Ok(Launched { process, socket: ours, guard })
}
