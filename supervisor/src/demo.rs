//! `simward demo`: what the daemon does, seen from a client.
//!
//! Starts a daemon of its own on standard input, as a desktop client does, speaks MCP to it, steps
//! three sessions at once, kills the process of one, and shows that it goes on where it was.

mod client;
mod models;
mod screen;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use self::client::Client;
use self::screen::{Screen, say};
use crate::cli::process_table;
use crate::session::Isolation;
use crate::telemetry::Processes;

/// Shows three simulators at once, the end of one, and how its session goes on.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// `process`: every session has a process of its own. `shared`: all three are in one.
    #[arg(long, value_enum, default_value_t = Isolation::Process)]
    isolation: Isolation,
    /// How long to step before and after the kill, in seconds.
    #[arg(long, default_value_t = 2.0, value_parser = clap::value_parser!(f64))]
    seconds: f64,
}

/// A session of the demo.
struct Actor {
    model: &'static str,
    session_id: String,
    pid: i32,
}

/// Steps of one call: short enough to see progress.
const STEPS: u64 = 100;

/// Runs the demo. Succeeds if everything happened as it should, and nothing is left.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let seconds = args.seconds;
    ensure!((0.1..=600.0).contains(&seconds), "--seconds must lie between 0.1 and 600");
    let client = Client::start().await?;
    let outcome = play(&client, &args).await;
    let left = client.stop().await?;
    outcome?;
    ensure!(left.is_empty(), "processes are left behind: {left:?}");
    say("The daemon has stopped, and no process is left.");
    Ok(ExitCode::SUCCESS)
}

async fn play(client: &Client, args: &DemoArgs) -> anyhow::Result<()> {
    let info = client.tool("get_server_info", json!({})).await?;
    say(&format!("A daemon of simward {} was started, and answers.", text(&info["version"])));
    let mut actors = Vec::new();
    for model in models::NAMES {
        actors.push(enter(client, model, args.isolation).await?);
    }
    let time = Duration::from_secs_f64(args.seconds);
    step_all(client, &actors, time).await?;
    show_pool(client).await?;

    let victim = &actors[1];
    let steps_before = steps_total(client, victim).await?;
    say(&format!("\nKilling process {} ({}) with SIGKILL.", victim.pid, victim.model));
    kill(Pid::from_raw(victim.pid), Signal::SIGKILL).context("the process cannot be killed")?;
    step_again(client, victim).await?;
    let steps = steps_total(client, victim).await?;
    let pid = pid(client, victim).await?;
    say(&format!("{} goes on in process {pid}: step {steps_before}, step {steps}.", victim.model));
    ensure!(steps == steps_before + STEPS, "a step was lost, or taken twice");
    ensure!(pid != victim.pid, "its process was not replaced");

    match args.isolation {
        Isolation::Process => say("The others did not notice:"),
        Isolation::Shared => say("The others shared its process, and go on like it:"),
    }
    step_all(client, &actors, time).await?;
    for actor in actors.iter().filter(|actor| actor.model != victim.model) {
        let kept = self::pid(client, actor).await? == actor.pid;
        ensure!(kept == (args.isolation == Isolation::Process), "it has an unexpected process");
    }
    show_pool(client).await
}

/// Steps a session whose process was killed. A call that was in flight is refused, once.
async fn step_again(client: &Client, actor: &Actor) -> anyhow::Result<()> {
    let step = json!({ "session_id": actor.session_id, "steps": STEPS });
    let Err(refused) = client.attempt("step_simulation", step.clone()).await? else {
        return Ok(());
    };
    say(&format!("Its client is told: {} ({})", text(&refused["message"]), text(&refused["code"])));
    ensure!(refused["code"] == "worker_lost", "another refusal was due");
    client.tool("step_simulation", step).await.map(drop)
}

/// How many steps were ever taken of a session's model.
async fn steps_total(client: &Client, actor: &Actor) -> anyhow::Result<u64> {
    let here = json!({ "session_id": actor.session_id });
    let loaded = client.tool("get_loaded_models", here).await?;
    loaded["models"][0]["steps_total"].as_u64().context("the session has lost its model")
}

/// The process that a session has now.
async fn pid(client: &Client, actor: &Actor) -> anyhow::Result<i32> {
    let here = json!({ "session_id": actor.session_id });
    let info = client.tool("get_session_info", here).await?;
    let pid = info["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.context("the session has no process")
}

/// Opens a session and loads a model into it.
async fn enter(
    client: &Client,
    model: &'static str,
    isolation: Isolation,
) -> anyhow::Result<Actor> {
    let create = json!({ "name": model, "isolation": isolation });
    let session = client.tool("create_session", create).await?;
    let session_id = text(&session["session_id"]);
    let (tool, mut arguments) = models::arguments(model)?;
    arguments["session_id"] = json!(session_id);
    let begun = Instant::now();
    let loaded = client.tool(tool, arguments).await?;
    let pid = session["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.context("the session has no process")?;
    say(&format!(
        "{model}: process {pid}, port {}; {} degrees of freedom, {} actuators, loaded in {:.0} ms",
        session["port"],
        loaded["nv"],
        loaded["nu"],
        begun.elapsed().as_secs_f64() * 1000.0
    ));
    Ok(Actor { model, session_id, pid })
}

/// Steps all sessions at once for a while.
async fn step_all(client: &Client, actors: &[Actor], time: Duration) -> anyhow::Result<()> {
    let names: Vec<&str> = actors.iter().map(|actor| actor.model).collect();
    let screen = Screen::open(&names);
    let until = Instant::now() + time;
    let step_one = async |index: usize, actor: &Actor| -> anyhow::Result<()> {
        let (begun, mut steps) = (Instant::now(), 0);
        while Instant::now() < until {
            let step = json!({ "session_id": actor.session_id, "steps": STEPS });
            let stepped = client.tool("step_simulation", step).await?;
            steps += STEPS;
            let time_secs = stepped["time_secs"].as_f64().unwrap_or(f64::NAN);
            screen.progress(index, steps, time_secs, begun.elapsed());
        }
        Ok(())
    };
    let all = actors.iter().enumerate().map(|(index, actor)| step_one(index, actor));
    let outcome = futures::future::try_join_all(all).await;
    screen.close();
    outcome.map(drop)
}

async fn show_pool(client: &Client) -> anyhow::Result<()> {
    let listed = client.tool("list_active_processes", json!({})).await?;
    let processes: Processes = serde_json::from_value(listed)?;
    say(&format!("\n{}", process_table(&processes).trim_end()));
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
