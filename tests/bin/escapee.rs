//! Enters a worker's jail and tries to get out, one way after the other.
//!
//! `escapee try PROFILE OUTSIDE` prints one JSON object: the layers, and for each attempt
//! `refused: …` or `ESCAPED`. `REACHED: …` means that the kernel said no to what was asked and not
//! to who asked, as it would say to anybody. The profile `none` is no jail, which shows that the
//! attempts are real. `--without LAYER,…` leaves layers out, `--only LAYER,…` all others, and
//! `--landlock N` plays a kernel whose Landlock is no newer: so each wall can be seen by itself.
//!
//! `escapee linger PROFILE` waits in the jail for a minute. `escapee cost PROFILE` prints how long each layer takes, and `escapee draw` clears a picture
//! with OpenGL inside the jail of a render process.

#![expect(unsafe_code, reason = "the ways out are system calls, most without a safe interface")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::disallowed_methods, reason = "it measures what it starts, and can wait")]
#![expect(clippy::print_stdout, reason = "the test reads it there")]

#[path = "escapee/call.rs"]
mod call;
#[path = "escapee/cost.rs"]
mod cost;
#[path = "escapee/draw.rs"]
mod draw;
#[path = "escapee/files.rs"]
mod files;
#[path = "escapee/kernel.rs"]
mod kernel;
#[path = "escapee/network.rs"]
mod network;
#[path = "escapee/processes.rs"]
mod processes;

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, json};
use simward_worker::jail::{self, Profile};

/// Who and what is outside.
#[derive(Debug, Deserialize)]
struct Outside {
    /// A process of the same user that started this one.
    victim: i32,
    parent: i32,
    /// A TCP port of another session. Standard input is a port like the session's own.
    port: u16,
    /// The supervisor's folder, which everybody may read and write, with a file `state` in it and
    /// a socket `socket`. Standard error is a file in it.
    folder: PathBuf,
    abstract_name: String,
    /// A shared memory segment and a message queue.
    segment: i32,
    queue: String,
}

/// A way out: its name, and the attempt.
type Attempt = (&'static str, fn(&Outside) -> io::Result<()>);

/// What the ways out have to do with, and those ways.
const GROUPS: &[(&str, &[Attempt])] = &[
    ("files", files::ATTEMPTS),
    ("network", network::ATTEMPTS),
    ("other processes", processes::OTHERS),
    ("new processes", processes::NEW),
    ("rights and limits", kernel::RIGHTS),
    ("the kernel", kernel::ATTEMPTS),
    ("code", kernel::CODE),
];

/// What must not be tried without a jail, because it would do what it tries, to the machine or to
/// the attempts after it.
const HARMFUL: &[&str] = &[
    "mount",
    "change its root",
    "pivot its root",
    "make a user namespace",
    "make a mount namespace",
    "make a network namespace",
    "join root's group",
    "run before all others",
    "become root",
    "start a thread in a namespace",
    "name the host",
    "account for processes",
    "set the clock",
    "swap to a file",
    "restart the machine",
    "mount by descriptor",
];

/// The profile of this process, for attempts that depend on it.
static PROFILE: OnceLock<Profile> = OnceLock::new();

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let profile = args.get(2).map_or("render", String::as_str);
    let profile = match profile {
        "simulate" => Profile::SIMULATE,
        "none" => with(Profile::SIMULATE, &["--only".to_owned(), String::new()]),
        "compile" => Profile { memory_bytes: Some(4 << 30), ..Profile::COMPILE },
        "render" => Profile::RENDER,
        other => panic!("no profile {other}"),
    };
    match args[1].as_str() {
        "try" => attempt_all(&with(profile, &args[4..]), &args[3]),
        "linger" => linger(&profile),
        "cost" => cost::print(&profile),
        "draw" => draw::print(&profile),
        other => panic!("nothing to do called {other}"),
    }
}

/// The profile as the arguments change it.
fn with(mut profile: Profile, args: &[String]) -> Profile {
    for pair in args.chunks(2) {
        let named: Vec<_> = pair[1].split(',').collect();
        let left_out = |is_out: fn(bool) -> bool| {
            let names = jail::layers().iter().map(|layer| layer.name);
            let out: Vec<_> = names.filter(|name| is_out(named.contains(name))).collect();
            &*out.leak()
        };
        match pair[0].as_str() {
            "--without" => profile.without = left_out(|is_named| is_named),
            "--only" => profile.without = left_out(|is_named| !is_named),
            "--landlock" => profile.landlock = pair[1].parse().unwrap(),
            other => panic!("unknown argument {other}"),
        }
    }
    profile
}

fn linger(profile: &Profile) {
    jail::enter(profile).unwrap();
    println!("lingers");
    std::thread::sleep(Duration::from_mins(1));
}

fn attempt_all(profile: &Profile, outside: &str) {
    PROFILE.set(*profile).unwrap();
    let outside: Outside = serde_json::from_str(outside).unwrap();
    call::ignore(libc::SIGXFSZ);
    files::prepare(&outside);
    let layers = jail::enter(profile).unwrap();
    // Without either, some would do what they try.
    let is_safe = ["few_system_calls", "no_capabilities"]
        .iter()
        .any(|safe| layers.iter().any(|layer| layer == safe));
    let mut groups = Map::new();
    for (group, attempts) in GROUPS {
        let mut outcomes = Map::new();
        for (name, attempt) in *attempts {
            if is_safe || !HARMFUL.contains(name) {
                outcomes.insert((*name).to_owned(), outcome(attempt(&outside)).into());
            }
        }
        groups.insert((*group).to_owned(), outcomes.into());
    }
    println!("{}", json!({ "layers": layers, "groups": groups }));
}

/// What the kernel says to those who may not, and to those for whom a thing does not exist.
const REFUSALS: &[i32] = &[
    libc::EPERM,
    libc::EACCES,
    libc::ENOSYS,
    // There is nothing of that name, in an empty root or an empty network.
    libc::ENOENT,
    libc::ESRCH,
    libc::ENETUNREACH,
    libc::EADDRNOTAVAIL,
    libc::ECONNREFUSED,
    // A limit.
    libc::EAGAIN,
    libc::EFBIG,
];

fn outcome(result: io::Result<()>) -> String {
    match result {
        Ok(()) => "ESCAPED".to_owned(),
        Err(error) if error.raw_os_error().is_some_and(|number| REFUSALS.contains(&number)) => {
            format!("refused: {error}")
        }
        Err(error) => format!("REACHED: {error}"),
    }
}
