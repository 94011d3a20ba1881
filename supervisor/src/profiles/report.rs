//! A profile, as clients see it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use simward_profiler::profile::{Ended, Unit};
use simward_profiler::{Profile, views};

use super::memory::Memory;
use super::phases::Phases;
use super::{Error, Job, Kind, Outcome};

/// The longest text that comes back with the answer.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The longest text that is handed over at once, as a resource.
const READ_BYTES_MAX: usize = 16 << 20;

/// How functions are shown.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum View {
    /// The heaviest functions.
    #[default]
    Top,
    /// Who calls whom.
    Tree,
    /// A line for each stack.
    Folded,
    /// A picture of all stacks.
    Flamegraph,
    /// For pprof.
    Pprof,
    /// For speedscope.app.
    Speedscope,
}

impl View {
    /// The text that it is, if it is one.
    pub fn form(self) -> Option<Form> {
        match self {
            Self::Top | Self::Tree => None,
            Self::Folded => Some(Form::Txt),
            Self::Flamegraph => Some(Form::Svg),
            Self::Pprof => Some(Form::Pb),
            Self::Speedscope => Some(Form::Json),
        }
    }
}

/// A form in which functions can be read, by the extension of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Folded stacks.
    Txt,
    /// A flame graph.
    Svg,
    /// pprof's.
    Pb,
    /// speedscope's.
    Json,
}

impl Form {
    const ALL: [Self; 4] = [Self::Txt, Self::Svg, Self::Pb, Self::Json];

    /// Its name, which is the address's extension.
    pub fn word(self) -> &'static str {
        match self {
            Self::Txt => "txt",
            Self::Svg => "svg",
            Self::Pb => "pb",
            Self::Json => "json",
        }
    }

    /// The form of that name.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.word() == word)
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Txt => "text/plain",
            Self::Svg => "image/svg+xml",
            Self::Pb => "application/vnd.google.protobuf",
            Self::Json => "application/json",
        }
    }

    /// Whether it is text.
    pub fn is_text(self) -> bool {
        self != Self::Pb
    }
}

/// What is to be seen of a profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// How.
    pub view: View,
    /// The most functions, or nodes of the tree.
    pub items_max: usize,
    /// What takes less than that share is left out of the tree.
    pub hot_path_ratio: f64,
}

/// How a profile stands, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Report {
    /// Its handle.
    pub profile_id: String,
    /// What it is of.
    pub kind: Kind,
    /// The session; null if it is of the server itself.
    pub session_id: Option<String>,
    /// How it stands.
    pub state: State,
    /// Why it is partial.
    pub partial_because: Option<String>,
    /// How far it is, from 0 to 1.
    pub progress_ratio: f64,
    /// Samples so far, or steps of a `phases` profile.
    pub seen: u64,
    /// What came of a `cpu` profile.
    pub cpu: Option<Cpu>,
    /// What came of a `phases` profile.
    pub phases: Option<Phases>,
    /// What came of a `memory` profile.
    pub memory: Option<Memory>,
}

/// How a profile stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is under way.
    Running,
    /// It is whole.
    Done,
    /// It ended before its time.
    Partial,
}

/// Where the processor's time went.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Cpu {
    /// The process.
    pub pid: i32,
    /// How long it was looked at, in seconds.
    pub sampled_secs: f64,
    /// Samples per second of processor time.
    pub frequency_hz: u64,
    /// The share of the time in which the process used a processor; above 1 with several.
    pub busy_ratio: f64,
    /// Samples that the kernel had no space for.
    pub samples_lost: u64,
    /// Samples whose stack could not be followed to its end.
    pub stacks_cut: u64,
    /// Samples whose stack is not told: there were too many different ones.
    pub stacks_merged: u64,
    /// Threads that could not be sampled.
    pub threads_missed: u64,
    /// The heaviest functions, of `top`.
    pub functions: Vec<Row>,
    /// The call tree, of `tree`: each before what it calls, the heaviest first.
    pub tree: Vec<Node>,
    /// Functions or nodes that are not told.
    pub left_out: u64,
    /// Where the text can be read, of every other view.
    pub uri: Option<String>,
    /// Whether the text comes with this answer.
    pub inline: bool,
}

/// Who asked for memory since the profile's beginning, and has it still.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Heap {
    /// How much that is, in bytes: estimated by a sample for each 64 KiB.
    pub held_bytes: u64,
    /// Those functions that hold most, of `top`.
    pub functions: Vec<Holder>,
    /// The call tree, of `tree`: each before what it calls, the heaviest first.
    pub tree: Vec<Node>,
    /// Functions or nodes that are not told.
    pub left_out: u64,
    /// Where the text can be read, of every other view.
    pub uri: Option<String>,
    /// Whether the text comes with this answer.
    pub inline: bool,
}

