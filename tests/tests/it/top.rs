//! The terminal view, in a terminal.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::daemon::{Daemon, Setup, children};
use simward_tests::programs;
use simward_tests::tmux::Terminal;
use simward_tests::wait::wait_for;
use tempfile::TempDir;

/// As much of a handle as the view has room for.
fn short(handle: &str) -> &str {
    handle.get(..12).unwrap_or(handle)
}

/// A daemon with sessions of these names, and their handles.
fn daemon_with(names: &[&str]) -> (Daemon, Vec<String>) {
    let mut daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    let create = |name: &&str| {
        let made = client.tool("create_session", json!({ "name": name })).unwrap();
        made["session_id"].as_str().unwrap().to_owned()
    };
    let handles = names.iter().map(create).collect();
    daemon.workers();
    (daemon, handles)
}

/// The command line that watches the daemon of a state folder, and then says how it ended.
fn line(state: &Path) -> String {
    let program = programs!().supervisor;
    let (program, state) = (program.display(), state.display());
    format!("clear; {program} top --interval 0.2 --state-dir {state}; echo left with $?")
}

/// The view of a daemon, in a terminal of that size.
fn open(state: &Path, size: (u16, u16), variables: &[(&str, &str)]) -> Terminal {
    let terminal = Terminal::open(size, variables);
    terminal.enter(&line(state));
    terminal.wait_for("the view", |screen| screen.contains("sessions: "));
    terminal
}

/// Where the lines with these words are, from the top.
fn places(screen: &str, words: [&str; 3]) -> [usize; 3] {
    words.map(|word| {
        let place = screen.lines().position(|line| line.contains(word));
        place.unwrap_or_else(|| panic!("{word} is not to be seen:\n{screen}"))
    })
}

/// Waits for the end, after which the terminal has to be as it was.
fn left(terminal: &Terminal) {
    terminal.wait_for("the end", |screen| screen.contains("left with 0"));
    assert_eq!(
        (terminal.fact("alternate_on"), terminal.fact("cursor_flag")),
        ("0".into(), "1".into())
    );
    // Lines are taken and shown again as they are typed.
    terminal.enter(
        "stty -a | tr ' ;' '\\n\\n' | grep -xE 'icanon|echo|isig' | wc -l | sed s/^/modes:/",
    );
    terminal.wait_for("the modes", |screen| screen.contains("modes:3"));
}

#[test]
fn sessions_are_seen_sorted_filtered_and_left() {
    let (daemon, handles) = daemon_with(&["anton", "berta", "caesar"]);
    let terminal = open(daemon.state.path(), (140, 40), &[]);
    let is_there = |screen: &str| ["anton", "berta", "caesar"].iter().all(|it| screen.contains(it));
    let screen = terminal.wait_for("the sessions", is_there);
    assert!(screen.contains("cpu▾") && screen.contains("sessions 3/8192"), "{screen}");
    for (name, handle) in ["anton", "berta", "caesar"].iter().zip(&handles) {
        let line = screen.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains(short(handle)) && line.contains("ready"), "{line}");
    }
    // By name: three columns before the one that is sorted by at first.
    terminal.press(&["S", "S", "S"]);
    let screen = terminal.wait_for("another order", |screen| screen.contains("name▾"));
    let order = places(&screen, ["anton", "berta", "caesar"]);
    assert!(order.is_sorted(), "{screen}");
    terminal.press(&["r"]);
    let screen = terminal.wait_for("the other way around", |screen| screen.contains("name▴"));
    assert!(places(&screen, ["caesar", "berta", "anton"]).is_sorted(), "{screen}");
    // The trends are those of the selected session, which is now the last one.
    terminal.press(&["G"]);
    let of_it = format!("steps/s {}…", short(&handles[0]));
    terminal.wait_for("the trend of the selected session", |screen| screen.contains(&of_it));
    terminal.press(&["/", "b", "e", "r", "Enter"]);
    let screen = terminal.wait_for("one session", |screen| !screen.contains("anton"));
    assert!(screen.contains("berta") && screen.contains("with \"ber\""), "{screen}");
    terminal.press(&["q"]);
    left(&terminal);
}

