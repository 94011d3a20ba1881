//! MuJoCo's own voice: its errors, its warnings, its version.
//!
//! MuJoCo ends the process on an error. The handler here gets the error out first, as last words
//! with an exit code of their own; and it keeps MuJoCo from writing a log file.

use std::sync::{Mutex, OnceLock, PoisonError};

use mujoco_rs::logging::set_log_handler;
use mujoco_rs::wrappers::mj_logging::{MjLogMessage, MjtLogLevel};
use simward_protocol::ending;
use simward_protocol::fault::cut;
use simward_protocol::wire::FromWorker;

use crate::channel::Outgoing;
use crate::exit;

/// How last words get out.
type Farewell = Box<dyn Fn(String) + Send + Sync>;

static FAREWELL: OnceLock<Farewell> = OnceLock::new();
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many warnings are kept until somebody takes them.
const WARNINGS_MAX: usize = 100;

/// The engine's name and version.
pub fn name() -> String {
    format!("MuJoCo {}", mujoco_rs::mujoco_version())
}

/// Makes the engine's errors, and panics of our own, the last words to the supervisor.
pub(crate) fn speak_to(outgoing: &Outgoing) {
    let outgoing = outgoing.clone();
    speak(Box::new(move |text| {
        // Nobody is left to tell if this fails; the exit code still says what kind of end it was.
        outgoing.try_write(&FromWorker::LastWords { text: cut(text) }).ok();
    }));
}

/// Makes the engine's errors, and panics of our own, the last words given to `farewell`.
#[expect(unsafe_code, reason = "installs a global handler of a C library")]
pub fn speak(farewell: Box<dyn Fn(String) + Send + Sync>) {
    FAREWELL.set(farewell).ok();
    std::panic::set_hook(Box::new(|panic| {
        say(format!("the worker has a defect: {panic}"));
        exit::now(ending::PANIC);
    }));
    // SAFETY: the handler is a plain function that lives as long as the program, and it is
    // installed before any other thread calls the engine.
    unsafe { set_log_handler(on_message) };
}

/// Takes what the engine has warned of.
pub(crate) fn take_warnings() -> Vec<String> {
    std::mem::take(&mut *WARNINGS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn on_message(message: &MjLogMessage) {
    if message.level() == MjtLogLevel::mjLOG_ERROR {
        say(format!("the engine stopped: {}", message.subject()));
        exit::now(ending::ENGINE_ERROR);
    }
    if message.level() == MjtLogLevel::mjLOG_WARNING {
        let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < WARNINGS_MAX {
            warnings.push(cut(message.subject().to_owned()));
        }
    }
}

fn say(text: String) {
    if let Some(farewell) = FAREWELL.get() {
        farewell(text);
    }
}
