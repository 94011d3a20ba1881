//! Who is let in, to what, and that somebody else's things do not exist.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::client::{HttpClient, LEGACY};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::Http;
use simward_tests::programs;
use simward_tests::wait::wait_until;
use tempfile::TempDir;

use crate::habits::{least, tools};

/// A daemon that asks for tokens, and where they are.
struct Guarded {
    daemon: Daemon,
    folder: TempDir,
}

/// Makes a token.
pub(crate) fn add(folder: &Path, name: &str, more: &[&str]) -> String {
    let output = Command::new(programs!().supervisor)
        .args(["token", "add", name, "--file"])
        .arg(folder.join("tokens.toml"))
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A daemon that asks for the tokens of that folder.
pub(crate) fn setup(folder: &Path) -> Setup {
    let file = folder.join("tokens.toml").display().to_string();
    Setup::real(&programs!()).set("auth.mode", "tokens").set("auth.tokens_file", &file)
}

impl Guarded {
    fn new(folder: TempDir) -> Self {
        Self { daemon: setup(folder.path()).serve(), folder }
    }

    fn client(&self, token: &str) -> HttpClient {
        self.daemon.client().with_token(token)
    }
}

/// A request, bare: its status and its challenge.
fn knock(daemon: &Daemon, authorization: Option<&str>, body: &Value) -> (u16, String) {
    let mut http = Http::connect(daemon.address).unwrap();
    let method = body["method"].as_str().unwrap();
    let mut headers = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-method", method),
    ];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let answer = http.ask("POST", "/mcp", &headers, body.to_string().as_bytes()).unwrap();
    (answer.status, answer.header("www-authenticate").unwrap_or_default().to_owned())
}

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": LEGACY, "capabilities": {},
        "clientInfo": { "name": "tests", "version": "0" }
    } })
}

#[test]
fn only_who_has_a_token_is_let_in() {
    let folder = TempDir::new().unwrap();
    let token = add(folder.path(), "ann", &[]);
    let old = add(folder.path(), "bob", &["--days", "0"]);
    let guarded = Guarded::new(folder);
    let knock = |with: Option<&str>| knock(&guarded.daemon, with, &initialize());
    let (status, challenge) = knock(None);
    assert_eq!((status, challenge.as_str()), (401, "Bearer realm=\"simward\""));
    for wrong in ["Bearer swt_00", &format!("Bearer {old}"), "Bearer ", "Bearer \u{e9}"] {
        let (status, challenge) = knock(Some(wrong));
        assert_eq!(status, 401, "{wrong}");
        assert!(challenge.starts_with("Bearer"), "{wrong}: {challenge}");
    }
    assert_eq!(knock(Some(&format!("Basic {token}"))).0, 401);
    assert_eq!(knock(Some(&format!("Bearer {token}"))).0, 200);
    // Whether the daemon is there, everybody may know; files are for those who may use it.
    let mut http = Http::connect(guarded.daemon.address).unwrap();
    assert_eq!(http.ask("GET", "/healthz", &[], b"").unwrap().status, 200);
    assert_eq!(http.ask("POST", "/assets", &[], b"x").unwrap().status, 401);
    let bearer = format!("Bearer {token}");
    let with = [("authorization", bearer.as_str())];
    assert_eq!(http.ask("POST", "/assets", &with, b"x").unwrap().status, 201);
}

