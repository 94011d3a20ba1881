//! The viewer's page in a real browser: what it draws is what the simulation has.

use serde_json::{Value, json};
use simward_tests::browser::Browser;
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::wait::wait_until;
use simward_tests::{models, programs};

fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

fn serve(model: &str) -> (Daemon, HttpClient) {
    let (daemon, mut client) = daemon();
    client.tool("load_model", models::arguments(model)).unwrap();
    (daemon, client)
}

fn open(client: &mut HttpClient, control: bool) -> Browser {
    let viewer = client.tool("get_viewer_url", json!({ "control": control })).unwrap();
    assert_eq!(viewer["has_page"], true, "run `make setup`, which builds the page");
    let mut browser = Browser::open();
    browser.go(viewer["url"].as_str().unwrap());
    wait_until("the model is drawn", || {
        browser.run("return window.simward ? simward.momentsDrawn : 0").as_u64() > Some(0)
    });
    browser
}

/// Waits until the page shows the simulation's present moment.
fn catch_up(browser: &mut Browser, client: &mut HttpClient) -> Value {
    let include = json!(["qpos", "xpos", "xquat"]);
    let state = client.tool("get_state", json!({ "include": include })).unwrap();
    wait_until("the page shows the present", || {
        let shown = browser.run("return simward.moment && simward.moment.timeSecs");
        shown.as_f64() == state["time_secs"].as_f64()
    });
    state
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_close(one: &[f64], other: &[f64], what: &str) {
    assert_eq!(one.len(), other.len(), "{what}");
    let apart = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
    // What is drawn has 32 bits.
    assert!(apart < 1e-5, "{what}: {apart} apart");
}

/// Where the parts of a body are that stand at `local` in its frame.
fn placed(local: &[f64], position: &[f64], quaternion: &[f64]) -> Vec<f64> {
    let (w, v) = (quaternion[0], &quaternion[1..]);
    let cross = |a: &[f64], b: &[f64]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let once = cross(v, local);
    let twice = cross(v, &once);
    (0..3).map(|axis| position[axis] + local[axis] + 2.0 * (w * once[axis] + twice[axis])).collect()
}

fn assert_drawn_as_told(browser: &mut Browser, state: &Value) {
    let drawn =
        browser.run("return simward.view.model.bodies.map((b) => b.position.toArray()).flat()");
    let xpos = numbers(&state["xpos"]);
    let xquat = numbers(&state["xquat"]);
    assert_close(&numbers(&drawn), &xpos, "bodies");
    let geoms = browser.run(
        "const { view } = simward; view.scene.updateMatrixWorld();
         return view.model.shape.description.geoms.map((g, i) =>
             ({ body: g.body, pos: g.pos, at: simward.geomPosition(i) }))",
    );
    for geom in geoms.as_array().unwrap() {
        let body = usize::try_from(geom["body"].as_u64().unwrap()).unwrap();
        let (position, quaternion) =
            (&xpos[3 * body..3 * body + 3], &xquat[4 * body..4 * body + 4]);
        let expected = placed(&numbers(&geom["pos"]), position, quaternion);
        assert_close(&numbers(&geom["at"]), &expected, "a geometry");
    }
}

/// The colour at a point of the world, and that of the sky.
fn colors(browser: &mut Browser, point: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let script = format!(
        "const {{ view }} = simward;
         view.renderer.render(view.scene, view.camera);
         const gl = view.renderer.getContext(), ratio = view.renderer.getPixelRatio();
         const at = (x, y) => {{
             const pixel = new Uint8Array(4);
             gl.readPixels(x * ratio, (view.canvas.clientHeight - y) * ratio, 1, 1, gl.RGBA,
                 gl.UNSIGNED_BYTE, pixel);
             return [...pixel];
         }};
         return [at(...simward.onPage({point:?})), at(view.canvas.clientWidth / 2, 2)]"
    );
    let found = browser.run(&script);
    (numbers(&found[0]), numbers(&found[1]))
}

/// Leaves what a person would see where a person can look at it.
fn keep_picture(browser: &mut Browser, name: &str) {
    let folder = models::root().join("target/pictures");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), browser.screenshot()).unwrap();
}

#[test]
fn the_page_draws_the_humanoid_where_it_is_and_as_it_moves() {
    let (_daemon, mut client) = serve("humanoid");
    client.tool("step_simulation", json!({ "steps": 40 })).unwrap();
    let mut browser = open(&mut client, false);
    let state = catch_up(&mut browser, &mut client);
    assert_drawn_as_told(&mut browser, &state);
    let torso = &numbers(&state["xpos"])[3..6];
    let (seen, sky) = colors(&mut browser, torso);
    assert_ne!(seen, sky, "nothing is drawn where the torso is");
    keep_picture(&mut browser, "humanoid.png");

    let before = browser.run("return simward.momentsDrawn").as_u64().unwrap();
    client
        .tool("run_simulation", json!({ "duration_secs": 0.5, "real_time_factor": 1.0 }))
        .unwrap();
    wait_until("it moves", || {
        let moving = browser.run("return [simward.momentsDrawn, simward.moment.runs]");
        before + 3 < moving[0].as_u64().unwrap() && moving[1] == false
    });
    let later = catch_up(&mut browser, &mut client);
    assert!(later["xpos"] != state["xpos"]);
    assert_drawn_as_told(&mut browser, &later);
    let readout = browser.run("return document.getElementById('readout').innerText");
    assert!(readout.as_str().unwrap().contains("abdomen_z"), "{readout}");
    assert_eq!(browser.run("return document.getElementById('buttons').hidden"), true);
    keep_picture(&mut browser, "humanoid-later.png");
    assert_eq!(browser.complaints(), Vec::<Value>::new());

    client.tool("close_viewer", json!({})).unwrap();
    wait_until("the page says that its link was closed", || {
        let status = browser.run("return document.getElementById('status').textContent");
        status.as_str().unwrap().starts_with("This link was closed")
    });
}

