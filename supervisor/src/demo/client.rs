//! An MCP client with a daemon of its own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rmcp::model::{CallToolRequestParams, CallToolResult, JsonObject};
use rmcp::service::RunningService;
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::Value;
use tokio::net::unix::pipe;

/// How long the daemon may take to end once we have hung up.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A client, and the daemon that it started.
pub(super) struct Client {
    service: RunningService<RoleClient, ()>,
    daemon: Child,
    state_dir: PathBuf,
}

impl Client {
    /// Starts a daemon and shakes hands with it.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path is unknown")?;
        let state_dir = std::env::temp_dir().join(format!("simward-demo-{}", std::process::id()));
        #[expect(clippy::disallowed_methods, reason = "the demo is a client, and starts a daemon")]
        let mut daemon = Command::new(program)
            .args(["stdio", "--log", "error", "--state-dir"])
            .arg(&state_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("no daemon could be started")?;
        let (Some(stdin), Some(stdout)) = (daemon.stdin.take(), daemon.stdout.take()) else {
            bail!("the daemon has no pipes");
        };
        let to = pipe::Sender::from_owned_fd(stdin.into())?;
        let from = pipe::Receiver::from_owned_fd(stdout.into())?;
        let service = ().serve((from, to)).await.context("the daemon does not answer")?;
        Ok(Self { service, daemon, state_dir })
    }

    /// Calls a tool, which must succeed.
    pub(super) async fn tool(&self, name: &'static str, arguments: Value) -> anyhow::Result<Value> {
        match self.attempt(name, arguments).await? {
            Ok(content) => Ok(content),
            Err(refused) => bail!("{name} was refused: {}", refused["message"]),
        }
    }

    /// Calls a tool, which may be refused.
    pub(super) async fn attempt(
        &self,
        name: &'static str,
        arguments: Value,
    ) -> anyhow::Result<Result<Value, Value>> {
        let result = self.call(name, arguments).await?;
        let content = result.structured_content.unwrap_or_default();
        Ok(if result.is_error == Some(true) { Err(content) } else { Ok(content) })
    }

    async fn call(&self, name: &'static str, arguments: Value) -> anyhow::Result<CallToolResult> {
        let arguments: JsonObject = serde_json::from_value(arguments)?;
        let request = CallToolRequestParams::new(name).with_arguments(arguments);
        self.service.call_tool(request).await.with_context(|| format!("{name} failed"))
    }

    /// Hangs up, waits for the daemon's end, and tells which of its processes are left.
    pub(super) async fn stop(self) -> anyhow::Result<Vec<i32>> {
        let Self { service, mut daemon, state_dir } = self;
        let workers = workers_of(daemon.id());
        service.cancel().await.ok();
        let until = Instant::now() + END_WITHIN;
        while daemon.try_wait()?.is_none() {
            if until < Instant::now() {
                daemon.kill()?;
                daemon.wait()?;
                bail!("the daemon did not end within {END_WITHIN:?} and was killed");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::remove_dir_all(state_dir).ok();
        let is_left = |pid: &i32| procfs::process::Process::new(*pid).is_ok_and(|p| p.is_alive());
        Ok(workers.into_iter().filter(is_left).collect())
    }
}

fn workers_of(daemon: u32) -> BTreeSet<i32> {
    let tasks = i32::try_from(daemon).ok().and_then(|pid| {
        procfs::process::Process::new(pid).and_then(|process| process.tasks()).ok()
    });
    let children = tasks.into_iter().flatten().flatten().filter_map(|task| task.children().ok());
    children.flatten().filter_map(|pid| i32::try_from(pid).ok()).collect()
}
