//! Rules: they fire, are told, survive the daemon, and act on real workers, notice first.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use hmac::{Hmac, KeyInit as _, Mac as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::Sha256;
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::auth;

/// A daemon that looks often.
pub(crate) fn setup() -> Setup {
    Setup::real(&programs!()).set("alerts.interval_secs", "0.1")
}

pub(crate) fn session(client: &mut HttpClient) -> String {
    let made = client.tool("create_session", json!({})).unwrap();
    made["session_id"].as_str().unwrap().to_owned()
}

/// A session's state, without using it; nothing if it is gone.
pub(crate) fn state(client: &mut HttpClient, id: &str) -> Option<String> {
    let listed = client.tool("list_sessions", json!({})).unwrap();
    let sessions = listed["sessions"].as_array().unwrap();
    let session = sessions.iter().find(|session| session["session_id"] == id)?;
    session["state"].as_str().map(str::to_owned)
}

/// What fires of a rule.
pub(crate) fn firing(client: &mut HttpClient, rule: &str) -> Option<Value> {
    let listed = client.tool("get_performance_alerts", json!({ "rule": rule })).unwrap();
    let alerts = listed["alerts"].as_array().unwrap();
    alerts.iter().find(|alert| alert["state"] == "firing").cloned()
}

/// What is over of a rule.
pub(crate) fn over(client: &mut HttpClient, rule: &str) -> Option<Value> {
    let listed = client.tool("get_performance_alerts", json!({ "rule": rule })).unwrap();
    listed["history"].as_array().unwrap().first().cloned()
}

/// A rule that every session breaks at once.
pub(crate) fn always(name: &str) -> Value {
    json!({ "name": name, "metric": "session_age_secs", "operator": "gte", "value": 0, "for_secs": 0 })
}

/// What the audit says of alerts.
pub(crate) fn audit_of_alerts(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "alert").collect()
}

/// What the audit says became of alerts: rule and outcome.
fn audited(path: &Path) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let alerts = audit_of_alerts(path).into_iter();
    alerts.map(|line| (text(&line["rule"]), text(&line["outcome"]))).collect()
}

#[test]
fn an_unused_session_is_put_to_sleep_and_told_of_it_before() {
    let daemon = setup().serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    let asked = json!({ "idle_secs": 3, "action": "hibernate", "grace_secs": 1 });
    let rules = client.tool("enable_auto_cleanup", asked).unwrap();
    assert_eq!(rules["rules"][0]["name"], "cleanup_idle");
    let notice = wait_for("the notice", || firing(&mut client, "cleanup_idle"));
    assert_eq!(notice["labels"]["session_id"], json!(id));
    assert_eq!(notice["action"], "hibernate");
    assert!(notice["fired_at"].as_str() < notice["acts_at"].as_str(), "{notice}");
    assert_eq!(state(&mut client, &id).as_deref(), Some("ready"), "not yet");
    wait_until("it sleeps", || state(&mut client, &id).as_deref() == Some("hibernated"));
    let told = wait_for("what was done", || {
        firing(&mut client, "cleanup_idle").filter(|alert| !alert["done"].is_null())
    });
    assert_eq!((&told["done"], &told["acts_at"]), (&json!("hibernated"), &Value::Null));
    // It is there as it was, and its use is the end of the alert.
    client.tool("step_simulation", json!({ "session_id": id, "steps": 3 })).unwrap();
    let past = wait_for("the end of it", || over(&mut client, "cleanup_idle"));
    assert_eq!((&past["why"], &past["done"]), (&json!("over"), &json!("hibernated")));
    client.tool("enable_auto_cleanup", json!({ "enabled": false })).unwrap();
    let listed = client.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!((&listed["rules"], &listed["alerts"]), (&json!([]), &json!([])));
}

