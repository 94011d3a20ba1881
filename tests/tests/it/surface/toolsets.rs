//! Toolsets: what an operator leaves out is not there.

use serde_json::json;
use simward_tests::daemon::Setup;
use simward_tests::programs;
use tempfile::TempDir;

#[test]
fn only_the_tools_of_the_toolsets_that_are_on_are_there() {
    let daemon = Setup::real(&programs!()).args(&["--toolsets", "pool"]).serve();
    let mut client = daemon.client();
    let listed = client.ask("tools/list", None, json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for there in ["get_server_info", "create_session", "get_run", "list_active_processes"] {
        assert!(names.contains(&there), "{there}: {names:?}");
    }
    for left_out in ["load_model", "step_simulation", "get_state"] {
        assert!(!names.contains(&left_out), "{left_out}: {names:?}");
    }
    let call = json!({ "name": "step_simulation", "arguments": {} });
    let answer = client.ask("tools/call", Some("step_simulation"), call);
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    client.tool("get_process_pool_stats", json!({})).unwrap();
}

#[test]
fn the_configuration_names_toolsets_too_and_no_others() {
    let state = TempDir::new().unwrap();
    let setup = Setup::real(&programs!()).set("mcp.toolsets", "[\"simulation\"]");
    let mut client = setup.stdio(&state);
    let listed = client.ask("tools/list", &json!({}));
    let text = listed.to_string();
    assert!(text.contains("step_simulation") && !text.contains("terminate_process"), "{text}");
    for wrong in [&["--toolsets", "pol"][..], &["--set", "mcp.toolsets=['pol']"]] {
        let program = programs!().supervisor;
        let args = [&["config", "print"], wrong].concat();
        let output = std::process::Command::new(program).args(args).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("pool"), "it says which there are: {said}");
    }
}
