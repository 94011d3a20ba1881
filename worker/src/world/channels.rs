//! What can be recorded of a model: where its values stand, what they are called, and their units.

use std::collections::HashSet;
use std::ops::Range;

use mujoco_rs::mujoco_c::mjtEnableBit;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint, MjtSensor, MjtTrn};
use simward_protocol::fault::Fault;
use simward_protocol::recording::{
    CHANNELS_MAX, COLUMNS_MAX, Channel, Column, EVERY_MAX, Layout, Selection, Series,
};

use super::names::{self, Kind};
use super::values::joint_widths;

/// The longest name that becomes part of a column's; others stand there by their index.
const NAME_CHARS_MAX: usize = 100;

/// A vector of the engine's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Qpos,
    Qvel,
    Ctrl,
    Act,
    Qacc,
    ActuatorForce,
    Sensordata,
    Xpos,
    Xquat,
    Energy,
}

/// A run of values.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    source: Source,
    range: Range<usize>,
}

/// What belongs to one object of the model.
struct Piece {
    begin: usize,
    name: String,
    units: Vec<&'static str>,
}

impl Span {
    /// The values as they are now.
    pub(crate) fn of<'a>(&self, data: &'a MjData<Box<MjModel>>) -> &'a [f64] {
        &self.source.of(data)[self.range.clone()]
    }
}

impl Source {
    /// MuJoCo's name of it.
    fn word(self) -> &'static str {
        match self {
            Self::Qpos => "qpos",
            Self::Qvel => "qvel",
            Self::Ctrl => "ctrl",
            Self::Act => "act",
            Self::Qacc => "qacc",
            Self::ActuatorForce => "actuator_force",
            Self::Sensordata => "sensordata",
            Self::Xpos => "xpos",
            Self::Xquat => "xquat",
            Self::Energy => "energy",
        }
    }

    fn of(self, data: &MjData<Box<MjModel>>) -> &[f64] {
        match self {
            Self::Qpos => data.qpos(),
            Self::Qvel => data.qvel(),
            Self::Ctrl => data.ctrl(),
            Self::Act => data.act(),
            Self::Qacc => data.qacc(),
            Self::ActuatorForce => data.actuator_force(),
            Self::Sensordata => data.sensordata(),
            Self::Xpos => data.xpos().as_flattened(),
            Self::Xquat => data.xquat().as_flattened(),
            Self::Energy => data.energy(),
        }
    }

    /// What its values belong to.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Qpos | Self::Qvel | Self::Qacc => Some(Kind::Joint),
            Self::Ctrl | Self::Act | Self::ActuatorForce => Some(Kind::Actuator),
            Self::Sensordata => Some(Kind::Sensor),
            Self::Xpos | Self::Xquat => Some(Kind::Body),
            Self::Energy => None,
        }
    }

    /// What belongs to the object of that index.
    fn piece(self, model: &MjModel, index: usize) -> Piece {
        let (begin, units) = match self {
            Self::Qpos => (at(model.jnt_qposadr()[index]), position_units(model.jnt_type()[index])),
            Self::Qvel | Self::Qacc => {
                let units = velocity_units(model.jnt_type()[index], self == Self::Qacc);
                (at(model.jnt_dofadr()[index]), units)
            }
            Self::Ctrl => {
                let count = at(model.actuator_ctrlnum()[index]);
                (at(model.actuator_ctrladr()[index]), vec![""; count])
            }
            Self::Act => {
                let count = at(model.actuator_actnum()[index]);
                (at(model.actuator_actadr()[index]), vec![""; count])
            }
            Self::ActuatorForce => (index, vec![force_unit(model, index)]),
            Self::Sensordata => {
                let unit = sensor_unit(model, index);
                (at(model.sensor_adr()[index]), vec![unit; at(model.sensor_dim()[index])])
            }
            Self::Xpos => (3 * index, vec!["m"; 3]),
            Self::Xquat => (4 * index, vec![""; 4]),
            Self::Energy => (0, vec!["J"; 2]),
        };
        let name = self.kind().map_or_else(String::new, |kind| name_of(model, kind, index));
        Piece { begin, name, units }
    }

    /// The columns of its whole, or nothing if they are too many.
    fn columns(self, data: &MjData<Box<MjModel>>) -> Option<Vec<Column>> {
        let length = self.of(data).len();
        if COLUMNS_MAX < length {
            return None;
        }
        let plain =
            |index| Column { name: format!("{}[{index}]", self.word()), unit: String::new() };
        let mut columns: Vec<_> = (0..length).map(plain).collect();
        let model = data.model();
        let objects = self.kind().map_or(0, |kind| kind.count(model));
        for piece in (0..objects).map(|index| self.piece(model, index)) {
            for (offset, column) in piece.columns(self).into_iter().enumerate() {
                if let Some(place) = columns.get_mut(piece.begin + offset) {
                    *place = column;
                }
            }
        }
        if self == Self::Energy {
            for (column, name) in columns.iter_mut().zip(["potential", "kinetic"]) {
                *column = Column { name: format!("energy.{name}"), unit: "J".into() };
            }
        }
        Some(columns)
    }
}