/// A function that asked for memory.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// The file that it is in.
    pub module: String,
    /// What it asked for itself.
    pub self_bytes: u64,
    /// The share of that.
    pub self_ratio: f64,
    /// What it and what it calls asked for.
    pub total_bytes: u64,
    /// The share of that.
    pub total_ratio: f64,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The file that it is in.
    pub module: String,
    /// Samples in it itself.
    pub self_samples: u64,
    /// Their share.
    pub self_ratio: f64,
    /// Samples in it and in what it calls.
    pub total_samples: u64,
    /// Their share.
    pub total_ratio: f64,
}

/// A function, where it was called from.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Node {
    /// How deep; 0 is a thread, or all memory.
    pub depth: u64,
    /// The function's name, or the thread's.
    pub name: String,
    /// The share of samples, or of bytes, in it itself.
    pub self_ratio: f64,
    /// The share of those in it and in what it calls.
    pub total_ratio: f64,
}

impl Job {
    /// How it stands, and what came of it. Text that is short comes back as well.
    pub fn look(&self, look: Look) -> Result<(Report, Option<Vec<u8>>), Error> {
        let ask = self.ask();
        if let Some(form) = look.view.form()
            && !(ask.kind == Kind::Cpu || ask.kind == Kind::Memory && self.session_id().is_none())
        {
            return Err(Error::NotSeenSo { view: word(look.view, form) });
        }
        let (elapsed, whole) = (self.elapsed().as_secs_f64(), ask.duration.as_secs_f64());
        let mut report = Report {
            profile_id: self.id().to_owned(),
            kind: ask.kind,
            session_id: self.session_id().map(str::to_owned),
            state: State::Running,
            partial_because: None,
            // Names are looked up when the time is over.
            progress_ratio: (elapsed / whole).min(0.99),
            seen: self.seen(),
            cpu: None,
            phases: None,
            memory: None,
        };
        let Some(outcome) = self.outcome() else { return Ok((report, None)) };
        report.progress_ratio = 1.0;
        let mut text = None;
        let cut_short = match &*outcome {
            Outcome::Failed(error) => return Err(Error::Before(Arc::clone(error))),
            Outcome::Cpu(profile) => {
                let (cpu, inline) = cpu(profile, self.id(), look)?;
                (report.seen, report.cpu, text) = (profile.samples, Some(cpu), inline);
                match profile.ended {
                    Ended::InTime => None,
                    Ended::WithTheProcess => Some("the process ended meanwhile".to_owned()),
                    Ended::Withdrawn => Some("it was withdrawn".to_owned()),
                }
            }
            Outcome::Phases(phases) => {
                report.phases = Some(phases.clone());
                phases.cut_short.clone()
            }
            Outcome::Memory(memory) => {
                let mut told = Memory::clone(memory);
                if let Some(held) = &memory.held {
                    let (heap, inline) = heap(held, self.id(), look)?;
                    (told.heap, text) = (Some(heap), inline);
                } else if let Some(form) = look.view.form() {
                    return Err(Error::NotSeenSo { view: word(look.view, form) });
                }
                report.memory = Some(told);
                memory.cut_short.clone()
            }
        };
        report.state = if cut_short.is_none() { State::Done } else { State::Partial };
        report.partial_because = cut_short;
        Ok((report, text))
    }

    /// Its functions in one of their forms.
    pub fn read(&self, form: Form) -> Result<Vec<u8>, Error> {
        match self.outcome().as_deref() {
            Some(Outcome::Cpu(profile)) => write(profile, self.id(), form),
            Some(Outcome::Memory(memory)) => {
                let held = memory.held.as_deref();
                write(held.ok_or_else(|| Error::NotSeenSo { view: form.word() })?, self.id(), form)
            }
            Some(Outcome::Phases(_)) => Err(Error::NotSeenSo { view: form.word() }),
            Some(Outcome::Failed(_)) | None => Err(Error::Unknown(self.id().to_owned())),
        }
    }
}

fn word(view: View, form: Form) -> &'static str {
    match view {
        View::Folded => "folded",
        View::Flamegraph => "flamegraph",
        View::Pprof => "pprof",
        View::Speedscope => "speedscope",
        View::Top | View::Tree => form.word(),
    }
}

