//! Models in files of the machine: what a client gets, and what nobody gets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::wait::wait_for;
use simward_tests::{models, programs};
use tempfile::TempDir;

/// A daemon with one root, `root`, in a folder with something beside it that nobody may read.
struct Bench {
    folder: TempDir,
    daemon: Daemon,
    client: HttpClient,
}

const SECRET: &str =
    "<mujoco><worldbody><body><joint type='slide'/><geom size='.5'/></body></worldbody></mujoco>";

impl Bench {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(set: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("secret.xml"), SECRET).unwrap();
        let root = folder.path().join("root");
        let setup = Setup::real(&programs!()).args(&["--models-root", root.to_str().unwrap()]);
        let setup = set.iter().fold(setup, |setup, (key, value)| setup.set(key, value));
        let daemon = setup.serve();
        let client = daemon.client();
        Self { folder, daemon, client }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn load(&mut self, path: &str) -> Result<Value, Value> {
        self.client.tool("load_model", json!({ "model_path": path }))
    }

    /// Refused with that code, in words that hold those.
    fn refused(&mut self, path: &str, code: &str, words: &str) {
        let refused = self.load(path).unwrap_err();
        assert_eq!(refused["code"], code, "{path:?}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(words), "{path:?}: {refused}");
    }
}

/// A mesh: a tetrahedron.
const MESH: &[u8] = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n";

const BALL: &str =
    "<mujoco><worldbody><body><freejoint/><geom size='.1' mass='2'/></body></worldbody></mujoco>";

#[test]
fn a_model_comes_with_all_that_it_names() {
    let mut bench = Bench::new();
    bench.put("parts/meshes/a.obj", MESH);
    bench.put("parts/meshes/deep/b.obj", MESH);
    bench.put(
        "robots/arm/arm.xml",
        b"<mujoco><compiler meshdir='../../parts/meshes'/><include file='sub/assets.xml'/>\
          <worldbody><body><freejoint/><geom type='mesh' mesh='a' mass='1'/></body></worldbody>\
          <include file='sub/bodies.xml'/></mujoco>",
    );
    bench.put(
        "robots/arm/sub/assets.xml",
        b"<mujoco><asset><mesh name='a' file='a.obj'/><mesh name='b' file='deep/b.obj'/></asset>\
          <include file='more.xml'/></mujoco>",
    );
    bench.put("robots/arm/sub/more.xml", b"<mujoco><option timestep='0.004'/></mujoco>");
    bench.put(
        "robots/arm/sub/bodies.xml",
        b"<mujoco><worldbody><body><freejoint/><geom type='mesh' mesh='b' mass='2'/></body>\
          </worldbody></mujoco>",
    );
    let loaded = bench.load("robots/arm/arm.xml").unwrap();
    assert_eq!((&loaded["nq"], &loaded["timestep_secs"]), (&json!(14), &json!(0.004)));
    let info = bench.client.tool("get_model_info", json!({})).unwrap();
    assert!((info["total_mass_kg"].as_f64().unwrap() - 3.0).abs() < 1e-12);
    // The whole path does as well, as long as it is below the root.
    let whole = bench.root().join("robots/arm/arm.xml");
    let loaded = bench.load(whole.to_str().unwrap()).unwrap();
    assert_eq!(loaded["is_cached"], true);
}

#[test]
fn files_of_the_same_name_are_told_apart() {
    let mut bench = Bench::new();
    let small = MESH;
    let large =
        String::from_utf8(MESH.to_vec()).unwrap().replace('1', "2").replace("f 2 3 2", "f 1 3 2");
    let large = large.replace("f 2 2 4", "f 1 2 4").replace("f 2 4 3", "f 1 4 3");
    bench.put("left/part.obj", small);
    bench.put("right/part.obj", large.as_bytes());
    bench.put(
        "two.xml",
        b"<mujoco><asset><mesh name='l' file='left/part.obj'/><mesh name='r' file='right/part.obj'/>\
          </asset><worldbody><body name='l'><freejoint/><geom type='mesh' mesh='l'/></body>\
          <body name='r' pos='9 0 0'><freejoint/><geom type='mesh' mesh='r'/></body></worldbody></mujoco>",
    );
    bench.load("two.xml").unwrap();
    let info = bench.client.tool("get_model_info", json!({})).unwrap();
    let mass = |name: &str| {
        let bodies = info["bodies"].as_array().unwrap();
        bodies.iter().find(|body| body["name"] == name).unwrap()["mass_kg"].as_f64().unwrap()
    };
    // Twice as long, eight times as heavy.
    assert!((mass("r") / mass("l") - 8.0).abs() < 1e-6, "{} {}", mass("r"), mass("l"));
}

#[test]
fn nothing_outside_of_the_roots_is_read_by_any_path() {
    let mut bench = Bench::new();
    let outside = bench.folder.path().join("secret.xml");
    bench.refused("../secret.xml", "model_path_refused", "contains `..`");
    bench.refused("a/../../secret.xml", "model_path_refused", "contains `..`");
    bench.refused(outside.to_str().unwrap(), "model_path_refused", "is below no root");
    bench.refused("/proc/self/environ", "model_path_refused", "does not end in");
    bench.refused("/proc/self/root/tmp/x.xml", "model_path_refused", "is below no root");
    bench.refused("x.xml\0", "model_path_refused", "does not end in");
    bench.refused("a\0.xml", "model_path_refused", "NUL");
    bench.refused(&format!("{}.xml", "a/".repeat(3000)), "model_path_refused", "too long");
    bench.refused("there_is_none.xml", "model_path_unknown", "there is no file");
    bench.put("notes.txt", b"secret");
    bench.refused("notes.txt", "model_path_refused", "does not end in");
    let root = bench.root();
    symlink(&outside, root.join("whole.xml")).unwrap();
    symlink("../secret.xml", root.join("relative.xml")).unwrap();
    symlink(bench.folder.path(), root.join("folder")).unwrap();
    symlink("/proc/self/fd/0", root.join("descriptor.xml")).unwrap();
    symlink("loop.xml", root.join("loop.xml")).unwrap();
    bench.refused("whole.xml", "model_path_refused", "leads out");
    bench.refused("relative.xml", "model_path_refused", "leads out");
    bench.refused("folder/secret.xml", "model_path_refused", "leads out");
    bench.refused("descriptor.xml", "model_path_refused", "leads out");
    bench.refused("loop.xml", "model_path_refused", "links");
    // One that stays inside is as good as a file.
    bench.put("real/ball.xml", BALL.as_bytes());
    symlink("real/ball.xml", root.join("link.xml")).unwrap();
    assert_eq!(bench.load("link.xml").unwrap()["nq"], 7);
}

#[test]
fn nothing_outside_of_the_roots_is_read_by_what_a_model_names() {
    let mut bench = Bench::new();
    let outside = bench.folder.path().join("secret.xml");
    let outside = outside.to_str().unwrap();
    let root = bench.root();
    symlink("../secret.xml", root.join("link.xml")).unwrap();
    for (name, named, words) in [
        ("include", "<include file='../secret.xml'/>", "leads out"),
        ("include", "<include file='a/../../secret.xml'/>", "leads out"),
        ("include", &format!("<include file='{outside}'/>"), "absolute"),
        ("include", "<include file='/etc/passwd'/>", "absolute"),
        ("include", "<include file='link.xml'/>", "leads out"),
        ("include", "<include file='lacking.xml'/>", "not there"),
        ("mesh", "<asset><mesh file='../../x.stl'/></asset>", "leads out"),
        (
            "meshdir",
            "<compiler meshdir='/etc'/><asset><mesh file='passwd.stl'/></asset>",
            "absolute",
        ),
        (
            "meshdir",
            "<compiler meshdir='..'/><asset><mesh file='secret.xml'/></asset>",
            "not there",
        ),
        ("texture", "<asset><texture type='cube' fileup='/dev/zero'/></asset>", "absolute"),
        (
            "hfield",
            "<asset><hfield name='h' size='1 1 1 1' file='/proc/self/mem'/></asset>",
            "absolute",
        ),
        ("model", "<asset><model name='m' file='../secret.xml'/></asset>", "leads out"),
        ("url", "<include file='http://localhost/x.xml'/>", "no file of this server"),
    ] {
        bench.put("names.xml", format!("<mujoco>{named}</mujoco>").as_bytes());
        let refused = bench.load("names.xml").unwrap_err();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(words), "{name} {named}: {refused}");
    }
    let models = bench.client.tool("get_loaded_models", json!({})).unwrap();
    assert_eq!(models["models"], json!([]));
}