impl Piece {
    fn columns(&self, source: Source) -> Vec<Column> {
        let stem = format!("{}.{}", source.word(), self.name);
        let name = |index: usize| {
            if self.units.len() == 1 { stem.clone() } else { format!("{stem}[{index}]") }
        };
        let units = self.units.iter().enumerate();
        units.map(|(index, unit)| Column { name: name(index), unit: (*unit).to_owned() }).collect()
    }
}

/// Finds what is to be recorded, and describes it.
pub(crate) fn resolve(
    data: &MjData<Box<MjModel>>,
    model_id: &str,
    selection: &Selection,
) -> Result<(Layout, Vec<Span>), Fault> {
    check(selection)?;
    let mut plan = Plan { data, series: Vec::new(), spans: Vec::new(), taken: HashSet::new() };
    for channel in &selection.channels {
        plan.add(channel)?;
    }
    let layout = Layout { model_id: model_id.to_owned(), series: plan.series };
    Ok((layout, plan.spans))
}

#[expect(clippy::cast_precision_loss, reason = "only for the messages")]
fn check(Selection { channels, every }: &Selection) -> Result<(), Fault> {
    if !(1..=CHANNELS_MAX).contains(&channels.len()) {
        let (value, max) = (channels.len() as f64, CHANNELS_MAX as f64);
        return Err(Fault::OutOfRange { field: "channels: how many".into(), value, min: 1.0, max });
    }
    if !(1..=EVERY_MAX).contains(every) {
        let (value, max) = (*every as f64, EVERY_MAX as f64);
        return Err(Fault::OutOfRange { field: "every".into(), value, min: 1.0, max });
    }
    Ok(())
}

struct Plan<'a> {
    data: &'a MjData<Box<MjModel>>,
    series: Vec<Series>,
    spans: Vec<Span>,
    /// Values that are recorded already: what is named twice is recorded once.
    taken: HashSet<(Source, usize)>,
}

impl Plan<'_> {
    fn add(&mut self, channel: &Channel) -> Result<(), Fault> {
        match channel {
            Channel::Qpos => self.add_whole(Source::Qpos),
            Channel::Qvel => self.add_whole(Source::Qvel),
            Channel::Ctrl => self.add_whole(Source::Ctrl),
            Channel::Act => self.add_whole(Source::Act),
            Channel::Qacc => self.add_whole(Source::Qacc),
            Channel::ActuatorForce => self.add_whole(Source::ActuatorForce),
            Channel::Sensordata => self.add_whole(Source::Sensordata),
            Channel::Xpos => self.add_whole(Source::Xpos),
            Channel::Xquat => self.add_whole(Source::Xquat),
            Channel::Energy => {
                let flags = self.data.model().opt().enableflags;
                if flags & mjtEnableBit::mjENBL_ENERGY as i32 == 0 {
                    let detail = "the model does not compute it: it needs \
                                  <option><flag energy=\"enable\"/></option>";
                    let (channel, detail) = ("energy".to_owned(), detail.to_owned());
                    return Err(Fault::ChannelUnavailable { channel, detail });
                }
                self.add_whole(Source::Energy)
            }
            Channel::Joint(name) => self.add_named(Kind::Joint, name, [Source::Qpos, Source::Qvel]),
            Channel::Actuator(name) => {
                self.add_named(Kind::Actuator, name, [Source::Ctrl, Source::ActuatorForce])
            }
            Channel::Sensor(name) => self.add_named(Kind::Sensor, name, [Source::Sensordata]),
            Channel::Body(name) => self.add_named(Kind::Body, name, [Source::Xpos, Source::Xquat]),
        }
    }

    fn add_whole(&mut self, source: Source) -> Result<(), Fault> {
        let length = source.of(self.data).len();
        if length == 0 {
            let (channel, detail) = (source.word().to_owned(), "the model has none".to_owned());
            return Err(Fault::ChannelUnavailable { channel, detail });
        }
        let columns = source.columns(self.data).ok_or_else(|| too_many(length))?;
        self.put(source, 0, source.word().to_owned(), columns)
    }

    fn add_named<const N: usize>(
        &mut self,
        kind: Kind,
        name: &str,
        sources: [Source; N],
    ) -> Result<(), Fault> {
        let model = self.data.model();
        let index = names::find(model, kind, name)?;
        for source in sources {
            let piece = source.piece(model, index);
            let name = format!("{}.{}", source.word(), piece.name);
            self.put(source, piece.begin, name, piece.columns(source))?;
        }
        Ok(())
    }

    /// Takes up a run of values, except for those that are there already.
    fn put(
        &mut self,
        source: Source,
        begin: usize,
        name: String,
        columns: Vec<Column>,
    ) -> Result<(), Fault> {
        let there = source.of(self.data).len();
        let mut fresh = Vec::new();
        for (index, mut column) in (begin..there).zip(columns) {
            if !self.taken.insert((source, index)) {
                continue;
            }
            if self.is_named(&fresh, &column.name) {
                // A model may call a thing `#3`.
                column.name = format!("{}[{index}]", source.word());
            }
            match self.spans.last_mut() {
                Some(span) if span.source == source && span.range.end == index => {
                    span.range.end += 1;
                }
                _ => self.spans.push(Span { source, range: index..index + 1 }),
            }
            fresh.push(column);
        }
        if COLUMNS_MAX < self.taken.len() {
            return Err(too_many(self.taken.len()));
        }
        if !fresh.is_empty() {
            self.series.push(Series { name, columns: fresh });
        }
        Ok(())
    }

    fn is_named(&self, fresh: &[Column], name: &str) -> bool {
        fresh.iter().any(|column| column.name == name)
            || self
                .series
                .iter()
                .any(|series| series.columns.iter().any(|column| column.name == name))
    }
}

