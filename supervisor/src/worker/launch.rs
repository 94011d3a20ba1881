//! Starting a worker's process.

use std::io;
use std::time::{Duration, Instant};

use super::link::Link;
use crate::pool::accounts::Member;
use crate::pool::guard::Guard;
use crate::pool::launcher::{Launch, Launched};
use crate::pool::process::{Presence, Process};
use crate::pool::tally::Tally;
use crate::pool::{Pool, groups};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) ready_within: Duration,
    pub(super) stop_grace: Duration,
    pub(super) hang_after: Duration,
    /// What the worker may take of it; 0 means no limit.
    pub(super) address_space_bytes: u64,
}

/// A process that was just started.
pub(super) struct Starting {
    pub(super) process: Process,
    pub(super) guard: Guard,
    pub(super) link: Link,
    pub(super) limits: Limits,
    pub(super) tally: Tally,
}

/// Starts a worker's process.
pub(super) async fn launch(
    pool: &Pool,
    may_use: groups::Limits,
    member: Option<Member>,
) -> io::Result<Starting> {
    let config = pool.config();
    let mut args = config.worker_args.clone();
    args.push("simulate".to_owned());
    if config.worker_memory_bytes != 0 {
        args.extend(["--memory-bytes".to_owned(), config.worker_memory_bytes.to_string()]);
    }
    let launch = Launch { program: pool.program().to_owned(), args, limits: may_use, member };
    let Launched { process, socket, guard } = pool.launcher().launch(launch).await?;
    let limits = Limits {
        ready_within: Duration::from_secs_f64(config.ready_within_secs),
        stop_grace: Duration::from_secs_f64(config.stop_grace_secs),
        hang_after: Duration::from_secs_f64(config.hang_after_secs),
        address_space_bytes: config.worker_memory_bytes,
    };
    let (link, tally) = (Link::new(socket)?, pool.tally().clone());
    Ok(Starting { process, guard, link, limits, tally })
}

impl Starting {
    pub(super) fn pid(&self) -> i32 {
        self.process.pid().as_raw_nonzero().get()
    }

    pub(super) fn presence(&self) -> Presence {
        self.process.presence()
    }

    pub(super) fn started(&self) -> Instant {
        self.process.started()
    }
}
