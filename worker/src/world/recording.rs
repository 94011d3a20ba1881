//! Recordings under way: rows go into mapped files, or into the answer of one call.

use std::os::fd::OwnedFd;

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use simward_protocol::fault::{Fault, cut};
use simward_protocol::real::Reals;
use simward_protocol::recording::{
    self, HEAD_BYTES_MAX, Head, Layout, ROW_HEAD_WORDS, ROWS, Selection, TABLE_VALUES_MAX, Table,
};

use super::channels::{Span, resolve};
use super::mapping::{Mapping, length_of};
use super::simulation::Simulation;

type Data = MjData<Box<MjModel>>;

/// Words that stay in memory behind the last row; what is before them is in the file alone.
const WINDOW_WORDS: usize = 128 << 10;

/// What is recorded of a model.
#[derive(Debug, Default)]
pub(crate) struct Recordings {
    files: Vec<Recording>,
    table: Option<Rows>,
}

/// A recording into a file.
#[derive(Debug)]
struct Recording {
    id: String,
    mapping: Mapping,
    head: Head,
    spans: Vec<Span>,
    /// The step that the next row is of; none if the file is full.
    due: u64,
    /// Words before this one are no longer in memory.
    released: usize,
}

/// A recording into an answer.
#[derive(Debug)]
struct Rows {
    spans: Vec<Span>,
    every: u64,
    due: u64,
    table: Table,
}

/// A recording of an earlier worker's, whose model is not there yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) model_id: String,
    id: String,
    mapping: Mapping,
    length: u64,
    selection: Selection,
}

impl Waiting {
    /// Maps the file.
    pub(crate) fn new(
        model_id: String,
        id: String,
        selection: Selection,
        file: &OwnedFd,
    ) -> Result<Self, Fault> {
        let (mapping, length) = map(file).map_err(|detail| unusable(&id, detail))?;
        Ok(Self { model_id, id, mapping, length, selection })
    }

    /// Goes on with it at the step that the model has been brought back to.
    fn resume(self, data: &Data, step: u64) -> Result<Recording, String> {
        let Self { model_id, id, mut mapping, length, selection } = self;
        let (layout, spans) =
            resolve(data, &model_id, &selection).map_err(|fault| fault.to_string())?;
        let words = mapping.words();
        let words = &words[..words.len().min(HEAD_BYTES_MAX / size_of::<u64>())];
        let mut head = recording::read(words, length).map_err(|error| error.to_string())?;
        if head.layout != layout {
            return Err("it is of another model".to_owned());
        }
        let wanted = head.rows_at(step).min(head.rows_max);
        if head.rows < wanted {
            return Err("some of its rows are missing".to_owned());
        }
        // Steps that were undone are taken again, and recorded again.
        head.rows = wanted;
        mapping.publish(ROWS, wanted);
        let released = head.begin;
        let due = due(&head);
        Ok(Recording { id, mapping, head, spans, due, released })
    }
}

impl Recordings {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.table.is_none()
    }

    /// Begins a recording; tells how many rows there is space for.
    pub(crate) fn start(
        &mut self,
        id: String,
        (data, step): (&Data, u64),
        model_id: &str,
        selection: &Selection,
        file: &OwnedFd,
    ) -> Result<u64, Fault> {
        let (layout, spans) = resolve(data, model_id, selection)?;
        let (mut mapping, _) = map(file).map_err(|detail| unusable(&id, detail))?;
        let head = recording::begin(mapping.words_mut(), layout, selection.every, step);
        let head = head.map_err(|error| unusable(&id, error.to_string()))?;
        let (rows_max, due, released) = (head.rows_max, due(&head), head.begin);
        self.files.push(Recording { id, mapping, head, spans, due, released });
        Ok(rows_max)
    }

    /// Goes on with an earlier worker's recording, if it fits what the model has become.
    pub(crate) fn resume(&mut self, waiting: Waiting, data: &Data, step: u64) {
        // One that does not fit is over: it keeps the rows that it has.
        self.files.extend(waiting.resume(data, step));
    }

    /// Ends a recording; tells whether there was one.
    pub(crate) fn stop(&mut self, id: &str) -> bool {
        let before = self.files.len();
        self.files.retain(|recording| recording.id != id);
        self.files.len() < before
    }

    /// Records the next `steps` steps into a table.
    pub(crate) fn begin_table(
        &mut self,
        (data, step): (&Data, u64),
        selection: &Selection,
        steps: u64,
    ) -> Result<(), Fault> {
        let (layout, spans) = resolve(data, "", selection)?;
        let rows = steps / selection.every;
        let value = rows.saturating_mul(layout.width() as u64 + 1);
        if TABLE_VALUES_MAX < value {
            let what = "values of a table in an answer (start_recording has room for more; or \
                        record fewer channels, or every n-th step)";
            let max = TABLE_VALUES_MAX;
            return Err(Fault::LimitExceeded { what: what.into(), value, max });
        }
        let names = layout.columns().map(|column| column.name.clone());
        let columns = std::iter::once("time_secs".to_owned()).chain(names).collect();
        let table = Table { columns, rows: Vec::new() };
        let every = selection.every;
        self.table = Some(Rows { spans, every, due: step.saturating_add(every), table });
        Ok(())
    }

    /// The table that was begun.
    pub(crate) fn end_table(&mut self) -> Option<Table> {
        self.table.take().map(|rows| rows.table)
    }

    /// A step was taken, the `step`-th of the model.
    pub(crate) fn note(&mut self, data: &Data, step: u64) {
        for recording in &mut self.files {
            if recording.due == step {
                recording.write(data, step);
            }
        }
        if let Some(rows) = self.table.as_mut().filter(|rows| rows.due == step) {
            let mut row = vec![data.time()];
            for span in &rows.spans {
                row.extend_from_slice(span.of(data));
            }
            rows.table.rows.push(Reals(row));
            rows.due = step.saturating_add(rows.every);
        }
    }
}