#[test]
fn tools_that_are_called_and_their_refusals_are_counted() {
    let (daemon, _) = daemon_with(&["anton"]);
    let mut client = daemon.client();
    for _ in 0..3 {
        client.tool("get_session_info", json!({ "session_id": "sim_nobody" })).unwrap_err();
    }
    let terminal = open(daemon.state.path(), (120, 40), &[]);
    terminal.press(&["t"]);
    let counted = |screen: &str| {
        let line = screen.lines().find(|line| line.contains("get_session_info"))?;
        Some(line.split_whitespace().skip(1).take(3).map(str::to_owned).collect::<Vec<_>>())
    };
    let is_counted =
        |screen: &str| counted(screen).is_some_and(|counted| counted == ["3", "3", "100"]);
    let screen = terminal.wait_for("three refusals", is_counted);
    assert!(screen.contains("create_session") && screen.contains("calls▾"), "{screen}");
    terminal.press(&["?"]);
    terminal.wait_for("help", |screen| screen.contains("any key ends it"));
    terminal.press(&["x", "C-c"]);
    left(&terminal);
}

#[test]
fn what_comes_and_goes_is_seen_unless_somebody_has_paused() {
    let (daemon, handles) = daemon_with(&["anton"]);
    let terminal = open(daemon.state.path(), (120, 40), &[]);
    let mut client = daemon.client();
    client.tool("create_session", json!({ "name": "berta" })).unwrap();
    terminal.wait_for("a new session", |screen| screen.contains("berta"));
    terminal.press(&["p"]);
    terminal.wait_for("the pause", |screen| screen.contains("PAUSED"));
    client.tool("close_session", json!({ "session_id": handles[0] })).unwrap();
    // It is drawn anew for a key, and still not asked for.
    terminal.press(&["t"]);
    terminal.wait_for("the tools", |screen| screen.contains("tools: "));
    terminal.press(&["t"]);
    terminal.wait_for("what was there", |screen| screen.contains("sessions: 2"));
    terminal.press(&["p"]);
    let screen = terminal.wait_for("what is there", |screen| screen.contains("sessions: 1"));
    assert!(!screen.contains("anton") && screen.contains("berta"), "{screen}");
    drop(daemon);
}

#[test]
fn a_daemon_that_stops_is_missed_and_one_that_comes_back_is_seen() {
    let state = TempDir::new().unwrap();
    let daemon = Setup::toy(&programs!()).serve_at(state.path());
    let made = daemon.client().tool("create_session", json!({ "name": "anton" })).unwrap();
    let terminal = open(state.path(), (120, 40), &[]);
    terminal.wait_for("the session", |screen| screen.contains("anton"));
    drop(daemon);
    let is_missed = |screen: &str| screen.contains("no answer, asking again: no daemon");
    let screen = terminal.wait_for("what is wrong", is_missed);
    assert!(
        screen.contains("STALE") && screen.contains("anton"),
        "the last answer stays: {screen}"
    );
    let daemon = Setup::toy(&programs!()).serve_at(state.path());
    daemon.client().tool("create_session", json!({ "name": "berta" })).unwrap();
    let screen = terminal.wait_for("the next daemon", |screen| screen.contains("berta"));
    assert!(!screen.contains("STALE") && !screen.contains("no answer"), "{screen}");
    let handle = made["session_id"].as_str().unwrap();
    assert!(screen.contains(short(handle)), "the session has outlived its daemon: {screen}");
    terminal.press(&["q"]);
    left(&terminal);
}