#[test]
fn a_token_sees_and_does_what_its_scopes_allow() {
    let folder = TempDir::new().unwrap();
    let user = add(folder.path(), "user", &[]);
    let admin = add(folder.path(), "admin", &["--scope", "pool:admin", "--scope", "sim:use"]);
    let watcher = add(folder.path(), "watcher", &["--scope", "metrics:read"]);
    let guarded = Guarded::new(folder);
    let names = |client: &mut HttpClient| -> Vec<String> {
        tools(client).iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let (mut user, mut admin) = (guarded.client(&user), guarded.client(&admin));
    let (of_user, of_admin) = (names(&mut user), names(&mut admin));
    let only_admin: Vec<_> = of_admin.iter().filter(|name| !of_user.contains(name)).collect();
    let pool = ["get_process_pool_stats", "list_active_processes", "restart_process"];
    assert_eq!(only_admin, [pool.as_slice(), &["terminate_process"]].concat());
    assert_eq!(names(&mut guarded.client(&watcher)), [""; 0]);
    let list = user.ask("tools/list", None, json!({}));
    assert_eq!(list["result"]["cacheScope"], "private", "lists differ by who asks");

    let session = user.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let kill = json!({ "session_id": session });
    let answer = user.tool_raw("terminate_process", kill.clone());
    assert_eq!(answer.status, 403, "{}", answer.text());
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\", scope=\"pool:admin\""),
        "{challenge}"
    );
    let stats = user.ask("resources/list", None, json!({}));
    assert_eq!(stats["result"]["resources"].as_array().unwrap().len(), 2, "{stats}");
    let read = json!({ "uri": "pool://stats" });
    assert_eq!(user.request("resources/read", Some("pool://stats"), read).status, 403);
    // An administrator sees everybody's processes, and may end them.
    let processes = admin.tool("list_active_processes", json!({})).unwrap();
    assert_eq!(processes["processes"][0]["tenant"], "user");
    admin.tool("terminate_process", kill).unwrap();
    assert_eq!(user.tool("list_sessions", json!({})).unwrap()["sessions"], json!([]));
}

/// What somebody has, who is not the one who asks.
struct Belongings {
    session: Value,
    snapshot: Value,
    recording: Value,
    run: Value,
}

impl Belongings {
    fn of(owner: &mut HttpClient) -> Self {
        let session = owner.tool("create_session", json!({})).unwrap()["session_id"].clone();
        let mut tool = |name: &str, mut arguments: Value| {
            arguments["session_id"] = session.clone();
            owner.tool(name, arguments).unwrap()
        };
        tool("create_scene", json!({ "scene": "pendulum" }));
        let snapshot = tool("get_snapshot", json!({}))["snapshot_id"].clone();
        let recording = tool("start_recording", json!({ "channels": ["qpos"] }));
        let recording = recording["recording_id"].clone();
        let run = tool("step_simulation", json!({ "steps": 10, "as_run": true }))["run_id"].clone();
        let done = json!({ "run_id": run, "wait_secs": 20 });
        assert_eq!(owner.tool("get_run", done).unwrap()["state"], "completed");
        Self { session, snapshot, recording, run }
    }

    /// No tool tells a stranger whether there is such a session.
    fn are_nothing_to_any_tool(&self, stranger: &mut HttpClient) {
        let nowhere = json!(format!("sim_{}", "0".repeat(32)));
        for tool in tools(stranger) {
            if tool["inputSchema"]["properties"].get("session_id").is_none() {
                continue;
            }
            let name = tool["name"].as_str().unwrap();
            let mut refusal = |session: &Value| {
                let mut arguments = match name {
                    "create_scene" => json!({ "scene": "pendulum" }),
                    "load_model" => json!({ "model_xml": "<mujoco/>" }),
                    _ => least(&tool),
                };
                arguments["session_id"] = session.clone();
                let refused = stranger.tool(name, arguments).unwrap_err();
                let text = refused.to_string().replace(session.as_str().unwrap(), "SESSION");
                (refused["code"].clone(), text)
            };
            let (foreign, none) = (refusal(&self.session), refusal(&nowhere));
            assert_eq!(foreign, none, "{name} tells them apart");
            // There is no Menagerie here, which is looked at first.
            if name != "create_menagerie_scene" {
                assert_eq!(foreign.0, "session_unknown", "{name}");
            }
        }
    }