fn cpu(profile: &Profile, id: &str, look: Look) -> Result<(Cpu, Option<Vec<u8>>), Error> {
    let mut cpu = Cpu {
        pid: profile.pid,
        sampled_secs: profile.duration_secs,
        frequency_hz: profile.frequency_hz,
        busy_ratio: busy(profile),
        samples_lost: profile.lost,
        stacks_cut: profile.cut,
        stacks_merged: profile.merged,
        threads_missed: profile.threads_missed,
        functions: Vec::new(),
        tree: Vec::new(),
        left_out: 0,
        uri: None,
        inline: false,
    };
    let shown = shown(profile, id, look)?;
    cpu.functions = shown.functions.into_iter().map(|row| heavy(profile, row)).collect();
    (cpu.tree, cpu.left_out, cpu.uri) = (shown.tree, shown.left_out, shown.uri);
    cpu.inline = shown.text.is_some();
    Ok((cpu, shown.text))
}

fn heap(held: &Profile, id: &str, look: Look) -> Result<(Heap, Option<Vec<u8>>), Error> {
    let Shown { functions, tree, left_out, uri, text } = shown(held, id, look)?;
    let functions = functions.into_iter().map(|row| holder(held, row)).collect();
    let inline = text.is_some();
    Ok((Heap { held_bytes: held.samples, functions, tree, left_out, uri, inline }, text))
}

/// Functions, as they are to be seen.
#[derive(Default)]
struct Shown {
    functions: Vec<views::Row>,
    tree: Vec<Node>,
    left_out: u64,
    uri: Option<String>,
    text: Option<Vec<u8>>,
}

fn shown(profile: &Profile, id: &str, look: Look) -> Result<Shown, Error> {
    let mut shown = Shown::default();
    match look.view.form() {
        Some(form) => {
            let bytes = write(profile, id, form)?;
            shown.uri = Some(format!("sim://profiles/{id}.{}", form.word()));
            shown.text = (bytes.len() <= INLINE_BYTES_MAX).then_some(bytes);
        }
        None if look.view == View::Tree => {
            let tree = views::tree(profile, look.hot_path_ratio, look.items_max);
            shown.left_out = tree.left_out as u64;
            shown.tree = tree.nodes.into_iter().map(|node| seen(profile, node)).collect();
        }
        None => {
            let top = views::top(profile, look.items_max);
            shown.left_out = top.left_out as u64;
            shown.functions = top.rows;
        }
    }
    Ok(shown)
}

#[expect(clippy::cast_precision_loss, reason = "shares are floating point")]
fn busy(profile: &Profile) -> f64 {
    let secs =
        profile.samples.saturating_add(profile.lost) as f64 / profile.frequency_hz.max(1) as f64;
    if profile.duration_secs <= 0.0 { 0.0 } else { secs / profile.duration_secs }
}

fn heavy(profile: &Profile, row: views::Row) -> Row {
    let views::Row { function, self_samples, total_samples } = row;
    Row {
        name: function.name,
        module: function.module,
        self_samples,
        self_ratio: profile.share(self_samples),
        total_samples,
        total_ratio: profile.share(total_samples),
    }
}

fn holder(held: &Profile, row: views::Row) -> Holder {
    let views::Row { function, self_samples, total_samples } = row;
    Holder {
        name: function.name,
        module: function.module,
        self_bytes: self_samples,
        self_ratio: held.share(self_samples),
        total_bytes: total_samples,
        total_ratio: held.share(total_samples),
    }
}

fn seen(profile: &Profile, node: views::Node) -> Node {
    let views::Node { depth, name, self_samples, total_samples, .. } = node;
    let (self_ratio, total_ratio) = (profile.share(self_samples), profile.share(total_samples));
    Node { depth: depth as u64, name, self_ratio, total_ratio }
}

fn write(profile: &Profile, id: &str, form: Form) -> Result<Vec<u8>, Error> {
    let title = match profile.unit {
        Unit::Samples => {
            format!("{id}: {} samples at {} Hz", profile.samples, profile.frequency_hz)
        }
        Unit::Bytes => format!("{id}: {} bytes of memory", profile.samples),
    };
    let bytes = match form {
        Form::Txt => views::folded(profile).into_bytes(),
        Form::Svg => views::flamegraph(profile, &title).map_err(Error::Undrawable)?,
        Form::Pb => views::pprof(profile),
        Form::Json => views::speedscope(profile, &title).to_string().into_bytes(),
    };
    if READ_BYTES_MAX < bytes.len() {
        return Err(Error::TooLong { max: READ_BYTES_MAX });
    }
    Ok(bytes)
}
