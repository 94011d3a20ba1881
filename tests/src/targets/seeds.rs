//! What the fuzzers begin with: at least one input of every kind, made by the code that is read
//! back, so that no corpus grows old.

use serde::Serialize;
use simward_protocol::call::{Reply, Request};
use simward_protocol::compile::{Asset, Compile, Compiled, ENTRY, Task};
use simward_protocol::condition::{Condition, Quantity};
use simward_protocol::editing::{Change, Edit, Edited, Flattened, Taken, Target};
use simward_protocol::fault::Fault;
use simward_protocol::handshake::{Hello, VERSION};
use simward_protocol::model::{LoadModel, RestoreModel};
use simward_protocol::session::{OpenSession, Terms, Vitals};
use simward_protocol::simulation::{Run, Step};
use simward_protocol::state::{Part, SetState, State, Values};
use simward_protocol::wire::{FromWorker, HEADER_BYTES, ToWorker, encode};
use simward_supervisor::config::Config;

use super::files::{a_record, record_of, trailer_of};
use super::sources::BETWEEN;

/// The inputs of a target, by their file's name.
///
/// # Panics
///
/// Panics if there is no such target.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let seeds = match target {
        "to_worker" => to_worker(),
        "from_worker" => from_worker(),
        "checkpoint" => checkpoints(),
        "record" => records(),
        "trailer" => trailers(),
        "config" => configs(),
        "assignment" => assignments(),
        "scan" => sources(),
        _ => panic!("{target} has no seeds"),
    };
    seeds.into_iter().enumerate().map(|(n, bytes)| (format!("seed-{n:02}"), bytes)).collect()
}

fn frame<T: Serialize>(kind: u8, value: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode(&mut buffer, value, 1 << 20).unwrap();
    buffer.drain(..HEADER_BYTES);
    buffer.insert(0, kind);
    buffer
}

fn to_worker() -> Vec<Vec<u8>> {
    let model_id = Some("arm".to_owned());
    let control = Some(Values::Named(vec![("elbow".into(), vec![0.5, f64::NAN])]));
    let stop_when = Condition {
        quantity: Some(Quantity::Time),
        above: Some(2.5),
        for_secs: 0.5,
        ..Condition::default()
    };
    let requests: [Request; 6] = [
        OpenSession {
            session_id: "sim_1".into(),
            token: "t".into(),
            terms: Terms { models_max: 8, step_rate: Some(1e4), cpu_ratio: None },
        }
        .into(),
        LoadModel { model_id: model_id.clone(), bytes: 1000 }.into(),
        RestoreModel { model_id: "arm".into(), bytes: 9, resume: true }.into(),
        Step {
            model_id,
            steps: 300,
            duration_secs: None,
            control: control.clone(),
            stop_when: Some(Box::new(stop_when)),
            include: vec![Part::Qpos, Part::MocapQuat],
            record: None,
            budget_millis: 30_000,
        }
        .into(),
        Run { model_id: None, duration_secs: 1.5, real_time_factor: Some(1.0), control }.into(),
        SetState { qpos: Some(Values::All(vec![1.0, -0.0])), ..SetState::default() }.into(),
    ];
    let question = |request| frame(0, &ToWorker::Question { id: 300, slot: 2, request });
    let mut seeds: Vec<_> = requests.into_iter().map(question).collect();
    seeds.push(frame(0, &ToWorker::Cancel { id: 1 << 40 }));
    seeds.push(frame(0, &ToWorker::Ping { id: u64::MAX }));
    let asset = Asset { path: "a/x.stl".into(), content: vec![0, 255, 7] };
    let (entry, model_xml) = (ENTRY.into(), "<mujoco/>".into());
    let base = Compile { entry, model_xml, assets: vec![asset], keep: true };
    let attach = Change::Attach {
        other: 0,
        to: Target::Site("tip".into()),
        prefix: "hand_".into(),
        position: [0.0, 0.5, -1.0],
        quaternion: [1.0, 0.0, 0.0, 0.0],
    };
    let add = Change::Add { xml: "<geom/>".into(), to: None };
    let remove = Change::Remove { kind: "joint".into(), name: "elbow".into() };
    let edits = vec![attach, add, remove];
    let edit = Edit { base: base.clone(), others: vec![base.clone()], edits };
    let tasks = [Task::Compile(base.clone()), Task::Flatten(base), Task::Edit(edit)];
    seeds.extend(tasks.map(|task| frame(1, &task)));
    seeds
}

