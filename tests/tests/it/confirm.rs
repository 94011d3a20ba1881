//! Before sessions are ended that others own, the user is asked, where the client can ask.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::Daemon;
use tempfile::TempDir;

use crate::auth;

/// A daemon with an administrator, and a session of a user's.
struct Scene {
    daemon: Daemon,
    admin: String,
    user: String,
    session: String,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let admin = auth::add(folder.path(), "admin", &["--scope", "pool:admin"]);
        let user = auth::add(folder.path(), "user", &[]);
        let daemon = auth::setup(folder.path()).serve();
        let mut client = daemon.client().with_token(&user);
        let made = client.tool("create_session", json!({})).unwrap();
        let session = made["session_id"].as_str().unwrap().to_owned();
        Self { daemon, admin, user, session, _folder: folder }
    }

    /// A client of the administrator's that can ask.
    fn asking(&self) -> HttpClient {
        let mut client = self.daemon.client().with_token(&self.admin);
        client.declare(json!({ "elicitation": { "form": {} } }));
        client
    }

    fn is_there(&self) -> bool {
        let mut client = self.daemon.client().with_token(&self.user);
        client.tool("get_session_info", json!({ "session_id": self.session })).is_ok()
    }

    fn target(&self) -> Value {
        json!({ "session_id": self.session })
    }
}

fn terminate(client: &mut HttpClient, arguments: &Value, answer: Option<(&Value, Value)>) -> Value {
    let mut params = json!({ "name": "terminate_process", "arguments": arguments });
    if let Some((asked, answer)) = answer {
        params["inputResponses"] = json!({ "confirm": answer });
        params["requestState"] = asked["requestState"].clone();
    }
    client.ask("tools/call", Some("terminate_process"), params)["result"].clone()
}

fn yes() -> Value {
    json!({ "action": "accept", "content": { "confirm": true } })
}

#[test]
fn a_user_who_agrees_is_asked_once() {
    let scene = Scene::new();
    let mut client = scene.asking();
    let asked = terminate(&mut client, &scene.target(), None);
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let question = &asked["inputRequests"]["confirm"];
    assert_eq!(question["method"], "elicitation/create");
    let message = question["params"]["message"].as_str().unwrap();
    assert!(message.contains(&scene.session), "{message}");
    assert!(scene.is_there(), "a question ends nothing");
    let done = terminate(&mut client, &scene.target(), Some((&asked, yes())));
    assert_eq!(done["structuredContent"]["sessions_closed"], json!([scene.session]), "{done}");
    assert!(!scene.is_there());
}

#[test]
fn a_user_who_does_not_agree_ends_nothing() {
    let scene = Scene::new();
    let mut client = scene.asking();
    let asked = terminate(&mut client, &scene.target(), None);
    for no in [
        json!({ "action": "decline" }),
        json!({ "action": "cancel" }),
        json!({ "action": "accept", "content": { "confirm": false } }),
        json!({ "action": "accept", "content": {} }),
        json!("yes"),
    ] {
        let done = terminate(&mut client, &scene.target(), Some((&asked, no)));
        assert_eq!(done["structuredContent"]["code"], "declined", "{done}");
    }
    assert!(scene.is_there());
}

#[test]
fn an_answer_to_one_question_is_none_to_another() {
    let scene = Scene::new();
    let mut client = scene.asking();
    let asked = terminate(&mut client, &scene.target(), None);
    let mut user = scene.daemon.client().with_token(&scene.user);
    let info = user.tool("get_session_info", scene.target()).unwrap();
    let by_pid = json!({ "pid": info["pid"] });
    // Other arguments, a state that is made up, one that is not there.
    let again = terminate(&mut client, &by_pid, Some((&asked, yes())));
    assert_eq!(again["resultType"], "input_required", "{again}");
    for state in [json!("made up"), Value::Null] {
        let made_up = json!({ "requestState": state });
        let again = terminate(&mut client, &scene.target(), Some((&made_up, yes())));
        assert_eq!(again["resultType"], "input_required", "{again}");
    }
    assert!(scene.is_there());
}

#[test]
fn nobody_is_asked_who_cannot_answer_nor_for_what_does_nothing() {
    let scene = Scene::new();
    let mut client = scene.asking();
    let would = client
        .tool("terminate_process", json!({ "session_id": scene.session, "dry_run": true }))
        .unwrap();
    assert_eq!(would["sessions_closed"], json!([scene.session]));
    assert_eq!(would["ending"], Value::Null);
    assert!(scene.is_there());
    let unknown = client.tool("terminate_process", json!({ "session_id": "sim_0" }));
    assert_eq!(unknown.unwrap_err()["code"], "process_unknown");
    let mut silent = scene.daemon.client().with_token(&scene.admin);
    silent.tool("terminate_process", scene.target()).unwrap();
    assert!(!scene.is_there());
}