#[test]
fn whoever_reads_the_notice_and_uses_the_session_keeps_it() {
    let daemon = setup().serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    let asked = json!({ "idle_secs": 1.5, "action": "close", "grace_secs": 3 });
    client.tool("enable_auto_cleanup", asked).unwrap();
    wait_for("the notice", || firing(&mut client, "cleanup_idle"));
    let told = client.tool("get_session_info", json!({ "session_id": id })).unwrap();
    let notice = &told["notices"][0];
    assert_eq!((&notice["rule"], &notice["action"]), (&json!("cleanup_idle"), &json!("close")));
    assert!(notice["acts_at"].is_string(), "{notice}");
    // Asking was use enough.
    let past = wait_for("the end of it", || over(&mut client, "cleanup_idle"));
    assert_eq!((&past["why"], &past["done"]), (&json!("over"), &Value::Null));
    wait_until("nobody uses it any more, and it is closed", || state(&mut client, &id).is_none());
}

#[test]
fn an_old_session_is_closed_after_the_audit_and_its_owner_knew() {
    let folder = TempDir::new().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let mut daemon = setup().set("audit.path", audit.to_str().unwrap()).serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    assert_eq!(daemon.workers().len(), 1);
    let asked = json!({ "age_secs": 0.1, "action": "close", "grace_secs": 1 });
    client.tool("enable_auto_cleanup", asked).unwrap();
    wait_until("it is closed", || state(&mut client, &id).is_none());
    wait_until("its worker is gone", || daemon.workers().is_empty());
    let past = wait_for("the end of it", || over(&mut client, "cleanup_age"));
    assert_eq!(past["why"], "gone");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let outcomes: Vec<_> = audited(&audit).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes[0], "fired", "first the notice: {outcomes:?}");
    let mut rest = outcomes[1..].to_vec();
    rest.sort_unstable();
    assert_eq!(rest, ["closed", "resolved"]);
}

#[test]
fn a_session_that_is_drained_is_closed_only_once_its_simulation_is_over() {
    let daemon = setup().serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    client.tool("run_simulation", json!({ "session_id": id, "duration_secs": 80_000 })).unwrap();
    let asked = json!({ "age_secs": 0.1, "action": "drain", "grace_secs": 1 });
    client.tool("enable_auto_cleanup", asked).unwrap();
    let tried = wait_for("a try", || {
        firing(&mut client, "cleanup_age").filter(|alert| alert["done"].is_string())
    });
    let done = tried["done"].as_str().unwrap();
    assert!(done.starts_with("not yet: a simulation"), "{done}");
    assert!(tried["acts_at"].is_string(), "it is tried again: {tried}");
    assert_eq!(state(&mut client, &id).as_deref(), Some("ready"));
    client.tool("pause_simulation", json!({ "session_id": id })).unwrap();
    wait_until("it is closed", || state(&mut client, &id).is_none());
}

#[test]
fn nobody_sees_or_sets_what_is_another_s_and_operators_see_all() {
    let folder = TempDir::new().unwrap();
    let scopes = ["--scope", "pool:admin", "--scope", "sim:use"];
    let [ann, bob] = ["ann", "bob"].map(|name| auth::add(folder.path(), name, &[]));
    let ops = auth::add(folder.path(), "ops", &scopes);
    let daemon = auth::setup(folder.path()).set("alerts.interval_secs", "0.1").serve();
    let [mut ann, mut bob, mut ops] = [ann, bob, ops].map(|it| daemon.client().with_token(&it));
    let id = session(&mut ann);
    let own = json!({ "set": [always("mine")] });
    ann.tool("set_performance_thresholds", own.clone()).unwrap();
    bob.tool("set_performance_thresholds", own).unwrap();
    let fleet = json!({ "set": [always("all")], "all_tenants": true });
    let refused = bob.tool("set_performance_thresholds", fleet.clone()).unwrap_err();
    assert_eq!(refused["code"], "insufficient_scope");
    ops.tool("set_performance_thresholds", fleet).unwrap();
    let alert = wait_for("her own rule", || firing(&mut ann, "mine"));
    assert_eq!(alert["labels"], json!({ "session_id": id, "tenant": "ann" }));
    wait_for("the operators' rule about her session", || firing(&mut ann, "all"));
    let listed = ann.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!(listed["rules"].as_array().unwrap().len(), 1, "the operators' are not hers");
    // Bob has a rule of that name and no session.
    let listed = bob.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!((&listed["alerts"], &listed["history"]), (&json!([]), &json!([])));
    let listed = ops.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!(listed["rules"].as_array().unwrap().len(), 3);
    assert_eq!(listed["alerts"].as_array().unwrap().len(), 2);
    for (metric, code) in [("host_memory_ratio", "invalid_argument"), ("warp", "metric_unknown")] {
        let set = json!({ "set": [{ "metric": metric, "value": 1 }] });
        assert_eq!(bob.tool("set_performance_thresholds", set).unwrap_err()["code"], code);
    }
    let routed = json!({ "set": [{ "metric": "cpu", "value": 1, "routes": ["webhook"] }] });
    let refused = bob.tool("set_performance_thresholds", routed).unwrap_err();
    assert!(refused["message"].as_str().unwrap().contains("operators'"), "{refused}");
    let removed = bob.tool("set_performance_thresholds", json!({ "remove": ["all"] }));
    assert_eq!(removed.unwrap_err()["code"], "rule_unknown");
}