fn too_many(columns: usize) -> Fault {
    let (value, max) = (columns as u64, COLUMNS_MAX as u64);
    Fault::LimitExceeded { what: "columns of a recording".into(), value, max }
}

fn name_of(model: &MjModel, kind: Kind, index: usize) -> String {
    let name = names::of(model, kind.object(), index);
    if NAME_CHARS_MAX < name.chars().count() || name.chars().any(char::is_control) {
        return format!("#{index}");
    }
    name
}

fn position_units(kind: MjtJoint) -> Vec<&'static str> {
    match kind {
        MjtJoint::mjJNT_FREE => vec!["m", "m", "m", "", "", "", ""],
        MjtJoint::mjJNT_SLIDE => vec!["m"],
        MjtJoint::mjJNT_HINGE => vec!["rad"],
        MjtJoint::mjJNT_BALL => vec![""; joint_widths(kind).0],
    }
}

fn velocity_units(kind: MjtJoint, accelerations: bool) -> Vec<&'static str> {
    let (along, around) = if accelerations { ("m/s²", "rad/s²") } else { ("m/s", "rad/s") };
    match kind {
        MjtJoint::mjJNT_FREE => vec![along, along, along, around, around, around],
        MjtJoint::mjJNT_SLIDE => vec![along],
        MjtJoint::mjJNT_HINGE => vec![around],
        MjtJoint::mjJNT_BALL => vec![around; joint_widths(kind).1],
    }
}

/// The unit of an actuator's force, where its gear leaves it as it is.
fn force_unit(model: &MjModel, actuator: usize) -> &'static str {
    let target = at(model.actuator_trnid()[actuator][0]);
    match model.actuator_trntype()[actuator] {
        MjtTrn::mjTRN_JOINT | MjtTrn::mjTRN_JOINTINPARENT => match model.jnt_type().get(target) {
            Some(MjtJoint::mjJNT_HINGE) => "N·m",
            Some(MjtJoint::mjJNT_SLIDE) => "N",
            _ => "",
        },
        MjtTrn::mjTRN_TENDON => "N",
        _ => "",
    }
}

fn sensor_unit(model: &MjModel, sensor: usize) -> &'static str {
    let of_joint = |hinge, slide| {
        let object = at(model.sensor_objid()[sensor]);
        match model.jnt_type().get(object) {
            Some(MjtJoint::mjJNT_HINGE) => hinge,
            Some(MjtJoint::mjJNT_SLIDE) => slide,
            _ => "",
        }
    };
    match model.sensor_type()[sensor] {
        MjtSensor::mjSENS_ACCELEROMETER | MjtSensor::mjSENS_FRAMELINACC => "m/s²",
        MjtSensor::mjSENS_FRAMEANGACC => "rad/s²",
        MjtSensor::mjSENS_VELOCIMETER
        | MjtSensor::mjSENS_FRAMELINVEL
        | MjtSensor::mjSENS_SUBTREELINVEL
        | MjtSensor::mjSENS_TENDONVEL => "m/s",
        MjtSensor::mjSENS_GYRO | MjtSensor::mjSENS_FRAMEANGVEL | MjtSensor::mjSENS_BALLANGVEL => {
            "rad/s"
        }
        MjtSensor::mjSENS_FORCE | MjtSensor::mjSENS_TOUCH | MjtSensor::mjSENS_TENDONACTFRC => "N",
        MjtSensor::mjSENS_TORQUE => "N·m",
        MjtSensor::mjSENS_RANGEFINDER
        | MjtSensor::mjSENS_TENDONPOS
        | MjtSensor::mjSENS_FRAMEPOS
        | MjtSensor::mjSENS_SUBTREECOM
        | MjtSensor::mjSENS_GEOMDIST => "m",
        MjtSensor::mjSENS_JOINTPOS => of_joint("rad", "m"),
        MjtSensor::mjSENS_JOINTVEL => of_joint("rad/s", "m/s"),
        MjtSensor::mjSENS_JOINTACTFRC => of_joint("N·m", "N"),
        MjtSensor::mjSENS_E_POTENTIAL | MjtSensor::mjSENS_E_KINETIC => "J",
        MjtSensor::mjSENS_CLOCK => "s",
        _ => "",
    }
}

fn at(index: i32) -> usize {
    usize::try_from(index).unwrap_or(0)
}