    /// Neither are its other handles and addresses.
    fn are_nothing_by_any_handle(&self, stranger: &mut HttpClient) {
        stranger.tool("create_scene", json!({ "scene": "pendulum" })).unwrap();
        for (tool, arguments, code) in [
            ("restore_snapshot", json!({ "snapshot_id": self.snapshot }), "snapshot_unknown"),
            ("delete_snapshot", json!({ "snapshot_id": self.snapshot }), "snapshot_unknown"),
            ("get_run", json!({ "run_id": self.run }), "run_unknown"),
            ("cancel_run", json!({ "run_id": self.run }), "run_unknown"),
        ] {
            let refused = stranger.tool(tool, arguments).unwrap_err();
            assert_eq!(refused["code"], code, "{tool}: {refused}");
        }
        stranger.tool("unload_model", json!({})).unwrap();
        let session = self.session.as_str().unwrap();
        for uri in [
            format!("sim://{session}/state"),
            format!("sim://{session}/model/model.xml"),
            format!("sim://{session}/recordings/{}.csv", self.recording.as_str().unwrap()),
        ] {
            let answer = stranger.ask("resources/read", Some(&uri), json!({ "uri": uri }));
            assert_eq!(answer["error"]["code"], -32602, "{uri}: {answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains("no resource"));
        }
        let sessions = stranger.tool("list_sessions", json!({})).unwrap();
        assert!(!sessions.to_string().contains(session), "{sessions}");
        assert_eq!(stranger.tool("list_runs", json!({})).unwrap()["runs"], json!([]));
    }
}

#[test]
fn somebody_elses_things_do_not_exist_for_any_tool_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (add(folder.path(), "ann", &[]), add(folder.path(), "bob", &[]));
    let cid = add(folder.path(), "cid", &["--tenant", "ann"]);
    let kept = TempDir::new().unwrap();
    let mut daemon = setup(folder.path()).serve_at(kept.path());
    let belongings = Belongings::of(&mut daemon.client().with_token(&ann));
    for is_last in [false, true] {
        let mut stranger = daemon.client().with_token(&bob);
        belongings.are_nothing_to_any_tool(&mut stranger);
        belongings.are_nothing_by_any_handle(&mut stranger);
        // Another token of the same tenant has all of it.
        let mut friend = daemon.client().with_token(&cid);
        let session = json!({ "session_id": belongings.session });
        let state = friend.tool("get_state", session).unwrap();
        assert!(0.0 < state["time_secs"].as_f64().unwrap(), "{state}");
        if !is_last {
            daemon.signal(Signal::SIGTERM);
            daemon.wait();
            daemon = setup(folder.path()).serve_at(kept.path());
        }
    }
}

#[test]
fn a_conversation_of_the_older_protocol_is_its_openers_alone() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (add(folder.path(), "ann", &[]), add(folder.path(), "bob", &[]));
    let guarded = Guarded::new(folder);
    let mut http = Http::connect(guarded.daemon.address).unwrap();
    let mut send = |token: &str, id: Option<&str>, body: &Value| {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", LEGACY),
            ("authorization", bearer.as_str()),
        ];
        headers.extend(id.map(|id| ("mcp-session-id", id)));
        http.ask("POST", "/mcp", &headers, body.to_string().as_bytes()).unwrap()
    };
    let opened = send(&ann, None, &initialize());
    let id = opened.header("mcp-session-id").unwrap().to_owned();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(send(&ann, Some(&id), &ready).status, 202);
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    assert_eq!(send(&bob, Some(&id), &list).status, 404, "not even that it exists");
    assert_eq!(send(&ann, Some(&id), &list).status, 200);
}

#[test]
fn tokens_come_and_go_while_the_daemon_runs() {
    let folder = TempDir::new().unwrap();
    let ann = add(folder.path(), "ann", &[]);
    let guarded = Guarded::new(folder);
    let bob = add(guarded.folder.path(), "bob", &[]);
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        knock(&guarded.daemon, Some(&bearer), &initialize()).0
    };
    assert_eq!((status(&ann), status(&bob)), (200, 401), "it has not read it yet");
    guarded.daemon.signal(Signal::SIGHUP);
    wait_until("it has read the tokens anew", || status(&bob) == 200);
    let token = |arguments: &[&str]| {
        let file = guarded.folder.path().join("tokens.toml");
        let mut command = Command::new(programs!().supervisor);
        command.arg("token").args(arguments).arg("--file").arg(file).output().unwrap()
    };
    assert!(token(&["revoke", "ann"]).status.success());
    guarded.daemon.signal(Signal::SIGHUP);
    wait_until("it has forgotten her", || status(&ann) == 401);
    // A file that makes no sense changes nothing.
    let file = guarded.folder.path().join("tokens.toml");
    let sound = std::fs::read(&file).unwrap();
    std::fs::write(&file, "[[token]\n").unwrap();
    guarded.daemon.signal(Signal::SIGHUP);
    assert_eq!(status(&bob), 200);
    std::fs::write(&file, sound).unwrap();
    let listed: Value = serde_json::from_slice(&token(&["list", "--json"]).stdout).unwrap();
    assert_eq!(
        listed,
        json!([{
            "name": "bob", "tenant": "bob", "scopes": ["sim:use"], "expires": null, "is_over": false
        }])
    );
    assert!(!token(&["add", "bob"]).status.success(), "there is one already");
    assert!(!token(&["revoke", "ann"]).status.success(), "she is gone");
}