#[test]
fn a_killed_daemon_knows_its_rules_and_tells_nobody_twice() {
    let folder = TempDir::new().unwrap();
    let (kept, audit) = (folder.path().join("state"), folder.path().join("audit.jsonl"));
    let start = || setup().set("audit.path", audit.to_str().unwrap()).serve_at(&kept);
    let mut daemon = start();
    let mut client = daemon.client();
    let id = session(&mut client);
    client.tool("set_performance_thresholds", json!({ "set": [always("old")] })).unwrap();
    let before = wait_for("an alert", || firing(&mut client, "old"));
    wait_until("the audit knows", || !audited(&audit).is_empty());
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    drop(daemon);
    let daemon = start();
    let mut client = daemon.client();
    let after = firing(&mut client, "old").expect("it fires still");
    assert_eq!(after["fired_at"], before["fired_at"]);
    assert_eq!(after["labels"]["session_id"], json!(id));
    client.tool("close_session", json!({ "session_id": id })).unwrap();
    let past = wait_for("the end of it", || over(&mut client, "old"));
    assert_eq!((&past["why"], &past["fired_at"]), (&json!("gone"), &before["fired_at"]));
    wait_until("the audit knows", || audited(&audit).len() == 2);
    let told = audited(&audit).into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>();
    assert_eq!(told, ["fired", "resolved"]);
}

#[test]
fn a_listener_hears_when_something_fires_and_when_it_is_over() {
    let daemon = setup().serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    let uri = "performance://alerts";
    let params = json!({ "notifications": { "resourceSubscriptions": [uri] } });
    let mut listener = daemon.client().open("subscriptions/listen", params);
    listener.message();
    client.tool("set_performance_thresholds", json!({ "set": [always("old")] })).unwrap();
    let mut read = |count: usize| {
        let told = listener.message();
        assert_eq!(told["params"]["uri"], uri, "{told}");
        let answer = client.ask("resources/read", Some(uri), json!({ "uri": uri }));
        let text = answer["result"]["contents"][0]["text"].as_str().unwrap();
        let alerts: Value = serde_json::from_str(text).unwrap();
        assert_eq!(alerts["alerts"].as_array().unwrap().len(), count, "{alerts}");
    };
    read(1);
    daemon.client().tool("close_session", json!({ "session_id": id })).unwrap();
    read(0);
}

