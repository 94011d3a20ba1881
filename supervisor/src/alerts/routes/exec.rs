//! Programs that are told of alerts: a notice as JSON on standard input.
//!
//! Which ones there are and with what arguments they are started the configuration says. They get no
//! environment but `PATH`. One that takes too long is ended, with all that it has started.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::{Notice, ProgramConfig};
use crate::pool::launcher::{Launcher, Program};
use crate::pool::process::Exit;

/// The programs, by name.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    argv: BTreeMap<String, Vec<String>>,
    timeout: Duration,
    launcher: Launcher,
}

impl Programs {
    /// Those of the configuration.
    pub(super) fn new(config: &[ProgramConfig], timeout_secs: f64, launcher: Launcher) -> Self {
        let named = |program: &ProgramConfig| (program.name.clone(), program.argv.clone());
        let timeout = Duration::from_secs_f64(timeout_secs);
        Self { argv: config.iter().map(named).collect(), timeout, launcher }
    }

    /// Tells one of them. Whoever gives up waiting ends it.
    pub(super) async fn run(&self, name: &str, notice: &Notice) -> Result<(), String> {
        let Some(argv) = self.argv.get(name) else {
            return Err("there is no such program".into());
        };
        let input = serde_json::to_vec(notice).map_err(|error| error.to_string())?;
        let told = async {
            let program = self.launcher.run(argv.clone()).await;
            tell(program.map_err(|error| error.to_string())?, &input).await
        };
        tokio::time::timeout(self.timeout, told).await.unwrap_or_else(|_elapsed| {
            Err(format!("it took more than {} s, and was ended", self.timeout.as_secs_f64()))
        })
    }
}

async fn tell(program: Program, input: &[u8]) -> Result<(), String> {
    let Program { mut process, mut stdin } = program;
    // One that does not read is none that fails.
    stdin.write_all(input).await.ok();
    drop(stdin);
    match process.ended().await {
        Exit::Code(0) => Ok(()),
        exit => Err(format!("it ended with {exit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::routes::tests::notice;
    use crate::pool::groups::Groups;

    fn programs(argv: &[&str], timeout_secs: f64) -> Programs {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        let launcher = Launcher::start(Groups::none("a test")).unwrap();
        Programs::new(&[ProgramConfig { name: "it".to_owned(), argv }], timeout_secs, launcher)
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
        assert!(told(&["false"], 20.0).await.contains("exit code 1"));
        assert!(told(&["/nowhere"], 20.0).await.contains("No such file"));
        assert!(told(&["sh", "-c", "sleep 1000 & sleep 1000"], 0.2).await.contains("was ended"));
        let other = programs(&["true"], 20.0).run("other", &notice()).await;
        assert_eq!(other.unwrap_err(), "there is no such program");
    }
}
