//! What the codec promises: every frame comes back as it was, and no bytes do harm.

use proptest::prelude::*;

use super::*;
use crate::editing::ReplaceModel;
use crate::handshake::{Hello, VERSION};
use crate::model::{DescribeModel, ListModels, LoadModel, RestoreModel, SaveModel, UnloadModel};
use crate::recording::{
    AttachRecording, Channel, PlanRecording, Selection, StartRecording, StopRecording,
};
use crate::session::{CloseSession, Listen, OpenSession, Terms};
use crate::simulation::{Pause, Reset, Run, Step};
use crate::state::{GetState, Part, SetState, Values};

fn every_request() -> Vec<Request> {
    let model_id = Some("arm".to_owned());
    let control = Some(Values::Named(vec![("elbow".into(), vec![0.5])]));
    vec![
        OpenSession {
            session_id: "sim_1".into(),
            token: "t".into(),
            terms: Terms { models_max: 8, step_rate: Some(1e4), cpu_ratio: None },
        }
        .into(),
        Listen {}.into(),
        CloseSession {}.into(),
        LoadModel { model_id: model_id.clone(), bytes: 1000 }.into(),
        RestoreModel { model_id: "arm".into(), bytes: 9, resume: true }.into(),
        SaveModel { model_id: "arm".into() }.into(),
        ListModels {}.into(),
        DescribeModel { model_id: None, items_max: 9 }.into(),
        UnloadModel { model_id: model_id.clone() }.into(),
        ReplaceModel { model_id: "arm".into(), bytes: 9 }.into(),
        Step {
            model_id: model_id.clone(),
            steps: 300,
            control: control.clone(),
            duration_secs: None,
            stop_when: None,
            include: vec![Part::Qpos, Part::MocapQuat],
            record: Some(selection()),
            budget_millis: 30_000,
        }
        .into(),
        Run { model_id: None, duration_secs: 1.5, real_time_factor: Some(1.0), control }.into(),
        Pause { model_id: None }.into(),
        Reset { model_id: None, keyframe: Some("home".into()) }.into(),
        GetState { model_id, include: Part::DEFAULT.to_vec() }.into(),
        SetState { qpos: Some(Values::All(vec![1.0, -0.0])), ..SetState::default() }.into(),
        PlanRecording { model_id: None, selection: selection() }.into(),
        StartRecording {
            model_id: "arm".into(),
            recording_id: "rec_1".into(),
            selection: selection(),
        }
        .into(),
        AttachRecording {
            model_id: "arm".into(),
            recording_id: "rec_1".into(),
            selection: selection(),
        }
        .into(),
        StopRecording { recording_id: "rec_1".into() }.into(),
    ]
}

fn selection() -> Selection {
    Selection { channels: vec![Channel::Qpos, Channel::Joint("elbow".into())], every: 5 }
}

/// Changing the wire form edits a committed snapshot, which only a new version may do.
#[test]
fn wire_form() {
    let hex =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let mut lines = Vec::new();
    let mut buffer = Vec::new();
    let hello = Hello { version: 7, engine: "E".into(), layers: vec!["l".into()] };
    encode(&mut buffer, &hello, 1000).unwrap();
    lines.push(format!("Hello {}", hex(&buffer)));
    for request in every_request() {
        let name = request.name();
        encode(&mut buffer, &ToWorker::Question { id: 1, slot: 2, request }, 1000).unwrap();
        lines.push(format!("{name} {}", hex(&buffer)));
    }
    let terms = Terms { models_max: 3, step_rate: Some(0.5), cpu_ratio: None };
    encode(&mut buffer, &ToWorker::Allow { slot: 2, terms }, 1000).unwrap();
    lines.push(format!("Allow {}", hex(&buffer)));
    let vitals = Vitals {
        progress: 1,
        steps_total: 2,
        busy_nanos: 3,
        busy: true,
        running: false,
        call_steps: (4, 5),
    };
    for (name, frame) in [
        ("Fault", FromWorker::Answer { id: 1, outcome: Err(Fault::NoModel), vitals }),
        ("Pong", FromWorker::Pong { id: 2, vitals }),
        ("LastWords", FromWorker::LastWords { text: "no".into() }),
    ] {
        encode(&mut buffer, &frame, 1000).unwrap();
        lines.push(format!("{name} {}", hex(&buffer)));
    }
    insta::assert_snapshot!(format!("wire_form_v{VERSION}"), lines.join("\n"));
}