#[test]
fn a_daemon_that_anybody_could_reach_does_not_start_without_a_word() {
    let refused = |settings: &[&str]| {
        let state = TempDir::new().unwrap();
        let mut command = Command::new(programs!().supervisor);
        command.args(["serve", "--listen", "0.0.0.0:0", "--worker"]).arg(programs!().worker);
        command.arg("--state-dir").arg(state.path());
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&[]).contains("auth.allow_anonymous"), "{}", refused(&[]));
    let missing = refused(&["auth.mode=tokens"]);
    assert!(missing.contains("tokens.toml cannot be read"), "{missing}");
    let folder = TempDir::new().unwrap();
    add(folder.path(), "ann", &[]);
    let file = folder.path().join("tokens.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let setting = format!("auth.tokens_file={}", file.display());
    let open = refused(&["auth.mode=tokens", &setting]);
    assert!(open.contains("chmod 600"), "{open}");
}

#[test]
fn the_audit_says_who_did_what_and_not_what_it_carried() {
    let folder = TempDir::new().unwrap();
    let ann = add(folder.path(), "ann", &["--tenant", "lab"]);
    let audit = folder.path().join("audit.jsonl");
    let setup = setup(folder.path()).set("audit.path", audit.to_str().unwrap());
    let mut daemon = setup.serve();
    let mut client = daemon.client().with_token(&ann);
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let scene = json!({ "session_id": session, "scene": "pendulum", "model_id": "secret" });
    client.tool("create_scene", scene).unwrap();
    client.tool("get_state", json!({ "session_id": "sim_0" })).unwrap_err();
    assert_eq!(client.tool_raw("terminate_process", json!({ "pid": 1 })).status, 403);
    assert_eq!(knock(&daemon, Some("Bearer swt_00"), &initialize()).0, 401);
    let mut http = Http::connect(daemon.address).unwrap();
    assert_eq!(http.ask("POST", "/assets", &[], b"x").unwrap().status, 401);
    let bearer = format!("Bearer {ann}");
    let sent = http.ask("POST", "/assets", &[("authorization", &bearer)], b"xyz").unwrap();
    assert_eq!(sent.status, 201);
    let foreign = [("authorization", bearer.as_str()), ("origin", "https://evil.example")];
    assert_eq!(http.ask("POST", "/assets", &foreign, b"x").unwrap().status, 403);
    client.tool_raw("no_such_tool", json!({}));
    let uri = format!("sim://{}/state", session.as_str().unwrap());
    client.ask("resources/read", Some(&uri), json!({ "uri": uri }));
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let text = std::fs::read_to_string(&audit).unwrap();
    assert!(!text.contains("secret") && !text.contains("swt_"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |line: &Value| {
        ["event", "tenant", "caller", "tool", "outcome"]
            .map(|field| line[field].as_str().unwrap_or("-").to_owned())
    };
    let told: Vec<[String; 5]> = lines.iter().map(told).collect();
    let wanted = [
        ["call", "lab", "ann", "create_session", "ok"],
        ["call", "lab", "ann", "create_scene", "ok"],
        ["call", "lab", "ann", "get_state", "session_unknown"],
        ["denied", "lab", "ann", "terminate_process", "403"],
        ["denied", "-", "-", "-", "401"],
        ["denied", "-", "-", "-", "401"],
        ["upload", "lab", "ann", "-", "ok"],
        ["denied", "-", "-", "-", "403"],
        ["call", "lab", "ann", "no_such_tool", "rejected"],
        ["read", "lab", "ann", "-", "ok"],
    ];
    assert_eq!(told, wanted);
    assert_eq!(lines[1]["session_id"], session);
    assert_eq!((&lines[6]["request_bytes"], &lines[9]["resource"]), (&json!(3), &json!(uri)));
    for line in &lines[..3] {
        assert!(
            0.0 < line["millis"].as_f64().unwrap() && 0 < line["request_bytes"].as_u64().unwrap()
        );
        assert!(line["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert!(line["at"].as_str().unwrap().ends_with('Z'));
    }
    let mode = std::fs::metadata(&audit).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
