//! Run by a service manager: what it hands over is used, and it hears what it wants to hear.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use simward_tests::client::HttpClient;
use simward_tests::{models, programs};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A service manager, as far as one service needs it.
struct Manager {
    socket: TcpListener,
    ears: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let ears = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        ears.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket: TcpListener::bind("127.0.0.1:0").unwrap(), ears, folder }
    }

    /// Starts the service, with the socket as its descriptor 3.
    fn start(&self) -> Child {
        // The handed-over process is who `LISTEN_PID` names: the shell becomes it.
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
        Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(programs!().supervisor)
            .args(["serve", "--listen", "203.0.113.1:1", "--worker"])
            .arg(programs!().worker)
            .arg("--state-dir")
            .arg(self.folder.path().join("state"))
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", "200000")
            .stdin(OwnedFd::from(self.socket.try_clone().unwrap()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Waits until the service says something.
    fn hears(&self, wanted: &str) -> String {
        let mut heard = [0; 4096];
        loop {
            let length = self.ears.recv(&mut heard).unwrap_or_else(|_| panic!("no {wanted}"));
            let text = String::from_utf8_lossy(&heard[..length]).into_owned();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
        }
    }

    fn client(&self) -> HttpClient {
        HttpClient::connect(self.socket.local_addr().unwrap())
    }
}

fn end(mut child: Child) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn it_says_when_it_is_ready_that_it_lives_and_when_it_stops() {
    let manager = Manager::new();
    let service = manager.start();
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=serving at http://127.0.0.1:"), "{ready}");
    // The watchdog hears of it again and again, with how many sessions there are.
    manager.hears("WATCHDOG=1");
    manager.client().tool("create_session", json!({})).unwrap();
    while !manager.hears("WATCHDOG=1").contains("1 sessions") {}
    end(service);
    manager.hears("STOPPING=1");
}

#[test]
fn a_service_that_stands_still_says_nothing_to_its_watchdog() {
    let manager = Manager::new();
    let mut service = manager.start();
    manager.hears("WATCHDOG=1");
    let pid = Pid::from_raw(i32::try_from(service.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    manager.ears.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut heard = [0; 4096];
    // What it has said before; and then nothing for five times as long as it may be silent.
    while manager.ears.recv(&mut heard).is_ok() {}
    kill(pid, Signal::SIGKILL).unwrap();
    service.wait().unwrap();
}

#[test]
fn nobody_is_refused_while_the_service_is_replaced_and_no_session_is_lost() {
    let manager = Manager::new();
    let service = manager.start();
    manager.hears("READY=1");
    let mut client = manager.client();
    client.tool("create_scene", json!({ "scene": "double_pendulum" })).unwrap();
    let step = json!({ "steps": 500, "include": ["qpos", "qvel"] });
    let stepped = client.tool("step_simulation", step).unwrap();
    end(service);
    // Nobody is there, and yet somebody may call.
    let mut early = TcpStream::connect(manager.socket.local_addr().unwrap()).unwrap();
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    early
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let service = manager.start();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut client = manager.client();
    let state = client.tool("get_state", json!({ "include": ["qpos", "qvel"] })).unwrap();
    assert_eq!(state["qpos"], stepped["state"]["qpos"], "to the last bit");
    assert_eq!(state["time_secs"], stepped["time_secs"]);
    end(service);
}

/// The unit as it is shipped, but for where the program is.
fn units(folder: &Path) -> std::path::PathBuf {
    for name in ["simward.service", "simward.socket"] {
        let unit = models::root().join("deploy/systemd").join(name);
        let text = std::fs::read_to_string(unit).unwrap();
        let program = programs!().supervisor.display().to_string();
        std::fs::write(folder.join(name), text.replace("/usr/bin/simward", &program)).unwrap();
    }
    folder.join("simward.service")
}

#[test]
fn the_unit_says_nothing_that_systemd_does_not_understand() {
    let folder = TempDir::new().unwrap();
    let unit = units(folder.path());
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output();
    let output = output.expect("systemd-analyze is missing: run `make setup-tests`");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Units of the machine itself are none of ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("simward")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_leaves_the_service_little_to_do_harm_with() {
    let folder = TempDir::new().unwrap();
    let unit = units(folder.path());
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=30"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
}
