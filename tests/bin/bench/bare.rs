//! The engine without a daemon, to compare with.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::programs::Programs;

/// `bare_loop`, which takes a batch of steps whenever it is told to.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Bare {
    /// Starts it; returns once the model is loaded.
    pub(crate) fn start(programs: &Programs, model: &Path, steps: u32) -> Self {
        Self::of(&programs.bare_loop, model, &[&steps.to_string(), "-"])
    }

    /// Starts `bare_rollout`, whose batches are of many simulations at once.
    pub(crate) fn rollout(programs: &Programs, model: &Path, simulations: u32, steps: u32) -> Self {
        let (simulations, steps) = (simulations.to_string(), steps.to_string());
        Self::of(&programs.bare_rollout, model, &[&simulations, &steps])
    }

    /// Starts `bare_compile`, which compiles whenever it is told to.
    pub(crate) fn compile(programs: &Programs, model: &Path) -> Self {
        Self::of(&programs.bare_compile, model, &[])
    }

    fn of(program: &Path, model: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .arg(model)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut bare = Self { child, stdin, lines };
        bare.line();
        bare
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Takes a batch; returns steps per second.
    pub(crate) fn batch(&mut self) -> f64 {
        self.turn("steps_per_sec")
    }

    /// Does once what it does; returns a number that it tells.
    pub(crate) fn turn(&mut self, told: &str) -> f64 {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line()[told].as_f64().unwrap()
    }

    fn line(&mut self) -> Value {
        let line = self.lines.next().expect("bare_loop says more").unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stdin = None;
        self.child.wait().unwrap();
    }
}
