//! Resources, and subscriptions to them.

use serde_json::{Value, json};
use simward_tests::client::{HttpClient, Stream};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::programs;
use tempfile::TempDir;

fn read(client: &mut HttpClient, uri: &str) -> Value {
    let answer = client.ask("resources/read", Some(uri), json!({ "uri": uri }));
    let contents = &answer["result"]["contents"][0];
    assert_eq!(contents["uri"], uri, "{answer}");
    assert_eq!(contents["mimeType"], "application/json");
    serde_json::from_str(contents["text"].as_str().unwrap()).unwrap()
}

fn session(client: &mut HttpClient) -> String {
    let created = client.tool("create_session", json!({})).unwrap();
    created["session_id"].as_str().unwrap().to_owned()
}

#[test]
fn the_resource_of_a_state_is_the_state() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    for (model, steps) in [("one", 100), ("two", 33)] {
        let scene = json!({ "session_id": id, "scene": "double_pendulum", "model_id": model });
        client.tool("create_scene", scene).unwrap();
        let step =
            json!({ "session_id": id, "model_id": model, "steps": steps, "control": [1, 0] });
        client.tool("step_simulation", step).unwrap();
    }
    let state = read(&mut client, &format!("sim://{id}/state"));
    assert_eq!(state["session_id"], json!(id));
    let models = state["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    for (model, name) in models.iter().zip(["one", "two"]) {
        let asked = json!({ "session_id": id, "model_id": name });
        assert_eq!(*model, client.tool("get_state", asked).unwrap(), "to the last bit");
    }
    assert_ne!(models[0]["qpos"], models[1]["qpos"]);
    let sessions = read(&mut client, "sim://sessions");
    let listed = client.tool("list_sessions", json!({})).unwrap();
    assert_eq!(sessions["sessions"][0]["session_id"], listed["sessions"][0]["session_id"]);
    assert_eq!(sessions["sessions"][0]["pid"], listed["sessions"][0]["pid"]);
    let stats = read(&mut client, "pool://stats");
    assert_eq!(stats["workers"], 1);
}

#[test]
fn resources_are_listed_with_templates_and_do_not_change_with_what_a_client_does() {
    let daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    let list = |client: &mut HttpClient| client.ask("resources/list", None, json!({}));
    let before = list(&mut client)["result"].clone();
    let uris: Vec<_> =
        before["resources"].as_array().unwrap().iter().map(|it| it["uri"].clone()).collect();
    assert_eq!(uris, ["sim://sessions", "pool://stats", "performance://alerts"]);
    session(&mut client);
    assert_eq!(list(&mut client)["result"], before);
    let templates = client.ask("resources/templates/list", None, json!({}));
    let first = &templates["result"]["resourceTemplates"][0];
    assert_eq!(first["uriTemplate"], "sim://{session_id}/state", "{templates}");
    let discovered = client.ask("server/discover", None, json!({}));
    let capabilities = &discovered["result"]["capabilities"];
    assert_eq!(capabilities["resources"]["subscribe"], true, "{capabilities}");
    for there in ["prompts", "completions", "tools"] {
        assert!(capabilities[there].is_object(), "{there}: {capabilities}");
    }
}

#[test]
fn what_is_not_there_is_refused_and_creates_nothing() {
    let daemon = Setup::toy(&programs!()).serve();
    let mut client = daemon.client();
    for uri in ["sim://sim_0/state", "sim://x", "pool://", "file:///etc/passwd", "sim://a/b/c"] {
        let answer = client.ask("resources/read", Some(uri), json!({ "uri": uri }));
        assert_eq!(answer["error"]["code"], -32602, "{uri}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(uri), "{answer}");
        assert_eq!(answer["error"]["data"], json!({ "uri": uri }), "{answer}");
    }
    let sessions = client.tool("list_sessions", json!({})).unwrap();
    assert_eq!(sessions["sessions"], json!([]));
}

#[test]
fn a_listener_hears_of_changes_and_of_nothing_else() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (id, other) = (session(&mut client), session(&mut client));
    for id in [&id, &other] {
        client.tool("create_scene", json!({ "session_id": id, "scene": "pendulum" })).unwrap();
    }
    let uri = format!("sim://{id}/state");
    let mut listener = listen(&daemon, &[&uri, "sim://nothing/state", "file:///x"]);
    let accepted = listener.message();
    assert_eq!(accepted["method"], "notifications/subscriptions/acknowledged", "{accepted}");
    let granted = &accepted["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(*granted, json!([uri, "sim://nothing/state"]), "{accepted}");
    // Reading is no change, and what happens elsewhere is none of this one.
    client.tool("get_state", json!({ "session_id": id })).unwrap();
    client.tool("step_simulation", json!({ "session_id": other, "steps": 7 })).unwrap();
    client.tool("set_state", json!({ "session_id": id, "qpos": [0.25] })).unwrap();
    let told = listener.message();
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    assert_eq!(told["params"]["uri"], json!(uri));
    let state = read(&mut client, &uri);
    assert_eq!(state["models"][0]["qpos"], json!([0.25]), "what was told of is there");
    client.tool("close_session", json!({ "session_id": id })).unwrap();
    let told = listener.message();
    assert_eq!(told["params"]["uri"], json!(uri), "the end is the last change: {told}");
}

#[test]
fn a_daemon_that_stops_lets_its_listeners_go_at_once() {
    let mut daemon = Setup::toy(&programs!()).set("http.drain_secs", "60").serve();
    let mut listener = listen(&daemon, &["sim://sessions"]);
    listener.message();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let last = listener.message();
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert!(daemon.wait().success());
}

/// Listens to resources, in the newer protocol.
fn listen(daemon: &Daemon, uris: &[&str]) -> Stream {
    let params = json!({ "notifications": { "resourceSubscriptions": uris } });
    daemon.client().open("subscriptions/listen", params)
}

#[test]
fn a_conversation_of_the_older_protocol_subscribes_and_unsubscribes() {
    let state = TempDir::new().unwrap();
    let mut client = Setup::real(&programs!()).stdio(&state);
    client.tool("create_scene", &json!({ "scene": "pendulum" })).unwrap();
    let sessions = client.tool("list_sessions", &json!({})).unwrap();
    let id = sessions["sessions"][0]["session_id"].as_str().unwrap().to_owned();
    let uri = format!("sim://{id}/state");
    let wrong = client.ask("resources/subscribe", &json!({ "uri": "sim://sim_0/state" }));
    assert_eq!(wrong["error"]["code"], -32002, "{wrong}");
    let subscribed = client.ask("resources/subscribe", &json!({ "uri": uri }));
    assert!(subscribed["result"].is_object(), "{subscribed}");
    client.tool("step_simulation", &json!({ "steps": 3 })).unwrap();
    assert_eq!(client.updated(), json!(uri));
    let read = client.ask("resources/read", &json!({ "uri": uri }));
    let text = read["result"]["contents"][0]["text"].as_str().unwrap();
    let read: Value = serde_json::from_str(text).unwrap();
    assert_eq!(read["models"][0]["time_secs"], 0.006);
    client.ask("resources/unsubscribe", &json!({ "uri": uri }));
    client.forget_updated();
    // The other subscription shows that the looks go on, and the ended one says nothing.
    client.ask("resources/subscribe", &json!({ "uri": "sim://sessions" }));
    client.tool("step_simulation", &json!({ "steps": 3 })).unwrap();
    client.tool("create_session", &json!({})).unwrap();
    assert_eq!(client.updated(), "sim://sessions");
}