fn from_worker() -> Vec<Vec<u8>> {
    let vitals = Vitals {
        progress: 1,
        steps_total: 2,
        busy_nanos: 3,
        busy: true,
        running: false,
        call_steps: (4, 5),
    };
    let state = State {
        model_id: "arm".into(),
        qpos: Some([0.5, f64::INFINITY].as_slice().into()),
        ..State::default()
    };
    let answer = |outcome| frame(0, &FromWorker::Answer { id: 1, outcome, vitals });
    let nearest = vec!["elbow".to_owned()];
    let compiled = Compiled { bytes: 9, state_values: 3, warnings: vec!["odd".into()] };
    let taken = Taken { path: "a/x.stl".into(), source: 1, index: 300 };
    let source = Flattened { model_xml: "<mujoco/>".into(), assets: vec![taken] };
    let edited = Edited { source: source.clone(), compiled: compiled.clone() };
    vec![
        answer(Ok(Reply::GetState(state))),
        answer(Err(Fault::NoModel)),
        answer(Err(Fault::NameUnknown { kind: "joint".into(), name: "elbw".into(), nearest })),
        frame(0, &FromWorker::Pong { id: 2, vitals }),
        frame(0, &FromWorker::LastWords { text: "no".into() }),
        frame(1, &Hello { version: VERSION, engine: "E".into(), layers: vec!["l".into()] }),
        frame(2, &Ok::<_, Fault>(compiled)),
        frame(2, &Err::<Compiled, _>(Fault::ModelInvalid { detail: "line 1".into() })),
        frame(3, &Ok::<_, Fault>(source)),
        frame(4, &Ok::<_, Fault>(edited)),
    ]
}

fn checkpoints() -> Vec<Vec<u8>> {
    let ramp: Vec<u8> = (0..=255).cycle().take(1200).collect();
    let whole = 0b1111_1110;
    vec![
        vec![0, 0],
        [&[0, whole, 3], ramp.as_slice()].concat(),
        [&[0, whole | 1, 3], ramp.as_slice()].concat(),
        [&[0, 0b1010_1010, 250], ramp.as_slice()].concat(),
        vec![1, 0],
        [&[1, 3], ramp.as_slice()].concat(),
        [&[1, 9], &ramp[7..]].concat(),
    ]
}

fn records() -> Vec<Vec<u8>> {
    let whole = serde_json::to_vec(&a_record()).unwrap();
    let mut bare = a_record();
    bare.models.clear();
    bare.name = None;
    bare.limits.cpu_ratio = Some(0.1);
    let bare = serde_json::to_vec(&bare).unwrap();
    vec![record_of(&whole), record_of(&bare), whole, b"simward session 1 00000000\n".to_vec()]
}

fn trailers() -> Vec<Vec<u8>> {
    let about = |bytes: u64, warnings: &str| {
        format!(r#"{{"bytes":{bytes},"crc32":7,"state_values":9,"warnings":[{warnings}]}}"#)
            .into_bytes()
    };
    vec![
        trailer_of(b"model", &about(5, "")),
        trailer_of(&[], &about(0, r#""a","b""#)),
        trailer_of(b"model", &about(4, "")),
        about(0, r#""odd""#),
        trailer_of(
            b"model and source",
            br#"{"bytes":5,"crc32":7,"state_values":9,"warnings":[],"source":{"bytes":11,"list_bytes":3,"list_crc32":1}}"#,
        ),
        trailer_of(&[], &[]),
    ]
}

fn configs() -> Vec<Vec<u8>> {
    let texts = [
        Config::default().to_toml(),
        "[sessions]\nmax = 3\nidle_timeout_secs = 1e3\n".into(),
        "pool.ports.range = \"9000-9100\"\npool = { hang_after_secs = 0.5 }\n".into(),
        "[pool]\nrequire_layers = [\"few_system_calls\"]\nhang_after_secs = nan\n".into(),
        "state_dir = '''/x'''\n[log]\nformat = \"json\" # \u{1f980}\n".into(),
        "[[pool]]\n[sesions]\nmax = 99999999999999999999\n".into(),
    ];
    texts.map(String::into_bytes).into()
}

fn assignments() -> Vec<Vec<u8>> {
    let texts = [
        "sessions.max=4\npool.ports.range=9000-9100",
        "pool.worker_args=[\"a\", 'b']\nlog.format=json",
        "state_dir=/tmp/x y\nhttp.drain_secs= 1_0.5 ",
        "store.durable=false\nstore.durable=maybe\n=\na..b=1\nsessions={max=1}",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

fn sources() -> Vec<Vec<u8>> {
    let texts = [
        "<mujoco><worldbody><geom size='.1'/></worldbody></mujoco>".to_owned(),
        format!(
            "<mujoco><compiler meshdir='a'/><include file='p.xml'/></mujoco>\
             {BETWEEN}p.xml\n<mujoco><asset><mesh file='a/x.stl'/></asset></mujoco>\
             {BETWEEN}a/x.stl\nsolid"
        ),
        format!(
            "<robot name='r'><mesh filename=\"package://arm/Link.STL\"/></robot>\
             {BETWEEN}link.stl\nsolid"
        ),
        format!("<mujoco><include file='a.txt'/></mujoco>{BETWEEN}a.txt\n<m><model file=''/></m>"),
        "<?xml version='1.0'?><!DOCTYPE m [<!ENTITY x 'y'>]><mujoco file='&#x2f;x'/>".into(),
        "<!-- c --><mujoco><![CDATA[<include file='/x'/>]]></mujoco ><!x>".into(),
        "<mujoco><include file='/etc/passwd'/><mesh file='..\\x'/></mujoco>".into(),
    ];
    texts.map(String::into_bytes).into()
}
