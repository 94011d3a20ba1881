//! The profiler: a program of its own, so that what unwinding and naming take, and whatever they trip
//! over, ends with it. It takes samples of a process, or names stacks that the process took itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use simward_profiler::Profile;
use simward_profiler::talk::{News, Stacks};

use super::subject::Subject;
use super::{Ask, Error};
use crate::pool::launcher::{Launch, Launched};
use crate::pool::process::Process;
use crate::pool::{Pool, groups};
use crate::tenants::Tenant;
use crate::worker::Link;

/// How long a profiler may take to begin: it reads the tables of every file with code first.
const BEGIN_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take after its time is over: it looks up names.
const END_WITHIN: Duration = Duration::from_mins(1);

/// How long one that has hung up may take to be gone.
const EXIT_WITHIN: Duration = Duration::from_secs(1);

/// What a profiler may use. Its own bounds are tighter in most respects; this holds where they err.
const LIMITS: groups::Limits =
    groups::Limits { memory_bytes: Some(1 << 30), cpu_ratio: None, tasks_max: Some(16) };

/// Where a profiler comes from, and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) pool: &'a Pool,
    pub(super) program: &'a Path,
    pub(super) tenant: &'a Tenant,
}

/// A profiler at work.
pub(super) struct Profiler {
    process: Process,
    link: Link,
    within: Duration,
    _guard: crate::pool::guard::Guard,
}

impl Profiler {
    /// Starts a profiler, and waits until it takes samples.
    pub(super) async fn sample(
        place: Place<'_>,
        subject: &Subject,
        ask: Ask,
    ) -> Result<Self, Error> {
        let args = [
            ("--duration-millis", ask.duration.as_millis().to_string()),
            ("--frequency-hz", ask.frequency_hz.to_string()),
        ];
        let within = ask.duration + END_WITHIN;
        let mut profiler = Self::start(place, subject, ("sample", &args), within).await?;
        match tokio::time::timeout(BEGIN_WITHIN, profiler.next()).await {
            Err(_elapsed) => Err(Error::Timeout { after: BEGIN_WITHIN }),
            // Whoever has the id while the process is there is that process.
            Ok(Ok(News::Begun)) if subject.is_there() => Ok(profiler),
            Ok(Ok(News::Begun)) => Err(Error::Gone),
            Ok(Ok(news)) => Err(refusal(news)),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Has stacks named that were taken of a process.
    pub(super) async fn name(
        place: Place<'_>,
        subject: &Subject,
        stacks: &Stacks,
    ) -> Result<Profile, Error> {
        let mut profiler = Self::start(place, subject, ("name", &[]), END_WITHIN).await?;
        profiler.link.send(stacks, Vec::new()).map_err(Error::Start)?;
        profiler.finish(|_| ()).await
    }

    async fn start(
        Place { pool, program, tenant }: Place<'_>,
        subject: &Subject,
        (what, args): (&str, &[(&str, String)]),
        within: Duration,
    ) -> Result<Self, Error> {
        if !program.is_file() {
            return Err(Error::NotInstalled { program: program.to_owned() });
        }
        let pid = [("--pid", subject.pid().to_string())];
        let args = pid.iter().chain(args);
        let args = args.flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
        let args = std::iter::once(what.to_owned()).chain(args).collect();
        let starting = pool.gate().enter(tenant).await?;
        // Waiting for a turn may have taken long.
        if !subject.is_there() {
            return Err(Error::Gone);
        }
        let launch = Launch { program: program.to_owned(), args, limits: LIMITS, member: None };
        let Launched { process, socket, guard } =
            pool.launcher().launch(launch).await.map_err(Error::Start)?;
        drop(starting);
        let link = Link::new(socket).map_err(Error::Start)?;
        Ok(Self { process, link, within, _guard: guard })
    }

    /// Waits for what comes of it. Dropped, it ends the profiler.
    pub(super) async fn finish(mut self, mut tell: impl FnMut(u64)) -> Result<Profile, Error> {
        let within = self.within;
        let listen = async {
            loop {
                match self.next().await? {
                    News::Progress { samples, .. } => tell(samples),
                    News::Finished(profile) if profile.is_whole() => return Ok(*profile),
                    News::Finished(_) => return Err(Error::BrokeProtocol),
                    news => return Err(refusal(news)),
                }
            }
        };
        let heard = tokio::time::timeout(within, listen).await;
        let heard = heard.unwrap_or(Err(Error::Timeout { after: END_WITHIN }));
        // It has said all it had to say.
        self.process.kill();
        tokio::time::timeout(EXIT_WITHIN, self.process.ended()).await.ok();
        heard
    }

    async fn next(&mut self) -> Result<News, Error> {
        loop {
            if self.link.flush().is_err() {
                return Err(self.crash().await);
            }
            match self.link.receive() {
                Ok(Some(news)) => return Ok(news),
                Ok(None) => (),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(Error::BrokeProtocol);
                }
                Err(_) => return Err(self.crash().await),
            }
            if self.link.ready().await.is_err() {
                return Err(self.crash().await);
            }
        }
    }

    async fn crash(&mut self) -> Error {
        match tokio::time::timeout(EXIT_WITHIN, self.process.ended()).await {
            Err(_elapsed) => Error::BrokeProtocol,
            Ok(exit) => Error::Crashed { exit, last_words: self.process.last_output().await },
        }
    }
}

fn refusal(news: News) -> Error {
    match news {
        News::NotPermitted(missing) => Error::NotPermitted(missing),
        News::Gone => Error::Gone,
        News::Failed(problem) => Error::Failed(simward_protocol::fault::cut(problem)),
        News::Begun | News::Progress { .. } | News::Finished(_) => Error::BrokeProtocol,
    }
}

/// How the program is called, beside a worker that is not called one.
const OWN_NAME: &str = "simward-profiler";

/// The program that is configured, or the one beside the worker's.
pub(super) fn program(configured: &Path, worker: &Path) -> PathBuf {
    if configured.as_os_str().is_empty() {
        let name = worker.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = if name.contains("worker") {
            name.replace("worker", "profiler")
        } else {
            OWN_NAME.into()
        };
        return worker.with_file_name(name);
    }
    // Processes start in another folder.
    std::path::absolute(configured).unwrap_or_else(|_| configured.to_owned())
}