#[test]
fn a_signal_ends_it_and_leaves_the_terminal_as_it_was() {
    let (daemon, _) = daemon_with(&["anton"]);
    let terminal = open(daemon.state.path(), (80, 24), &[]);
    assert_eq!(terminal.fact("alternate_on"), "1");
    let shell: i32 = terminal.fact("pane_pid").parse().unwrap();
    let [view] = children(shell)[..] else { panic!("the shell has one child") };
    kill(Pid::from_raw(view), Signal::SIGTERM).unwrap();
    left(&terminal);
}

#[test]
fn a_terminal_may_become_too_small_and_large_again_and_colours_are_left_out_on_demand() {
    let (daemon, _) = daemon_with(&["anton"]);
    // Where the machine was measured, something has a colour, which says how much it does.
    let is_measured = |screen: &str| screen.contains("mem ") && !screen.contains("cpu     -");
    let colours = |terminal: &Terminal| {
        terminal.wait_for("the machine", is_measured);
        terminal.styled_screen().contains("\u{1b}[38;5;")
    };
    let terminal = open(daemon.state.path(), (120, 40), &[]);
    assert!(colours(&terminal), "{:?}", terminal.styled_screen());
    terminal.resize((70, 20));
    terminal.wait_for("how large it must be", |screen| screen.contains("80×24 is needed"));
    terminal.resize((80, 24));
    terminal.wait_for("the view", |screen| screen.contains("anton"));
    let terminal = open(daemon.state.path(), (120, 40), &[("NO_COLOR", "1")]);
    assert!(!colours(&terminal), "{:?}", terminal.styled_screen());
    // What is selected is seen without any.
    let is_reversed = |screen: &str| screen.contains("\u{1b}[7m") || screen.contains("\u{1b}[0;7m");
    assert!(is_reversed(&terminal.styled_screen()), "{:?}", terminal.styled_screen());
}

fn simward(args: &[&str]) -> Output {
    Command::new(programs!().supervisor)
        .args(args)
        .env_remove("SIMWARD_STATE_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn scripts_are_told_once_as_tables_or_as_json() {
    let (daemon, handles) = daemon_with(&["anton", "berta"]);
    let state = daemon.state.path().to_str().unwrap();
    let told = |how: &str| {
        let output = simward(&["top", how, "--state-dir", state]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let tables = wait_for("a sample with the calls", || {
        Some(told("--once")).filter(|tables| tables.contains("create_session"))
    });
    for word in ["anton", "berta", "2 of 8192", "severity"] {
        assert!(tables.contains(word), "{word}: {tables}");
    }
    assert!(!tables.contains('\u{1b}'), "no orders for a terminal: {tables}");
    let json: Value = serde_json::from_str(&told("--json")).unwrap();
    let sessions = json["sessions"].as_array().unwrap();
    let mut ids: Vec<_> = sessions.iter().map(|it| it["session_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut handles: Vec<_> = handles.iter().map(String::as_str).collect();
    handles.sort_unstable();
    assert_eq!(ids, handles);
    assert_eq!((&json["pool"]["awake"], &json["pool"]["workers"]), (&json!(2), &json!(2)));
    assert!(sessions.iter().all(|it| it["resident_bytes"].as_u64().is_some()), "{sessions:?}");
    assert_eq!(json["alerts"], json!([]));
    // The view itself needs a terminal.
    let refused = simward(&["top", "--state-dir", state]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--once"));
}

#[test]
fn without_a_daemon_it_says_so_and_does_not_take_the_terminal() {
    let state = TempDir::new().unwrap();
    let terminal = Terminal::open((120, 40), &[]);
    terminal.enter(&line(state.path()));
    let screen = terminal.wait_for("its end", |screen| screen.contains("left with 1"));
    assert!(screen.contains("simward: no daemon uses the state folder"), "{screen}");
    let output = simward(&["top", "--once", "--state-dir", state.path().to_str().unwrap()]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert_eq!(simward(&["top", "--interval", "0"]).status.code(), Some(1));
}
