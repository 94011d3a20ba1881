//! Recordings outlast what they are of: workers, daemons, models.

use super::*;

#[test]
fn a_recording_that_is_full_ends_and_the_simulation_does_not() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    let begun = here.tool("start_recording", json!({ "channels": ["qpos"], "rows_max": 100 }));
    let id = begun["recording_id"].as_str().unwrap().to_owned();
    let rows = begun["rows_max"].as_u64().unwrap();
    // A page is never left half empty.
    assert!((100..300).contains(&rows), "{rows}");
    here.step(rows - 1);
    assert_eq!(here.info(&id)["state"], "recording");
    here.step(500);
    let info = here.info(&id);
    assert_eq!((&info["state"], &info["rows"]), (&json!("full"), &json!(rows)));
    let columns = here.columns(&id);
    assert_eq!(columns["step"].len() as u64, rows);
    let stopped = here.tool("stop_recording", json!({ "recording_id": id, "discard": true }));
    assert_eq!(stopped["rows"], rows);
    assert_eq!(here.tool("list_recordings", json!({}))["recordings"], json!([]));
}

#[test]
fn a_killed_worker_costs_a_recording_no_row_and_no_bit() {
    let mut daemon = Setup::real(&programs!()).set("sessions.restart.losses_max", "1000").serve();
    let (mut hit, mut spared) = (Here::humanoid(&daemon), Here::humanoid(&daemon));
    let channels = json!(["qpos", "qvel", "ctrl", "qacc", "xpos"]);
    let ids = [&mut hit, &mut spared].map(|here| here.record(channels.clone(), 3));
    for round in 0..6 {
        for here in [&mut hit, &mut spared] {
            here.step_round(round);
        }
        // In the midst of a call that writes rows which nobody will have wanted.
        let (mut other, session) = (daemon.client(), hit.session.clone());
        let lost = std::thread::spawn(move || {
            let call = json!({ "session_id": session, "steps": 1_000_000 });
            other.tool("step_simulation", call).unwrap_err()
        });
        wait_until("rows are written that are not kept", || {
            u64::from(round + 1) * 20 / 3 + 5 < hit.info(&ids[0])["rows"].as_u64().unwrap()
        });
        hit.kill_worker(&mut daemon);
        assert_eq!(lost.join().unwrap()["code"], "worker_lost");
    }
    // And in the midst of a simulation in the background.
    for here in [&mut hit, &mut spared] {
        here.tool("run_simulation", json!({ "duration_secs": 4 }));
    }
    wait_until("it runs", || hit.info(&ids[0])["rows"].as_u64().unwrap() > 60);
    hit.kill_worker(&mut daemon);
    for here in [&mut hit, &mut spared] {
        wait_until("it has run", || {
            here.tool("get_state", json!({}))["time_secs"].as_f64().unwrap() > 4.59
        });
    }
    let [id, other] = ids;
    let compared = hit.tool(
        "compare_recordings",
        json!({
            "recording_id": id,
            "other_session_id": spared.session,
            "other_recording_id": other,
        }),
    );
    assert_eq!(compared["bit_equal"], true, "{compared}");
    let rows = compared["rows_compared"].as_u64().unwrap();
    // 120 steps, and those of 4 seconds.
    assert!((306..=307).contains(&rows), "{compared}");
    assert_eq!(compared["rows"], json!([rows, rows]), "{compared}");
    assert_eq!(compared["columns"], json!([]));
    let info = hit.tool("get_session_info", json!({}));
    assert_eq!(info["restarts"], 7);
}