#[test]
fn every_request_survives_a_round_trip() {
    let mut stream = Vec::new();
    for (id, request) in (0..).zip(every_request()) {
        write(&mut stream, &ToWorker::Question { id, slot: 3, request }, 1000).unwrap();
    }
    let (mut from, mut buffer) = (stream.as_slice(), Vec::new());
    for (expected, request) in (0..).zip(every_request()) {
        let frame = read::<ToWorker>(&mut from, &mut buffer, 1000).unwrap();
        assert_eq!(frame, Some(ToWorker::Question { id: expected, slot: 3, request }));
    }
    assert_eq!(read::<ToWorker>(&mut from, &mut buffer, 1000).unwrap(), None);
}

#[test]
fn an_oversized_frame_is_neither_written_nor_read() {
    let frame = FromWorker::LastWords { text: "x".repeat(100) };
    assert!(matches!(encode(&mut Vec::new(), &frame, 50), Err(Error::TooLong { max: 50, .. })));
    let lie = u32::MAX.to_le_bytes();
    let error = read::<ToWorker>(&mut lie.as_slice(), &mut Vec::new(), 1000).unwrap_err();
    assert_eq!(error.to_string(), "a frame of 4294967295 bytes exceeds the limit of 1000");
}

#[test]
fn a_lie_about_the_length_gets_no_memory() {
    let mut bytes = u32::try_from(TO_WORKER_BYTES_MAX).unwrap().to_le_bytes().to_vec();
    bytes.extend([0; 10]);
    let mut buffer = Vec::new();
    read::<ToWorker>(&mut bytes.as_slice(), &mut buffer, TO_WORKER_BYTES_MAX).unwrap_err();
    assert!(buffer.capacity() < 4096, "{}", buffer.capacity());
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_or_read_but_never_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        decode::<ToWorker>(&bytes).ok();
        decode::<FromWorker>(&bytes).ok();
        decode::<Hello>(&bytes).ok();
    }

    #[test]
    fn a_truncated_frame_is_an_error(cut in 1_usize..60, which in 0_usize..15) {
        let request = every_request().swap_remove(which);
        let mut bytes = Vec::new();
        write(&mut bytes, &ToWorker::Question { id: 1, slot: 0, request }, 1000).unwrap();
        let kept = bytes.len().saturating_sub(cut).max(1);
        let read = read::<ToWorker>(&mut &bytes[..kept], &mut Vec::new(), 1000);
        prop_assert!(read.is_err());
    }

    #[test]
    fn a_frame_with_a_tail_is_refused(tail in prop::collection::vec(any::<u8>(), 1..20)) {
        let mut bytes = Vec::new();
        encode(&mut bytes, &ToWorker::Ping { id: 1 }, 1000).unwrap();
        bytes.extend(&tail);
        let refused = matches!(
            decode::<ToWorker>(&bytes[HEADER_BYTES..]),
            Err(Error::Trailing(count)) if count == tail.len()
        );
        prop_assert!(refused);
    }

    #[test]
    fn states_survive_bit_by_bit(bits in prop::collection::vec(any::<u64>(), 0..60)) {
        let values: Vec<f64> = bits.iter().copied().map(f64::from_bits).collect();
        let call = SetState { qpos: Some(Values::All(values)), ..SetState::default() };
        let mut bytes = Vec::new();
        encode(&mut bytes, &Request::from(call), 10_000).unwrap();
        let Request::SetState(SetState { qpos: Some(Values::All(read)), .. }) =
            decode(&bytes[HEADER_BYTES..]).unwrap()
        else {
            panic!("another call came back");
        };
        prop_assert_eq!(bits, read.into_iter().map(f64::to_bits).collect::<Vec<_>>());
    }
}
