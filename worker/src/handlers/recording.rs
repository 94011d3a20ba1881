//! Recordings begin and end.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::recording::{
    AttachRecording, Layout, PlanRecording, RecordingAttached, RecordingStarted, RecordingStopped,
    StartRecording, StopRecording,
};

use crate::world::World;
use crate::world::recording::{Waiting, plan};

/// The most recordings that one session has under way, whatever the supervisor asks.
const RECORDINGS_MAX: usize = 256;

impl Serve<PlanRecording> for World {
    fn serve(&mut self, slot: u32, call: PlanRecording) -> Result<Layout, Fault> {
        let PlanRecording { model_id, selection } = call;
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        plan(&simulation.data, &model_id, &selection)
    }
}

impl Serve<StartRecording> for World {
    fn serve(&mut self, slot: u32, call: StartRecording) -> Result<RecordingStarted, Fault> {
        let StartRecording { model_id, recording_id, selection } = call;
        let Some(file) = self.attached.pop() else { return Err(missing(recording_id)) };
        let (model_id, simulation) = self.model(slot, Some(&model_id))?;
        let rows_max = simulation.start_recording(recording_id, &model_id, &selection, &file)?;
        Ok(RecordingStarted { rows_max })
    }
}

impl Serve<AttachRecording> for World {
    fn serve(&mut self, slot: u32, call: AttachRecording) -> Result<RecordingAttached, Fault> {
        let AttachRecording { model_id, recording_id, selection } = call;
        let Some(file) = self.attached.pop() else { return Err(missing(recording_id)) };
        let room = self.slot(slot)?;
        if RECORDINGS_MAX <= room.waiting.len() {
            let (value, max) = (room.waiting.len() as u64 + 1, RECORDINGS_MAX as u64);
            return Err(Fault::LimitExceeded { what: "recordings".into(), value, max });
        }
        room.waiting.push(Waiting::new(model_id, recording_id, selection, &file)?);
        Ok(RecordingAttached {})
    }
}

impl Serve<StopRecording> for World {
    fn serve(&mut self, slot: u32, call: StopRecording) -> Result<RecordingStopped, Fault> {
        let StopRecording { recording_id } = call;
        let models = self.slot(slot)?.models.values_mut();
        let stopped = models.map(|simulation| simulation.stop_recording(&recording_id));
        let was_recording = stopped.fold(false, |any, one| any | one);
        Ok(RecordingStopped { was_recording })
    }
}

fn missing(recording_id: String) -> Fault {
    Fault::RecordingUnusable { recording_id, detail: "its file did not come along".to_owned() }
}
