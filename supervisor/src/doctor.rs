//! `simward doctor`: what an operator trips over, and how to mend it.
//!
//! Everything is tried, not guessed: a worker is started as the daemon would start it, a file is
//! written where it would be, a port is bound.

mod endpoint;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use simward_protocol::fault::Fault;

use crate::code::Code as _;
use crate::config::Config;
use crate::daemon;
use crate::pool::Pool;
use crate::pool::groups::Limits;
use crate::pool::headroom::Level;
use crate::pool::layers::Role;
use crate::profiles::Profiles;
use crate::renderer::{self, Renderer};
use crate::store::Store;
use crate::tenants::Tenant;
use crate::worker::Worker;

/// How an isolation layer that is missing can be had. Layers are not named here that every system
/// has on which the daemon runs at all.
pub const REMEDIES: [(&str, &str); 12] = [
    ("closed_descriptors", "a kernel of 5.9 or newer"),
    (
        "own_network",
        "root, or user namespaces for ordinary users (kernel.unprivileged_userns_clone)",
    ),
    ("empty_root", "root, and a unit that does not forbid chroot"),
    ("own_user", "root: every worker then gets a user id of its own"),
    ("thread_limit", "root; an ordinary user's threads are limited by a control group instead"),
    ("dies_with_parent", "a supervisor that lives"),
    ("not_dumpable", "root"),
    ("no_files", "a kernel of 5.13 or newer with Landlock (lsm=landlock,…)"),
    ("no_tcp", "a kernel of 6.7 or newer with Landlock"),
    ("no_outside_signals", "a kernel of 6.12 or newer with Landlock"),
    ("no_writable_code", "a kernel of 6.3 or newer"),
    ("few_system_calls", "a kernel with seccomp, on x86_64 or aarch64"),
];

/// Descriptors that a session takes in the daemon, when it is awake.
const DESCRIPTORS_PER_SESSION: u64 = 8;

/// What was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// What.
    what: &'static str,
    /// `good`, `weak` (it works, with less than there could be) or `bad` (it does not work).
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What would mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Weak,
    Bad,
}