/// A FIFO that nobody writes into would hold a reader for ever, and a device could do anything.
#[test]
fn only_regular_files_are_opened() {
    let mut bench = Bench::new();
    let fifo = bench.root().join("fifo.xml");
    mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::create_dir(bench.root().join("folder.xml")).unwrap();
    bench.refused("fifo.xml", "model_path_refused", "no regular file");
    bench.refused("folder.xml", "model_path_refused", "no regular file");
    bench.put("names.xml", b"<mujoco><include file='fifo.xml'/></mujoco>");
    bench.refused("names.xml", "model_path_refused", "no regular file");
    bench.put("mesh.xml", b"<mujoco><asset><mesh file='fifo.xml'/></asset></mujoco>");
    bench.refused("mesh.xml", "model_path_refused", "no regular file");
}

/// Each of ten documents includes the next one ten times over: ten thousand million documents, if
/// somebody went through with it.
#[test]
fn a_bomb_of_includes_ends_soon() {
    let mut bench = Bench::new();
    for level in 0..10 {
        let include = format!("<include file='{}.xml'/>", level + 1).repeat(10);
        bench.put(&format!("{level}.xml"), format!("<mujoco>{include}</mujoco>").as_bytes());
    }
    bench.put("10.xml", b"<mujoco/>");
    bench.refused("0.xml", "model_invalid", "");
    bench.put("itself.xml", b"<mujoco><include file='itself.xml'/></mujoco>");
    bench.refused("itself.xml", "model_invalid", "");
    for document in 0..400 {
        let next = format!("<mujoco><include file='chain{}.xml'/></mujoco>", document + 1);
        bench.put(&format!("chain{document}.xml"), next.as_bytes());
    }
    bench.refused("chain0.xml", "limit_exceeded", "256");
}