#[test]
fn the_page_draws_meshes() {
    let (_daemon, mut client) = serve("robotiq_2f85");
    let mut browser = open(&mut client, false);
    let state = catch_up(&mut browser, &mut client);
    assert_drawn_as_told(&mut browser, &state);
    let meshes = browser.run(
        "return simward.view.model.geoms.filter((g) => g && g.visible)
             .map((g) => g.geometry.getAttribute('position').count)",
    );
    assert!(meshes.as_array().unwrap().iter().any(|count| count.as_u64() > Some(1000)));
    keep_picture(&mut browser, "meshes.png");
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

/// A box of 2 kg that floats, and nothing that acts on it.
const FLOATING: &str = r#"<mujoco><option gravity="0 0 0"/><worldbody><body name="box"><freejoint/>
    <geom type="box" size=".1 .1 .1" mass="2" rgba=".8 .3 .2 1"/></body></worldbody></mujoco>"#;

#[test]
fn who_may_steer_does_so_on_the_page() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    client.tool("load_model", json!({ "model_xml": FLOATING })).unwrap();
    let mut browser = open(&mut client, true);
    browser.click("#step");
    wait_until("a step is taken", || browser.run("return simward.moment.steps") == 1);
    browser.click("#run");
    wait_until("it runs", || browser.run("return simward.moment.runs") == true);
    browser.click("#run");
    wait_until("it is paused", || browser.run("return simward.moment.runs") == false);
    browser.click("#reset");
    wait_until("it is reset", || {
        browser.run("return simward.moment.timeSecs").as_f64() == Some(0.0)
    });
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

#[test]
fn a_wrong_token_shows_nothing() {
    let (_daemon, mut client) = serve("humanoid");
    let viewer = client.tool("get_viewer_url", json!({})).unwrap();
    let (page, _) = viewer["url"].as_str().unwrap().split_once("?token=").unwrap();
    let mut browser = Browser::open();
    browser.go(&format!("{page}?token=0123456789abcdef0123456789abcdef"));
    assert_eq!(browser.run("return document.body.innerText.trim()"), "401 Unauthorized");
    assert_eq!(browser.run("return typeof window.simward"), "undefined");
}

#[test]
fn whoever_may_steer_pulls_a_body_with_the_mouse() {
    let (_daemon, mut client) = daemon();
    // It slides to the right, as the page shows it.
    let sliding = "<mujoco><option gravity='0 0 0'/><worldbody><body name='box'>\
                   <joint type='slide' axis='1 1 0'/><geom type='box' size='.2 .2 .2' mass='1'/>\
                   </body></worldbody></mujoco>";
    client.tool("load_model", json!({ "model_xml": sliding })).unwrap();
    let mut browser = open(&mut client, true);
    let run = json!({ "duration_secs": 3600, "real_time_factor": 1.0 });
    client.tool("run_simulation", run).unwrap();
    let begin = numbers(&browser.run("return simward.onPage([0, 0, 0])"));
    #[expect(clippy::cast_possible_truncation, reason = "pixels of a page")]
    let [x, y] = [begin[0].round() as i64, begin[1].round() as i64];
    browser.hold_with_ctrl(&[(x, y), (x + 60, y), (x + 120, y)]);
    wait_until("the box has come after the hand", || {
        let there = "const b = simward.view.model.bodies[1];
                     return simward.onPage(b.position.toArray())";
        // Its middle is farther away than the side that is held.
        (70.0..130.0).contains(&(numbers(&browser.run(there))[0] - begin[0]))
    });
    browser.let_go();
    client.tool("pause_simulation", json!({})).unwrap();
    let state = client.tool("get_state", json!({})).unwrap();
    assert!(0.05 < state["qpos"][0].as_f64().unwrap(), "{state}");
    // Who may only look pulls at nothing.
    client.tool("reset_simulation", json!({})).unwrap();
    let mut browser = open(&mut client, false);
    browser.hold_with_ctrl(&[(x, y), (x + 120, y)]);
    client.tool("step_simulation", json!({ "steps": 500 })).unwrap();
    let state = client.tool("get_state", json!({})).unwrap();
    assert_eq!((&state["qpos"][0], &state["qvel"][0]), (&json!(0.0), &json!(0.0)));
    browser.let_go();
}