/// Looks at everything, and prints what was found. Fails if something does not work.
pub(crate) async fn run(config: Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    findings.push(descriptors(&config));
    findings.push(state_folder(&config));
    endpoint::look(&config, &mut findings).await;
    match Pool::open(config.pool.clone()) {
        Err(error) => findings.push(bad("worker", format!("{error:#}"), None)),
        Ok(pool) => {
            findings.push(control_groups(&pool));
            findings.push(room(&pool));
            findings.push(ports(&pool));
            worker(&pool, &config, &mut findings).await;
            findings.push(pictures(pool, &config).await);
        }
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    let text = if as_json { serde_json::to_string_pretty(&findings)? } else { table(&findings) };
    print(&text);
    Ok(if worst == Some(Verdict::Bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn descriptors(config: &Config) -> Finding {
    let needed = config.sessions.awake_max as u64 * DESCRIPTORS_PER_SESSION
        + config.http.connections_max as u64
        + config.uploads.all_max as u64;
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let found = format!("{hard} can be open; {needed} are needed with all sessions awake");
    if needed <= hard {
        return good("descriptors", found);
    }
    let remedy = "raise the hard limit (LimitNOFILE= in a unit), or lower sessions.awake_max";
    weak("descriptors", found, remedy.to_owned())
}

fn state_folder(config: &Config) -> Finding {
    let folder = daemon::state_dir(config);
    let tried = writable(&folder.join("store"), config);
    match tried {
        Ok(free) => {
            let found = format!("{} can be written, {} MiB are free", folder.display(), free >> 20);
            if free < 1 << 30 {
                let remedy = "free space, or choose another folder: state_dir";
                return weak("state folder", found, remedy.to_owned());
            }
            good("state folder", found)
        }
        Err(error) => bad(
            "state folder",
            format!("{}: {error:#}", folder.display()),
            Some("choose another folder: state_dir, --state-dir or STATE_DIRECTORY"),
        ),
    }
}

fn writable(folder: &Path, config: &Config) -> anyhow::Result<u64> {
    Store::open(Some(folder), &config.store)?;
    let probe = folder.join(format!("doctor.{}", std::process::id()));
    std::fs::write(&probe, "x").and_then(|()| std::fs::remove_file(&probe))?;
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn control_groups(pool: &Pool) -> Finding {
    let can = pool.groups().can();
    let names: Vec<_> =
        can.iter().map(|it| format!("{:?} by {}", it.what, it.by).to_lowercase()).collect();
    let remedy = "a unit with Delegate=yes; until then a watchdog looks at memory and threads, and \
                  workers keep to their share of the processor themselves";
    let verdict = if can.len() == 3 { Verdict::Good } else { Verdict::Weak };
    let why_not = pool.groups().why_not().unwrap_or_default();
    let found = if names.is_empty() { why_not.to_owned() } else { names.join(", ") };
    let remedy = (verdict != Verdict::Good).then(|| remedy.to_owned());
    Finding { what: "control groups", verdict, found, remedy }
}

fn room(pool: &Pool) -> Finding {
    let level = pool.look_for_room();
    let found = pool.room().to_string();
    match level {
        Level::Plenty => good("room", found),
        Level::Tight | Level::Full => {
            weak("room", found, "close other programs, or set pool.headroom otherwise".to_owned())
        }
    }
}

fn ports(pool: &Pool) -> Finding {
    let range = pool.ports().range();
    match pool.ports().lease() {
        Ok(lease) => good("ports", format!("{} of {range} could be had", lease.port)),
        Err(error) => bad(
            "ports",
            error.to_string(),
            Some("choose another range (pool.ports.range), or stop what uses it"),
        ),
    }
}

async fn worker(pool: &Pool, config: &Config, findings: &mut Vec<Finding>) {
    let limits = Limits { memory_bytes: Some(1 << 30), cpu_ratio: Some(1.0), tasks_max: Some(64) };
    let worker = match Worker::start_anyhow(pool, &Tenant::local(), limits, None).await {
        Ok(worker) => worker,
        Err(error) => {
            let remedy = Some("run the worker by hand: simward-worker --version");
            findings.push(bad("worker", crate::code::chain(&error), remedy));
            return;
        }
    };
    let (facts, held) = (worker.facts().clone(), worker.held());
    let profiling = profiling(pool, config, &worker).await;
    worker.stop().await;
    findings.push(good("worker", format!("{} starts and answers", facts.hello.engine)));
    let by: Vec<_> = held.enforcement.iter().map(|(limit, by)| format!("{limit}: {by}")).collect();
    findings.push(good("limits", by.join(", ")));
    let layers = &facts.hello.layers;
    findings.push(good("isolation", layers.join(", ")));
    findings.push(profiling);
    for (layer, remedy) in REMEDIES {
        if !layers.iter().any(|there| there == layer) {
            let found = format!("the layer {layer} is not in force");
            findings.push(weak("isolation", found, format!("needs {remedy}")));
        }
    }
    let missing = pool.lacking(Role::Simulate, layers);
    if !missing.is_empty() {
        let found = format!("pool.require_layers names what is not in force: {missing:?}");
        findings.push(bad("isolation", found, Some("see the layers above")));
    }
}

/// Nobody needs a profile to simulate.
async fn profiling(pool: &Pool, config: &Config, worker: &Worker) -> Finding {
    let what = "profiling";
    match Profiles::new(pool.clone(), config.profiling.clone()).check(worker).await {
        Ok(()) => good(what, "a worker's processor time can be sampled".to_owned()),
        Err(error) => {
            let (found, remedy) = (crate::code::chain(&error), error.hint());
            Finding { what, verdict: Verdict::Weak, found, remedy }
        }
    }
}

/// Pictures are not needed to simulate.
async fn pictures(pool: Pool, config: &Config) -> Finding {
    let what = "pictures";
    match Renderer::new(pool, config.render.clone()).check().await {
        Ok(()) => good(what, "OpenGL works".to_owned()),
        Err(error) => {
            let found = crate::code::chain(&error);
            let remedy = match error {
                renderer::Error::NotInstalled { .. } => error.hint(),
                _ => Fault::NoGraphics { detail: String::new() }.hint().map(str::to_owned),
            };
            Finding { what, verdict: Verdict::Weak, found, remedy }
        }
    }
}

fn good(what: &'static str, found: String) -> Finding {
    Finding { what, verdict: Verdict::Good, found, remedy: None }
}

fn weak(what: &'static str, found: String, remedy: String) -> Finding {
    Finding { what, verdict: Verdict::Weak, found, remedy: Some(remedy) }
}

fn bad(what: &'static str, found: String, remedy: Option<&str>) -> Finding {
    Finding { what, verdict: Verdict::Bad, found, remedy: remedy.map(str::to_owned) }
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { what, verdict, found, remedy } in findings {
        let mark = match verdict {
            Verdict::Good => "good",
            Verdict::Weak => "weak",
            Verdict::Bad => "BAD ",
        };
        // Writing to a string does not fail.
        writeln!(text, "{mark}  {what}: {found}").ok();
        if let Some(remedy) = remedy {
            writeln!(text, "      → {remedy}").ok();
        }
    }
    text
}

fn print(text: &str) {
    use std::io::Write as _;
    // A reader that has seen enough, such as `head`, is no error.
    writeln!(std::io::stdout(), "{}", text.trim_end()).ok();
}