#[test]
fn a_recording_goes_on_after_sleep_and_after_another_daemon() {
    let state = TempDir::new().unwrap();
    let mut daemon = Setup::real(&programs!()).serve_at(state.path());
    let (mut hit, mut spared) = (Here::humanoid(&daemon), Here::humanoid(&daemon));
    let ids = [&mut hit, &mut spared].map(|here| here.record(json!(["qpos", "qvel"]), 2));
    let ended = hit.record(json!(["qpos"]), 1);
    hit.step_round(0);
    spared.step_round(0);
    hit.tool("stop_recording", json!({ "recording_id": ended }));
    hit.tool("hibernate_session", json!({}));
    // What has ended is read without waking anybody; and a list wakes nobody.
    assert_eq!(hit.columns(&ended)["step"].len(), 20);
    assert_eq!(hit.info(&ids[0])["rows"], 10);
    assert_eq!(hit.tool("get_session_info", json!({}))["state"], "hibernated");
    for here in [&mut hit, &mut spared] {
        here.step_round(1);
    }
    // Nobody says goodbye.
    daemon.workers();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = Setup::real(&programs!()).serve_at(state.path());
    for here in [&mut hit, &mut spared] {
        here.client = daemon.client();
    }
    for here in [&mut hit, &mut spared] {
        here.step_round(2);
    }
    assert_eq!(hit.columns(&ended)["step"].len(), 20);
    let [id, other] = ids;
    let call = json!({
        "recording_id": id,
        "other_session_id": spared.session,
        "other_recording_id": other,
    });
    let compared = hit.tool("compare_recordings", call);
    assert_eq!(
        (&compared["bit_equal"], &compared["rows"]),
        (&json!(true), &json!([30, 30])),
        "{compared}"
    );
}

#[test]
fn copies_do_not_record_and_what_is_unloaded_can_still_be_read() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    here.tool("set_state", json!({ "qpos": [1.0] }));
    let id = here.record(json!(["qpos"]), 1);
    here.step(10);
    let forked = here.tool("fork_session", json!({}));
    let session = forked["sessions"][0]["session_id"].clone();
    let mut copy = Here { client: daemon.client(), session };
    assert_eq!(copy.tool("list_recordings", json!({}))["recordings"], json!([]));
    copy.step(10);
    here.step(10);
    assert_eq!(here.info(&id)["rows"], 20);
    here.tool("unload_model", json!({}));
    let info = here.info(&id);
    assert_eq!((&info["state"], &info["rows"]), (&json!("unloaded"), &json!(20)));
    // Another model of that name is not recorded.
    here.tool("load_model", json!({ "model_xml": PENDULUM }));
    here.step(10);
    assert_eq!(here.columns(&id)["step"].len(), 20);
    // Nothing of it is there for others.
    let refused =
        copy.ask("export_recording", json!({ "recording_id": id, "format": "csv" })).unwrap_err();
    assert_eq!(refused["code"], "recording_unknown");
}

#[test]
fn recordings_that_part_are_told_apart() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    let mut runs = Vec::new();
    for push in [0.0, 0.5] {
        here.tool("reset_simulation", json!({}));
        let id = here.record(json!([{ "joint": "hinge" }, "ctrl"]), 1);
        here.step(100);
        here.tool("step_simulation", json!({ "steps": 100, "control": [push] }));
        here.tool("stop_recording", json!({ "recording_id": id }));
        runs.push(id);
    }
    let call = json!({
        "recording_id": runs[0],
        "other_recording_id": runs[1],
        "tolerance": 1e-12,
    });
    let compared = here.tool("compare_recordings", call);
    assert_eq!(compared["bit_equal"], false);
    assert_eq!(compared["time_max_difference_secs"], 0.0);
    let columns = compared["columns"].as_array().unwrap();
    let of = |name: &str| columns.iter().find(|column| column["name"] == name).unwrap();
    // A push of 0.5 N·m on 1 kg at 1 m for a tenth of a second.
    let angle = of("qpos.hinge");
    assert!((angle["max"].as_f64().unwrap() - 0.5 * 0.5 * 0.01).abs() < 1e-4, "{angle}");
    assert_eq!((&angle["unit"], &of("qvel.hinge")["unit"]), (&json!("rad"), &json!("rad/s")));
    let control = of("ctrl.motor");
    // Half of the rows differ by a half.
    assert_eq!(control["max"], 0.5);
    assert!((control["rms"].as_f64().unwrap() - 0.125_f64.sqrt()).abs() < 1e-12);
    let first = compared["first_differs_secs"].as_f64().unwrap();
    assert!((first - 0.101).abs() < 1e-9, "{first}");
}
