//! Each wall by itself: what is left if the one in front of it falls.

use super::outside::{attempts, users};
use super::{ALLOWED_IN_RENDER, PROFILES};

/// What Landlock refuses of files; it refuses to look into processes outside as well.
const FILES: &[&str] = &[
    "read a file",
    "list the root folder",
    "read the supervisor's state",
    "write the supervisor's state",
    "list the supervisor's folder",
    "make a file",
    "make a file without a name",
    "make a folder",
    "make a link",
    "make a second name",
    "rename a file",
    "remove a file",
    "make a pipe with a name",
    "make a socket with a name",
    "look at another process's memory",
    "look at another process's environment",
    "look at another process's command line",
    "look at another process's files",
    "look around in another process's root",
    "look at its own memory map",
    "start a program",
    "trace another process",
    "read another process's memory",
    "write another process's memory",
    "enter another process's network",
];

/// What each layer refuses with no other beside it. Some need another to stand on.
const ALONE: &[(&str, &[&str])] = &[
    ("file_size_limit", &["write without end to an open file"]),
    ("no_core_dump", &["dump core"]),
    (
        "own_network",
        &[
            "connect to another session's port",
            "send by udp",
            "connect to an abstract socket",
            "attach shared memory",
            "open a message queue",
        ],
    ),
    ("no_files", FILES),
    ("few_files", FILES),
    ("no_tcp", &["connect to another session's port", "listen by tcp"]),
    (
        "no_outside_signals",
        &[
            "connect to an abstract socket",
            "send a signal to another process",
            "send a signal to its parent",
            "send a signal to another thread",
            "send a signal through a descriptor",
        ],
    ),
    (
        "empty_root",
        &[
            "read a file",
            "stat a file",
            "read the supervisor's state",
            "write the supervisor's state",
            "empty the supervisor's state",
            "make a file",
            "change who may read a file",
            "make a pipe with a name",
            "connect to the supervisor's socket",
            "send to the supervisor's socket",
            "look at another process's memory",
            "look at another process's command line",
            "enter the first process's network",
            "start a program",
        ],
    ),
    (
        "own_user",
        &[
            "read the passwords",
            "list root's folder",
            "look at another process's memory",
            "look at another process's files",
            "send a signal to another process",
            "send a signal to its parent",
            "take a descriptor of another process",
            "trace another process",
            "read another process's memory",
            "write another process's memory",
            "move another process's memory",
            "compare itself with another process",
            "read another process's limits",
            "set another process's limits",
            "move another process to a processor",
            "schedule another process",
            "slow another process down",
            "enter another process's network",
        ],
    ),
    (
        "own_user,thread_limit",
        &["fork without end", "fork without end by clone3", "start many threads"],
    ),
    (
        "no_capabilities",
        &[
            "make a device",
            "open a file by a handle",
            "mount",
            "change its root",
            "join root's group",
            "run before all others",
            "open a raw packet socket",
            "name the host",
        ],
    ),
    ("no_writable_code", &["map writable and executable memory", "make written memory executable"]),
];

/// The profile that has all of these layers.
fn profile_of(layers: &str) -> &'static str {
    if layers == "few_files" { "render" } else { "simulate" }
}

#[test]
fn each_layer_holds_by_itself() {
    for (layers, refused) in ALONE {
        let tried = attempts(profile_of(layers), None, &["--only", layers]);
        if !layers.split(',').all(|layer| tried.claims(layer)) {
            println!("this machine lacks {layers}");
            continue;
        }
        assert_eq!(tried.layers.len(), layers.split(',').count());
        let open = tried.open_of(refused);
        assert!(open.is_empty(), "{layers} alone: {open:#?}");
    }
}

#[test]
fn the_system_calls_that_are_left_hold_by_themselves() {
    for user in users() {
        for profile in ["simulate", "compile"] {
            let tried = attempts(profile, user, &["--only", "few_system_calls"]);
            assert_eq!(tried.layers, ["few_system_calls"]);
            let open: Vec<_> = tried.outcomes.iter().filter(|each| !each.is_refused()).collect();
            let mut names: Vec<_> = open.iter().map(|each| each.name.as_str()).collect();
            names.sort_unstable();
            // How much, not what: other layers limit that.
            let expected = [
                "open descriptors without end",
                "start many threads",
                "write without end to an open file",
            ];
            assert_eq!(names, expected, "{profile} as {user:?}: {open:#?}");
        }
    }
}

#[test]
fn without_the_system_calls_the_others_hold() {
    for user in users() {
        for profile in PROFILES {
            // What Landlock has been since Linux 5.13, 6.7 and 6.12.
            for landlock in ["1", "4", "6"] {
                let args = ["--without", "few_system_calls", "--landlock", landlock];
                let tried = attempts(profile, user, &args);
                assert!(!tried.claims("few_system_calls"));
                assert!(landlock != "1" || !tried.claims("no_tcp"));
                assert!(landlock == "6" || !tried.claims("no_outside_signals"));
                for (layers, refused) in ALONE {
                    if layers.split(',').all(|layer| tried.claims(layer)) {
                        let open = tried.open_of(refused);
                        assert!(open.is_empty(), "{profile} as {user:?} {args:?}: {open:#?}");
                    }
                }
            }
        }
    }
}

#[test]
fn on_an_older_kernel_no_way_out_is_open() {
    for user in users() {
        for profile in PROFILES {
            for landlock in ["1", "4"] {
                let tried = attempts(profile, user, &["--landlock", landlock]);
                let is_expected = |name: &str| {
                    (profile == "render" && ALLOWED_IN_RENDER.contains(&name))
                        || (name == "start many threads" && !tried.claims("thread_limit"))
                };
                let open = tried.outcomes.iter().filter(|each| !each.is_refused());
                let open: Vec<_> = open.filter(|each| !is_expected(&each.name)).collect();
                assert!(open.is_empty(), "{profile} as {user:?}, version {landlock}: {open:#?}");
                assert!(!tried.is_felt);
            }
        }
    }
}
