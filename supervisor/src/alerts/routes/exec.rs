//! Programs that are told of alerts: a notice as JSON on standard input.
//!
//! Which ones there are and with what arguments they are started the configuration says. They get no
//! environment but `PATH`. One that takes too long is ended, with all that it has started.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::{Notice, ProgramConfig};

/// The programs, by name.
#[derive(Debug)]
pub(super) struct Programs {
    argv: BTreeMap<String, Vec<String>>,
    timeout: Duration,
}

impl Programs {
    /// Those of the configuration.
    pub(super) fn new(config: &[ProgramConfig], timeout_secs: f64) -> Self {
        let named = |program: &ProgramConfig| (program.name.clone(), program.argv.clone());
        let timeout = Duration::from_secs_f64(timeout_secs);
        Self { argv: config.iter().map(named).collect(), timeout }
    }

    /// Tells one of them.
    pub(super) async fn run(&self, name: &str, notice: &Notice) -> Result<(), String> {
        let argv = self.argv.get(name).map(Vec::as_slice);
        let Some([program, args @ ..]) = argv else {
            return Err("there is no such program".into());
        };
        let input = serde_json::to_vec(notice).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let child = command.spawn().map_err(|error| error.to_string())?;
        let mut running = Running(child);
        let told = tokio::time::timeout(self.timeout, running.tell(&input)).await;
        told.unwrap_or_else(|_elapsed| {
            Err(format!("it took more than {} s, and was ended", self.timeout.as_secs_f64()))
        })
    }
}

/// A program that runs. Dropping it ends it, and all that it has started.
struct Running(Child);

impl Running {
    async fn tell(&mut self, input: &[u8]) -> Result<(), String> {
        if let Some(mut stdin) = self.0.stdin.take() {
            // One that does not read is none that fails.
            stdin.write_all(input).await.ok();
        }
        let status = self.0.wait().await.map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The id is there only as long as it is not reaped, and so cannot be another's.
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            killpg(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::report::AlertReport;
    use crate::alerts::routes::Kind;
    use crate::alerts::rule::Severity;

    fn notice() -> Notice {
        let alert = AlertReport {
            rule: "busy".to_owned(),
            owner: "fleet".to_owned(),
            state: "firing".to_owned(),
            severity: Severity::Warning,
            labels: BTreeMap::new(),
            condition: "load > 1".to_owned(),
            value: Some(2.0),
            since: String::new(),
            fired_at: None,
            action: None,
            acts_at: None,
            done: None,
            runbook: String::new(),
        };
        let (starts_at, ends_at) = (String::new(), String::new());
        Notice { kind: Kind::Fired, alert, why: None, starts_at, ends_at, routes: Vec::new() }
    }

    fn programs(argv: &[&str], timeout_secs: f64) -> Programs {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        Programs::new(&[ProgramConfig { name: "it".to_owned(), argv }], timeout_secs)
    }

    #[tokio::test]
    async fn a_program_is_told_on_its_standard_input_and_has_no_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told").display().to_string();
        let script = "cat > \"$1\"; env | cut -d= -f1 | sort | tr '\\n' ' ' >> \"$1\"";
        let programs = programs(&["sh", "-c", script, "sh", &file], 20.0);
        programs.run("it", &notice()).await.unwrap();
        let told = std::fs::read_to_string(&file).unwrap();
        let (json, names) = told.split_once('}').unwrap();
        assert!(json.contains("\"kind\":\"fired\",\"rule\":\"busy\""), "{told}");
        assert!(names.contains("PATH") && !names.contains("HOME"), "{told}");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said() {
        let told = |argv: &'static [&'static str], secs: f64| async move {
            programs(argv, secs).run("it", &notice()).await.unwrap_err()
        };
        assert!(told(&["false"], 20.0).await.contains("exit status: 1"));
        assert!(told(&["/nowhere"], 20.0).await.contains("No such file"));
        assert!(told(&["sh", "-c", "sleep 1000 & sleep 1000"], 0.2).await.contains("was ended"));
        let other = programs(&["true"], 20.0).run("other", &notice()).await;
        assert_eq!(other.unwrap_err(), "there is no such program");
    }
}