/// A configuration with a rule of the operators' that tells a webhook and a program.
fn configuration(folder: &Path, port: u16) -> PathBuf {
    std::fs::write(folder.join("secret"), "hush\n").unwrap();
    let text = format!(
        "[alerts]\ninterval_secs = 0.1\n\
         [alerts.webhook]\nurl = \"http://127.0.0.1:{port}/api/v2/alerts\"\n\
         secret_file = \"{folder}/secret\"\n\
         [[alerts.exec]]\nname = \"page\"\nargv = [\"sh\", \"-c\", \"cat >> {folder}/paged\"]\n\
         [[alerts.rules]]\nname = \"old\"\nmetric = \"session_age_secs\"\noperator = \"gte\"\n\
         value = 0.0\nfor_secs = 0.0\nseverity = \"critical\"\nrunbook = \"close it\"\n\
         routes = [\"log\", \"webhook\", \"exec:page\"]\n",
        folder = folder.display()
    );
    let path = folder.join("simward.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Takes one request, checks who signed it, and answers.
fn take(listener: &TcpListener, status: &str) -> Value {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let (mut length, mut time, mut signature) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            assert!(line.starts_with("POST /api/v2/alerts "), "{line}");
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-simward-timestamp" => value.clone_into(&mut time),
            "x-simward-signature" => value.clone_into(&mut signature),
            _ => (),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(&body);
    let mut expected = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        write!(expected, "{byte:02x}").unwrap();
    }
    assert_eq!(signature, expected);
    let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_webhook_and_a_program_are_told_what_fires_and_what_is_over() {
    let folder = TempDir::new().unwrap();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = configuration(folder.path(), hook.local_addr().unwrap().port());
    let setup = Setup::real(&programs!()).args(&["--config", config.to_str().unwrap()]);
    let daemon = setup.serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    let refused = take(&hook, "500 Internal Server Error");
    let fired = take(&hook, "200 OK");
    assert_eq!(fired, refused, "what failed is sent again");
    let fired = &fired[0];
    assert_eq!(fired["labels"]["alertname"], "old");
    assert_eq!(fired["labels"]["severity"], "critical");
    assert_eq!(fired["labels"]["session_id"], json!(id));
    assert_eq!(fired["annotations"]["runbook"], "close it");
    assert!(fired["startsAt"].as_str() < fired["endsAt"].as_str(), "{fired}");
    client.tool("close_session", json!({ "session_id": id })).unwrap();
    let over = take(&hook, "200 OK");
    assert_eq!(over[0]["startsAt"], fired["startsAt"]);
    assert!(over[0]["endsAt"].as_str() < fired["endsAt"].as_str(), "it is over now: {over}");
    let paged = folder.path().join("paged");
    let kinds = || {
        let text = std::fs::read_to_string(&paged).unwrap_or_default();
        let notices = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let kinds = notices.map_while(Result::ok).map(|it| it["kind"].as_str().unwrap().to_owned());
        kinds.collect::<Vec<_>>()
    };
    wait_until("the program is told", || kinds() == ["fired", "resolved"]);
    let listed = client.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!(listed["notices_failed_total"], 0);
    let taken = json!({ "remove": ["old"], "all_tenants": true });
    let refused = client.tool("set_performance_thresholds", taken).unwrap_err();
    assert_eq!(refused["code"], "rule_configured");
}

/// A configuration with a rule of the operators' that tells only programs, by name and script.
fn with_programs(folder: &Path, programs: &[(&str, String)]) -> PathBuf {
    let quoted = |text: &str| Value::from(text).to_string();
    let routes = programs.iter().map(|(name, _)| quoted(&format!("exec:{name}")));
    let mut text = format!(
        "[alerts]\ninterval_secs = 0.1\n[[alerts.rules]]\nname = \"old\"\n\
         metric = \"session_age_secs\"\noperator = \"gte\"\nvalue = 0.0\nfor_secs = 0.0\n\
         routes = [{}]\n",
        routes.collect::<Vec<_>>().join(", ")
    );
    for (name, script) in programs {
        let script = quoted(script);
        write!(text, "[[alerts.exec]]\nname = \"{name}\"\nargv = [\"sh\", \"-c\", {script}]\n")
            .unwrap();
    }
    let path = folder.join("simward.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_program_that_takes_its_time_lives_on_when_a_worker_dies() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let script = format!(
        "cat > /dev/null; touch {}; while [ ! -e {} ]; do sleep 0.05; done; touch {}",
        at("told").display(),
        at("go").display(),
        at("finished").display(),
    );
    let config = with_programs(folder.path(), &[("page", script)]);
    let daemon = Setup::real(&programs!()).args(&["--config", config.to_str().unwrap()]).serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    wait_until("the program runs", || at("told").exists());
    let mut worker = || {
        let told = client.tool("get_session_info", json!({ "session_id": id })).unwrap();
        told["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
    };
    let first = worker().unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    wait_until("there is another worker", || worker().is_some_and(|other| other != first));
    std::fs::write(at("go"), "").unwrap();
    wait_until("the program has finished", || at("finished").exists());
    let listed = client.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!(listed["notices_failed_total"], 0);
}

#[test]
fn a_program_that_hangs_holds_no_other_up_and_what_waits_is_told_before_the_end() {
    let folder = TempDir::new().unwrap();
    let told = folder.path().join("told");
    let programs = [
        ("hangs", "sleep 1000".to_owned()),
        ("page", format!("sleep 0.3; cat >> {}", told.display())),
    ];
    let config = with_programs(folder.path(), &programs);
    let setup = Setup::real(&programs!()).args(&["--config", config.to_str().unwrap()]);
    let mut daemon = setup.set("alerts.exec_timeout_secs", "3600").serve();
    let mut client = daemon.client();
    let count = || {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        serde_json::Deserializer::from_str(&text).into_iter::<Value>().count()
    };
    for expected in 1..=2 {
        session(&mut client);
        wait_until("the other one is told", || count() == expected);
    }
    session(&mut client);
    wait_until("the third fires", || {
        let listed = client.tool("get_performance_alerts", json!({})).unwrap();
        listed["alerts"].as_array().unwrap().len() == 3
    });
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    assert_eq!(count(), 3);
}

fn simward(daemon: &Daemon, args: &[&str]) -> (bool, String, String) {
    let output = Command::new(programs!().supervisor)
        .args(["alerts", "--state-dir", daemon.state.path().to_str().unwrap()])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn operators_list_try_silence_export_and_import_from_the_command_line() {
    let daemon = setup().serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    let fleet = json!({ "set": [always("old")], "all_tenants": true });
    client.tool("set_performance_thresholds", fleet).unwrap();
    wait_for("an alert", || firing(&mut client, "old"));
    let (ok, table, _) = simward(&daemon, &["list"]);
    assert!(ok && table.contains("firing") && table.contains(&id), "{table}");
    let (_, listed, _) = simward(&daemon, &["list", "--json", "--severity", "critical"]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["alerts"], json!([]));
    let line = "metric = \"session_age_secs\", operator = \"gte\", value = 0.0, for_secs = 0.0";
    for rule in ["old", line] {
        let (ok, trial, error) = simward(&daemon, &["test", rule, "--last", "60", "--json"]);
        assert!(ok, "{error}");
        let trial: Value = serde_json::from_str(&trial).unwrap();
        assert_eq!(trial["fired_total"], 1, "{trial}");
        assert_eq!(trial["firings"][0]["labels"]["session_id"], json!(id));
    }
    assert!(!simward(&daemon, &["test", "nothing"]).0);
    let (ok, said, error) = simward(&daemon, &["silence", "old", "--for", "60"]);
    assert!(ok && said.contains("old of fleet is silent until"), "{said}{error}");
    assert!(!simward(&daemon, &["silence", "nothing", "--for", "60"]).0);
    let (_, yaml, left_out) = simward(&daemon, &["export"]);
    assert!(yaml.contains("expr: \"simward_session_age_seconds >= 0\""), "{yaml}");
    assert!(left_out.contains("`old` is exported without no_data"), "{left_out}");
    let file = daemon.state.path().join("rules.yml");
    let more = "      - alert: sum\n        expr: sum(simward_session_age_secs) > 1\n";
    std::fs::write(&file, yaml.replace("\"old\"", "\"new\"") + more).unwrap();
    let (ok, said, error) = simward(&daemon, &["import", file.to_str().unwrap()]);
    assert!(!ok && error.contains("1 rules were not taken"), "{error}");
    assert!(said.contains("taken: new") && said.contains("not taken: `sum`"), "{said}");
    wait_for("what was taken fires", || firing(&mut client, "new"));
}