impl Recording {
    fn write(&mut self, data: &Data, step: u64) {
        let head = &mut self.head;
        let Ok(row) = usize::try_from(head.rows) else { return };
        let begin = head.begin + row * head.row_words;
        let end = begin + head.row_words;
        let Some(words) = self.mapping.words_mut().get_mut(begin..end) else { return };
        words[0] = step;
        words[1] = data.time().to_bits();
        let mut place = ROW_HEAD_WORDS;
        for span in &self.spans {
            let values: &[u64] = bytemuck::cast_slice(span.of(data));
            words[place..place + values.len()].copy_from_slice(values);
            place += values.len();
        }
        // The row counts once it is whole.
        head.rows += 1;
        self.mapping.publish(ROWS, head.rows);
        self.due = due(head);
        if self.released + 2 * WINDOW_WORDS < end {
            self.mapping.release(self.released..self.released + WINDOW_WORDS);
            self.released += WINDOW_WORDS;
        }
    }
}

/// The step that the next row is of. No model takes as many steps as stand for a full file.
fn due(head: &Head) -> u64 {
    if head.rows < head.rows_max { head.step_of(head.rows) } else { u64::MAX }
}

fn map(file: &OwnedFd) -> Result<(Mapping, u64), String> {
    let bytes = length_of(file)?;
    let words = bytes / size_of::<u64>() as u64;
    if words < ROWS as u64 + 1 {
        return Err("it is too short".to_owned());
    }
    Ok((Mapping::new(file, bytes)?, words))
}

fn unusable(id: &str, detail: String) -> Fault {
    Fault::RecordingUnusable { recording_id: id.to_owned(), detail: cut(detail) }
}

impl Simulation {
    /// Whether its steps are recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        !self.recordings.is_empty()
    }

    /// Begins a recording; tells how many rows there is space for.
    pub(crate) fn start_recording(
        &mut self,
        id: String,
        model_id: &str,
        selection: &Selection,
        file: &OwnedFd,
    ) -> Result<u64, Fault> {
        // The checkpoint must not be older than the recording.
        self.touch();
        let step = self.counts().steps_total;
        let Self { recordings, data, .. } = self;
        recordings.start(id, (data, step), model_id, selection, file)
    }

    /// Goes on with an earlier worker's recording.
    pub(crate) fn resume_recording(&mut self, waiting: Waiting) {
        let step = self.counts().steps_total;
        let Self { recordings, data, .. } = self;
        recordings.resume(waiting, data, step);
    }

    /// Ends a recording; tells whether there was one.
    pub(crate) fn stop_recording(&mut self, id: &str) -> bool {
        self.touch();
        self.recordings.stop(id)
    }

    /// Records the next `steps` steps into a table.
    pub(crate) fn begin_table(&mut self, selection: &Selection, steps: u64) -> Result<(), Fault> {
        let step = self.counts().steps_total;
        let Self { recordings, data, .. } = self;
        recordings.begin_table((data, step), selection, steps)
    }

    /// The table that was begun.
    pub(crate) fn end_table(&mut self) -> Option<Table> {
        self.recordings.end_table()
    }
}

/// What a recording would consist of.
pub(crate) fn plan(data: &Data, model_id: &str, selection: &Selection) -> Result<Layout, Fault> {
    resolve(data, model_id, selection).map(|(layout, _)| layout)
}
