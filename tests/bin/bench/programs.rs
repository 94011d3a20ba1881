//! The programs that are measured: those that were built together with this one.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that are measured.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) supervisor: PathBuf,
    pub(crate) worker: PathBuf,
    pub(crate) bare_loop: PathBuf,
    pub(crate) bare_rollout: PathBuf,
    pub(crate) bare_compile: PathBuf,
    pub(crate) commit_cost: PathBuf,
    pub(crate) bare_echo: PathBuf,
}

impl Programs {
    pub(crate) fn find() -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let folder = own.parent().unwrap();
        if cfg!(debug_assertions) {
            eprintln!("bench: this is no release build, and its numbers mean nothing");
        }
        let example = |package: &str, name: &str| {
            let path = folder.join("examples").join(name);
            built(path, &format!("-p {package} --example {name}"))
        };
        Ok(Self {
            supervisor: built(folder.join("simward"), "-p simward-supervisor")?,
            worker: built(folder.join("simward-worker"), "-p simward-worker")?,
            bare_loop: example("simward-worker", "bare_loop")?,
            bare_rollout: example("simward-worker", "bare_rollout")?,
            bare_compile: example("simward-worker", "bare_compile")?,
            commit_cost: example("simward-worker", "commit_cost")?,
            bare_echo: example("simward-tests", "bare_echo")?,
        })
    }

    /// What they say of themselves.
    pub(crate) fn versions(&self) -> String {
        format!("{}, {}", version(&self.supervisor), version(&self.worker))
    }
}

fn built(path: PathBuf, package: &str) -> Result<PathBuf, String> {
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} is missing: build it with `cargo build --release {package}`", path.display()))
}

fn version(program: &Path) -> String {
    let said = Command::new(program).arg("--version").output().unwrap();
    assert!(said.status.success(), "{}: {}", program.display(), said.status);
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}
