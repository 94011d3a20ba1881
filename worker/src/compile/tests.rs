//! What becomes of sources that are flattened and edited.

use simward_protocol::compile::{Asset, Compile, ENTRY};
use simward_protocol::editing::{Change, Edit, Edited, Target};
use simward_protocol::fault::Fault;

use super::build;
use super::edit::edit;
use super::flatten::Pool;

/// A mesh: a tetrahedron of that size.
fn mesh(size: u32) -> Vec<u8> {
    format!(
        "v 0 0 0\nv {size} 0 0\nv 0 {size} 0\nv 0 0 {size}\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    )
    .into_bytes()
}

fn source(model_xml: &str, assets: &[(&str, Vec<u8>)]) -> Compile {
    let asset = |(path, content): &(&str, Vec<u8>)| Asset {
        path: (*path).to_owned(),
        content: content.clone(),
    };
    Compile {
        entry: ENTRY.into(),
        model_xml: model_xml.to_owned(),
        assets: assets.iter().map(asset).collect(),
        keep: true,
    }
}

const ARM: &str = "<mujoco model='arm'><compiler angle='degree' meshdir='parts'/>\
    <default><default class='red'><geom rgba='1 0 0 1'/></default></default>\
    <asset><mesh file='link.obj'/></asset><worldbody>\
    <body name='link' euler='10 20 30'><joint name='hinge' axis='0 1 0' range='-90 33'/>\
    <geom type='mesh' mesh='link'/><site name='tip' pos='.1 .2 .3' euler='0 90 0'/></body>\
    <body name='free' pos='3 0 0'><freejoint/><geom class='red' size='.1'/></body></worldbody>\
    <actuator><position name='servo' joint='hinge' kp='10'/><motor name='drive' joint='hinge'/></actuator>\
    <sensor><jointpos name='angle' joint='hinge'/></sensor>\
    <keyframe><key name='home' qpos='.5 1 2 3 1 0 0 0' ctrl='.25 4'/></keyframe></mujoco>";

fn arm() -> Compile {
    source(ARM, &[("parts/link.obj", mesh(1))])
}

const HAND: &str = "<mujoco model='hand'><compiler meshdir='parts'/>\
    <asset><mesh file='link.obj'/></asset><worldbody><body name='palm'>\
    <joint name='spread' axis='1 0 0'/><geom type='mesh' mesh='link'/></body></worldbody>\
    <actuator><motor name='close' joint='spread'/></actuator></mujoco>";

fn hand() -> Compile {
    source(HAND, &[("parts/link.obj", mesh(2))])
}

fn edited(base: Compile, others: Vec<Compile>, edits: Vec<Change>) -> Result<Edited, Fault> {
    edit(&Edit { base, others, edits }).map(|(edited, _)| edited)
}

fn add(xml: &str, to: Option<&str>) -> Change {
    Change::Add { xml: xml.into(), to: to.map(str::to_owned) }
}

fn remove(kind: &str, name: &str) -> Change {
    Change::Remove { kind: kind.into(), name: name.into() }
}

fn attach(to: Target) -> Change {
    let (position, quaternion) = ([0.0; 3], [1.0, 0.0, 0.0, 0.0]);
    Change::Attach { other: 0, to, prefix: "hand_".into(), position, quaternion }
}

/// The source that came of an edit.
fn next(edited: Edited, sources: &[Compile]) -> Compile {
    let taken = edited.source.assets.into_iter().map(|taken| {
        let from = &sources[taken.source as usize].assets[taken.index as usize];
        Asset { path: taken.path, content: from.content.clone() }
    });
    let assets = taken.collect();
    Compile { entry: ENTRY.into(), model_xml: edited.source.model_xml, assets, keep: true }
}

#[test]
fn a_flattened_source_compiles_to_the_same_bytes() {
    let included = "<mujoco><worldbody><body pos='0 0 9'><joint type='ball'/><geom size='.1'/></body>\
        </worldbody></mujoco>";
    let model = ARM.replace("<sensor>", "<include file='more.xml'/><sensor>");
    let parts = [("parts/link.obj", mesh(1)), ("more.xml", included.as_bytes().to_vec())];
    for call in [arm(), hand(), source(&model, &parts)] {
        let mut pool = Pool::new(vec![&call]);
        let document = pool.flatten(0).unwrap();
        let flat = pool.finish(document).unwrap();
        assert_eq!(flat.assets.len(), 1, "what is included is none of them any more");
        assert!(!flat.model_xml.contains("include"), "{}", flat.model_xml);
        let (before, after) = (build::build(&call).unwrap(), {
            let vfs = pool.vfs(&flat.model_xml).unwrap();
            build::build_in(ENTRY, &vfs).unwrap()
        });
        // All but the paths of the files, which stand at the end.
        assert_eq!(before.state_values, after.state_values);
        assert_eq!(before.compiled.len().abs_diff(after.compiled.len()) / 64, 0);
    }
}

#[test]
fn files_of_the_same_path_are_kept_apart() {
    let edited = edited(arm(), vec![hand()], vec![attach(Target::Site("tip".into()))]).unwrap();
    let paths: Vec<_> = edited.source.assets.iter().map(|taken| taken.path.as_str()).collect();
    assert_eq!(paths, ["2/parts/link.obj", "parts/link.obj"]);
    let xml = &edited.source.model_xml;
    assert!(xml.contains("name=\"hand_close\"") && xml.contains("name=\"hand_palm\""), "{xml}");
    // The same file is one file.
    let edited = self::edited(arm(), vec![arm()], vec![attach(Target::World)]).unwrap();
    assert_eq!(edited.source.assets.len(), 1);
}

/// Each of the models that are in it looks for its files where its own document says.
#[test]
fn files_are_found_where_the_engine_finds_them() {
    let inner = "<mujoco><compiler meshdir='meshes'/><asset><mesh name='m' file='part.obj'/></asset>\
        <worldbody><body name='b'><freejoint/><geom type='mesh' mesh='m'/></body></worldbody></mujoco>";
    let outer = "<mujoco><compiler meshdir='pm' texturedir='tx'/><asset>\
        <model name='c' file='child/c.xml'/><mesh file='part.obj'/><mesh file='./x/Other.OBJ'/>\
        <texture name='sky' type='skybox' fileright='r.png' fileleft='l.png' fileup='r.png'\
        filedown='r.png' filefront='r.png' fileback='r.png'/></asset><worldbody>\
        <body name='q'><freejoint/><geom type='mesh' mesh='part'/></body>\
        <attach model='c' body='b' prefix='x_'/></worldbody></mujoco>";
    let call = source(
        outer,
        &[
            ("child/c.xml", inner.as_bytes().to_vec()),
            ("child/meshes/part.obj", mesh(3)),
            ("pm/part.obj", mesh(4)),
            ("elsewhere/other.obj", mesh(5)),
            ("tx/l.png", b"left".to_vec()),
            ("tx/r.png", b"right".to_vec()),
            ("unused.png", b"nobody's".to_vec()),
        ],
    );
    let mut pool = Pool::new(vec![&call]);
    let document = pool.flatten(0).unwrap();
    for named in [
        "name=\"x_m\" file=\"child/meshes/part.obj\"",
        "file=\"pm/part.obj\"",
        "name=\"Other\" file=\"elsewhere/other.obj\"",
        "fileleft=\"tx/l.png\"",
        "fileright=\"tx/r.png\"",
    ] {
        assert!(document.contains(named), "{named}: {document}");
    }
    let flat = pool.finish(document).unwrap();
    let paths: Vec<_> = flat.assets.iter().map(|taken| taken.path.as_str()).collect();
    let expected =
        ["child/meshes/part.obj", "elsewhere/other.obj", "pm/part.obj", "tx/l.png", "tx/r.png"];
    assert_eq!(paths, expected);
    // What is meant must be clear.
    let two = [("a/part.obj", mesh(1)), ("b/part.obj", mesh(2))];
    let call = source("<mujoco><asset><mesh file='part.obj'/></asset></mujoco>", &two);
    let fault = Pool::new(vec![&call]).flatten(0).unwrap_err();
    assert!(fault.to_string().contains("several different files"), "{fault}");
}

#[test]
fn what_came_of_an_edit_can_be_edited() {
    let first = edited(arm(), vec![hand()], vec![attach(Target::Body("link".into()))]).unwrap();
    let base = next(first.clone(), &[arm(), hand()]);
    let again = edited(base.clone(), vec![], vec![remove("body", "hand_palm")]).unwrap();
    let paths: Vec<_> = again.source.assets.iter().map(|taken| taken.path.as_str()).collect();
    assert_eq!(paths, ["2/parts/link.obj", "parts/link.obj"], "an asset is no part of a body");
    let gone = vec![remove("body", "hand_palm"), remove("mesh", "hand_link")];
    let again = edited(base, vec![], gone).unwrap();
    assert_eq!(again.source.assets.len(), 1);
    assert!(again.compiled.state_values < first.compiled.state_values);
}

#[test]
fn keyframes_follow_what_they_are_about() {
    let edits = vec![
        remove("actuator", "servo"),
        add(
            "<body name='new' pos='0 5 0'><joint name='slide' type='slide'/><geom size='1'/></body>",
            None,
        ),
        add("<joint name='second' axis='1 0 0'/>", Some("link")),
        add("<actuator><motor name='last' joint='slide'/></actuator>", None),
    ];
    let edited = edited(arm(), vec![], edits).unwrap();
    let xml = edited.source.model_xml;
    let key = xml.lines().find(|line| line.contains("<key ")).unwrap_or_default().trim();
    assert!(key.contains("qpos=\"0.5 0 1 2 3 1 0 0 0 0\""), "{key}");
    assert!(key.contains("ctrl=\"4 0\"") && key.contains("name=\"home\""), "{key}");
    // With a body, the engine sees to it.
    let edited = self::edited(arm(), vec![], vec![remove("body", "link")]).unwrap();
    let xml = edited.source.model_xml;
    let key = xml.lines().find(|line| line.contains("<key ")).unwrap_or_default().trim();
    assert_eq!(key, "<key name=\"home\" qpos=\"1 2 3 1 0 0 0\"/>");
}

#[test]
fn models_with_keyframes_are_attached_one_after_the_other() {
    let mut other = attach(Target::World);
    if let Change::Attach { prefix, other, .. } = &mut other {
        (*prefix, *other) = ("left_".into(), 1);
    }
    let edits = vec![attach(Target::World), other, remove("body", "hand_free")];
    let xml = edited(arm(), vec![arm(), arm()], edits).unwrap().source.model_xml;
    let keys: Vec<_> = xml.lines().filter(|line| line.contains("<key ")).map(str::trim).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    for (name, begin) in [("home", "0.5 "), ("hand_home", "0 "), ("left_home", "0 ")] {
        let key = keys.iter().find(|key| key.contains(&format!("name=\"{name}\""))).unwrap();
        assert!(key.contains(&format!("qpos=\"{begin}")), "{key}");
    }
}

#[test]
fn a_fragment_sees_the_defaults_and_the_assets_of_the_model() {
    let edits = vec![
        add("<geom name='more' class='red' type='mesh' mesh='link' pos='0 0 1'/>", Some("link")),
        add("<body name='a'><freejoint/><geom size='.1'/></body>", Some("world")),
        add("<site name='mark'/><camera name='eye'/>", Some("a")),
        add("<sensor><framepos objtype='site' objname='mark'/></sensor>", None),
    ];
    let xml = edited(arm(), vec![], edits).unwrap().source.model_xml;
    for part in ["name=\"more\"", "name=\"mark\"", "name=\"eye\"", "<framepos"] {
        assert!(xml.contains(part), "{part}: {xml}");
    }
}

#[test]
fn a_model_is_attached_where_it_is_wanted() {
    let turned = Change::Attach {
        other: 0,
        to: Target::World,
        prefix: "hand_".into(),
        position: [1.0, 2.0, 3.0],
        quaternion: [0.0, 1.0, 0.0, 0.0],
    };
    let xml = edited(arm(), vec![hand()], vec![turned]).unwrap().source.model_xml;
    assert!(xml.contains("pos=\"1 2 3\"") && xml.contains("quat=\"0 1 0 0\""), "{xml}");
}

#[test]
fn an_edit_that_makes_no_sense_is_refused_by_its_number() {
    let refused = |edits: Vec<Change>| edited(arm(), vec![hand()], edits).unwrap_err();
    let told = |edits| refused(edits).to_string();
    let good = add("<site name='x'/>", None);
    let fault = refused(vec![good.clone(), remove("joint", "hing")]);
    let nearest = vec!["hinge".to_owned()];
    assert_eq!(fault, Fault::NameUnknown { kind: "joint".into(), name: "hing".into(), nearest });
    let fault = refused(vec![attach(Target::Site("tipp".into()))]);
    assert_eq!(fault.code(), "name_unknown");
    assert!(told(vec![add("<site/>", Some("lin"))]).contains("did you mean `link`"));
    assert!(told(vec![good.clone(), remove("hinge", "x")]).contains("edits[1].remove.kind"));
    assert!(told(vec![add("<geom/></body>", None)]).contains("edits[0].add.xml"));
    assert!(told(vec![add("<actuator/>", Some("link"))]).contains("edits[0].add.to"));
    // What the compiler says is told whole.
    let bad = told(vec![add("<geom name='bad' type='mesh' mesh='none'/>", Some("link"))]);
    assert!(bad.contains("none"), "{bad}");
    let bad = told(vec![remove("joint", "hinge")]);
    assert!(bad.contains("hinge"), "{bad}");
    let bad = told(vec![good, add("<geom sise='1'/>", None)]);
    assert!(bad.contains("edits[1]") && bad.contains("sise"), "{bad}");
    let mut far = attach(Target::World);
    if let Change::Attach { quaternion, .. } = &mut far {
        *quaternion = [0.0; 4];
    }
    assert!(told(vec![far]).contains("no length"));
    assert_eq!(refused(vec![]).code(), "limit_exceeded");
    assert_eq!(refused(vec![remove("joint", "x"); 65]).code(), "limit_exceeded");
    // The same names twice.
    let mut twice = attach(Target::World);
    if let Change::Attach { prefix, .. } = &mut twice {
        prefix.clear();
    }
    let bad = edited(arm(), vec![arm()], vec![twice]).unwrap_err();
    assert_eq!(bad.code(), "model_invalid", "{bad}");
}
