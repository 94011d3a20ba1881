//! Runs, and the same as tasks.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::Setup;
use simward_tests::programs;
use simward_tests::wait::wait_for;

const TASKS: &str = "io.modelcontextprotocol/tasks";

fn arm(client: &mut HttpClient) -> String {
    let session = client.tool("create_session", json!({})).unwrap();
    let id = session["session_id"].as_str().unwrap().to_owned();
    client.tool("create_scene", json!({ "session_id": id, "scene": "arm" })).unwrap();
    id
}

#[test]
fn a_run_ends_where_the_same_steps_in_one_call_do() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let (one, other) = (arm(&mut client), arm(&mut client));
    let step = |id: &str, as_run: bool| {
        let control = json!({ "elbow_pitch_servo": 0.5 });
        let include = json!(["qpos", "qvel"]);
        json!({
            "session_id": id, "steps": 3000, "control": control, "include": include,
            "as_run": as_run,
        })
    };
    let called = client.tool("step_simulation", step(&one, false)).unwrap();
    let begun = client.tool("step_simulation", step(&other, true)).unwrap();
    let ask = json!({ "run_id": begun["run_id"], "wait_secs": 30 });
    let run = client.tool("get_run", ask).unwrap();
    assert_eq!(begun, json!({ "run_id": run["run_id"] }), "nothing but the handle");
    assert_eq!(run["state"], "completed", "{run}");
    assert_eq!(run["result"], called, "the state is the same to the last bit");
    assert_eq!(called["steps_done"], 3000);
    assert_eq!(run["session_id"], json!(other));
    assert_eq!(run["tool"], "step_simulation");
    assert!(run["kept_secs"].as_f64().unwrap() <= 900.0);
    let listed = client.tool("list_runs", json!({})).unwrap();
    assert_eq!(listed["runs"][0]["run_id"], run["run_id"]);
    assert_eq!(listed["runs"][0]["result"], Value::Null, "a list has no results");
}

#[test]
fn a_cancelled_run_keeps_the_steps_that_it_has_taken() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = arm(&mut client);
    let step = json!({ "session_id": id, "steps": 1_000_000, "as_run": true });
    let run = client.tool("step_simulation", step).unwrap();
    let ask = json!({ "run_id": run["run_id"] });
    let under_way = wait_for("the run is under way", || {
        let run = client.tool("get_run", ask.clone()).unwrap();
        (run["progress_done"] != 0).then_some(run)
    });
    assert_eq!(under_way["state"], "running");
    assert_eq!(under_way["progress_total"], 1_000_000);
    let cancelled = client.tool("cancel_run", ask.clone()).unwrap();
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    let result = &cancelled["result"];
    assert_eq!(result["stopped_by"], "cancelled");
    let steps = result["steps_done"].as_u64().unwrap();
    assert!(under_way["progress_done"].as_u64().unwrap() <= steps && steps < 1_000_000);
    let models = client.tool("get_loaded_models", json!({ "session_id": id })).unwrap();
    assert_eq!(models["models"][0]["steps_total"], steps, "they stay taken");
    assert_eq!(client.tool("cancel_run", ask).unwrap()["state"], "cancelled", "again");
}

#[test]
fn a_run_that_is_refused_says_why_and_changes_nothing() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = arm(&mut client);
    let step = json!({ "session_id": id, "control": { "elbo": 1.0 }, "as_run": true });
    let run = client.tool("step_simulation", step).unwrap();
    let ask = json!({ "run_id": run["run_id"], "wait_secs": 30 });
    let run = client.tool("get_run", ask).unwrap();
    assert_eq!(run["state"], "refused", "{run}");
    assert_eq!(run["refusal"]["code"], "name_unknown");
    let models = client.tool("get_loaded_models", json!({ "session_id": id })).unwrap();
    assert_eq!(models["models"][0]["steps_total"], 0);
    let refused = client.tool("get_run", json!({ "run_id": "run_0" })).unwrap_err();
    assert_eq!(refused["code"], "run_unknown");
    let long = json!({ "run_id": "run_0", "wait_secs": 31 });
    assert_eq!(client.tool("get_run", long).unwrap_err()["code"], "invalid_argument");
    // A session that there is not is refused at once.
    let step = json!({ "session_id": "sim_0", "as_run": true });
    let refused = client.tool("step_simulation", step).unwrap_err();
    assert_eq!(refused["code"], "session_unknown");
}

#[test]
fn only_so_many_runs_are_under_way() {
    let setup = Setup::real(&programs!()).set("runs.running_per_tenant_max", "1");
    let daemon = setup.serve();
    let mut client = daemon.client();
    let id = arm(&mut client);
    let step = json!({ "session_id": id, "steps": 1_000_000, "as_run": true });
    let run = client.tool("step_simulation", step.clone()).unwrap();
    let refused = client.tool("step_simulation", step).unwrap_err();
    assert_eq!(refused["code"], "tenant_runs_exhausted", "{refused}");
    client.tool("cancel_run", json!({ "run_id": run["run_id"] })).unwrap();
}

#[test]
fn a_client_that_knows_tasks_gets_a_run_as_a_task() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let id = arm(&mut client);
    client.declare(json!({ "extensions": { TASKS: {} } }));
    let arguments = json!({ "session_id": id, "steps": 500, "as_run": true });
    let call = json!({ "name": "step_simulation", "arguments": arguments });
    let created = client.ask("tools/call", Some("step_simulation"), call)["result"].clone();
    assert_eq!(created["resultType"], "task", "{created}");
    let task_id = created["taskId"].as_str().unwrap().to_owned();
    let task = wait_for("the task is completed", || {
        let task = client.ask("tasks/get", Some(&task_id), json!({ "taskId": task_id }));
        (task["result"]["status"] == "completed").then(|| task["result"].clone())
    });
    assert_eq!(task["result"]["structuredContent"]["steps_done"], 500, "{task}");
    // The same run, for who asks with tools.
    let run = client.tool("get_run", json!({ "run_id": task_id })).unwrap();
    assert_eq!(run["result"], task["result"]["structuredContent"]);

    let arguments = json!({ "session_id": id, "steps": 1_000_000, "as_run": true });
    let call = json!({ "name": "step_simulation", "arguments": arguments });
    let created = client.ask("tools/call", Some("step_simulation"), call)["result"].clone();
    let task_id = created["taskId"].as_str().unwrap().to_owned();
    let update = |client: &mut HttpClient, id: &str| {
        let unasked = json!({ "taskId": id, "inputResponses": { "unasked": { "ignored": true } } });
        client.ask("tasks/update", Some(id), unasked)
    };
    let updated = update(&mut client, &task_id);
    assert_eq!(updated["result"], json!({ "resultType": "complete" }), "{updated}");
    let unknown = update(&mut client, "run_0");
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    client.ask("tasks/cancel", Some(&task_id), json!({ "taskId": task_id }));
    wait_for("the task is cancelled", || {
        let task = client.ask("tasks/get", Some(&task_id), json!({ "taskId": task_id }));
        (task["result"]["status"] == "cancelled").then_some(())
    });
    let unknown = client.ask("tasks/get", Some("run_0"), json!({ "taskId": "run_0" }));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");

    client.declare(json!({}));
    let hidden = client.ask("tasks/get", Some(&task_id), json!({ "taskId": task_id }));
    assert_eq!(hidden["error"]["code"], -32021, "{hidden}");
}