#[test]
fn a_model_s_files_have_a_bound() {
    let mut bench = Bench::with(&[("models.bytes_max", "10000")]);
    bench.put("large.stl", &[0; 8000]);
    bench.put("larger.stl", &[0; 10001]);
    let of = |files: &[&str]| {
        let meshes = files.join("'/><mesh file='");
        format!("<mujoco><asset><mesh file='{meshes}'/></asset></mujoco>")
    };
    bench.put("one.xml", of(&["larger.stl"]).as_bytes());
    bench.refused("one.xml", "limit_exceeded", "at most 10000");
    bench.put("larger_2.stl", &[0; 3000]);
    bench.put("two.xml", of(&["large.stl", "larger_2.stl"]).as_bytes());
    bench.refused("two.xml", "limit_exceeded", "models.bytes_max");
    // What takes no space on the disk takes none in memory either.
    let sparse = fs::File::create(bench.root().join("sparse.stl")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    bench.put("sparse.xml", of(&["sparse.stl"]).as_bytes());
    bench.refused("sparse.xml", "limit_exceeded", "at most 10000");
}

#[test]
fn without_roots_there_are_no_files() {
    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let refused = client.tool("load_model", json!({ "model_path": "x.xml" })).unwrap_err();
    assert_eq!(refused["code"], "model_files_unavailable");
    let info = client.tool("get_server_info", json!({})).unwrap();
    assert_eq!(info["has_model_roots"], false);
    // Nor over standard input, whatever the working directory is.
    let state = TempDir::new().unwrap();
    let mut client = Setup::real(&programs!()).stdio(&state);
    let refused = client.tool("load_model", &json!({ "model_path": "Cargo.toml" })).unwrap_err();
    assert_eq!(refused["code"], "model_files_unavailable");
}

#[test]
fn over_standard_input_models_come_from_roots_as_well() {
    let state = TempDir::new().unwrap();
    let menagerie = models::menagerie();
    let setup = Setup::real(&programs!()).args(&["--models-root", menagerie.to_str().unwrap()]);
    let mut client = setup.stdio(&state);
    let load = json!({ "model_path": "gym_ant/ant.xml" });
    let loaded = client.tool("load_model", &load).unwrap();
    assert_eq!((&loaded["nq"], &loaded["is_cached"]), (&json!(15), &json!(false)));
    // It stays in memory a while, although nobody uses it.
    client.tool("unload_model", &json!({})).unwrap();
    assert_eq!(client.tool("load_model", &load).unwrap()["is_cached"], true);
}

#[test]
fn exactly_one_source_is_taken() {
    let mut bench = Bench::new();
    bench.put("ball.xml", BALL.as_bytes());
    for arguments in [
        json!({}),
        json!({ "model_path": "ball.xml", "model_xml": BALL }),
        json!({ "scene": "pendulum", "menagerie": "unitree_go2" }),
        json!({ "model_path": "ball.xml", "assets": { "a": "" } }),
        json!({ "model_xml": BALL, "parameters": { "length_m": 1 } }),
    ] {
        let refused = bench.client.tool("load_model", arguments.clone()).unwrap_err();
        assert_eq!(refused["code"], "invalid_argument", "{arguments}");
    }
    let scene = json!({ "scene": "pendulum", "parameters": { "mass_kg": 3 } });
    bench.client.tool("load_model", scene).unwrap();
    let info = bench.client.tool("get_model_info", json!({})).unwrap();
    assert!((info["total_mass_kg"].as_f64().unwrap() - 3.0).abs() < 1e-9);
}

const URDF: &str = "<robot name='r'><link name='base'/><link name='tip'><inertial><mass value='2'/>\
    <inertia ixx='1' iyy='1' izz='1' ixy='0' ixz='0' iyz='0'/></inertial><collision><geometry>\
    <mesh filename='FILE'/></geometry></collision></link><joint name='j' type='revolute'>\
    <parent link='base'/><child link='tip'/><axis xyz='0 0 1'/>\
    <limit lower='-1' upper='1' effort='9' velocity='9'/></joint></robot>";

#[test]
fn a_urdf_finds_its_package_above_it() {
    let mut bench = Bench::new();
    bench.put("arm_description/meshes/part.obj", MESH);
    for (path, file) in [
        ("arm_description/urdf/arm.urdf", "package://arm_description/meshes/part.obj"),
        ("arm_description/urdf/beside.urdf", "../meshes/part.obj"),
        ("arm_description/above.urdf", "meshes/part.obj"),
    ] {
        bench.put(path, URDF.replace("FILE", file).as_bytes());
        let loaded = bench.load(path).unwrap();
        assert_eq!((&loaded["njnt"], &loaded["ngeom"]), (&json!(1), &json!(1)), "{path}");
    }
    let info = bench.client.tool("get_model_info", json!({ "model_id": "model" })).unwrap();
    assert_eq!(info["joints"][0]["range"], json!([-1.0, 1.0]));
    for (file, words) in [
        ("package://other/meshes/none.obj", "in none of the folders above it"),
        ("package://arm_description/../../secret.xml", "leads out"),
        ("file:///etc/passwd", "no file of this server"),
        ("/etc/passwd", "absolute"),
    ] {
        bench.put("bad.urdf", URDF.replace("FILE", file).as_bytes());
        let refused = bench.load("bad.urdf").unwrap_err();
        assert!(refused["message"].as_str().unwrap().contains(words), "{file}: {refused}");
    }
}

#[test]
fn files_that_change_are_read_again_and_those_that_do_not_are_not() {
    let mut bench = Bench::new();
    bench.put("part.xml", b"<mujoco><worldbody><geom name='a' size='1'/></worldbody></mujoco>");
    bench.put("model.xml", b"<mujoco><include file='part.xml'/></mujoco>");
    let count = |bench: &mut Bench| {
        let info = bench.client.tool("get_server_info", json!({})).unwrap();
        (
            info["model_cache"]["hits"].as_u64().unwrap(),
            info["model_cache"]["misses"].as_u64().unwrap(),
        )
    };
    let unload = |bench: &mut Bench| bench.client.tool("unload_model", json!({})).unwrap();
    assert_eq!(bench.load("model.xml").unwrap()["is_cached"], false);
    unload(&mut bench);
    assert_eq!(bench.load("model.xml").unwrap()["is_cached"], true);
    unload(&mut bench);
    assert_eq!(count(&mut bench), (1, 1));
    // What is included counts as well.
    bench.put("part.xml", b"<mujoco><worldbody><geom name='a' size='2'/></worldbody></mujoco>");
    assert_eq!(bench.load("model.xml").unwrap()["is_cached"], false);
    unload(&mut bench);
    assert_eq!(count(&mut bench), (1, 2));
    // Once the files have rested, they are only looked at: unreadable, they are not read.
    wait_for("the files have rested", || {
        bench.load("model.xml").unwrap();
        unload(&mut bench);
        let changed = fs::metadata(bench.root().join("part.xml")).unwrap().modified().unwrap();
        (3 < changed.elapsed().unwrap().as_secs()).then_some(())
    });
    bench.load("model.xml").unwrap();
    unload(&mut bench);
    fs::remove_file(bench.root().join("part.xml")).unwrap();
    bench.refused("model.xml", "model_invalid", "not there");
}

#[test]
fn a_model_that_takes_long_to_compile_holds_nobody_else() {
    let mut bench = Bench::new();
    // Pulls a muscle for a thousand million seconds.
    let slow = models::root().join("tests/hostile/compile_bomb/lengthrange-endless.xml");
    let slow = fs::read_to_string(slow).unwrap();
    bench.put("slow.xml", slow.as_bytes());
    bench.put("ball.xml", BALL.as_bytes());
    let daemon = &bench.daemon;
    let mut other = daemon.client();
    other.send_tool("load_model", json!({ "model_path": "slow.xml" }));
    wait_for("it is being compiled", || {
        let mut looker = daemon.client();
        looker.tool("get_server_info", json!({})).unwrap();
        is_compiling(daemon.pid()).then_some(())
    });
    // While that goes on.
    assert_eq!(bench.client.tool("create_session", json!({})).unwrap()["state"], "ready");
    assert_eq!(bench.load("ball.xml").unwrap()["nq"], 7);
    assert!(is_compiling(bench.daemon.pid()), "the slow one was too quick for this test");
}

fn is_compiling(pid: u32) -> bool {
    let children = simward_tests::daemon::children(i32::try_from(pid).unwrap());
    let is_compile = |pid: &i32| {
        fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"compile"))
    };
    children.iter().any(is_compile)
}
