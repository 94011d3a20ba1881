//! Progress, on a terminal or in a log.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Says a line.
#[expect(clippy::print_stdout, reason = "it is what the user came for")]
pub(super) fn say(line: &str) {
    println!("{line}");
}

/// One line for each session, kept up to date on a terminal, printed once elsewhere.
pub(super) struct Screen {
    lines: Mutex<Vec<String>>,
    live: bool,
}

impl Screen {
    pub(super) fn open(names: &[&str]) -> Self {
        let lines: Vec<String> = names.iter().map(|name| format!("  {name:<12}")).collect();
        let live = std::io::stdout().is_terminal();
        if live {
            write(&"\n".repeat(lines.len()));
        }
        Self { lines: Mutex::new(lines), live }
    }

    /// A session has come that far.
    pub(super) fn progress(&self, index: usize, steps: u64, time_secs: f64, elapsed: Duration) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = steps as f64 / elapsed.as_secs_f64().max(1e-9);
        let name: String = lines[index].chars().take(14).collect();
        lines[index] =
            format!("{name} {steps:>8} steps  {time_secs:>8.2} s simulated  {rate:>7.0} steps/s");
        if self.live {
            let up = lines.len();
            let text: String = lines.iter().flat_map(|line| [line, "\x1b[K\n"]).collect();
            write(&format!("\x1b[{up}A{text}"));
        }
    }

    /// Leaves the last state of things behind.
    pub(super) fn close(self) {
        if !self.live {
            let lines = self.lines.into_inner().unwrap_or_else(PoisonError::into_inner);
            for line in lines {
                say(&line);
            }
        }
    }
}

fn write(text: &str) {
    // A reader that has seen enough is no error.
    std::io::stdout().write_all(text.as_bytes()).ok();
    std::io::stdout().flush().ok();
}
